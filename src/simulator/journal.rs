//! The journal: what happened in the tenant's life, in words that tests and the demonstration understand.
//!
//! Must never know: requests, or how anything happened.

use jiff::Timestamp;

use super::directory::Directory;

/// What kind of thing happened. The ids of each are in the order given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A new employee: user.
    Hire,
    /// A new guest: user.
    GuestInvited,
    /// An employee's account was disabled: user.
    Leave,
    /// Somebody who left was moved to the bin: user.
    UserDeleted,
    /// An employee changed department, title and manager: user.
    Transfer,
    /// A telephone, desk or password changed: user.
    UserChanged,
    /// Somebody joined a group: group, user.
    Joined,
    /// Somebody left a group: group, user.
    Left,
    /// A group was created: group.
    GroupCreated,
    /// A group was deleted, to the bin if it is a Microsoft 365 group: group.
    GroupDeleted,
    /// Something came back from the bin: object.
    Restored,
    /// Something was removed from the bin for ever: object.
    Purged,
    /// A directory role was granted: user, role definition.
    RoleGranted,
    /// A directory role was taken away: principal.
    RoleRemoved,
    /// A client secret was replaced or added: application.
    SecretRotated,
    /// An application was registered: application, service principal.
    ApplicationCreated,
    /// An application was deleted with its service principal: application.
    ApplicationDeleted,
    /// Somebody was given an application: service principal, user.
    Assigned,
    /// An assignment was taken away: service principal, principal.
    Unassigned,
    /// Somebody consented to an application: service principal, user.
    ConsentGiven,
    /// A consent was taken back: service principal.
    ConsentRemoved,
    /// A Conditional Access policy changed its state: policy.
    PolicyChanged,
    /// A named location changed its ranges: location.
    LocationChanged,
    /// A group got another owner: group, user.
    OwnerChanged,
    /// The HR system wrote one wrong department over many users: users.
    BadHrRun,
    /// The departments were put right: users.
    BadHrRunCorrected,
    /// The group of a running project was deleted: group, then its members.
    ProjectGroupDeleted,
    /// Attack, first step: a new secret: application, service principal.
    AttackSecretAdded,
    /// Attack, second step: an application permission that allows granting roles: service principal, resource.
    AttackPermissionGranted,
    /// Attack, third step: Global Administrator: service principal, role definition.
    AttackRoleGranted,
    /// Attack, fourth step: a policy only reports and leaves a group out: policy, group.
    AttackPolicyWeakened,
    /// Somebody took a role they are eligible for, for some hours: user, role definition.
    RoleActivated,
    /// An activated role ended by itself: user.
    RoleActivationEnded,
    /// Somebody became eligible for a role: user, role definition.
    EligibilityGranted,
    /// Eligibility for a role ended: user.
    EligibilityEnded,
    /// A new device: device, user.
    DeviceRegistered,
    /// A device was updated or changed its compliance: device.
    DeviceChanged,
    /// A device was retired: device.
    DeviceRemoved,
    /// Somebody came to an administrative unit: unit, user.
    UnitJoined,
    /// Somebody left an administrative unit: unit, user.
    UnitLeft,
    /// A new agent: service principal.
    AgentCreated,
    /// An agent went to the bin, with its user if it has one: service principal.
    AgentDeleted,
    /// A guest got another sponsor: user, user.
    SponsorChanged,
    /// Somebody registered a method to sign in, or their second factor was set: user.
    MethodRegistered,
    /// A setting of the tenant was made or changed: policy, location or unit.
    SettingChanged,
    /// A policy, location or unit went to the bin: itself.
    SettingRemoved,
}

/// Something that happened in the tenant's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The objects concerned.
    pub ids: Vec<String>,
    /// Their display names at that time; empty for objects without one.
    pub names: Vec<String>,
}

impl Happening {
    /// What happens now to the objects `ids`, under the names they have now.
    pub(super) fn of(directory: &Directory, kind: Kind, ids: &[&str]) -> Self {
        let name = |id: &&str| directory.property(id, "displayName").as_str().unwrap_or_default().to_owned();
        Self {
            at: directory.now(),
            kind,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            names: ids.iter().map(name).collect(),
        }
    }
}
