//! Which directory roles and which application permissions give power over the directory itself.
//!
//! Must never know: who holds them.

use serde_json::Value;

/// Built-in roles that Microsoft labels privileged, by template id: "Microsoft Entra built-in roles"
/// (learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference), as its table read in 2025; the
/// Agent ID and AI Administrator as of 2026. `isPrivileged` of a role definition, which only beta shows as yet
/// ("privileged-roles-permissions" beside that page), comes before this list where an archive has it.
const ROLES: &[&str] = &[
    "db506228-d27e-4b7d-95e5-295956d6615f", // Agent ID Administrator
    "d2562ede-74db-457e-a7b6-544e236ebb61", // AI Administrator
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", // Application Administrator
    "cf1c38e5-3621-4004-a7cb-879624dced7c", // Application Developer
    "ecb2c6bf-0ab6-418e-bd87-7986f8d63bbe", // Attribute Provisioning Administrator
    "422218e4-db15-4ef9-bbe0-8afb41546d79", // Attribute Provisioning Reader
    "c4e39bd9-1100-46d3-8c65-fb160da0071f", // Authentication Administrator
    "25a516ed-2fa0-40ea-a2d0-12923a21473a", // Authentication Extensibility Administrator
    "aaf43236-0c0d-4d5f-883a-6955382ac081", // B2C IEF Keyset Administrator
    "158c047a-c907-4556-b7ef-446551a6b5f7", // Cloud Application Administrator
    "7698a772-787b-4ac8-901f-60d6b08affd2", // Cloud Device Administrator
    "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9", // Conditional Access Administrator
    "9360feb5-f418-4baa-8175-e2a00bac4301", // Directory Writers
    "8329153b-31d0-4727-b945-745eb3bc5f31", // Domain Name Administrator
    "be2f45a1-457d-42af-a067-6ec1fa63bc45", // External Identity Provider Administrator
    "62e90394-69f5-4237-9190-012177145e10", // Global Administrator
    "f2ef992c-3afb-46b9-b7cf-a126ee74c451", // Global Reader
    "729827e3-9c14-49f7-bb1b-9608f156bbb8", // Helpdesk Administrator
    "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2", // Hybrid Identity Administrator
    "3a2c62db-5318-420d-8d74-23affee5d9d5", // Intune Administrator
    "59d46f88-662b-457b-bceb-5c3809e5908f", // Lifecycle Workflows Administrator
    "4ba39ca4-527c-499a-b93d-d9b492c50246", // Partner Tier1 Support
    "e00e864a-17c5-4a4b-9c06-f5b95a8d5bd8", // Partner Tier2 Support
    "966707d0-3269-4727-9be2-8c3a10f19b9d", // Password Administrator
    "7be44c8a-adaf-4e2a-84d6-ab2649e08a13", // Privileged Authentication Administrator
    "e8611ab8-c189-46e8-94e1-60213ab1f814", // Privileged Role Administrator
    "194ae4cb-b126-40b2-bd5b-6091b380977d", // Security Administrator
    "5f2222b1-57c3-48ba-8ad5-d4759f1fde6f", // Security Operator
    "5d6b6bb7-de71-4623-b4af-96380a352509", // Security Reader
    "fe930be7-5e62-47db-91af-98c3a49a38b1", // User Administrator
];

/// Actions that make a role of one's own as strong: what that page labels privileged is above all the writing of
/// credentials, passwords, methods, role assignments and policies. Matched as parts of an action's name.
const ACTIONS: &[&str] = &[
    "/credentials/update",
    "/credentials/manage",
    "/password/update",
    "/authenticationMethods/",
    "/roleAssignments/allProperties/allTasks",
    "/roleAssignments/create",
    "/conditionalAccessPolicies/",
    "/allEntities/allTasks",
    "/appRoleAssignedTo/update",
    "/groupsAssignableToRoles/",
];

/// The application id of Microsoft Graph, the same in every tenant.
pub(in crate::query) const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// Application permissions of Microsoft Graph with which an application can give itself or others power over the directory,
/// take over accounts, or loosen what guards them. Ids are those of "Microsoft Graph permissions reference"
/// (learn.microsoft.com/graph/permissions-reference), whose notes of caution say of those that grant authorization that
/// they let an application give "additional privileges to itself, other applications, or any user".
const PERMISSIONS: &[(&str, &str)] = &[
    ("06b708a9-e830-4db3-a914-8e69da51d44f", "AppRoleAssignment.ReadWrite.All"),
    ("1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "Application.ReadWrite.All"),
    ("8e8e4742-1d95-4f68-9d56-6ee75648c72a", "DelegatedPermissionGrant.ReadWrite.All"),
    ("19dbc75e-c2e2-444c-a770-ec69d8559fc7", "Directory.ReadWrite.All"),
    ("7e05723c-0bb0-42da-be95-ae9f08a6e53c", "Domain.ReadWrite.All"),
    ("29c18626-4985-4dcd-85c0-193eef327366", "Policy.ReadWrite.AuthenticationMethod"),
    ("01c0a623-fc9b-48e9-b794-0756f8e8f067", "Policy.ReadWrite.ConditionalAccess"),
    ("a402ca1c-2696-4531-972d-6e5ee4aa11ea", "Policy.ReadWrite.PermissionGrant"),
    ("854d9ab1-6657-4ec8-be45-823027bcd009", "PrivilegedAccess.ReadWrite.AzureAD"),
    ("2f6817f8-7b12-4f0f-bc18-eeaf60705a9e", "PrivilegedAccess.ReadWrite.AzureADGroup"),
    ("41202f2c-f7ab-45be-b001-85c9728b9d69", "PrivilegedAssignmentSchedule.ReadWrite.AzureADGroup"),
    ("618b6020-bca8-4de6-99f6-ef445fa4d857", "PrivilegedEligibilitySchedule.ReadWrite.AzureADGroup"),
    ("dd199f4a-f148-40a4-a2ec-f0069cc799ec", "RoleAssignmentSchedule.ReadWrite.Directory"),
    ("fee28b28-e1f3-4841-818e-2704dc62245f", "RoleEligibilitySchedule.ReadWrite.Directory"),
    ("9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8", "RoleManagement.ReadWrite.Directory"),
    ("31e08e0a-d3f7-4ca2-ac39-7343fb83e8ad", "RoleManagementPolicy.ReadWrite.Directory"),
    ("50483e42-d915-4231-9639-7fdb7fd190e5", "UserAuthenticationMethod.ReadWrite.All"),
];

/// Whether the role with this id is privileged. `definition` is what the archive has of it: its own word counts first,
/// then the list by its template, then what it allows.
pub(in crate::query) fn is_privileged_role(id: &str, definition: Option<&Value>) -> bool {
    let listed = |id: &str| ROLES.iter().any(|role| role.eq_ignore_ascii_case(id));
    let Some(definition) = definition else { return listed(id) };
    if let Some(said) = definition["isPrivileged"].as_bool() {
        return said;
    }
    if listed(id) || definition["templateId"].as_str().is_some_and(listed) {
        return true;
    }
    let allowed = definition["rolePermissions"].as_array().into_iter().flatten();
    let mut actions = allowed.flat_map(|set| set["allowedResourceActions"].as_array().into_iter().flatten());
    definition["isBuiltIn"] == false
        && actions.any(|action| {
            let name = action.as_str().unwrap_or_default();
            ACTIONS.iter().any(|part| name.contains(part)) && !name.ends_with("/read")
        })
}

/// Whether the app role with this id is a privileged permission of Microsoft Graph.
pub(in crate::query) fn is_privileged_permission(app_role: &str) -> bool {
    PERMISSIONS.iter().any(|(id, _)| id.eq_ignore_ascii_case(app_role))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_services_own_word_comes_first_then_the_list_then_the_actions() {
        let own = |action: &str| json!({"isBuiltIn": false, "templateId": "own", "rolePermissions": [{"allowedResourceActions": [action]}]});
        for (id, definition, expected) in [
            ("62e90394-69f5-4237-9190-012177145e10", None, true),
            ("62E90394-69F5-4237-9190-012177145E10", None, true),
            ("fdd7a751-b60b-444a-984c-02652fe8fa1c", None, false),
            ("fdd7a751-b60b-444a-984c-02652fe8fa1c", Some(json!({"isPrivileged": true})), true),
            ("62e90394-69f5-4237-9190-012177145e10", Some(json!({"isPrivileged": false})), false),
            ("62e90394-69f5-4237-9190-012177145e10", Some(json!({"isBuiltIn": true})), true),
            ("x", Some(json!({"templateId": "e8611ab8-c189-46e8-94e1-60213ab1f814"})), true),
            ("x", Some(own("microsoft.directory/applications/credentials/update")), true),
            ("x", Some(own("microsoft.directory/conditionalAccessPolicies/standard/read")), false),
            ("x", Some(own("microsoft.directory/groups/members/update")), false),
            (
                "x",
                Some(json!({"isBuiltIn": true, "rolePermissions": own("a/password/update")["rolePermissions"]})),
                false,
            ),
            ("x", None, false),
        ] {
            assert_eq!(is_privileged_role(id, definition.as_ref()), expected, "{id} {definition:?}");
        }
    }

    #[test]
    fn permissions_are_known_by_their_ids() {
        assert!(is_privileged_permission("9E3F62CF-ca93-4989-b6ce-bf83c28f9fe8"));
        assert!(!is_privileged_permission("df021288-bdef-4463-88db-98f22de89214"));
        let unique: std::collections::BTreeSet<_> = PERMISSIONS.iter().map(|(id, _)| id).collect();
        assert_eq!(unique.len(), PERMISSIONS.len());
        assert!(PERMISSIONS.iter().all(|(_, name)| name.contains(".ReadWrite.")));
    }
}
