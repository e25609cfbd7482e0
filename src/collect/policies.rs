//! How the policies of the tenant are read, apart from Conditional Access.
//!
//! Must never know: how another collection is read.

use super::recipe::{Detail, Form, List, Recipe, When};

/// Which methods may be used to sign in. The GET of one configuration may show targets that the policy itself leaves out.
pub(super) const AUTHENTICATION_METHODS_POLICY: Recipe = Recipe {
    details: &[Detail {
        property: "authenticationMethodConfigurations",
        path: "/v1.0/policies/authenticationMethodsPolicy/authenticationMethodConfigurations/{id}",
        form: Form::Elements,
        when: When::Always,
    }],
    ..Recipe::single(
        "authenticationMethodsPolicy",
        "/v1.0/policies/authenticationMethodsPolicy",
        "Policy.Read.AuthenticationMethod",
    )
};

/// Combinations of methods that Conditional Access may ask for, built-in and custom.
pub(super) const AUTHENTICATION_STRENGTH_POLICY: Recipe = Recipe {
    details: &[Detail {
        property: "combinationConfigurations",
        path: "/v1.0/policies/authenticationStrengthPolicies/{id}/combinationConfigurations",
        form: Form::List,
        when: When::Unshown,
    }],
    ..Recipe::listed(
        "authenticationStrengthPolicy",
        &[List::plain("/v1.0/policies/authenticationStrengthPolicies")],
        "Policy.Read.AuthenticationMethod",
    )
};

/// What users and guests may do by default.
pub(super) const AUTHORIZATION_POLICY: Recipe =
    Recipe::single("authorizationPolicy", "/v1.0/policies/authorizationPolicy", "Policy.Read.All");

/// Security defaults.
pub(super) const SECURITY_DEFAULTS: Recipe = Recipe::single(
    "identitySecurityDefaultsEnforcementPolicy",
    "/v1.0/policies/identitySecurityDefaultsEnforcementPolicy",
    "Policy.Read.All",
);

/// Under which conditions consent may be given. The published list shows both sets of conditions; metadata doesn't
/// promise it.
pub(super) const PERMISSION_GRANT_POLICY: Recipe = Recipe {
    details: &[
        Detail {
            property: "includes",
            path: "/v1.0/policies/permissionGrantPolicies/{id}/includes",
            form: Form::List,
            when: When::Unshown,
        },
        Detail {
            property: "excludes",
            path: "/v1.0/policies/permissionGrantPolicies/{id}/excludes",
            form: Form::List,
            when: When::Unshown,
        },
    ],
    ..Recipe::listed(
        "permissionGrantPolicy",
        &[List::plain("/v1.0/policies/permissionGrantPolicies")],
        "Policy.Read.PermissionGrant",
    )
};

/// The cross-tenant access policy itself.
pub(super) const CROSS_TENANT_ACCESS_POLICY: Recipe =
    Recipe::single("crossTenantAccessPolicy", "/v1.0/policies/crossTenantAccessPolicy", "Policy.Read.All");

/// What holds for tenants without a rule of their own.
pub(super) const CROSS_TENANT_ACCESS_POLICY_DEFAULT: Recipe = Recipe::single(
    "crossTenantAccessPolicyDefault",
    "/v1.0/policies/crossTenantAccessPolicy/default",
    "Policy.Read.All",
);

/// Rules for one tenant each, named by its id. Synchronisation of its users is a part with an address of its own, 404
/// where there is none.
pub(super) const CROSS_TENANT_ACCESS_POLICY_PARTNER: Recipe = Recipe {
    details: &[Detail {
        property: "identitySynchronization",
        path: "/v1.0/policies/crossTenantAccessPolicy/partners/{id}/identitySynchronization",
        form: Form::Object,
        when: When::Unshown,
    }],
    ..Recipe::listed(
        "crossTenantAccessPolicyPartner",
        &[List::plain("/v1.0/policies/crossTenantAccessPolicy/partners")],
        "Policy.Read.All",
    )
};
