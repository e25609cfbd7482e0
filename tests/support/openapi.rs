//! Microsoft's description of Graph as the judge of every request that tests see: path, method, options, and the names that
//! `$select` and `$expand` ask for.
//!
//! The description is a slice of v1.0 made from the published metadata; it isn't part of this repository. Where it isn't
//! there, checks say that they are skipped and pass.
//!
//! Must never know: which collections are read, or by whom.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use tenure::simulator::Simulator;

const FILE: &str = "../shared/reference/graph-openapi-slice.v1.0.yaml";

/// Properties that the description doesn't have, and who says that they are there all the same: type, name, source.
pub const SHOWN: &[(&str, &str, &str)] = &[(
    "microsoft.graph.device",
    "extensionAttributes",
    "learn, device-get, example 2: selected from v1.0, and answered",
)];

/// What the description doesn't have, and who says that it is there all the same: path with placeholders, the options that
/// it takes, the source. A path that the description has gets these options besides its own.
pub const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    ("/beta/$batch", &[], "learn, graph/json-batching: either version"),
    ("/beta/identity/conditionalAccess/policies", &[], "no beta description was published; EntraExporter#35 reads it"),
    ("/beta/users/{id}/authentication/requirements", &[], "learn, authentication-get, beta: per-user MFA state"),
    ("/v1.0/auditLogs/directoryAudits", LIST, "learn, directoryaudit-list"),
    ("/v1.0/administrativeunits/delta", &["$skiptoken"], "the link of a published body: administrativeunit-delta"),
    (
        "/beta/administrativeunits/delta",
        &["$skiptoken"],
        "the link of a published body: administrativeunit-delta, beta",
    ),
    ("/v1.0/auditLogs/signIns", LIST, "learn, signin-list"),
    ("/v1.0/auditLogs/provisioning", LIST, "learn, provisioningobjectsummary-list"),
    ("/v1.0/domains/{id}/federationConfiguration", LIST, "learn, domain-list-federationconfiguration"),
    ("/v1.0/domains/{id}/domainNameReferences", LIST, "learn, domain-list-domainnamereferences"),
    (
        "/v1.0/applications/{id}/microsoft.graph.agentIdentityBlueprint/inheritablePermissions",
        LIST,
        "learn, agentidentityblueprint-list-inheritablepermissions",
    ),
    ("/v1.0/policies/permissionGrantPolicies/{id}/includes", LIST, "learn, permissiongrantpolicy-list-includes"),
    ("/v1.0/policies/permissionGrantPolicies/{id}/excludes", LIST, "learn, permissiongrantpolicy-list-excludes"),
    ("/v1.0/directory/deletedItems/microsoft.graph.certificateBasedAuthPki", LIST, DELETED),
    ("/v1.0/directory/deletedItems/microsoft.graph.certificateAuthorityDetail", LIST, DELETED),
    ("/v1.0/directory/deletedItems/microsoft.graph.agentUser", LIST, DELETED),
    ("/v1.0/directory/deletedItems/microsoft.graph.agentIdentity", LIST, DELETED),
    ("/v1.0/directory/deletedItems/microsoft.graph.agentIdentityBlueprint", LIST, DELETED),
    ("/v1.0/directory/deletedItems/microsoft.graph.agentIdentityBlueprintPrincipal", LIST, DELETED),
    (
        "/v1.0/policies/crossTenantAccessPolicy/partners/{id}",
        &["$select"],
        "learn, crosstenantaccesspolicyconfigurationpartner-get",
    ),
    ("/v1.0/policies/roleManagementPolicies/{id}/rules", LIST, "learn, unifiedrolemanagementpolicy-list-rules"),
    ("/v1.0/policies/deviceRegistrationPolicy", &[], "learn, deviceregistrationpolicy-get"),
];

const LIST: &[&str] = &["$top", "$filter", "$select", "$orderby", "$count"];
const DELETED: &str = "learn, directory-deleteditems-list, 2026";

/// What the description takes and the service doesn't: path, option, source.
const REFUSED: &[(&str, &str, &str)] = &[
    ("/v1.0/users/delta", "$top", DELTA),
    ("/v1.0/users/delta", "$expand", DELTA),
    ("/v1.0/users/delta", "$orderby", DELTA),
    ("/v1.0/groups/delta", "$top", DELTA),
    ("/v1.0/groups/delta", "$expand", DELTA),
    ("/v1.0/groups/delta", "$orderby", DELTA),
    ("/v1.0/directoryRoles", "$top", "learn, graph/paging: directory roles don't page"),
    ("/v1.0/directoryRoles/{id}/members", "$top", "learn, graph/paging: directory roles don't page"),
];

const DELTA: &str = "learn, graph/delta-query-overview";

/// What the description leaves open and the service requires: path, option, source.
const REQUIRED: &[(&str, &str, &str)] = &[
    ("/v1.0/policies/roleManagementPolicies", "$filter", "learn, policyroot-list-rolemanagementpolicies"),
    (
        "/v1.0/policies/roleManagementPolicyAssignments",
        "$filter",
        "learn, policyroot-list-rolemanagementpolicyassignments",
    ),
];

/// Page sizes that are smaller than 999: part of the path, the most, the source.
const PAGES: &[(&str, u32, &str)] = &[
    ("microsoft.graph.agentIdentity", 100, "learn, agentidentity-list"),
    ("microsoft.graph.agentIdentityBlueprint", 100, "learn, agentidentityblueprint-list"),
    ("microsoft.graph.agentIdentityBlueprintPrincipal", 100, "learn, agentidentityblueprintprincipal-list"),
];

/// What may be asked of one path.
#[derive(Debug, Default)]
struct Item {
    template: String,
    /// Options by method.
    methods: BTreeMap<String, BTreeSet<String>>,
    /// The type that GET returns, alone or in a list.
    returns: Option<String>,
    list: bool,
}

#[derive(Debug, Default)]
struct Schema {
    base: Option<String>,
    /// Names, and whether they are navigations.
    properties: BTreeMap<String, bool>,
}

/// The description, as far as requests can break it.
#[derive(Debug)]
pub struct Description {
    /// By number of segments.
    items: HashMap<usize, Vec<Item>>,
    schemas: BTreeMap<String, Schema>,
    /// What may be selected of a type that some path returns.
    names: HashMap<String, HashMap<String, bool>>,
}

/// The description; `None`, after saying so once, where it isn't there.
pub fn description() -> Option<&'static Description> {
    static READ: OnceLock<Option<Description>> = OnceLock::new();
    let read = || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: requests aren't checked, since {} isn't there", path.display());
            return None;
        };
        Some(Description::read(&yaml_serde::from_str(&text).unwrap()))
    };
    READ.get_or_init(read).as_ref()
}

/// Whether the description, or an exception, allows this request. `path` has the version in front.
///
/// # Errors
/// What breaks it.
pub fn check(method: &str, path: &str, query: &str) -> Result<(), String> {
    description().map_or(Ok(()), |description| description.check(method, path, query))
}

/// As [`check`] for each of many requests, and for the parts of batches whose bodies are given.
///
/// # Panics
/// With every breach.
pub fn check_all<'a>(requests: impl IntoIterator<Item = (&'a str, &'a str, &'a str, &'a str)>) {
    let mut breaches = BTreeSet::new();
    for (method, path, query, body) in requests {
        let mut note = |method: &str, path: &str, query: &str| {
            if let Err(breach) = check(method, path, query) {
                breaches.insert(format!("{method} {path}?{query}: {breach}"));
            }
        };
        note(method, path, query);
        let Some(version) = path.strip_suffix("/$batch").filter(|_| !body.is_empty()) else { continue };
        let body: Value = serde_json::from_str(body).expect("the body of a batch is JSON");
        let parts = body["requests"].as_array().expect("a batch has requests");
        assert!((1..=20).contains(&parts.len()), "{} parts", parts.len());
        for part in parts {
            let url = format!("{version}{}", part["url"].as_str().expect("a part has a URL"));
            let (path, query) = url.split_once('?').unwrap_or((&url, ""));
            note(part["method"].as_str().expect("a part has a method"), path, query);
        }
    }
    assert!(breaches.is_empty(), "requests that Graph's description doesn't allow: {breaches:#?}");
}

impl Description {
    fn read(yaml: &Value) -> Description {
        let mut description = Description { items: HashMap::new(), schemas: BTreeMap::new(), names: HashMap::new() };
        for (name, schema) in yaml["components"]["schemas"].as_object().unwrap() {
            description.schemas.insert(name.clone(), Schema::read(schema));
        }
        for (template, item) in yaml["paths"].as_object().unwrap() {
            let mut found = Item { template: format!("/v1.0{template}").replace("()", ""), ..Item::default() };
            for method in ["get", "post", "patch", "put", "delete"] {
                let Some(operation) = item.get(method) else { continue };
                let lists = [&item["parameters"], &operation["parameters"]];
                let parameters = lists.iter().filter_map(|list| list.as_array()).flatten();
                let names = parameters.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap());
                found.methods.insert(method.to_uppercase(), names.map(str::to_owned).collect());
            }
            let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().and_then(|link| link.rsplit('/').next());
            if let Some(name) = name {
                let value = &yaml["components"]["schemas"][name]["properties"]["value"]["items"]["$ref"];
                let inner = value.as_str().and_then(|link| link.rsplit('/').next());
                (found.list, found.returns) = (inner.is_some(), Some(inner.unwrap_or(name).to_owned()));
            }
            if let Some(returns) = &found.returns {
                let names = description.names(returns);
                description.names.insert(returns.clone(), names);
            }
            description.items.entry(found.template.split('/').count()).or_default().push(found);
        }
        description
    }

    /// The best fitting item: one with literal segments before one with placeholders.
    fn item(&self, path: &str, link: bool) -> Option<&Item> {
        let all = self.items.get(&path.split('/').count())?.iter();
        let fitting = all.filter(|item| fits(&item.template, path, link));
        fitting.min_by_key(|item| item.template.matches('{').count())
    }

    fn check(&self, method: &str, path: &str, query: &str) -> Result<(), String> {
        // The login service is no part of Graph, nor is what gives a machine or an app its tokens.
        if path.ends_with("/oauth2/v2.0/token") || matches!(path, "/metadata/identity/oauth2/token" | "/msi/token") {
            return Ok(());
        }
        let plain = path.replace("()", "");
        if let Some(collection) = plain.strip_suffix("/$count") {
            // learn, graph/aad-advanced-queries: every list of directory objects.
            let item = self.item(collection, false).filter(|item| item.list).ok_or("nothing that can be counted")?;
            let fits = method == "GET"
                && options(query).iter().all(|(name, _)| matches!(name.as_str(), "$filter" | "$search"));
            return if fits { Ok(()) } else { Err(format!("a count of {} takes $filter and $search", item.template)) };
        }
        let options = options(query);
        let continues = options.iter().any(|(name, _)| is_token(name));
        let exception = EXCEPTIONS.iter().find(|(template, ..)| fits(template, &plain, continues));
        let item = self.item(&plain, continues);
        if item.is_none() && exception.is_none() {
            return Err("no such path".to_owned());
        }
        let methods = item.and_then(|item| item.methods.get(method));
        let batch = exception.is_some_and(|(template, ..)| template.ends_with("/$batch"));
        if methods.is_none()
            && (exception.is_none() || (method == "POST") != batch || !matches!(method, "GET" | "POST"))
        {
            return Err("no such method".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (name, value) in &options {
            let declared = methods.is_some_and(|known| known.contains(name));
            let besides = exception.is_some_and(|(_, known, _)| known.contains(&name.as_str()));
            // What links carry: learn, graph/paging and graph/delta-query-overview.
            if !(declared || besides || is_token(name)) {
                return Err(format!("{name} isn't declared"));
            }
            if !seen.insert(name) {
                return Err(format!("{name} comes twice"));
            }
            self.check_value(item, &plain, name, value)?;
        }
        let refused = REFUSED.iter().filter(|(template, ..)| !continues && fits(template, &plain, continues));
        for (_, option, source) in refused {
            if seen.contains(&(*option).to_owned()) {
                return Err(format!("{option} isn't taken here ({source})"));
            }
        }
        for (_, option, source) in
            REQUIRED.iter().filter(|(template, ..)| !continues && fits(template, &plain, continues))
        {
            if !seen.contains(&(*option).to_owned()) {
                return Err(format!("{option} is required here ({source})"));
            }
        }
        Ok(())
    }

    fn check_value(&self, item: Option<&Item>, path: &str, name: &str, value: &str) -> Result<(), String> {
        match name {
            "$top" => {
                let most = PAGES.iter().find(|(part, ..)| path.split('/').any(|segment| segment == *part));
                let most = most.map_or(999, |(_, most, _)| *most);
                let fits = value.parse::<u32>().is_ok_and(|top| (1..=most).contains(&top));
                if fits { Ok(()) } else { Err(format!("$top is {value}, expected 1 to {most}")) }
            }
            "$count" if !matches!(value, "true" | "false") => Err(format!("$count is {value}")),
            "$select" | "$expand" => {
                let Some(returns) = item.and_then(|item| item.returns.as_deref()) else { return Ok(()) };
                let known = &self.names[returns];
                let delta = path.ends_with("/delta");
                for asked in value.split(',') {
                    let asked = asked.split(['/', '(']).next().unwrap_or_default();
                    let is_shown = SHOWN.iter().any(|row| row.0 == returns && row.1 == asked);
                    let fits = match (known.get(asked), name) {
                        (None, "$select") if is_shown => true,
                        (Some(navigation), "$select") => !navigation || delta,
                        (Some(navigation), _) => *navigation,
                        (None, _) => asked == "*" && name == "$expand",
                    };
                    if !fits {
                        return Err(format!("{name} asks for {asked}, which {returns} doesn't have"));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Properties and navigations of a type, of its base types and of those derived from it: a list of the base type has
    /// them too.
    fn names(&self, name: &str) -> HashMap<String, bool> {
        let mut found = HashMap::new();
        let derived = |schema: &str| {
            let mut bases = std::iter::successors(Some(schema), |one| self.schemas.get(*one)?.base.as_deref());
            bases.any(|base| base == name)
        };
        for (other, schema) in &self.schemas {
            let mut bases = std::iter::successors(Some(name), |one| self.schemas.get(*one)?.base.as_deref());
            if bases.any(|base| base == other) || derived(other) {
                found.extend(schema.properties.iter().map(|(name, navigation)| (name.clone(), *navigation)));
            }
        }
        found
    }
}

impl Schema {
    fn read(schema: &Value) -> Schema {
        let mut read = Schema::default();
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for part in parts {
            if let Some(base) = part["$ref"].as_str() {
                read.base = base.rsplit('/').next().map(str::to_owned);
            }
            for (property, schema) in part["properties"].as_object().into_iter().flatten() {
                read.properties.insert(property.clone(), schema["x-ms-navigationProperty"] == true);
            }
        }
        read
    }
}

/// Whether `path` is one of those that `template` stands for. `link`: it is one that Graph gave.
fn fits(template: &str, path: &str, link: bool) -> bool {
    let (mut known, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (known.next(), given.next()) {
            (None, None) => return true,
            // A cast or a function is no id.
            (Some(known), Some(given)) if known.starts_with('{') => {
                if given.is_empty()
                    || given.starts_with("microsoft.graph.")
                    || given.starts_with('$')
                    || given == "delta"
                {
                    return false;
                }
            }
            // Links that Graph gives spell segments as they like: `oauth2permissiongrants/delta` (oauth2permissiongrant-delta).
            (Some(known), Some(given)) if known == given || link && known.eq_ignore_ascii_case(given) => {}
            _ => return false,
        }
    }
}

/// Whether an option holds a page or delta token.
fn is_token(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "$skiptoken" | "$deltatoken")
}

/// Names and values of a query, unescaped.
fn options(query: &str) -> Vec<(String, String)> {
    let parse = |query: &str| {
        let url = reqwest::Url::parse(&format!("http://h/?{query}")).expect("a query");
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    };
    if query.is_empty() { Vec::new() } else { parse(query) }
}

/// A simulated tenant that, when it is dropped, holds every request it served against the description.
pub struct Watched(pub Simulator);

impl Deref for Watched {
    type Target = Simulator;

    fn deref(&self) -> &Simulator {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let requests = self.0.requests();
        check_all(requests.iter().map(|one| (one.method.as_str(), one.path.as_str(), one.query.as_str(), "")));
    }
}
