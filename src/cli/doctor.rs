//! `tenure doctor`: what the credential may read, what is missing, the grant that would add it, and any right to write.
//!
//! Must never know: the archive. Every word on what may be read comes from trying it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::console::Progress;
use super::failure::{Ended, Failure, Kind};
use super::session::Session;
use super::{json, render};
use crate::collect::{COLLECTIONS, Probe, Tried, can_write, code};
use crate::graph::{Identity, Reader};

/// Arguments of `tenure doctor`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// What was found.
struct Findings {
    probes: Vec<Probe>,
    /// Who the token says we are.
    identity: Identity,
    skew_ms: i64,
    requests: u64,
    off: BTreeSet<String>,
}

/// Runs the command.
pub async fn run(_: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let config = session.config()?;
    let clock: Arc<dyn crate::clock::Clock> = session.clock.clone();
    let reader = Reader::new(config.graph()?, clock)
        .map_err(|error| Failure::new(Kind::Configuration, error).hint("check [tenant] and [limits]"))?;
    reader.check_token().await.map_err(|error| {
        let kind = match error {
            crate::graph::Error::Options { .. } => Kind::Configuration,
            _ => Kind::Failed,
        };
        Failure::new(kind, error).hint("check [tenant] and [credential]: nothing can be read without a token")
    })?;
    let identity = reader.identity().await.map_err(|error| Failure::new(Kind::Failed, error))?;
    let off: BTreeSet<String> = config.capture.off.iter().cloned().collect();
    let progress = Progress::new(&session.console, "trying what can be read");
    let probes = probe(&reader, &off, &progress).await;
    drop(progress);
    let (skew_ms, requests) = (reader.meter().skew_ms(), reader.meter().requests());
    let findings = Findings { probes, identity, skew_ms, requests, off };
    let is_closed = findings.closed().next().is_some();
    let is_other = findings.other_tenant(&config.tenant.id).is_some();
    match session.globals.json {
        true => session.console.line(findings.in_json(&config.tenant.id, &config.client_id))?,
        false => session.console.line(findings.in_words(&config.tenant.id, &config.client_id))?,
    }
    if is_other {
        let text = "the token is for another tenant than the configured one";
        return Err(Failure::new(Kind::Configuration, text).hint("check [credential], or id in [tenant]"));
    }
    Ok(if is_closed { Ended::Incomplete } else { Ended::Done })
}

async fn probe(reader: &Reader, off: &BTreeSet<String>, progress: &Progress) -> Vec<Probe> {
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let mut probes = Vec::new();
    for (done, recipe) in COLLECTIONS.iter().enumerate() {
        progress.set(done as u64, COLLECTIONS.len() as u64);
        if off.contains(recipe.collection) {
            continue;
        }
        let parent = recipe.parent().map(|(parent, _)| parent).or(recipe.per());
        let parent = parent.and_then(|parent| ids.get(parent)).map(String::as_str);
        let (found, id) = recipe.probe(reader, parent, off).await;
        probes.extend(found);
        ids.extend(id.map(|id| (recipe.collection, id)));
    }
    probes
}

impl Findings {
    /// What can't be read, and should be.
    fn closed(&self) -> impl Iterator<Item = (&Probe, &'static str)> {
        self.probes.iter().filter_map(|probe| match &probe.result {
            Tried::Closed { code, .. } => Some((probe, *code)),
            _ => None,
        })
    }

    /// The permissions that would open what is closed for lack of one: not those that the token names already.
    fn missing(&self) -> BTreeSet<&'static str> {
        let lacking = self.closed().filter(|(_, why)| *why == code::NO_PERMISSION);
        lacking.filter_map(|(probe, _)| probe.permission).filter(|permission| !self.is_granted(permission)).collect()
    }

    fn is_granted(&self, permission: &str) -> bool {
        self.identity.roles.iter().flatten().any(|granted| granted == permission)
    }

    /// What is refused though the token names the permission for it: another grant would not help.
    fn refused_all_the_same(&self) -> impl Iterator<Item = (&Probe, &'static str)> {
        let lacking = self.closed().filter(|(_, why)| *why == code::NO_PERMISSION);
        let lacking = lacking.filter_map(|(probe, _)| Some((probe, probe.permission?)));
        lacking.filter(|(_, permission)| self.is_granted(permission))
    }

    /// Granted permissions that let their holder change something.
    fn writing(&self) -> Vec<&str> {
        self.identity.roles.iter().flatten().map(String::as_str).filter(|permission| can_write(permission)).collect()
    }

    /// The tenant that the token is for, where that is another than the configured one.
    fn other_tenant(&self, configured: &str) -> Option<&str> {
        let tenant = self.identity.tenant.as_deref()?;
        let is_id = uuid::Uuid::try_parse(configured).is_ok();
        (is_id && !tenant.eq_ignore_ascii_case(configured)).then_some(tenant)
    }

    fn in_words(&self, tenant: &str, client_id: &str) -> String {
        let mut rows = Vec::new();
        for probe in &self.probes {
            let (word, why) = match &probe.result {
                Tried::Open => ("open", String::new()),
                Tried::Untried => ("not tried", "nothing was found to try it on".to_owned()),
                Tried::Closed { code, error } => ("closed", format!("{code}: {error}")),
            };
            rows.push(vec![probe.subject(), word.to_owned(), probe.permission.unwrap_or("").to_owned(), why]);
        }
        let mut text = render::table(&["what", "reading", "least permission", "why not"], rows, &[]);
        let who = self.identity.application.as_deref().zip(self.identity.tenant.as_deref());
        if let Some((application, tenant)) = who {
            let kind = self.identity.credential;
            text.push_str(&format!("\n\nThe token is for application {application} in tenant {tenant}, by {kind}."));
        }
        match &self.identity.roles {
            Some(granted) if granted.is_empty() => {
                text.push_str("\n\nThe token names no application permission at all.")
            }
            Some(granted) => text.push_str(&format!("\n\nThe token names: {}", granted.join(", "))),
            None => text.push_str("\n\nThe token can't be read here, so that its permissions can't be listed."),
        }
        if let Some(other) = self.other_tenant(tenant) {
            text.push_str(&format!(
                "\nTENANT   the token is for {other}, the configuration says {tenant}: nothing may be captured with it"
            ));
        }
        for permission in self.missing() {
            text.push_str(&format!(
                "\nMISSING  {permission}: grant this application permission of Microsoft Graph to {client_id}, with \
                 admin consent"
            ));
        }
        if !self.missing().is_empty() {
            text.push_str("\n         deploy/grant-permissions.sh grants what is missing and nothing else");
        }
        for (probe, permission) in self.refused_all_the_same() {
            let subject = probe.subject();
            text.push_str(&format!(
                "\nREFUSED  {subject}: {permission} is granted, so that this kind of tenant or its licences don't have it"
            ));
        }
        let licences = self.closed().filter(|(_, why)| *why == code::NO_LICENCE).map(|(probe, _)| probe.subject());
        let licences: Vec<String> = licences.collect();
        if !licences.is_empty() {
            text.push_str(&format!("\nLICENCE  the tenant has none for {}; they stay absent", licences.join(", ")));
        }
        for permission in self.writing() {
            text.push_str(&format!(
                "\nWARNING  {permission} lets this identity change the tenant: take it away, Tenure never needs it"
            ));
        }
        if self.skew_ms.unsigned_abs() > 300_000 {
            let seconds = self.skew_ms / 1000;
            text.push_str(&format!("\nCLOCK    this machine's clock is {seconds} s off the service's"));
        }
        for off in &self.off {
            text.push_str(&format!("\nOFF      {off} is turned off in the configuration"));
        }
        let open = self.probes.iter().filter(|probe| matches!(probe.result, Tried::Open)).count();
        text.push_str(&format!("\n{open} of {} open, {} requests", self.probes.len(), self.requests));
        text
    }

    fn in_json(&self, tenant: &str, client_id: &str) -> String {
        let texts = |texts: Vec<&str>| json::array(texts.into_iter().map(json::quoted));
        let rows = self.probes.iter().map(|probe| {
            let row = json::Object::new().text("collection", probe.collection);
            let row = row.optional_text("relation", probe.relation).optional_text("facet", probe.facet);
            let row = row.optional_text("property", probe.property).optional_text("permission", probe.permission);
            match &probe.result {
                Tried::Open => row.flag("open", true).optional_text("code", None),
                Tried::Untried => row.raw("open", "null").optional_text("code", None),
                Tried::Closed { code, .. } => row.flag("open", false).text("code", code),
            }
            .end()
        });
        let granted = self.identity.roles.as_ref().map(|granted| texts(granted.iter().map(String::as_str).collect()));
        let row = json::Object::new().text("tenant", tenant).text("client_id", client_id);
        let row = row.optional_text("token_tenant", self.identity.tenant.as_deref());
        let row = row.optional_text("token_application", self.identity.application.as_deref());
        let row = row.text("credential", self.identity.credential);
        let row = row.raw("granted", granted.as_deref().unwrap_or("null"));
        let row = row.raw("missing", &texts(self.missing().into_iter().collect()));
        let row = row.raw("writing", &texts(self.writing()));
        let row = row.raw("off", &texts(self.off.iter().map(String::as_str).collect()));
        let row = row.raw("skew_ms", &self.skew_ms.to_string()).number("requests", self.requests);
        row.raw("collections", &json::array(rows)).end()
    }
}
