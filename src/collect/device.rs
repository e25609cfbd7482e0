//! How devices are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{FacetRead, Feed, How, List, Recipe, RelationRead};

/// Every property of a device but its stamps, which are facets.
const SELECT: &[&str] = &[
    "id",
    "accountEnabled",
    "alternativeSecurityIds",
    "complianceExpirationDateTime",
    "deletedDateTime",
    "deviceCategory",
    "deviceId",
    "deviceMetadata",
    "deviceOwnership",
    "deviceVersion",
    "displayName",
    "enrollmentProfileName",
    "enrollmentType",
    "extensionAttributes",
    "isCompliant",
    "isManaged",
    "isManagementRestricted",
    "isRooted",
    "managementType",
    "manufacturer",
    "mdmAppId",
    "model",
    "onPremisesSecurityIdentifier",
    "onPremisesSyncEnabled",
    "operatingSystem",
    "operatingSystemVersion",
    "physicalIds",
    "profileType",
    "registrationDateTime",
    "systemLabels",
    "trustType",
];

/// Rules of Conditional Access on devices speak of extensionAttributes. An example of "Get device" selects it
/// (learn, device-get); the metadata of v1.0 doesn't list it, and no page says that the feed gives it.
const GUARDED: &[&str] = &["extensionAttributes"];

const fn people(name: &'static str, path: &'static str) -> RelationRead {
    RelationRead { many: true, ..RelationRead::unfed(name, path, "Device.Read.All") }
}

/// Devices. 999 a page is what AzureHound sends; the page itself says nothing.
pub(super) const DEVICE: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/devices/delta", select: SELECT, guarded: GUARDED }),
        lists: &[List { top: Some(999), select: SELECT, guarded: GUARDED, ..List::plain("/v1.0/devices") }],
        count: Some("/v1.0/devices/$count"),
    },
    relations: &[
        people("registeredOwners", "/v1.0/devices/{id}/registeredOwners?$select=id"),
        people("registeredUsers", "/v1.0/devices/{id}/registeredUsers?$select=id"),
    ],
    facets: &[
        FacetRead { name: "activity", path: "/v1.0/devices", top: Some(999), permission: "Device.Read.All" },
        FacetRead { name: "sync", path: "/v1.0/devices", top: Some(999), permission: "Device.Read.All" },
    ],
    ..Recipe::listed("device", &[], "Device.Read.All")
};
