//! Devices and administrative units.
//!
//! Must never know: who uses a device or belongs to a unit.
//!
//! Shapes: "device resource type", "administrativeUnit resource type", "scopedRoleMembership resource type".

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::dice::Dice;
use super::directory::seconds;

/// Operating systems: name, versions, maker and model, how such devices are joined.
const SYSTEMS: [(&str, &[&str], &str, &str, &str); 4] = [
    ("Windows", &["10.0.22631.3880", "10.0.26100.4061"], "Fabricated Computers", "Slate 14", "AzureAd"),
    ("MacMDM", &["14.5", "15.4.1"], "Orchard", "Lightbook 13", "Workplace"),
    ("IPhone", &["17.5.1", "18.4"], "Orchard", "Pocket 15", "Workplace"),
    ("Android", &["14", "15"], "Birchwood", "Handset 8", "Workplace"),
];

/// A new device. `number` must never repeat: it keeps the names apart.
pub(super) fn device(dice: &mut Dice, number: usize, at: Timestamp) -> Value {
    let (system, versions, maker, model, trust) = *dice.pick(&SYSTEMS);
    let windows = system == "Windows";
    let hybrid = windows && dice.chance(0.3);
    let device_id = dice.guid();
    let thumbprint = STANDARD.encode(dice.bytes::<24>());
    let hardware = hex::encode(dice.bytes::<8>());
    let mut device = json!({
        "id": dice.guid(),
        "accountEnabled": true,
        "alternativeSecurityIds": [{"type": 2, "identityProvider": null, "key": thumbprint}],
        "approximateLastSignInDateTime": seconds(at),
        "deviceId": device_id,
        "deviceOwnership": if trust == "Workplace" { "Personal" } else { "Company" },
        "deviceVersion": 2,
        "displayName": format!("{}-{number:05}", if windows { "LARK" } else { model.split(' ').next().unwrap_or(model) }),
        "isCompliant": dice.chance(0.9),
        "isManaged": true,
        "isRooted": false,
        "managementType": "MDM",
        "manufacturer": maker,
        "mdmAppId": "0000000a-0000-0000-c000-000000000000",
        "model": model,
        "operatingSystem": system,
        "operatingSystemVersion": *dice.pick(versions),
        "physicalIds": [format!("[USER-GID]:{device_id}:{hardware}"), format!("[HWID]:h:{hardware}")],
        "profileType": "RegisteredDevice",
        "registrationDateTime": seconds(at),
        "trustType": if hybrid { "ServerAd" } else { trust },
    });
    // Every tenth is a workstation for administration.
    let mut attributes: serde_json::Map<String, Value> =
        (1..=15).map(|count| (format!("extensionAttribute{count}"), Value::Null)).collect();
    attributes
        .insert("extensionAttribute1".to_owned(), if number.is_multiple_of(10) { json!("SAW") } else { Value::Null });
    device["extensionAttributes"] = attributes.into();
    if hybrid {
        device["onPremisesSyncEnabled"] = json!(true);
        device["onPremisesLastSyncDateTime"] = json!(seconds(at));
        device["onPremisesSecurityIdentifier"] = json!(format!("S-1-5-21-1204417-88213-553190-{}", 900_000 + number));
    }
    device
}

/// The version that an operating system is updated to; none for those that are up to date.
pub(super) fn newer_version(system: &str, version: &str) -> Option<&'static str> {
    let (_, versions, ..) = SYSTEMS.iter().find(|(name, ..)| *name == system)?;
    versions.last().copied().filter(|newest| *newest != version)
}

/// A new administrative unit, with a rule if its members follow one.
pub(super) fn unit(dice: &mut Dice, name: &str, rule: Option<&str>) -> Value {
    json!({
        "id": dice.guid(),
        "displayName": name,
        "description": format!("Everything that belongs to {name}"),
        "isMemberManagementRestricted": false,
        "membershipRule": rule,
        "membershipRuleProcessingState": rule.map(|_| "On"),
        "membershipType": if rule.is_some() { "Dynamic" } else { "Assigned" },
    })
}

/// A role over an administrative unit. `role` is the id of the activated role, which is not that of its template.
pub(super) fn scoped_role(dice: &mut Dice, unit: &str, role: &str, holder: (&str, &str)) -> Value {
    json!({
        "id": format!("{}U", URL_SAFE_NO_PAD.encode(dice.bytes::<48>())),
        "roleId": role,
        "administrativeUnitId": unit,
        "roleMemberInfo": {"id": holder.0, "displayName": holder.1},
    })
}
