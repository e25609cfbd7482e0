//! Who may read what: permissions, licences and kinds of tenant.
//!
//! Must never know: the directory, or how a read is answered.
//!
//! The least privileged application permission of each page is asked for by name: broader ones that would do in Entra
//! do not count here, so that a collector has to name what it needs. Where a page and the permissions file of Microsoft
//! Graph name different ones, each of them will do.

use std::collections::BTreeSet;

use super::exchange::{Ask, Refusal};

/// A licence that makes more of Microsoft Entra ID available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Licence {
    /// Microsoft Entra ID P1.
    P1,
    /// Microsoft Entra ID P2, which holds P1.
    P2,
    /// Microsoft Entra ID Governance, an addition to P1 or P2.
    Governance,
}

/// What a tenant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantKind {
    /// Employees and their guests.
    Workforce,
    /// Customers, in an external tenant of Microsoft Entra External ID.
    ExternalId,
    /// Customers, in Azure AD B2C.
    B2c,
}

/// What the tenant has given and bought.
#[derive(Debug)]
pub(super) struct Rights {
    pub permissions: BTreeSet<String>,
    pub licences: BTreeSet<Licence>,
    pub kind: TenantKind,
}

/// The least privileged permissions with which everything that is served can be read.
pub(super) const PERMISSIONS: [&str; 22] = [
    "AdministrativeUnit.Read.All",
    "AgentIdentity.Read.All",
    "AgentIdentityBlueprint.Read.All",
    "AgentIdentityBlueprintPrincipal.Read.All",
    "Application.Read.All",
    "AuditLog.Read.All",
    "CustomSecAttributeAssignment.Read.All",
    "Device.Read.All",
    "Directory.Read.All",
    "Domain.Read.All",
    "EntraBackup.Read.All",
    "Group.Read.All",
    "LicenseAssignment.Read.All",
    "Organization.Read.All",
    "Policy.Read.All",
    "Policy.Read.AuthenticationMethod",
    "Policy.Read.PermissionGrant",
    "RoleAssignmentSchedule.Read.Directory",
    "RoleEligibilitySchedule.Read.Directory",
    "RoleManagement.Read.Directory",
    "User-LifeCycleInfo.Read.All",
    "User.Read.All",
];

impl Rights {
    fn premium(&self) -> bool {
        !self.licences.is_empty() && self.kind != TenantKind::B2c
    }

    /// How many days the audit log is kept ("Microsoft Entra data retention").
    pub fn audit_days(&self) -> i64 {
        if self.licences.is_empty() { 7 } else { 30 }
    }

    /// Refuses what the consented permissions or the licences do not allow.
    pub fn permit(&self, ask: &Ask) -> Result<(), Refusal> {
        let segments: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
        let needed = needed(&segments);
        if !needed.is_empty() && !needed.iter().any(|permission| self.permissions.contains(*permission)) {
            return Err(if needed == ["AuditLog.Read.All"] { lacking("AuditLog.Read.All") } else { denied() });
        }
        self.permit_selection(ask, &segments)?;
        self.license(&segments)
    }

    /// Some properties need more than the collection does ("user resource type").
    fn permit_selection(&self, ask: &Ask, segments: &[&str]) -> Result<(), Refusal> {
        let Some(text) = ask.option("$select") else { return Ok(()) };
        let selects = |name: &str| text.split(',').any(|selected| selected.trim().eq_ignore_ascii_case(name));
        let lacks = |permission: &str| !self.permissions.contains(permission);
        if selects("customSecurityAttributes") && lacks("CustomSecAttributeAssignment.Read.All") {
            return Err(denied());
        }
        if segments.first() != Some(&"users") {
            return Ok(());
        }
        if selects("employeeLeaveDateTime") && lacks("User-LifeCycleInfo.Read.All") {
            return Err(denied());
        }
        if selects("signInActivity") && lacks("AuditLog.Read.All") {
            return Err(lacking("AuditLog.Read.All"));
        }
        if selects("signInActivity") && !self.premium() {
            return Err(not_premium());
        }
        Ok(())
    }

    fn license(&self, segments: &[&str]) -> Result<(), Refusal> {
        let governed = self.licences.contains(&Licence::P2) || self.licences.contains(&Licence::Governance);
        match segments {
            ["reports", ..] if !self.premium() => Err(not_premium()),
            ["roleManagement", "directory", set, ..] | ["policies", set, ..]
                if is_privileged_identity(set) && !(governed && self.kind == TenantKind::Workforce) =>
            {
                let message =
                    "The tenant needs to have Microsoft Entra ID P2 or Microsoft Entra ID Governance license.";
                Err(Refusal::new(400, "AadPremiumLicenseRequired", message))
            }
            // "Available to workforce tenants with P1 or P2" ("Microsoft Entra Backup and Recovery overview"). What
            // Graph answers elsewhere is not documented; a refusal that names the reason is assumed.
            ["directory", "recovery", ..] if !self.premium() || self.kind != TenantKind::Workforce => {
                let message = "Backup and recovery is not available for this tenant.";
                Err(Refusal::new(403, "Authorization_RequestDenied", message))
            }
            _ => Ok(()),
        }
    }
}

fn is_privileged_identity(set: &str) -> bool {
    set.contains("Schedule") || set.starts_with("roleManagementPolic")
}

fn denied() -> Refusal {
    Refusal::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

fn lacking(permission: &str) -> Refusal {
    let message = format!("Calling principal does not have required MSGraph permissions {permission}");
    Refusal::new(403, "Authentication_MSGraphPermissionMissing", message)
}

fn not_premium() -> Refusal {
    let message = "Neither tenant is B2C or tenant doesn't have premium license";
    Refusal::new(403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", message)
}

/// The permissions of which one is needed; none for what anybody may read.
fn needed(segments: &[&str]) -> &'static [&'static str] {
    match segments {
        ["users", _, "authentication", "requirements"] => &["Policy.Read.All"],
        ["users" | "groups", _, "appRoleAssignments"] | ["oauth2PermissionGrants", ..] => &["Directory.Read.All"],
        ["users", ..] => &["User.Read.All"],
        ["groups", ..] => &["Group.Read.All", "GroupMember.Read.All"],
        ["applications" | "servicePrincipals", rest @ ..] => agents(rest).unwrap_or(&["Application.Read.All"]),
        ["devices", ..] => &["Device.Read.All"],
        ["organization", ..] => &["Organization.Read.All"],
        ["domains", ..] => &["Domain.Read.All"],
        ["subscribedSkus", ..] => &["LicenseAssignment.Read.All", "Organization.Read.All"],
        ["identity", ..] => &["Policy.Read.All"],
        ["policies", policy, ..] => policies(policy),
        ["roleManagement", "directory", set, ..] if set.starts_with("roleAssignmentSchedule") => {
            &["RoleAssignmentSchedule.Read.Directory"]
        }
        ["roleManagement", "directory", set, ..] if set.starts_with("roleEligibilitySchedule") => {
            &["RoleEligibilitySchedule.Read.Directory"]
        }
        ["roleManagement", ..] => &["RoleManagement.Read.Directory"],
        ["directory", "administrativeUnits", _, "scopedRoleMembers"] => &["RoleManagement.Read.Directory"],
        ["directory", "administrativeUnits", ..] => &["AdministrativeUnit.Read.All"],
        ["directory", "recovery", ..] => &["EntraBackup.Read.All"],
        ["directory", "deletedItems", cast, ..] => deleted(cast.trim_start_matches("microsoft.graph.")),
        ["reports" | "auditLogs", ..] => &["AuditLog.Read.All"],
        _ => &[],
    }
}

/// The Agent ID kinds have permissions of their own wherever a path is cast to them.
fn agents(rest: &[&str]) -> Option<&'static [&'static str]> {
    rest.iter().find_map(|segment| agent(segment.strip_prefix("microsoft.graph.")?))
}

fn agent(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "agentIdentity" => &["AgentIdentity.Read.All"],
        "agentIdentityBlueprint" => &["AgentIdentityBlueprint.Read.All"],
        "agentIdentityBlueprintPrincipal" => &["AgentIdentityBlueprintPrincipal.Read.All"],
        _ => return None,
    })
}

fn policies(policy: &str) -> &'static [&'static str] {
    match policy {
        "authenticationMethodsPolicy" | "authenticationStrengthPolicies" => {
            &["Policy.Read.AuthenticationMethod", "Policy.Read.All"]
        }
        "permissionGrantPolicies" => &["Policy.Read.PermissionGrant"],
        "roleManagementPolicies" | "roleManagementPolicyAssignments" => {
            &["RoleManagement.Read.Directory", "RoleManagementPolicy.Read.Directory"]
        }
        _ => &["Policy.Read.All"],
    }
}

fn deleted(kind: &str) -> &'static [&'static str] {
    match kind {
        "user" | "agentUser" => &["User.Read.All"],
        "group" => &["Group.Read.All"],
        "device" => &["Device.Read.All"],
        "administrativeUnit" => &["AdministrativeUnit.Read.All"],
        "certificateBasedAuthPki" | "certificateAuthorityDetail" => {
            &["PublicKeyInfrastructure.Read.All", "Directory.Read.All"]
        }
        kind => agent(kind).unwrap_or(&["Application.Read.All"]),
    }
}
