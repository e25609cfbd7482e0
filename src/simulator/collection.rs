//! The collections of the simulated directory.
//!
//! Must never know: their properties' values, requests, or who reads.

/// A kind of object that the simulator keeps or makes up when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// People, guests, break-glass accounts and the users of agents.
    User,
    /// Security and Microsoft 365 groups.
    Group,
    /// App registrations, and the blueprints of agents.
    Application,
    /// Service principals, and agent identities with the principals of their blueprints.
    ServicePrincipal,
    /// App role assignments, seen through the service principals they concern.
    AppRoleAssignment,
    /// Delegated permission grants.
    Oauth2PermissionGrant,
    /// Federated identity credentials of applications.
    FederatedIdentityCredential,
    /// Directory role definitions.
    RoleDefinition,
    /// Directory role assignments.
    RoleAssignment,
    /// Conditional Access policies.
    ConditionalAccessPolicy,
    /// Named locations of Conditional Access.
    NamedLocation,
    /// The tenant's own object.
    Organization,
    /// A name that the tenant may use, keyed by itself.
    Domain,
    /// Administrative units.
    AdministrativeUnit,
    /// Roles over administrative units, seen through them.
    ScopedRoleMembership,
    /// Devices.
    Device,
    /// Authentication contexts of Conditional Access.
    AuthenticationContextClassReference,
    /// The authentication methods policy with its configurations inline; one object.
    AuthenticationMethodsPolicy,
    /// The configuration of one authentication method.
    AuthenticationMethodConfiguration,
    /// Authentication strengths with their combination configurations inline.
    AuthenticationStrengthPolicy,
    /// The authorization policy; one object.
    AuthorizationPolicy,
    /// Security defaults; one object.
    SecurityDefaults,
    /// Consent policies with their condition sets inline.
    PermissionGrantPolicy,
    /// The cross-tenant access policy; one object.
    CrossTenantAccessPolicy,
    /// What cross-tenant access is for everybody else; one object.
    CrossTenantAccessPolicyDefault,
    /// Cross-tenant access with one partner, keyed by the partner's tenant id.
    CrossTenantAccessPolicyPartner,
    /// PIM settings of a role.
    RoleManagementPolicy,
    /// Which PIM settings a role has.
    RoleManagementPolicyAssignment,
    /// Licences that the tenant has bought.
    SubscribedSku,
    /// How a federated domain signs in, seen through the domain.
    DomainFederation,
    /// PIM: assignments of roles with their time limits. Made from role assignments.
    RoleAssignmentSchedule,
    /// PIM: assignments in force. Made from role assignments.
    RoleAssignmentScheduleInstance,
    /// PIM: eligibility for roles.
    RoleEligibilitySchedule,
    /// PIM: eligibility in force. Made from the schedules.
    RoleEligibilityScheduleInstance,
    /// The report of what everybody has registered to sign in with, keyed by the user's id. Lags behind.
    UserRegistrationDetails,
    /// Per-user second factor, keyed by the user's id; beta only.
    StrongAuthenticationRequirements,
    /// Snapshots of Microsoft's own recovery.
    RecoverySnapshot,
    /// Jobs of Microsoft's own recovery.
    RecoveryJob,
}

impl Collection {
    /// Every collection.
    pub const ALL: [Self; 38] = [
        Self::User,
        Self::Group,
        Self::Application,
        Self::ServicePrincipal,
        Self::AppRoleAssignment,
        Self::Oauth2PermissionGrant,
        Self::FederatedIdentityCredential,
        Self::RoleDefinition,
        Self::RoleAssignment,
        Self::ConditionalAccessPolicy,
        Self::NamedLocation,
        Self::Organization,
        Self::Domain,
        Self::AdministrativeUnit,
        Self::ScopedRoleMembership,
        Self::Device,
        Self::AuthenticationContextClassReference,
        Self::AuthenticationMethodsPolicy,
        Self::AuthenticationMethodConfiguration,
        Self::AuthenticationStrengthPolicy,
        Self::AuthorizationPolicy,
        Self::SecurityDefaults,
        Self::PermissionGrantPolicy,
        Self::CrossTenantAccessPolicy,
        Self::CrossTenantAccessPolicyDefault,
        Self::CrossTenantAccessPolicyPartner,
        Self::RoleManagementPolicy,
        Self::RoleManagementPolicyAssignment,
        Self::SubscribedSku,
        Self::DomainFederation,
        Self::RoleAssignmentSchedule,
        Self::RoleAssignmentScheduleInstance,
        Self::RoleEligibilitySchedule,
        Self::RoleEligibilityScheduleInstance,
        Self::UserRegistrationDetails,
        Self::StrongAuthenticationRequirements,
        Self::RecoverySnapshot,
        Self::RecoveryJob,
    ];

    /// The name of Graph's type without its namespace, such as `servicePrincipal`. Where Graph's own type name says too
    /// little, the name by which exports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Application => "application",
            Self::ServicePrincipal => "servicePrincipal",
            Self::AppRoleAssignment => "appRoleAssignment",
            Self::Oauth2PermissionGrant => "oauth2PermissionGrant",
            Self::FederatedIdentityCredential => "federatedIdentityCredential",
            Self::RoleDefinition => "unifiedRoleDefinition",
            Self::RoleAssignment => "unifiedRoleAssignment",
            Self::ConditionalAccessPolicy => "conditionalAccessPolicy",
            Self::NamedLocation => "namedLocation",
            Self::Organization => "organization",
            Self::Domain => "domain",
            Self::AdministrativeUnit => "administrativeUnit",
            Self::ScopedRoleMembership => "scopedRoleMembership",
            Self::Device => "device",
            Self::AuthenticationContextClassReference => "authenticationContextClassReference",
            Self::AuthenticationMethodsPolicy => "authenticationMethodsPolicy",
            Self::AuthenticationMethodConfiguration => "authenticationMethodConfiguration",
            Self::AuthenticationStrengthPolicy => "authenticationStrengthPolicy",
            Self::AuthorizationPolicy => "authorizationPolicy",
            Self::SecurityDefaults => "identitySecurityDefaultsEnforcementPolicy",
            Self::PermissionGrantPolicy => "permissionGrantPolicy",
            Self::CrossTenantAccessPolicy => "crossTenantAccessPolicy",
            Self::CrossTenantAccessPolicyDefault => "crossTenantAccessPolicyDefault",
            Self::CrossTenantAccessPolicyPartner => "crossTenantAccessPolicyPartner",
            Self::RoleManagementPolicy => "unifiedRoleManagementPolicy",
            Self::RoleManagementPolicyAssignment => "unifiedRoleManagementPolicyAssignment",
            Self::SubscribedSku => "subscribedSku",
            Self::DomainFederation => "internalDomainFederation",
            Self::RoleAssignmentSchedule => "unifiedRoleAssignmentSchedule",
            Self::RoleAssignmentScheduleInstance => "unifiedRoleAssignmentScheduleInstance",
            Self::RoleEligibilitySchedule => "unifiedRoleEligibilitySchedule",
            Self::RoleEligibilityScheduleInstance => "unifiedRoleEligibilityScheduleInstance",
            Self::UserRegistrationDetails => "userRegistrationDetails",
            Self::StrongAuthenticationRequirements => "strongAuthenticationRequirements",
            Self::RecoverySnapshot => "recoverySnapshot",
            Self::RecoveryJob => "recoveryJob",
        }
    }

    /// The place of the collection in [`Collection::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }
}
