//! Questions 31 to 34 and 36: what applications could do, their credentials, who could add one, and which came.
//!
//! Must never know: how access is evaluated.

use jiff::Timestamp;
use serde_json::Value;

use super::role_holders::{NOT_CAPTURED, rows, told};
use super::rows::{Row, actor, count_by, count_distinct, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::{Access, Held, Power};
use crate::query::{Attributed, Matter, QueryError, Turn};

const APPLICATION: Parameter = Parameter {
    name: "application",
    kind: ParameterKind::Object(&["servicePrincipal", "application"]),
    default: None,
    description: "the application or its service principal, by name, id or key",
};

const NEEDS: &[&str] = &[
    "servicePrincipal",
    "application",
    "appRoleAssignment",
    "oauth2PermissionGrant",
    "unifiedRoleAssignment",
    "group",
];

/// What an application could do.
pub const POWER: Question = Question {
    number: 31,
    name: "application-power",
    title: "What could an application do, and who allowed it?",
    description: "One row for each application permission, delegated grant, directory role, group and ownership of the application's \
                  service principal, with who gave it by the audit log. An agent identity is one too; what it inherits from its \
                  blueprint is the blueprint's. Azure roles aren't part of the archive.",
    version: 1,
    span: Span::Instant,
    parameters: &[APPLICATION],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(power(asking))),
};

/// Who may write everywhere.
pub const WRITERS: Question = Question {
    number: 32,
    name: "tenant-wide-writers",
    title: "Which applications could write mail, files or the directory of the whole tenant?",
    description: "One row for each application permission, and each delegated grant for everybody, whose name says that it writes: \
                  ReadWrite, Write, Send, Manage, FullControl, Create, Delete, Update or full_access. Names are those that the interface's own service \
                  principal had then. `reach` is what it writes: directory, mail, files or other.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(writers(asking))),
};

/// Which credentials were valid.
pub const CREDENTIALS: Question = Question {
    number: 33,
    name: "credentials",
    title: "Which credentials of an application were valid, who added them, and how long do they live?",
    description: "One row for each password, certificate and federated credential of the application and its service principal. Values \
                  are never captured, only what names them. `valid` says whether the time asked lies between start and end.",
    version: 1,
    span: Span::Instant,
    parameters: &[APPLICATION],
    needs: &["application", "servicePrincipal", "federatedIdentityCredential"],
    ability: Ability::Answered(|asking| Box::pin(credentials(asking))),
};

/// Who could add one.
pub const CREDENTIAL_WRITERS: Question = Question {
    number: 34,
    name: "who-could-add-credentials",
    title: "Who could add a credential to an application, and so act as it?",
    description: "Owners of the application and its service principal; holders of the roles Global, Application, Cloud Application and Hybrid Identity \
                  Administrator and of the role Directory Synchronization Accounts, everywhere or confined to it, and those who may activate one; holders of roles of \
                  one's own that allow it; applications with a permission of Microsoft Graph that allows it.",
    version: 1,
    span: Span::Instant,
    parameters: &[APPLICATION],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(credential_writers(asking))),
};

/// Which came.
pub const NEW: Question = Question {
    number: 36,
    name: "new-applications",
    title: "Which applications of other organisations came into the tenant within a period, from whom, and are they verified?",
    description: "One row for each service principal that is there at the end of the period and was first seen in it, with the organisation \
                  that owns the application and its verified publisher. Applications of the tenant itself are counted, not listed.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["servicePrincipal"],
    ability: Ability::Answered(|asking| Box::pin(new(asking))),
};

/// The application and service principal objects of the application that is asked about.
async fn objects(asking: &Asking<'_>) -> Result<Vec<(u32, Key)>, QueryError> {
    let (key, _) = asking.object("application").expect("it has to be given");
    let mut found = Vec::new();
    for key in asking.access.one_application(key).await? {
        if let Some(id) = asking.archive.view().id(&key)? {
            found.push((id, key));
        }
    }
    Ok(found)
}

async fn power(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut found: Vec<Access> = Vec::new();
    // What an agent identity inherits from its blueprint is the blueprint's.
    let (asked, _) = asking.object("application").expect("it has to be given");
    let mut keys = vec![asked.clone()];
    if asked.collection() == "application" {
        keys = asking.access.one_application(asked).await?;
    }
    for key in keys.iter().filter(|key| key.collection() == "servicePrincipal") {
        found.extend(asking.access.reach(key).await?);
    }
    let found = asking.access.corroborate(found).await?;
    let mut rows = rows(asking, &found).await?;
    sort(&mut rows, &["power", "target_name", "target", "scope", "form", "path", "since"]);
    let mut totals = Row::new();
    totals.insert("rows_by_power".to_owned(), count_by(&rows, "power"));
    totals.insert("rows_by_certainty".to_owned(), count_by(&rows, "certainty"));
    const COLUMNS: &[&str] =
        &["power", "target_name", "scope", "form", "path", "since", "given_by", "given_at", "certainty"];
    let notes = vec![NOT_CAPTURED.to_owned()];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

/// What a permission writes, by its name; `None` for one that doesn't.
fn writes(permission: &str) -> Option<&'static str> {
    let name = permission.to_lowercase();
    // The first part is what it is about, which may be called RoleManagement or DeviceManagementApps.
    let words = ["readwrite", "write", "send", "manage", "fullcontrol", "accessasuser", "create", "delete", "update"];
    let says = |part: &str| words.iter().any(|word| part.starts_with(word));
    if !name.split('.').skip(1).any(says) && !name.starts_with("full_access") {
        return None;
    }
    let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    Some(match () {
        () if begins(&["mail", "calendars", "contacts", "ews.", "exchange", "imap", "smtp", "full_access_as_app"]) => {
            "mail"
        }
        () if begins(&["files", "sites", "allsites", "termstore"]) => "files",
        () if begins(&[
            "directory",
            "user",
            "group",
            "application",
            "approleassignment",
            "rolemanagement",
            "roleassignment",
            "roleeligibility",
            "policy",
            "domain",
            "device",
            "organization",
            "delegatedpermissiongrant",
            "privileged",
            "administrativeunit",
            "identity",
        ]) =>
        {
            "directory"
        }
        () => "other",
    })
}

async fn writers(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut found: Vec<(Access, (&str, &str, String))> = Vec::new();
    for (id, resource) in facts.objects("servicePrincipal")? {
        let assigned = asking.access.permissions_on(&resource).await?;
        let clients = asking.access.clients_of(&resource).await?;
        if assigned.is_empty() && clients.is_empty() {
            continue;
        }
        // What the interface calls its permissions it says itself.
        facts.content_at_end(id, &resource).await?;
        for access in &assigned {
            let Power::AppRole { role, .. } = &access.power else { continue };
            let name = asking.app_role_name(&resource, role).await?;
            let Some(reach) = writes(&name) else { continue };
            found.push((access.clone(), ("application permission", reach, name)));
        }
        for access in &clients {
            let Power::Delegated { scopes, principal: None, .. } = &access.power else { continue };
            for (scope, reach) in scopes.iter().filter_map(|scope| Some((scope, writes(scope)?))) {
                found.push((access.clone(), ("delegated, for everybody", reach, scope.clone())));
            }
        }
    }
    let mut all = Vec::with_capacity(found.len());
    for (mut row, (given_as, reach, permission)) in told(asking, found).await? {
        row.insert("reach".to_owned(), reach.into());
        row.insert("permission".to_owned(), permission.into());
        row.insert("given_as".to_owned(), given_as.into());
        all.push(row);
    }
    sort(&mut all, &["reach", "name", "subject", "permission", "given_as"]);
    let mut totals = Row::new();
    totals.insert("applications".to_owned(), count_distinct(&all, "subject"));
    totals.insert("rows_by_reach".to_owned(), count_by(&all, "reach"));
    totals.insert("rows_by_certainty".to_owned(), count_by(&all, "certainty"));
    const COLUMNS: &[&str] =
        &["name", "status", "reach", "permission", "given_as", "target_name", "since", "given_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

async fn credentials(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let at = asking.end.asked.unwrap_or(asking.end.capture.time);
    let facts = &asking.access.facts;
    let mut all = Vec::new();
    for (id, key) in objects(asking).await? {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        for (list, kind) in [("passwordCredentials", "password"), ("keyCredentials", "certificate or key")] {
            for credential in content[list].as_array().into_iter().flatten() {
                all.push(credential_row(asking, (id, &key), (list, kind), credential, at).await?);
            }
        }
        if key.collection() != "application" {
            continue;
        }
        for link in facts.links_from(id, "application", "federatedIdentityCredentials")? {
            let own = asking.archive.view().key(link.other)?;
            let Some(content) = asking.content(&own).await? else { continue };
            let mut row = Row::new();
            row.insert("of".to_owned(), key.as_str().into());
            row.insert("kind".to_owned(), "federated".into());
            row.insert("name".to_owned(), content["name"].clone());
            row.insert("id".to_owned(), own.decoded_id().into());
            row.insert("hint".to_owned(), format!("{} {}", text(&content["issuer"]), text(&content["subject"])).into());
            row.insert("valid".to_owned(), true.into());
            asking.add_times(&mut row, &link.held)?;
            all.push(row);
        }
    }
    sort(&mut all, &["of", "kind", "start", "id"]);
    let mut totals = Row::new();
    totals.insert("valid".to_owned(), all.iter().filter(|row| row["valid"] == true).count().into());
    totals.insert("rows_by_kind".to_owned(), count_by(&all, "kind"));
    const COLUMNS: &[&str] =
        &["of", "kind", "name", "id", "hint", "start", "end", "days", "valid", "since", "added_by"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn credential_row(
    asking: &Asking<'_>,
    of: (u32, &Key),
    list: (&'static str, &str),
    credential: &Value,
    at: Timestamp,
) -> Result<Row, QueryError> {
    let (id, key) = of;
    let key_id = text(&credential["keyId"]).to_owned();
    let time = |name: &str| text(&credential[name]).parse::<Timestamp>().ok();
    let (start, end) = (time("startDateTime"), time("endDateTime"));
    let mut row = Row::new();
    row.insert("of".to_owned(), key.as_str().into());
    row.insert("kind".to_owned(), list.1.into());
    row.insert("name".to_owned(), credential["displayName"].clone());
    row.insert("id".to_owned(), key_id.as_str().into());
    let hint = credential["hint"].as_str().or_else(|| credential["customKeyIdentifier"].as_str());
    row.insert("hint".to_owned(), hint.into());
    row.insert("start".to_owned(), start.map(|time| time.to_string()).into());
    row.insert("end".to_owned(), end.map(|time| time.to_string()).into());
    let days = start.zip(end).map(|(start, end)| end.duration_since(start).as_hours() / 24);
    row.insert("days".to_owned(), days.into());
    let valid = start.is_none_or(|start| start <= at) && end.is_none_or(|end| at < end);
    row.insert("valid".to_owned(), valid.into());
    let has =
        |content: &Value| content[list.0].as_array()?.iter().any(|one| text(&one["keyId"]) == key_id).then_some(());
    if let Some(said) = asking.access.facts.said(id, key, has).await?.pop() {
        asking.add_times(&mut row, &said.held)?;
        let held = said.held;
        let by = match held.is_open {
            true => Value::Null,
            false => {
                asking.access.facts.rest_on("directoryAudit", None);
                by(&adder(asking, key, &key_id, &held).await?)
            }
        };
        row.insert("added_by".to_owned(), by);
    }
    Ok(row)
}

/// What the log says of who added a credential: a record that names it, else one about credentials of the application.
async fn adder(asking: &Asking<'_>, key: &Key, credential: &str, held: &Held) -> Result<Attributed, QueryError> {
    let (archive, id) = (asking.archive, key.decoded_id());
    if !credential.is_empty() {
        let ids = [id.as_str(), credential];
        let told = archive.attribute(&ids, Matter::Object, Turn::Changed, held.missing, held.from).await?;
        if matches!(told, Attributed::By(_)) {
            return Ok(told);
        }
    }
    archive.attribute(&[&id], Matter::Credential, Turn::Began, held.missing, held.from).await
}

fn by(told: &Attributed) -> Value {
    match told {
        Attributed::By(attribution) => actor(&attribution.actor).into(),
        Attributed::Silent => "unattributed".into(),
        Attributed::Unread => "unknown: the audit log wasn't read".into(),
    }
}

/// Roles that may add credentials to every application: "Microsoft Entra built-in roles"
/// (learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference), by template id.
const ADDING_ROLES: &[&str] = &[
    "62e90394-69f5-4237-9190-012177145e10", // Global Administrator
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", // Application Administrator
    "158c047a-c907-4556-b7ef-446551a6b5f7", // Cloud Application Administrator
    "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2", // Hybrid Identity Administrator
    "d29b2b05-8046-44ba-8758-1e26182fcf32", // Directory Synchronization Accounts
];

/// Permissions of Microsoft Graph with which an application may add credentials to others, by name.
const ADDING_PERMISSIONS: &[&str] = &["Application.ReadWrite.All", "Directory.ReadWrite.All"];

/// Whether a role says that it may change the credentials of applications, everything about them, or who owns them.
fn allows(content: &Value) -> bool {
    let sets = content["rolePermissions"].as_array().into_iter().flatten();
    let mut actions = sets.flat_map(|set| set["allowedResourceActions"].as_array().into_iter().flatten());
    actions.any(|action| {
        let action = text(action).to_lowercase();
        let of = action.contains("/applications") || action.contains("/serviceprincipals");
        let does =
            ["/credentials/update", "/owners/update", "/allproperties/update", "/allproperties/alltasks", "/alltasks"];
        of && does.iter().any(|end| action.ends_with(end))
    })
}

async fn credential_writers(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut adding: std::collections::BTreeSet<String> = ADDING_ROLES.iter().map(|id| (*id).to_owned()).collect();
    for (id, role) in asking.access.facts.objects("unifiedRoleDefinition")? {
        let content = asking.access.facts.content_at_end(id, &role).await?;
        if content.as_deref().is_some_and(allows) {
            adding.insert(role.decoded_id().to_lowercase());
        }
    }
    let adds = |power: &Power| matches!(power, Power::Role { role, .. } if adding.contains(role));
    let mut found = Vec::new();
    for (_, key) in &objects(asking).await? {
        found.extend(asking.access.owners(key)?);
        let confined = asking.access.confined_to(key).await?;
        found.extend(confined.into_iter().filter(|access| adds(&access.power)));
    }
    for role in &adding {
        let everywhere = |access: &Access| matches!(&access.power, Power::Role { scope, .. } if scope == "/");
        found.extend(asking.access.holders(role).await?.into_iter().filter(everywhere));
    }
    for (_, graph) in asking.access.facts.with_value("servicePrincipal", "appId", crate::query::power::GRAPH)? {
        for access in asking.access.permissions_on(&graph).await? {
            let Power::AppRole { role, .. } = &access.power else { continue };
            let name = asking.app_role_name(&graph, role).await?;
            if ADDING_PERMISSIONS.contains(&name.as_str()) {
                found.push(access);
            }
        }
    }
    found.sort();
    found.dedup();
    let found = asking.access.corroborate(found).await?;
    let rows = rows(asking, &found).await?;
    let mut totals = Row::new();
    totals.insert("subjects".to_owned(), count_distinct(&rows, "subject"));
    totals.insert("rows_by_power".to_owned(), count_by(&rows, "power"));
    totals.insert("rows_by_certainty".to_owned(), count_by(&rows, "certainty"));
    const COLUMNS: &[&str] =
        &["name", "sign_in", "kind", "status", "power", "target_name", "scope", "form", "path", "since", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}

async fn new(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let genesis = asking.archive.body(0).await?;
    let tenant = genesis.tenant.clone().unwrap_or_default();
    let organizations = facts.objects("organization")?;
    let mut own = vec![tenant.to_lowercase()];
    for (id, key) in organizations {
        let content = facts.content_at_end(id, &key).await?;
        own.extend(content.as_deref().and_then(|content| content["id"].as_str().map(str::to_lowercase)));
    }
    let (mut all, mut home) = (Vec::new(), 0_u64);
    for (id, key) in facts.objects("servicePrincipal")? {
        let there = facts.said(id, &key, |_| Some(())).await?;
        let Some(said) =
            there.into_iter().find(|said| said.held.until.is_none_or(|until| until > asking.end.capture.seq))
        else {
            continue;
        };
        if said.held.is_open || said.held.from <= asking.begin.capture.seq {
            continue;
        }
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        let owner = text(&content["appOwnerOrganizationId"]).to_lowercase();
        if own.contains(&owner) {
            home += 1;
            continue;
        }
        let mut row = asking.who(&key).await?;
        row.insert("app_id".to_owned(), content["appId"].clone());
        row.insert("organisation".to_owned(), content["appOwnerOrganizationId"].clone());
        row.insert("publisher".to_owned(), content["publisherName"].clone());
        let verified = &content["verifiedPublisher"];
        row.insert("verified_publisher".to_owned(), verified["displayName"].clone());
        row.insert("type".to_owned(), content["servicePrincipalType"].clone());
        asking.add_times(&mut row, &said.held)?;
        let told = asking
            .archive
            .attribute(&[&key.decoded_id()], Matter::Existence, Turn::Began, said.held.missing, said.held.from)
            .await?;
        facts.rest_on("directoryAudit", None);
        row.insert("added_by".to_owned(), by(&told));
        all.push(row);
    }
    sort(&mut all, &["since", "name", "subject"]);
    let mut totals = Row::new();
    totals.insert("of_the_tenant_itself".to_owned(), home.into());
    totals.insert("unverified".to_owned(), all.iter().filter(|row| row["verified_publisher"].is_null()).count().into());
    const COLUMNS: &[&str] =
        &["name", "app_id", "organisation", "publisher", "verified_publisher", "type", "since", "added_by"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_is_known_by_its_name() {
        for (name, expected) in [
            ("Mail.ReadWrite", Some("mail")),
            ("Mail.Send", Some("mail")),
            ("Mail.Read", None),
            ("full_access_as_app", Some("mail")),
            ("Files.ReadWrite.All", Some("files")),
            ("Sites.FullControl.All", Some("files")),
            ("Directory.ReadWrite.All", Some("directory")),
            ("AppRoleAssignment.ReadWrite.All", Some("directory")),
            ("User.Read", None),
            ("Chat.ReadWrite.All", Some("other")),
            ("openid", None),
            ("RoleManagement.Read.Directory", None),
            ("RoleManagement.ReadWrite.Directory", Some("directory")),
            ("DeviceManagementApps.Read.All", None),
            ("DeviceManagementApps.ReadWrite.All", Some("directory")),
            ("EntitlementManagement.Read.All", None),
            ("Group.Create", Some("directory")),
            ("User.ManageIdentities.All", Some("directory")),
            ("Directory.AccessAsUser.All", Some("directory")),
            ("EWS.AccessAsUser.All", Some("mail")),
        ] {
            assert_eq!(writes(name), expected, "{name}");
        }
    }
}
