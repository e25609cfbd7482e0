//! Questions 4, 8, 35, 38 and 39: settings of roles, consent, domains and cross-tenant trust, with who changed them.
//!
//! Must never know: how access is evaluated.

use serde_json::{Map, Value};

use super::rows::{Row, actor, count_by, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::Held;
use crate::query::{Attributed, Matter, QueryError, Turn};

/// The rules of activation.
pub const ACTIVATION: Question = Question {
    number: 4,
    name: "activation-rules",
    title: "What were the rules of activating a role (multifactor authentication, approval, hours, justification), and who changed them?",
    description: "One row for each rule of the role's PIM policy, with the value that it had, since when, and who set it. Rules of \
                  activation are those whose id ends with EndUser_Assignment; the others are for administrators and for \
                  eligibility.",
    version: 1,
    span: Span::Instant,
    parameters: &[Parameter {
        name: "role",
        kind: ParameterKind::Object(&["unifiedRoleDefinition"]),
        default: Some("62e90394-69f5-4237-9190-012177145e10"),
        description: "the role by name or id; Global Administrator if it isn't given",
    }],
    needs: &["unifiedRoleManagementPolicy", "unifiedRoleManagementPolicyAssignment"],
    ability: Ability::Answered(|asking| Box::pin(activation(asking))),
};

/// Custom roles that changed.
pub const CUSTOM_ROLES: Question = Question {
    number: 8,
    name: "custom-role-changes",
    title: "Did any custom role change its permissions within a period, and who had it?",
    description: "One row for each change of what a custom role allows, with the actions that were added and taken away, who did it, and \
                  who held the role or could activate it at some moment of the period. Roles that came or went have rows too.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["unifiedRoleDefinition", "unifiedRoleAssignment", "unifiedRoleEligibilitySchedule", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(custom_roles(asking))),
};

/// What users may consent to.
pub const CONSENT: Question = Question {
    number: 35,
    name: "user-consent-policy",
    title: "What could users consent to by themselves, and what else could they do by default?",
    description: "One row for each setting of the authorization policy that says what users and guests may do by default, and one for each \
                  permission grant policy that is assigned to users, with what it includes and excludes.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &["authorizationPolicy", "permissionGrantPolicy"],
    ability: Ability::Answered(|asking| Box::pin(consent(asking))),
};

/// Domains and federation.
pub const DOMAINS: Question = Question {
    number: 38,
    name: "federation",
    title: "Which domains were federated, with whom, and did that or a signing certificate change within a period?",
    description: "One row for each stretch of the period in which a domain said the same of its authentication, issuer, signing certificate and \
                  password validity, with who changed it. Certificates are shown by their last 16 characters.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["domain", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(domains(asking))),
};

/// Whom the tenant trusts.
pub const CROSS_TENANT: Question = Question {
    number: 39,
    name: "cross-tenant-trust",
    title: "Which other tenants were trusted: multifactor authentication and device claims accepted, access in and out?",
    description: "One row for the defaults and one for each partner, with what is accepted of them. Where a partner says nothing the defaults \
                  hold. Synchronisation between tenants is listed where the policy says it.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &["crossTenantAccessPolicy", "crossTenantAccessPolicyDefault", "crossTenantAccessPolicyPartner"],
    ability: Ability::Answered(|asking| Box::pin(cross_tenant(asking))),
};

/// Adds since when, and who made it so.
pub(super) async fn add_origin(
    asking: &Asking<'_>,
    row: &mut Row,
    key: &Key,
    held: &Held,
    turn: Turn,
) -> Result<(), QueryError> {
    asking.add_times(row, held)?;
    asking.access.facts.rest_on("directoryAudit", None);
    let by = match held.is_open {
        true => Value::Null,
        false => {
            // What there is only one of has no id in its key; where its content has none either, no record can be found.
            let id = match key.decoded_id() {
                id if id == SINGLETON => {
                    let content = asking.content(key).await?;
                    content.as_deref().and_then(|content| content["id"].as_str().map(str::to_owned))
                }
                id => Some(id),
            };
            match id {
                Some(id) => {
                    by(&asking.archive.attribute(&[&id], Matter::Object, turn, held.missing, held.from).await?)
                }
                None => Value::Null,
            }
        }
    };
    row.insert("changed_by".to_owned(), by);
    Ok(())
}

/// The id in the key of what there is only one of.
const SINGLETON: &str = "-";

fn by(told: &Attributed) -> Value {
    match told {
        Attributed::By(attribution) => actor(&attribution.actor).into(),
        Attributed::Silent => "unattributed".into(),
        Attributed::Unread => "unknown: the audit log wasn't read".into(),
    }
}

async fn activation(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (role, _) = asking.object("role").expect("the parameter has a default");
    let facts = &asking.access.facts;
    let mut all = Vec::new();
    let assignments =
        facts.with_value("unifiedRoleManagementPolicyAssignment", "roleDefinitionId", &role.decoded_id())?;
    facts.rest_on("unifiedRoleManagementPolicy", None);
    for (id, key) in assignments {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        let Some(policy) = content["policyId"].as_str().map(|id| Key::new("unifiedRoleManagementPolicy", id)) else {
            continue;
        };
        let Some(number) = asking.archive.view().id(&policy)? else { continue };
        let Some(now) = facts.content_at_end(number, &policy).await? else { continue };
        for rule in now["rules"].as_array().into_iter().flatten() {
            let rule_id = rule["id"].as_str().unwrap_or_default().to_owned();
            let same = |content: &Value| {
                let rules = content["rules"].as_array()?;
                let own = rules.iter().find(|one| one["id"].as_str() == Some(&rule_id))?;
                (own == rule).then_some(())
            };
            let mut row = Row::new();
            row.insert("rule".to_owned(), rule_id.as_str().into());
            row.insert("for".to_owned(), target(&rule_id).into());
            row.insert("value".to_owned(), told(rule));
            if let Some(said) = facts.said(number, &policy, same).await?.pop() {
                add_origin(asking, &mut row, &policy, &said.held, Turn::Changed).await?;
            }
            all.push(row);
        }
    }
    sort(&mut all, &["for", "rule"]);
    let mut totals = Row::new();
    totals.insert("rows_by_for".to_owned(), count_by(&all, "for"));
    Ok(Table { columns: &["for", "rule", "value", "since", "changed_by"], rows: all, totals, ..Table::default() })
}

/// Whom a rule binds, by its id (learn.microsoft.com/graph/identity-governance-pim-rules-overview).
fn target(rule: &str) -> &'static str {
    match () {
        () if rule.ends_with("EndUser_Assignment") => "activation",
        () if rule.ends_with("Admin_Eligibility") => "making eligible",
        () if rule.ends_with("Admin_Assignment") => "assigning",
        () => "other",
    }
}

/// What a rule says, without what only names it.
fn told(rule: &Value) -> Value {
    let Some(members) = rule.as_object() else { return rule.clone() };
    let kept = members
        .iter()
        .filter(|(name, value)| !matches!(name.as_str(), "id" | "@odata.type" | "target") && !value.is_null());
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

fn actions(content: &Value) -> Vec<String> {
    let sets = content["rolePermissions"].as_array().into_iter().flatten();
    let actions = sets.flat_map(|set| set["allowedResourceActions"].as_array().into_iter().flatten());
    let mut actions: Vec<String> = actions.filter_map(|action| action.as_str().map(str::to_owned)).collect();
    actions.sort();
    actions.dedup();
    actions
}

async fn custom_roles(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut roles = Vec::new();
    facts.rest_on("unifiedRoleDefinition", None);
    asking.archive.view().each_key(Some("unifiedRoleDefinition"), |key, id| {
        roles.push((key, id));
        Ok::<_, QueryError>(std::ops::ControlFlow::Continue(()))
    })?;
    let mut all = Vec::new();
    for (key, id) in roles {
        let read = |content: &Value| (content["isBuiltIn"] == false).then(|| actions(content));
        let stretches = facts.said(id, &key, read).await?;
        let mut before: Option<Vec<String>> = None;
        let mut changes = Vec::new();
        for said in &stretches {
            if !said.held.is_open && said.held.from > asking.begin.capture.seq {
                changes.push((said.held, before.clone().unwrap_or_default(), said.what.clone(), before.is_none()));
            }
            before = Some(said.what.clone());
            let next = stretches.iter().find(|next| Some(next.held.from) == said.held.until);
            if let Some(until) = said.held.until.filter(|until| next.is_none() && *until <= asking.end.capture.seq) {
                let gone = Held { missing: said.held.sure, from: until, sure: until, until: None, is_open: false };
                changes.push((gone, said.what.clone(), Vec::new(), false));
                before = None;
            }
        }
        if changes.is_empty() {
            continue;
        }
        let holders = asking.access.holders(&key.decoded_id()).await?;
        let mut names = Vec::new();
        for access in holders.iter().filter(|access| access.subject.collection() != "group") {
            names.push(asking.label(&access.subject)?.unwrap_or_else(|| access.subject.to_string()));
        }
        names.sort();
        names.dedup();
        for (held, old, new, came) in changes {
            let mut row = Row::new();
            row.insert("role".to_owned(), key.as_str().into());
            row.insert("name".to_owned(), asking.label(&key)?.into());
            let change = if came {
                "came"
            } else if new.is_empty() {
                "went"
            } else {
                "changed"
            };
            row.insert("change".to_owned(), change.into());
            let only = |one: &[String], other: &[String]| -> Value {
                one.iter().filter(|action| !other.contains(action)).cloned().collect::<Vec<_>>().into()
            };
            row.insert("added".to_owned(), only(&new, &old));
            row.insert("removed".to_owned(), only(&old, &new));
            add_origin(asking, &mut row, &key, &held, Turn::Changed).await?;
            row.insert("holders".to_owned(), names.clone().into());
            all.push(row);
        }
    }
    sort(&mut all, &["since", "name", "change"]);
    let mut totals = Row::new();
    totals.insert("rows_by_change".to_owned(), count_by(&all, "change"));
    const COLUMNS: &[&str] = &["name", "change", "added", "removed", "since", "changed_by", "holders"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

async fn consent(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut all = Vec::new();
    let mut assigned = Vec::new();
    for (id, key) in facts.objects("authorizationPolicy")? {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        let mut settings = Vec::new();
        flatten("", &content, &mut settings);
        for (path, value) in settings {
            if ["id", "displayName", "description", "@odata.type", "deletedDateTime"].contains(&path.as_str()) {
                continue;
            }
            if path.ends_with("permissionGrantPoliciesAssigned") {
                assigned
                    .extend(value.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)));
            }
            let same = |content: &Value| {
                let mut own = Vec::new();
                flatten("", content, &mut own);
                own.contains(&(path.clone(), value.clone())).then_some(())
            };
            let mut row = Row::new();
            row.insert("setting".to_owned(), path.as_str().into());
            row.insert("value".to_owned(), value.clone());
            if let Some(said) = facts.said(id, &key, same).await?.pop() {
                add_origin(asking, &mut row, &key, &said.held, Turn::Changed).await?;
            }
            all.push(row);
        }
    }
    facts.rest_on("permissionGrantPolicy", None);
    for name in &assigned {
        // `ManagePermissionGrantsForSelf.microsoft-user-default-low` names the policy behind the dot.
        let policy = name.split_once('.').map_or(name.as_str(), |(_, policy)| policy);
        let key = Key::new("permissionGrantPolicy", policy);
        let Some(content) = asking.content(&key).await? else { continue };
        for list in ["includes", "excludes"] {
            for condition in content[list].as_array().into_iter().flatten() {
                let mut row = Row::new();
                row.insert("setting".to_owned(), format!("{policy} {list}").into());
                row.insert("value".to_owned(), told(condition));
                all.push(row);
            }
        }
    }
    sort(&mut all, &["setting"]);
    Ok(Table { columns: &["setting", "value", "since", "changed_by"], rows: all, ..Table::default() })
}

/// Every value below an object that is no object itself, by its path.
fn flatten(path: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, out);
            }
        }
        value => out.push((path.to_owned(), value.clone())),
    }
}

async fn domains(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut keys = Vec::new();
    facts.rest_on("domain", None);
    asking.archive.view().each_key(Some("domain"), |key, id| {
        keys.push((key, id));
        Ok::<_, QueryError>(std::ops::ControlFlow::Continue(()))
    })?;
    let read = |content: &Value| {
        let federation = content["federationConfiguration"].as_array().and_then(|all| all.first()).cloned();
        let federation = federation.unwrap_or_default();
        let tail = |value: &Value| {
            value.as_str().map(|text| text.chars().skip(text.chars().count().saturating_sub(16)).collect::<String>())
        };
        let mut row = Row::new();
        row.insert("authentication".to_owned(), content["authenticationType"].clone());
        row.insert("verified".to_owned(), content["isVerified"].clone());
        row.insert("default".to_owned(), content["isDefault"].clone());
        row.insert("issuer".to_owned(), federation["issuerUri"].clone());
        row.insert("certificate".to_owned(), tail(&federation["signingCertificate"]).into());
        row.insert("next_certificate".to_owned(), tail(&federation["nextSigningCertificate"]).into());
        row.insert("federated_mfa".to_owned(), federation["federatedIdpMfaBehavior"].clone());
        row.insert("password_days".to_owned(), content["passwordValidityPeriodInDays"].clone());
        Some(row)
    };
    let mut all = Vec::new();
    for (key, id) in keys {
        for said in facts.said(id, &key, read).await? {
            let mut row = Row::new();
            row.insert("domain".to_owned(), key.decoded_id().into());
            row.extend(said.what.clone());
            add_origin(asking, &mut row, &key, &said.held, Turn::Changed).await?;
            let changed = !said.held.is_open && said.held.from > asking.begin.capture.seq;
            row.insert("changed_in_period".to_owned(), changed.into());
            all.push(row);
        }
    }
    sort(&mut all, &["domain", "since"]);
    let mut totals = Row::new();
    totals.insert("rows_by_authentication".to_owned(), count_by(&all, "authentication"));
    totals.insert("changed".to_owned(), all.iter().filter(|row| row["changed_in_period"] == true).count().into());
    const COLUMNS: &[&str] = &[
        "domain",
        "authentication",
        "verified",
        "issuer",
        "certificate",
        "federated_mfa",
        "password_days",
        "since",
        "until",
        "changed_by",
    ];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

async fn cross_tenant(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut all = Vec::new();
    for collection in ["crossTenantAccessPolicyDefault", "crossTenantAccessPolicyPartner"] {
        for (id, key) in facts.objects(collection)? {
            let Some(content) = facts.content_at_end(id, &key).await? else { continue };
            let trust = &content["inboundTrust"];
            let mut row = Row::new();
            let tenant = if collection.ends_with("Partner") { key.decoded_id() } else { "defaults".to_owned() };
            row.insert("tenant".to_owned(), tenant.into());
            for (name, property) in [
                ("trusts_mfa", "isMfaAccepted"),
                ("trusts_compliant_devices", "isCompliantDeviceAccepted"),
                ("trusts_joined_devices", "isHybridAzureADJoinedDeviceAccepted"),
            ] {
                row.insert(name.to_owned(), trust[property].clone());
            }
            for (name, property) in [
                ("collaboration_in", "b2bCollaborationInbound"),
                ("collaboration_out", "b2bCollaborationOutbound"),
                ("direct_in", "b2bDirectConnectInbound"),
                ("direct_out", "b2bDirectConnectOutbound"),
            ] {
                row.insert(name.to_owned(), content[property]["usersAndGroups"]["accessType"].clone());
            }
            row.insert("consent_automatic".to_owned(), content["automaticUserConsentSettings"].clone());
            row.insert("synchronisation_in".to_owned(), content["identitySynchronization"]["userSyncInbound"].clone());
            row.insert("service_provider".to_owned(), content["isServiceProvider"].clone());
            if let Some(said) = facts.said(id, &key, |own| (own == &*content).then_some(())).await?.pop() {
                add_origin(asking, &mut row, &key, &said.held, Turn::Changed).await?;
            }
            all.push(row);
        }
    }
    sort(&mut all, &["tenant"]);
    const COLUMNS: &[&str] = &[
        "tenant",
        "trusts_mfa",
        "trusts_compliant_devices",
        "trusts_joined_devices",
        "collaboration_in",
        "collaboration_out",
        "direct_in",
        "direct_out",
        "since",
        "changed_by",
    ];
    Ok(Table { columns: COLUMNS, rows: all, ..Table::default() })
}
