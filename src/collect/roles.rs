//! How directory roles are read: definitions, assignments, what Privileged Identity Management adds to them, and
//! administrative units, which scope them.
//!
//! Must never know: how another collection is read.

use super::recipe::{Detail, Feed, Form, How, List, Recipe, RelationRead, When};

/// Role definitions, built-in and custom. No feed.
pub(super) const UNIFIED_ROLE_DEFINITION: Recipe = Recipe::listed(
    "unifiedRoleDefinition",
    &[List::plain("/v1.0/roleManagement/directory/roleDefinitions")],
    "RoleManagement.Read.Directory",
);

/// Role assignments, active ones of PIM among them. No feed.
pub(super) const UNIFIED_ROLE_ASSIGNMENT: Recipe = Recipe::listed(
    "unifiedRoleAssignment",
    &[List::plain("/v1.0/roleManagement/directory/roleAssignments")],
    "RoleManagement.Read.Directory",
);

/// Active assignments with their time bounds. Like all of PIM only with P2 or Governance.
pub(super) const UNIFIED_ROLE_ASSIGNMENT_SCHEDULE: Recipe = Recipe::listed(
    "unifiedRoleAssignmentSchedule",
    &[List::plain("/v1.0/roleManagement/directory/roleAssignmentSchedules")],
    "RoleAssignmentSchedule.Read.Directory",
);

/// What of these is in force now.
pub(super) const UNIFIED_ROLE_ASSIGNMENT_SCHEDULE_INSTANCE: Recipe = Recipe::listed(
    "unifiedRoleAssignmentScheduleInstance",
    &[List::plain("/v1.0/roleManagement/directory/roleAssignmentScheduleInstances")],
    "RoleAssignmentSchedule.Read.Directory",
);

/// Who may activate a role.
pub(super) const UNIFIED_ROLE_ELIGIBILITY_SCHEDULE: Recipe = Recipe::listed(
    "unifiedRoleEligibilitySchedule",
    &[List::plain("/v1.0/roleManagement/directory/roleEligibilitySchedules")],
    "RoleEligibilitySchedule.Read.Directory",
);

/// What of these is in force now.
pub(super) const UNIFIED_ROLE_ELIGIBILITY_SCHEDULE_INSTANCE: Recipe = Recipe::listed(
    "unifiedRoleEligibilityScheduleInstance",
    &[List::plain("/v1.0/roleManagement/directory/roleEligibilityScheduleInstances")],
    "RoleEligibilitySchedule.Read.Directory",
);

/// The settings of PIM for each role. The filter is obligatory (policyroot-list-rolemanagementpolicies); the rules, which
/// are what matters, come with `$expand` or from an address of their own: `$expand` is never used.
pub(super) const UNIFIED_ROLE_MANAGEMENT_POLICY: Recipe = Recipe {
    details: &[Detail {
        property: "rules",
        path: "/v1.0/policies/roleManagementPolicies/{id}/rules",
        form: Form::List,
        when: When::Unshown,
    }],
    ..Recipe::listed(
        "unifiedRoleManagementPolicy",
        &[List::plain(
            "/v1.0/policies/roleManagementPolicies?$filter=scopeId%20eq%20'/'%20and%20scopeType%20eq%20'DirectoryRole'",
        )],
        "RoleManagement.Read.Directory",
    )
};

/// Which settings hold for which role.
pub(super) const UNIFIED_ROLE_MANAGEMENT_POLICY_ASSIGNMENT: Recipe = Recipe::listed(
    "unifiedRoleManagementPolicyAssignment",
    &[List::plain(
        "/v1.0/policies/roleManagementPolicyAssignments?$filter=scopeId%20eq%20'/'%20and%20scopeType%20eq%20'DirectoryRole'",
    )],
    "RoleManagement.Read.Directory",
);

/// Administrative units. The feed is read without `$select`, which then tracks members by itself and shows directory
/// extensions (administrativeunit-delta).
pub(super) const ADMINISTRATIVE_UNIT: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/directory/administrativeUnits/delta", select: &[], guarded: &[] }),
        lists: &[List::plain("/v1.0/directory/administrativeUnits")],
        count: Some("/v1.0/directory/administrativeUnits/$count"),
    },
    relations: &[RelationRead {
        feed: true,
        ..RelationRead::unfed(
            "members",
            "/v1.0/directory/administrativeUnits/{id}/members?$select=id&$top=999",
            "AdministrativeUnit.Read.All",
        )
    }],
    ..Recipe::listed("administrativeUnit", &[], "AdministrativeUnit.Read.All")
};

/// Roles held over one administrative unit. No feed, no list over the tenant.
pub(super) const SCOPED_ROLE_MEMBERSHIP: Recipe = Recipe {
    how: How::Under {
        parent: "administrativeUnit",
        relation: "scopedRoleMembers",
        path: "/v1.0/directory/administrativeUnits/{id}/scopedRoleMembers",
    },
    ..Recipe::listed("scopedRoleMembership", &[], "RoleManagement.Read.Directory")
};
