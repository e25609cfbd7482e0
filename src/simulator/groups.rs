//! Groups of every sort that the simulated company uses.
//!
//! Must never know: who is in them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::dice::Dice;
use super::directory::seconds;
use super::people::sid;
use super::words::DOMAIN;

/// A sort of group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A security group kept by hand.
    Security,
    /// A Microsoft 365 group with a mailbox; goes to the bin when deleted.
    Unified,
    /// A security group that may hold a directory role.
    RoleAssignable,
    /// A security group whose members follow a rule.
    Dynamic,
    /// A security group that gives its members a licence.
    Licence,
}

/// A new group called `name`.
pub(super) fn group(dice: &mut Dice, sort: Sort, name: &str, description: &str, created: Timestamp) -> Value {
    let nickname: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let mut group = json!({
        "id": dice.guid(),
        "displayName": name,
        "description": description,
        "createdDateTime": seconds(created),
        "renewedDateTime": seconds(created),
        "groupTypes": [],
        "mailEnabled": false,
        "mailNickname": nickname,
        "securityEnabled": true,
        "securityIdentifier": sid(dice),
    });
    match sort {
        Sort::Security => {
            if dice.chance(0.2) {
                group["onPremisesSyncEnabled"] = json!(true);
                group["onPremisesDomainName"] = json!(DOMAIN);
                group["onPremisesNetBiosName"] = json!("LARKMOOR");
                group["onPremisesSamAccountName"] = json!(nickname);
                group["onPremisesLastSyncDateTime"] = json!(seconds(created));
            }
        }
        Sort::Unified => {
            group["groupTypes"] = json!(["Unified"]);
            group["mailEnabled"] = json!(true);
            group["securityEnabled"] = json!(false);
            group["mail"] = json!(format!("{nickname}@{DOMAIN}"));
            group["proxyAddresses"] = json!([format!("SMTP:{nickname}@{DOMAIN}")]);
            group["visibility"] = json!(if dice.chance(0.5) { "Private" } else { "Public" });
            group["expirationDateTime"] = json!(seconds(created + SignedDuration::from_hours(24 * 365)));
            if dice.chance(0.5) {
                group["resourceProvisioningOptions"] = json!(["Team"]);
                group["resourceBehaviorOptions"] = json!(["WelcomeEmailDisabled"]);
            }
        }
        Sort::RoleAssignable => {
            group["isAssignableToRole"] = json!(true);
            group["visibility"] = json!("Private");
        }
        Sort::Dynamic => {
            group["groupTypes"] = json!(["DynamicMembership"]);
            group["membershipRule"] = json!(description);
            group["membershipRuleProcessingState"] = json!("On");
        }
        Sort::Licence => {
            let sku = "5d3f6a10-0b1e-4c7a-9a51-1c0de0000001";
            group["assignedLicenses"] = json!([{"disabledPlans": [], "skuId": sku}]);
        }
    }
    group
}
