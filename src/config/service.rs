//! What the configuration says about the service: its schedule, its tenants, whom it tells, how it verifies.
//!
//! Must never know: how any of it is done.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::read::Settings;
use super::{ConfigError, SecretPlace, cron};
use crate::daemon;

/// When the service captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Crontab line of captures.
    pub capture: String,
    /// Crontab line of reconciliations.
    pub reconcile: String,
    /// The time zone of both, by IANA name.
    pub time_zone: String,
}

/// Whom the service tells of alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where notices go.
    pub url: String,
    /// Where the secret is that signs them.
    pub secret: SecretPlace,
}

/// What else a service is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Configurations of further tenants.
    pub tenants: Vec<PathBuf>,
    /// How long after a slot it begins.
    pub delay: SignedDuration,
    /// Whom it tells of alarms.
    pub receiver: Option<Receiver>,
    /// Within how many days every byte of the archive is to be verified again; 0: never.
    pub verification_days: u64,
}

impl Schedule {
    /// Reads `[schedule]`.
    pub(super) fn read(settings: &Settings) -> Result<Schedule, ConfigError> {
        for name in ["schedule.capture", "schedule.reconcile"] {
            if let Err(reason) = cron::check(&settings.text(name)) {
                return Err(settings.wrong(name, &format!("a crontab line of five fields ({reason})")));
            }
        }
        let time_zone = settings.text("schedule.time_zone");
        let zone = || settings.wrong("schedule.time_zone", "a time zone by its IANA name, as in \"Europe/Vienna\"");
        jiff::tz::TimeZone::get(&time_zone).map_err(|_| zone())?;
        let schedule = Schedule {
            capture: settings.text("schedule.capture"),
            reconcile: settings.text("schedule.reconcile"),
            time_zone,
        };
        for (name, line) in [("schedule.capture", &schedule.capture), ("schedule.reconcile", &schedule.reconcile)] {
            if daemon::Schedule::new(line, line, &schedule.time_zone).is_err() {
                return Err(settings.wrong(name, "a crontab line that comes at some time"));
            }
        }
        Ok(schedule)
    }
}

impl Service {
    /// Reads `[service]`, `[alarms]` and `[verification]`.
    pub(super) fn read(settings: &Settings) -> Result<Service, ConfigError> {
        let base = settings.file().parent().map(std::path::Path::to_owned).unwrap_or_default();
        let names = settings.given("service.tenants").unwrap_or_default();
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let delay = super::between(settings, "service.delay_seconds", 0, 600)?;
        Ok(Service {
            tenants: names.map(|name| base.join(name)).collect(),
            delay: SignedDuration::from_secs(delay.try_into().unwrap_or(0)),
            receiver: read_receiver(settings)?,
            verification_days: super::between(settings, "verification.days", 0, 3660)?,
        })
    }

    /// The variable that holds the secret of the alarms, if one does.
    pub(super) fn variable(&self) -> Option<&str> {
        match &self.receiver.as_ref()?.secret {
            SecretPlace::Variable(name) => Some(name),
            SecretPlace::File(_) => None,
        }
    }
}

fn read_receiver(settings: &Settings) -> Result<Option<Receiver>, ConfigError> {
    let Some(url) = settings.given("alarms.webhook_url") else { return Ok(None) };
    let (file, variable) = ("alarms.webhook_secret_file", "alarms.webhook_secret_env");
    let secret = match (settings.given(file), settings.given(variable)) {
        (Some(_), Some(_)) => {
            let (one, other) = ("webhook_secret_file", "webhook_secret_env");
            return Err(ConfigError::Both { place: settings.place(variable), one, other });
        }
        (_, Some(name)) => SecretPlace::Variable(name),
        (Some(_), None) => SecretPlace::File(settings.path(file)),
        (None, None) => {
            return Err(ConfigError::Missing {
                path: settings.file().to_owned(),
                name: "alarms.webhook_secret_file",
                what: "the file that holds the secret by which the receiver knows us (or webhook_secret_env, the variable that does)",
            });
        }
    };
    Ok(Some(Receiver { url, secret }))
}
