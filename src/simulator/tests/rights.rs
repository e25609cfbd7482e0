//! Licences, kinds of tenant, guarded properties, and Agent ID kinds, which have permissions of their own.

use super::*;

async fn refused(reader: &Reader, path: &str) -> (u16, String) {
    let got = reader.get(&reader.v1(path)).await;
    (got.status, got.body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn without_licences_premium_features_say_so() {
    let reader = Reader::start(small(1)).await;
    let premium = "Authentication_RequestFromNonPremiumTenantOrB2CTenant";
    let paths = [
        ("users?$select=id,signInActivity", 403, premium),
        ("reports/authenticationMethods/userRegistrationDetails", 403, premium),
        ("roleManagement/directory/roleEligibilitySchedules", 400, "AadPremiumLicenseRequired"),
        ("policies/roleManagementPolicies", 400, "AadPremiumLicenseRequired"),
        ("directory/recovery/snapshots", 403, "Authorization_RequestDenied"),
    ];
    reader.simulator.cancel(Licence::P2);
    reader.simulator.cancel(Licence::Governance);
    for (path, status, code) in paths {
        assert_eq!(refused(&reader, path).await, (status, code.to_owned()), "{path}");
    }
    assert_eq!(reader.get(&reader.v1("auditLogs/directoryAudits")).await.status, 200);
    reader.simulator.buy(Licence::P1);
    assert_eq!(reader.get(&reader.v1(paths[0].0)).await.status, 200);
    assert_eq!(refused(&reader, paths[2].0).await.0, 400, "PIM needs more than P1");
    for kind in [TenantKind::ExternalId, TenantKind::B2c] {
        let other = Reader::start(Options { kind, ..small(1) }).await;
        assert_eq!(refused(&other, "directory/recovery/jobs").await.0, 403);
        assert_eq!(refused(&other, paths[2].0).await.0, 400);
        let report = refused(&other, paths[1].0).await.0;
        assert_eq!(report, if kind == TenantKind::B2c { 403 } else { 200 });
    }
}

#[tokio::test]
async fn sign_in_activity_is_asked_for_by_name_and_no_part_of_the_feed() {
    let reader = Reader::start(small(1)).await;
    let path = "users?$select=id,signInActivity";
    assert_eq!(refused(&reader, &format!("{path}&$top=501")).await.0, 400);
    let users = reader.list(&format!("{path}&$top=500")).await;
    let expected = &reader.simulator.record().facets[&(Collection::User, "signInActivity")];
    assert!(expected.len() > 80 && expected.len() < users.len());
    for user in &users {
        let id = user["id"].as_str().unwrap();
        assert_eq!(user["signInActivity"], expected.get(id).cloned().unwrap_or_default());
    }
    assert_eq!(refused(&reader, "users/delta?$select=id,signInActivity").await.0, 400);
    reader.clock.set(reader.clock.now() + hours(30));
    reader.simulator.live_until(reader.clock.now());
    let later = &reader.simulator.record().facets[&(Collection::User, "signInActivity")];
    let moved = expected.iter().filter(|(id, before)| later.get(*id) != Some(before)).count();
    assert!(moved > 50, "only {moved} have signed in again");
    reader.simulator.revoke("AuditLog.Read.All");
    assert_eq!(refused(&reader, path).await, (403, "Authentication_MSGraphPermissionMissing".to_owned()));
}

#[tokio::test]
async fn guarded_and_refused_properties() {
    let reader = Reader::start(small(1)).await;
    for (path, permission) in [
        ("users?$select=customSecurityAttributes", "CustomSecAttributeAssignment.Read.All"),
        ("users/delta?$select=customSecurityAttributes", "CustomSecAttributeAssignment.Read.All"),
        ("servicePrincipals?$select=customSecurityAttributes", "CustomSecAttributeAssignment.Read.All"),
        ("users?$select=employeeLeaveDateTime", "User-LifeCycleInfo.Read.All"),
    ] {
        assert_eq!(reader.get(&reader.v1(path)).await.status, 200, "{path}");
        reader.simulator.revoke(permission);
        assert_eq!(refused(&reader, path).await.0, 403, "{path}");
        reader.simulator.grant(permission);
    }
    reader.simulator.refuse_property(Collection::User, "faxNumber");
    for path in ["users?$select=id,faxNumber", "users/delta?$select=faxNumber"] {
        let got = reader.get(&reader.v1(path)).await;
        let message = got.body["error"]["message"].as_str().unwrap();
        assert!(got.status == 400 && message.contains("Could not find a property named 'faxNumber' on type"));
    }
    reader.simulator.allow_property(Collection::User, "faxNumber");
    assert_eq!(reader.get(&reader.v1("users?$select=faxNumber")).await.status, 200);
}

#[tokio::test]
async fn agents_show_by_their_type_and_have_lists_of_their_own() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    for (set, kind, collection, permission) in [
        ("users", "agentUser", Collection::User, "User.Read.All"),
        ("applications", "agentIdentityBlueprint", Collection::Application, "AgentIdentityBlueprint.Read.All"),
        ("servicePrincipals", "agentIdentity", Collection::ServicePrincipal, "AgentIdentity.Read.All"),
        (
            "servicePrincipals",
            "agentIdentityBlueprintPrincipal",
            Collection::ServicePrincipal,
            "AgentIdentityBlueprintPrincipal.Read.All",
        ),
    ] {
        let full = format!("#microsoft.graph.{kind}");
        let path = format!("{set}/microsoft.graph.{kind}");
        let agents = reader.list(&path).await;
        let plain = reader.list(set).await.into_iter().filter(|item| item["@odata.type"] == *full).count();
        let fed = reader.get(&reader.v1(&format!("{set}/delta"))).await.body;
        let fed = fed["value"].as_array().unwrap().iter().filter(|item| item["@odata.type"] == *full).count();
        assert!(agents.len() >= 2 && agents.iter().all(|agent| agent["@odata.type"] == *full), "{kind}");
        assert_eq!((plain, fed), (agents.len(), agents.len()), "{kind}");
        let narrow = if kind == "agentUser" { 200 } else { 400 };
        assert_eq!(refused(&reader, &format!("{path}?$top=101")).await.0, narrow, "{kind}");
        let id = agents[0]["id"].as_str().unwrap();
        let sponsors = match collection {
            Collection::User => format!("users/{id}/sponsors"),
            _ => format!("{set}/{id}/microsoft.graph.{kind}/sponsors"),
        };
        let found = reader.list(&sponsors).await.len();
        let links = record.links.iter().filter(|link| link.source == *id && link.relation == Relation::Sponsors);
        assert_eq!(found, links.count(), "{kind}");
        reader.simulator.revoke(permission);
        assert_eq!(refused(&reader, &path).await.0, 403, "{kind}");
        reader.simulator.grant(permission);
    }
    let identity = &reader.list("servicePrincipals/microsoft.graph.agentIdentity").await[0];
    let facets = &record.facets[&(Collection::ServicePrincipal, "agentIdentityBlueprintId")];
    assert_eq!(identity["agentIdentityBlueprintId"], facets[identity["id"].as_str().unwrap()]);
    assert_eq!(refused(&reader, "servicePrincipals?$select=agentIdentityBlueprintId").await.0, 400);
    let blueprint = &reader.list("applications/microsoft.graph.agentIdentityBlueprint").await[0];
    let below = format!("applications/{}/microsoft.graph.agentIdentityBlueprint", blueprint["id"].as_str().unwrap());
    for part in ["owners", "federatedIdentityCredentials", "inheritablePermissions"] {
        assert_eq!(reader.list(&format!("{below}/{part}")).await.len(), 1, "{part}");
    }
    let user = &reader.list("users?$select=id,identityParentId").await;
    assert!(user.iter().any(|user| user["identityParentId"].is_string()));
    for (kind, expected) in [("agentUser", 1), ("agentIdentity", 1), ("certificateBasedAuthPki", 0)] {
        if let Some(agent) = reader.list(&format!("directory/deletedItems/microsoft.graph.{kind}")).await.first() {
            panic!("{agent} was never deleted");
        }
        if expected == 1 {
            let set = if kind == "agentUser" { "users" } else { "servicePrincipals" };
            let agent =
                reader.list(&format!("{set}/microsoft.graph.{kind}")).await[0]["id"].as_str().unwrap().to_owned();
            reader.simulator.edit(|directory| directory.soft_delete(&agent));
            assert_eq!(reader.list(&format!("directory/deletedItems/microsoft.graph.{kind}")).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn second_factors_of_users_are_read_one_by_one_in_beta() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    let states = &record.objects[&Collection::StrongAuthenticationRequirements];
    assert!(states.values().any(|state| state["perUserMfaState"] != "disabled"));
    for (id, state) in states {
        let url = format!("{}/beta/users/{id}/authentication/requirements", reader.simulator.url());
        assert_eq!(reader.get(&url).await.body["perUserMfaState"], state["perUserMfaState"]);
    }
    let id = states.keys().next().unwrap();
    assert_eq!(refused(&reader, &format!("users/{id}/authentication/requirements")).await.0, 404);
}
