//! Policies, PIM, units and devices: what is served is what the record says.

use super::*;

/// Path, collection, and the permission without which it is refused.
const LISTS: &[(&str, Collection, &str)] = &[
    ("directory/administrativeUnits", Collection::AdministrativeUnit, "AdministrativeUnit.Read.All"),
    ("devices", Collection::Device, "Device.Read.All"),
    ("domains", Collection::Domain, "Domain.Read.All"),
    (
        "identity/conditionalAccess/authenticationContextClassReferences",
        Collection::AuthenticationContextClassReference,
        "Policy.Read.All",
    ),
    ("policies/authenticationStrengthPolicies", Collection::AuthenticationStrengthPolicy, ""),
    ("policies/permissionGrantPolicies", Collection::PermissionGrantPolicy, "Policy.Read.PermissionGrant"),
    ("policies/crossTenantAccessPolicy/partners", Collection::CrossTenantAccessPolicyPartner, "Policy.Read.All"),
    (
        "policies/roleManagementPolicies?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'",
        Collection::RoleManagementPolicy,
        "RoleManagement.Read.Directory",
    ),
    (
        "policies/roleManagementPolicyAssignments?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'",
        Collection::RoleManagementPolicyAssignment,
        "RoleManagement.Read.Directory",
    ),
    ("subscribedSkus", Collection::SubscribedSku, ""),
    (
        "roleManagement/directory/roleAssignmentSchedules",
        Collection::RoleAssignmentSchedule,
        "RoleAssignmentSchedule.Read.Directory",
    ),
    (
        "roleManagement/directory/roleAssignmentScheduleInstances",
        Collection::RoleAssignmentScheduleInstance,
        "RoleAssignmentSchedule.Read.Directory",
    ),
    (
        "roleManagement/directory/roleEligibilitySchedules",
        Collection::RoleEligibilitySchedule,
        "RoleEligibilitySchedule.Read.Directory",
    ),
    (
        "roleManagement/directory/roleEligibilityScheduleInstances",
        Collection::RoleEligibilityScheduleInstance,
        "RoleEligibilitySchedule.Read.Directory",
    ),
    ("reports/authenticationMethods/userRegistrationDetails", Collection::UserRegistrationDetails, "AuditLog.Read.All"),
];

fn key(item: &Value) -> String {
    item["id"].as_str().or(item["tenantId"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn lists_say_what_the_record_says_after_a_month_of_life() {
    let reader = Reader::start(small(5)).await;
    reader.clock.set(reader.clock.now() + hours(24 * 30));
    reader.simulator.live_until(reader.clock.now());
    let record = reader.simulator.record();
    for (path, collection, _) in LISTS {
        let more = if path.contains('?') { "&$top=7" } else { "?$top=7" };
        let items = reader.list(&format!("{path}{more}")).await;
        let found: BTreeMap<String, Value> = items.into_iter().map(|item| (key(&item), item)).collect();
        assert!(!found.is_empty(), "{path} is empty");
        let mut expected = record.objects[collection].clone();
        if *collection == Collection::Device {
            // These come on selection only.
            let selected = ["extensionAttributes", "isManagementRestricted", "onPremisesSecurityIdentifier"];
            for device in expected.values_mut().filter_map(Value::as_object_mut) {
                device.retain(|name, _| !selected.contains(&name.as_str()));
            }
        }
        assert_eq!(found, expected, "{path}");
        let bare = path.split('?').next().unwrap();
        let one = found.keys().next().unwrap();
        if !bare.starts_with("reports") {
            let got = reader.get(&reader.v1(&format!("{bare}/{one}"))).await;
            assert_eq!((got.status, &key(&got.body)), (200, one), "{bare}");
        }
    }
}

#[tokio::test]
async fn every_list_asks_for_its_permission() {
    let reader = Reader::start(small(1)).await;
    let more = [
        ("directory/deletedItems/microsoft.graph.administrativeUnit", "AdministrativeUnit.Read.All"),
        ("identity/conditionalAccess/deletedItems/policies", "Policy.Read.All"),
        ("policies/authorizationPolicy", "Policy.Read.All"),
        ("policies/crossTenantAccessPolicy/default", "Policy.Read.All"),
        ("auditLogs/directoryAudits", "AuditLog.Read.All"),
    ];
    let lists = LISTS.iter().map(|(path, _, permission)| (*path, *permission));
    for (path, permission) in lists.chain(more).filter(|(_, permission)| !permission.is_empty()) {
        reader.simulator.revoke(permission);
        assert_eq!(reader.get(&reader.v1(path)).await.status, 403, "{path} without {permission}");
        reader.simulator.grant(permission);
        assert_eq!(reader.get(&reader.v1(path)).await.status, 200, "{path}");
    }
    for permission in ["Policy.Read.All", "Policy.Read.AuthenticationMethod"] {
        reader.simulator.revoke(permission);
        let status = reader.get(&reader.v1("policies/authenticationMethodsPolicy")).await.status;
        assert_eq!(status, if permission == "Policy.Read.All" { 200 } else { 403 }, "either of the two will do");
    }
}

#[tokio::test]
async fn policies_of_which_there_is_one() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    for (path, collection) in [
        ("policies/authorizationPolicy", Collection::AuthorizationPolicy),
        ("policies/identitySecurityDefaultsEnforcementPolicy", Collection::SecurityDefaults),
        ("policies/crossTenantAccessPolicy", Collection::CrossTenantAccessPolicy),
        ("policies/crossTenantAccessPolicy/default", Collection::CrossTenantAccessPolicyDefault),
        ("policies/authenticationMethodsPolicy", Collection::AuthenticationMethodsPolicy),
    ] {
        let mut got = reader.get(&reader.v1(path)).await;
        assert!(got.body.as_object_mut().unwrap().remove("@odata.context").is_some());
        let expected: Vec<&Value> = record.objects[&collection].values().collect();
        assert_eq!([&got.body], expected[..], "{path}");
    }
}

#[tokio::test]
async fn targets_of_a_method_come_with_its_own_read_only() {
    let reader = Reader::start(small(1)).await;
    let policy = reader.get(&reader.v1("policies/authenticationMethodsPolicy")).await.body;
    let inline = policy["authenticationMethodConfigurations"].as_array().unwrap();
    assert!(inline.len() > 5 && inline.iter().all(|method| method.get("includeTargets").is_none()));
    let facets = &reader.simulator.record().facets[&(Collection::AuthenticationMethodConfiguration, "includeTargets")];
    let list = reader.list("policies/authenticationMethodsPolicy/authenticationMethodConfigurations").await;
    assert_eq!(&list, inline);
    for method in list {
        let id = method["id"].as_str().unwrap();
        let path = format!("policies/authenticationMethodsPolicy/authenticationMethodConfigurations/{id}");
        let got = reader.get(&reader.v1(&path)).await.body;
        assert_eq!(got["includeTargets"], facets[id], "{id}");
        assert!(got["@odata.type"].as_str().unwrap().ends_with("AuthenticationMethodConfiguration"));
    }
}

#[tokio::test]
async fn parts_and_links_have_paths_of_their_own() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    for (set, collection, relation) in [
        ("directory/administrativeUnits", Collection::AdministrativeUnit, Relation::Members),
        ("directory/administrativeUnits", Collection::AdministrativeUnit, Relation::ScopedRoleMembers),
        ("devices", Collection::Device, Relation::RegisteredOwners),
        ("devices", Collection::Device, Relation::RegisteredUsers),
        ("users", Collection::User, Relation::Sponsors),
    ] {
        let mut seen = 0;
        for id in record.objects[&collection].keys() {
            let found = reader.list(&format!("{set}/{id}/{}", relation.name())).await;
            let mut found: Vec<&str> = found.iter().map(|item| item["id"].as_str().unwrap()).collect();
            found.sort_unstable();
            let links = record.links.iter().filter(|link| link.source == *id && link.relation == relation);
            let mut expected: Vec<&str> = links.map(|link| link.target.as_str()).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{set}/{id}/{}", relation.name());
            seen += found.len();
        }
        assert!(seen > 2, "{set} has only {seen} {}", relation.name());
    }
    let statuses = async |path: String| reader.get(&reader.v1(&path)).await.status;
    for domain in record.objects[&Collection::Domain].values() {
        let expected = if domain["authenticationType"] == "Federated" { 200 } else { 404 };
        let path = format!("domains/{}/federationConfiguration", domain["id"].as_str().unwrap());
        assert_eq!(statuses(path).await, expected, "{domain}");
    }
    let synchronised = &record.facets[&(Collection::CrossTenantAccessPolicyPartner, "identitySynchronization")];
    for partner in record.objects[&Collection::CrossTenantAccessPolicyPartner].keys() {
        let expected = if synchronised.contains_key(partner) { 200 } else { 404 };
        let path = format!("policies/crossTenantAccessPolicy/partners/{partner}/identitySynchronization");
        assert_eq!(statuses(path).await, expected);
    }
    let strength = "policies/authenticationStrengthPolicies";
    let custom = reader.list(strength).await.into_iter().find(|policy| policy["policyType"] == "custom").unwrap();
    let path = format!("{strength}/{}/combinationConfigurations", custom["id"].as_str().unwrap());
    assert_eq!(json!(reader.list(&path).await), custom["combinationConfigurations"]);
    for (part, size) in [("includes", 2), ("excludes", 0)] {
        let path = format!("policies/permissionGrantPolicies/microsoft-company-admin/{part}");
        assert_eq!(reader.list(&path).await.len(), size);
    }
}

#[tokio::test]
async fn settings_of_roles_must_be_asked_for_by_scope() {
    let reader = Reader::start(small(1)).await;
    for path in [
        "policies/roleManagementPolicies",
        "policies/roleManagementPolicies?$filter=scopeId eq '/'",
        "policies/roleManagementPolicyAssignments?$expand=policy",
    ] {
        assert_eq!(reader.get(&reader.v1(path)).await.status, 400, "{path}");
    }
    let filter = "$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'";
    let bare = reader.list(&format!("policies/roleManagementPolicies?{filter}")).await;
    let full = reader.list(&format!("policies/roleManagementPolicies?{filter}&$expand=rules")).await;
    let rules = &reader.simulator.record().facets[&(Collection::RoleManagementPolicy, "rules")];
    for (bare, full) in bare.iter().zip(&full) {
        let id = bare["id"].as_str().unwrap();
        assert!(bare.get("rules").is_none());
        assert_eq!(full["rules"], rules[id]);
        assert_eq!(json!(reader.list(&format!("policies/roleManagementPolicies/{id}/rules")).await), rules[id]);
    }
    assert_eq!(full.len(), reader.simulator.record().objects[&Collection::RoleDefinition].len());
}

#[tokio::test]
async fn an_activated_role_is_an_assignment_for_some_hours_and_ends_by_itself() {
    let reader = Reader::start(small(6)).await;
    let (mut activated, mut at) = (None, reader.clock.now());
    while activated.is_none() {
        at += hours(1);
        reader.clock.set(at);
        reader.simulator.live_until(at);
        let record = reader.simulator.record();
        let mut instances = record.objects[&Collection::RoleAssignmentScheduleInstance].values();
        activated = instances.rfind(|instance| instance["assignmentType"] == "Activated").cloned();
    }
    let activated = activated.unwrap();
    let record = reader.simulator.record();
    let id = activated["id"].as_str().unwrap();
    assert_eq!(record.objects[&Collection::RoleAssignment][id]["principalId"], activated["principalId"]);
    let schedule = activated["roleAssignmentScheduleId"].as_str().unwrap();
    let schedule = &record.objects[&Collection::RoleAssignmentSchedule][schedule];
    assert_eq!(schedule["scheduleInfo"]["expiration"]["endDateTime"], activated["endDateTime"]);
    let end: jiff::Timestamp = activated["endDateTime"].as_str().unwrap().parse().unwrap();
    reader.simulator.live_until(end + hours(2));
    assert!(!reader.simulator.record().objects[&Collection::RoleAssignment].contains_key(id));
    let journal = reader.simulator.journal();
    assert!(journal.iter().any(|happening| happening.kind == Kind::RoleActivationEnded));
}

#[tokio::test]
async fn deleted_policies_and_units_lie_in_their_bins_and_come_back() {
    let reader = Reader::start(small(1)).await;
    for (bin, set, collection) in [
        ("identity/conditionalAccess/deletedItems/policies", "policies", Collection::ConditionalAccessPolicy),
        ("identity/conditionalAccess/deletedItems/namedLocations", "namedLocations", Collection::NamedLocation),
        ("directory/deletedItems/microsoft.graph.administrativeUnit", "", Collection::AdministrativeUnit),
    ] {
        let before = reader.list(bin).await.len();
        assert!(before > 0 || set.is_empty());
        let id = reader.simulator.edit(|directory| directory.ids(collection)[0].clone());
        assert!(reader.simulator.edit(|directory| directory.soft_delete(&id)));
        let binned = reader.list(bin).await;
        let found = binned.iter().find(|item| item["id"] == *id).unwrap();
        assert_eq!((binned.len(), found["deletedDateTime"].is_string()), (before + 1, true));
        assert_eq!(found, &reader.simulator.record().deleted[&collection][&id]);
        assert!(reader.simulator.edit(|directory| directory.restore(&id)));
        assert_eq!(reader.list(bin).await.len(), before);
        assert!(reader.simulator.record().objects[&collection][&id]["deletedDateTime"].is_null());
    }
}
