//! The configuration: a TOML file and variables in, the options of each module out.
//!
//! Must never know: what the options do.
//!
//! Strict on purpose: an option that is misspelled is an error that names the nearest one, never a default silently
//! taken. Secrets aren't read here until somebody asks for the options that need them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::graph::{self, Cloud, MAX_PAGE_BYTES};
use crate::hold::{PRESETS, Retention};
use crate::model;

mod credential;
mod cron;
mod options;
mod read;
mod service;
mod storage;
mod web;

use credential::Surroundings;
pub use credential::{Credential, SecretPlace};
pub use options::{Kind, OPTIONS, Opt};
use read::Settings;
pub use service::{Receiver, Schedule, Service};
pub use storage::{AzureAccess, AzureAccount, Storage};
use storage::{Captured, MIRROR, STORE};

/// The text of a configuration with every option explained.
pub const TEMPLATE: &str = include_str!("../config/tenure.toml");

/// Where the configuration is looked for when no file is named, in this order.
pub const PLACES: [&str; 2] = ["tenure.toml", "/etc/tenure/tenure.toml"];

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none.
    #[error("no configuration: {} not found", list(places))]
    NotFound {
        /// The places that were looked at.
        places: Vec<PathBuf>,
    },
    /// The file can't be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// File and line.
        place: String,
        /// What the parser said.
        message: String,
    },
    /// A section or option that doesn't exist.
    #[error("{place}: {name} is no option{}", nearest.as_ref().map_or(String::new(), |n| format!("; did you mean {n}?")))]
    Unknown {
        /// File and line, or the variable.
        place: String,
        /// The name as written.
        name: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// A value that the option doesn't take.
    #[error("{place}: {name} is {found}, expected {expected}")]
    Value {
        /// File and line, or the variable.
        place: String,
        /// The option.
        name: String,
        /// What is there.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Something that comes with a later version.
    #[error("{place}: {name} = {value:?} isn't built yet; {instead}")]
    NotBuilt {
        /// File and line, or the variable.
        place: String,
        /// The option.
        name: String,
        /// The value.
        value: String,
        /// What works.
        instead: &'static str,
    },
    /// An option without default is missing.
    #[error("{path}: {name} is missing: {what}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The option.
        name: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{place}: {one} and {other} are both given, only one of them can count")]
    Both {
        /// File and line, or the variable.
        place: String,
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The variable that should hold the secret isn't set.
    #[error("the variable {name}, which should hold a secret, is not set")]
    NoSecret {
        /// The variable.
        name: String,
    },
    /// Nobody says where the assertion is.
    #[error(
        "credential.assertion_file is not given, and the environment names none (AZURE_FEDERATED_TOKEN_FILE; in a GitHub \
         job with the permission id-token: write, ACTIONS_ID_TOKEN_REQUEST_URL)"
    )]
    NoAssertion,
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// Which tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id or a domain of it.
    pub id: String,
    /// Where it lives.
    pub cloud: Cloud,
    /// Graph's origin, where it isn't the cloud's.
    pub graph_url: Option<String>,
    /// The login service's origin, where it isn't the cloud's.
    pub login_url: Option<String>,
}

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The tenant.
    pub tenant: Tenant,
    /// The application's id; empty for the identity of the machine.
    pub client_id: String,
    /// How to sign in.
    pub credential: Credential,
    /// Where the archive lies.
    pub store: Storage,
    /// Where its copy lies, if one is kept in step.
    pub mirror: Option<Storage>,
    /// The directory of the index.
    pub index_path: PathBuf,
    /// The directory of feed positions and the remembered head.
    pub state_path: PathBuf,
    /// The private key's file.
    pub key_file: PathBuf,
    /// When the service captures.
    pub schedule: Schedule,
    /// What else the service is told.
    pub service: Service,
    /// How long history is kept.
    pub retention: Retention,
    /// The same in whole years, rounded up.
    pub retention_years: u64,
    /// As whom segments are ended in a storage account, if anybody is named.
    pub expiry: Option<AzureAccess>,
    /// How others reach the service, and who may ask it.
    pub web: crate::web::Options,
    /// Bounds on what is asked of Graph.
    pub limits: graph::Limits,
    /// How captures are done.
    pub capture: crate::capture::Options,
    surroundings: Surroundings,
}

impl Config {
    /// Finds the configuration file: `named`, or the first of [`PLACES`] that exists.
    ///
    /// # Errors
    /// [`ConfigError::NotFound`] names where it was looked for.
    pub fn find(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
        let places: Vec<PathBuf> = match named {
            Some(named) => vec![named.to_owned()],
            None => PLACES.iter().map(PathBuf::from).collect(),
        };
        let found = places.iter().find(|place| place.exists()).cloned();
        found.ok_or(ConfigError::NotFound { places })
    }

    /// Reads and checks the file at `path`, with the `TENURE_…__…` variables among `variables` put over it.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that is wrong, with its line.
    pub fn load(path: &Path, variables: &[(String, String)]) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(path, &text, variables)
    }

    /// As [`Config::load`], of the text of a file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(path: &Path, text: &str, variables: &[(String, String)]) -> Result<Config, ConfigError> {
        let settings = Settings::read(path, text, variables)?;
        let (tenant, limits) = (read_tenant(&settings)?, read_limits(&settings)?);
        let credential = Credential::read(&settings)?;
        let captured = Captured { tenant: &tenant.id, cloud: tenant.cloud, credential: &credential };
        let store = Storage::read(&settings, &STORE, captured)?.expect("[store] can't be none");
        let mirror = Storage::read(&settings, &MIRROR, captured)?;
        if mirror.as_ref().is_some_and(|mirror| mirror.to_string() == store.to_string()) {
            return Err(settings.wrong("store.mirror.kind", "another place than that of [store]"));
        }
        let expiry = AzureAccess::read_expiry(&settings, captured)?;
        let retention = read_retention(&settings)?;
        let service = Service::read(&settings)?;
        let web = web::read(&settings, &tenant)?;
        Ok(Config {
            path: path.to_owned(),
            tenant,
            surroundings: Surroundings::of(
                &[
                    credential.variable(),
                    store.variable(),
                    mirror.as_ref().and_then(Storage::variable),
                    expiry.as_ref().and_then(AzureAccess::variable),
                    service.variable(),
                ],
                variables,
            ),
            client_id: settings.text("credential.client_id"),
            credential,
            store,
            mirror,
            index_path: settings.path("index.path"),
            state_path: settings.path("state.path"),
            key_file: settings.path("signing.key_file"),
            schedule: Schedule::read(&settings)?,
            service,
            retention,
            retention_years: retention.years(),
            expiry,
            web,
            capture: read_capture(&settings)?,
            limits,
        })
    }

    /// What a client of Graph is built from. Reads a client secret, which is why nothing else asks for it.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], [`ConfigError::NoSecret`] or [`ConfigError::NoAssertion`].
    pub fn graph(&self) -> Result<graph::Options, ConfigError> {
        Ok(graph::Options {
            tenant: self.tenant.id.clone(),
            cloud: self.tenant.cloud,
            graph_url: self.tenant.graph_url.clone(),
            login_url: self.tenant.login_url.clone(),
            credential: self.credential.resolve(&self.surroundings)?,
            limits: self.limits.clone(),
        })
    }

    /// What tokens for the storage account are had with: an identity of `tenant` that signs in by `credential`. Reads a
    /// client secret.
    ///
    /// # Errors
    /// As [`Config::graph`].
    pub fn storage_identity(&self, tenant: &str, credential: &Credential) -> Result<graph::Options, ConfigError> {
        Ok(graph::Options {
            tenant: tenant.to_owned(),
            credential: credential.resolve(&self.surroundings)?,
            // Whoever writes a blob waits for this, and tries again.
            limits: graph::Limits {
                tries: 4,
                request_timeout: Duration::from_secs(30),
                longest_wait: Duration::from_secs(30),
                total_wait: Duration::from_secs(60),
                ..graph::Limits::default()
            },
            cloud: self.tenant.cloud,
            graph_url: None,
            login_url: self.tenant.login_url.clone(),
        })
    }

    /// The secret that the variable `name` holds.
    ///
    /// # Errors
    /// [`ConfigError::NoSecret`].
    pub fn secret(&self, name: &str) -> Result<SecretString, ConfigError> {
        self.surroundings.get(name).ok_or_else(|| ConfigError::NoSecret { name: name.to_owned() })
    }

    /// The name of the archive's log, and of the keys that sign it.
    pub fn origin(&self) -> String {
        format!("tenure/{}", self.tenant.id)
    }
}

fn read_tenant(settings: &Settings) -> Result<Tenant, ConfigError> {
    let id = settings.required("tenant.id", "the tenant's id or one of its domains")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if !id.chars().all(plain) {
        return Err(settings.wrong("tenant.id", "a GUID or a domain"));
    }
    let name = settings.text("tenant.cloud");
    let cloud = Cloud::from_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Cloud::NAMES.iter().map(|(name, _)| *name).collect();
        settings.wrong("tenant.cloud", &format!("one of {}", names.join(", ")))
    })?;
    let (graph_url, login_url) = (settings.given("tenant.graph_url"), settings.given("tenant.login_url"));
    for (name, url) in [("tenant.graph_url", &graph_url), ("tenant.login_url", &login_url)] {
        if url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(settings.wrong(name, "an address that begins with https://"));
        }
    }
    Ok(Tenant { id: id.to_ascii_lowercase(), cloud, graph_url, login_url })
}

fn read_retention(settings: &Settings) -> Result<Retention, ConfigError> {
    let (preset, years) = (settings.given("retention.preset"), settings.given_number("retention.years"));
    match (preset, years) {
        (Some(_), Some(_)) => {
            let place = settings.place("retention.years");
            Err(ConfigError::Both { place, one: "preset", other: "years" })
        }
        (None, Some(years)) if (1..=100).contains(&years) => Ok(Retention::of_months(12 * years as u32)),
        (None, Some(_)) => Err(settings.wrong("retention.years", "a number of years from 1 to 100")),
        (preset, None) => {
            let preset = preset.unwrap_or_else(|| "sox".to_owned());
            Retention::of_presets(&preset).map_err(|_| {
                let known = PRESETS.iter().map(|known| {
                    format!("{} ({})", known.name, Retention::of_months(known.months))
                });
                let known = known.collect::<Vec<_>>().join(", ");
                let expected = format!(
                    "one or more of {known}, with commas between; or years, where a rule names no number (GDPR, NIS2, DORA)"
                );
                settings.wrong("retention.preset", &expected)
            })
        }
    }
}

fn read_capture(settings: &Settings) -> Result<crate::capture::Options, ConfigError> {
    let mut hours = std::collections::BTreeMap::new();
    for (collection, facet) in CADENCED {
        let (name, row) = match facet {
            Some(facet) => (format!("{collection}_{facet}"), format!("{collection}#{facet}")),
            None => ((*collection).to_owned(), (*collection).to_owned()),
        };
        hours.insert(row, between(settings, &format!("collections.{name}_hours"), 0, 24 * 366)? as u32);
    }
    Ok(crate::capture::Options {
        time_limit: Duration::from_secs(60 * within(settings, "capture_minutes", 1, 24 * 60)?),
        off: model::COLLECTIONS
            .iter()
            .map(|collection| collection.name)
            .filter(|name| !settings.flag(&format!("collections.{name}")))
            .map(str::to_owned)
            .chain(hours.iter().filter(|(_, hours)| **hours == 0).map(|(row, _)| row.clone()))
            .collect(),
        hours,
        event_overlap: jiff::SignedDuration::from_hours(between(
            settings,
            "collections.directoryAudit_overlap_hours",
            0,
            720,
        )? as i64),
        sweep_captures: within(settings, "sweep_captures", 1, 10_000)?,
        sweep_requests: within(settings, "sweep_requests", 0, 10_000_000)?,
        gate_share: within(settings, "gate_percent", 0, 100)? as f64 / 100.0,
        gate_minimum: within(settings, "gate_minimum", 0, 1_000_000)?,
    })
}

/// What has an option of its own for how often it is read.
const CADENCED: &[(&str, Option<&str>)] = &[
    ("user", Some("activity")),
    ("user", Some("sync")),
    ("group", Some("sync")),
    ("device", Some("activity")),
    ("device", Some("sync")),
    ("organization", Some("sync")),
    ("userRegistrationDetails", None),
];

/// A number of `[limits]` from `low` to `high`.
fn within(settings: &Settings, name: &str, low: u64, high: u64) -> Result<u64, ConfigError> {
    between(settings, &format!("limits.{name}"), low, high)
}

fn between(settings: &Settings, name: &str, low: u64, high: u64) -> Result<u64, ConfigError> {
    let number = settings.number(name);
    let fits = (low..=high).contains(&number);
    fits.then_some(number).ok_or_else(|| settings.wrong(name, &format!("a number from {low} to {high}")))
}

fn read_limits(settings: &Settings) -> Result<graph::Limits, ConfigError> {
    let within = |name: &str, low, high| within(settings, name, low, high);
    let seconds = |name: &str| within(name, 1, 86_400).map(Duration::from_secs);
    Ok(graph::Limits {
        in_flight: within("in_flight", 1, 64)? as usize,
        units_per_10s: within("units_per_10s", 20, 1_000_000)?,
        tries: within("tries", 1, 100)? as u32,
        page_bytes: within("page_bytes", 1 << 16, MAX_PAGE_BYTES as u64)? as usize,
        pages: within("pages", 1, 10_000_000)?,
        request_timeout: seconds("request_timeout_seconds")?,
        longest_wait: seconds("longest_wait_seconds")?,
        total_wait: seconds("total_wait_seconds")?,
    })
}

#[cfg(test)]
mod tests;
