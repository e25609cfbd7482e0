//! Tenants made by hand for the tests of questions: what each hour shows, and how an answer is read.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;

use serde_json::{Value, json};
use tenure::archive::entry::{Coverage, Status};
use tenure::archive::line::{Change, Content, ContentChange};
use tenure::query::questions::{self, Answer, Times};
use tenure::query::{Archive, Moment, QueryError};
use tenure::store::{MemoryStore, Store};

use crate::support::*;

pub const GLOBAL: &str = "62e90394-69f5-4237-9190-012177145e10";
pub const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// What is covered, wholly unless a test says otherwise.
pub const COVERED: &[(&str, Option<&str>)] = &[
    ("user", None),
    ("user", Some("manager")),
    ("group", None),
    ("group", Some("members")),
    ("group", Some("owners")),
    ("application", None),
    ("application", Some("owners")),
    ("application", Some("federatedIdentityCredentials")),
    ("federatedIdentityCredential", None),
    ("servicePrincipal", None),
    ("servicePrincipal", Some("owners")),
    ("servicePrincipal", Some("appRoleAssignedTo")),
    ("appRoleAssignment", None),
    ("oauth2PermissionGrant", None),
    ("unifiedRoleDefinition", None),
    ("unifiedRoleAssignment", None),
    ("unifiedRoleAssignmentSchedule", None),
    ("unifiedRoleAssignmentScheduleInstance", None),
    ("unifiedRoleEligibilitySchedule", None),
    ("unifiedRoleEligibilityScheduleInstance", None),
    ("unifiedRoleManagementPolicy", None),
    ("unifiedRoleManagementPolicyAssignment", None),
    ("administrativeUnit", None),
    ("administrativeUnit", Some("members")),
    ("authorizationPolicy", None),
    ("permissionGrantPolicy", None),
    ("organization", None),
    ("domain", None),
    ("crossTenantAccessPolicyDefault", None),
    ("crossTenantAccessPolicyPartner", None),
    ("directoryAudit", None),
    ("conditionalAccessPolicy", None),
    ("namedLocation", None),
    ("device", None),
    ("authenticationMethodsPolicy", None),
    ("identitySecurityDefaultsEnforcementPolicy", None),
];

pub fn complete() -> Vec<Coverage> {
    let mut rows: Vec<Coverage> =
        COVERED.iter().map(|(collection, relation)| row(collection, *relation, Status::Complete, None)).collect();
    rows.push(Coverage::new("user", None, Some("activity"), Status::Complete));
    rows
}

/// Coverage in which one row says something else.
pub fn but(collection: &str, relation: Option<&str>, status: Status, code: &str) -> Vec<Coverage> {
    let mut rows = complete();
    for one in rows.iter_mut().filter(|one| one.c == collection && one.r.as_deref() == relation && one.f.is_none()) {
        *one = row(collection, relation, status, Some(code));
    }
    rows
}

pub type Lines = Vec<(String, Change)>;

/// A tenant's archive: each hour of 1 August with what it shows, the first at 00:00.
pub struct Story {
    pub hours: Vec<(u64, Lines, Vec<Coverage>)>,
}

impl Story {
    pub fn begin(lines: Lines) -> Story {
        Story { hours: vec![(0, lines, complete())] }
    }

    pub fn hour(self, hour: u64, lines: Lines) -> Story {
        self.covered(hour, lines, complete())
    }

    pub fn covered(mut self, hour: u64, lines: Lines, cover: Vec<Coverage>) -> Story {
        self.hours.push((hour, lines, cover));
        self
    }

    pub async fn open(self) -> (Archive, tempfile::TempDir) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut builder = ArchiveBuilder::new(store.clone(), "home-tenant", at("2026-07-31T00:00:00Z")).await;
        for (hour, lines, cover) in self.hours {
            let mut changes = Changes::new();
            for (name, change) in lines {
                let place = changes.entry(key(&name)).or_default();
                place.content = change.content.or(place.content.take());
                place.links.extend(change.links);
            }
            builder.capture(at(&time(hour)), changes, cover).await;
        }
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(store, directory.path(), |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
        (archive, directory)
    }
}

pub fn time(hour: u64) -> String {
    format!("2026-08-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24)
}

pub fn object(name: &str, content: Value) -> (String, Change) {
    (name.to_owned(), put(&content.to_string()))
}

pub fn user(id: &str, more: Value) -> (String, Change) {
    let mut content = json!({"id": id, "displayName": id.to_uppercase(), "userPrincipalName": format!("{id}@home"), "accountEnabled": true, "userType": "Member"});
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object(&format!("user/{id}"), content)
}

pub fn group(id: &str) -> (String, Change) {
    object(&format!("group/{id}"), json!({"id": id, "displayName": format!("Group {id}")}))
}

pub fn role(id: &str, name: &str) -> (String, Change) {
    object(
        &format!("unifiedRoleDefinition/{id}"),
        json!({"id": id, "displayName": name, "isBuiltIn": true, "templateId": id}),
    )
}

pub fn assigned(id: &str, principal: &str, role: &str, scope: &str) -> (String, Change) {
    let content = json!({"principalId": principal, "roleDefinitionId": role, "directoryScopeId": scope});
    object(&format!("unifiedRoleAssignment/{id}"), content)
}

pub fn eligible(id: &str, principal: &str, role: &str) -> (String, Change) {
    let info = json!({"startDateTime": "2026-01-01T00:00:00Z", "expiration": {"type": "noExpiration"}});
    let content =
        json!({"principalId": principal, "roleDefinitionId": role, "directoryScopeId": "/", "scheduleInfo": info});
    object(&format!("unifiedRoleEligibilitySchedule/{id}"), content)
}

pub fn links(source: &str, relation: &str, targets: &[&str]) -> (String, Change) {
    (source.to_owned(), link(relation, targets))
}

pub fn service(id: &str, more: Value) -> (String, Change) {
    let mut content = json!({"id": id, "appId": format!("app-{id}"), "displayName": format!("Service {id}"), "accountEnabled": true, "appRoleAssignmentRequired": true, "appOwnerOrganizationId": "home-tenant"});
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object(&format!("servicePrincipal/{id}"), content)
}

pub fn app_role(id: &str, principal: &str, kind: &str, resource: &str, role: &str) -> (String, Change) {
    let content = json!({"principalId": principal, "principalType": kind, "resourceId": resource, "appRoleId": role});
    object(&format!("appRoleAssignment/{id}"), content)
}

pub fn graph() -> (String, Change) {
    let roles = json!([
        {"id": "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8", "value": "RoleManagement.ReadWrite.Directory"},
        {"id": "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "value": "Application.ReadWrite.All"},
        {"id": "mail", "value": "Mail.Read"},
    ]);
    service("graph", json!({"appId": GRAPH, "displayName": "Microsoft Graph", "appRoles": roles}))
}

/// A record of the audit log.
pub fn audit(id: &str, when: &str, activity: &str, actor: &str, targets: &[&str]) -> (String, Change) {
    let targets: Vec<Value> = targets.iter().map(|id| json!({"id": id, "modifiedProperties": []})).collect();
    let record = json!({
        "id": id, "activityDateTime": when, "activityDisplayName": activity, "result": "success",
        "initiatedBy": {"user": {"id": actor, "displayName": actor.to_uppercase()}}, "targetResources": targets,
    });
    event(&format!("directoryAudit/{id}"), &record)
}

/// An event of any kind.
pub fn event(name: &str, record: &Value) -> (String, Change) {
    let content = ContentChange::Event(Content::Canonical(canonical(record)));
    (name.to_owned(), Change { content: Some((content, None)), ..Change::default() })
}

pub fn canonical(json: &Value) -> Vec<u8> {
    let text = json.to_string();
    let json = tenure::canonical::parse(text.as_bytes()).unwrap();
    tenure::canonical::canonicalize(&json, &tenure::canonical::Rules::default()).unwrap()
}

pub fn now() -> jiff::Timestamp {
    at("2026-08-09T00:00:00Z")
}

pub fn moment(text: &str) -> Moment {
    Moment::parse(text, now()).unwrap()
}

pub async fn try_ask(
    archive: &Archive,
    name: &str,
    parameters: &[(&str, &str)],
    times: Times,
) -> Result<Answer, QueryError> {
    let parameters: Vec<(String, String)> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    questions::ask(archive, questions::find(name).unwrap(), &parameters, &times, now()).await
}

pub async fn ask_at(archive: &Archive, name: &str, parameters: &[(&str, &str)], when: &str) -> Answer {
    let times = Times { at: Some(moment(when)), ..Times::default() };
    try_ask(archive, name, parameters, times).await.unwrap()
}

pub async fn ask_during(archive: &Archive, name: &str, parameters: &[(&str, &str)], from: &str, to: &str) -> Answer {
    let times = Times { from: Some(moment(from)), to: Some(moment(to)), ..Times::default() };
    try_ask(archive, name, parameters, times).await.unwrap()
}

/// Rows as text: these columns, with bars between.
pub fn rows(answer: &Answer, columns: &[&str]) -> Vec<String> {
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let rows = answer.table.rows.iter();
    rows.map(|row| columns.iter().map(|column| cell(row.get(*column))).collect::<Vec<_>>().join(" | ")).collect()
}

pub fn total(answer: &Answer, name: &str) -> String {
    answer.table.totals[name].to_string()
}
