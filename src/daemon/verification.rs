//! Reads the whole archive again and again, a segment at a time, and says since when every byte has been read.
//!
//! Must never know: how anything is verified; `archive::verify` does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::health::Verified;
use super::{Kind, Tenant, file};
use crate::archive::verify::pace::{Reach, due};
use crate::archive::verify::rolling::{Position, Step, step, steps, steps_before};
use crate::archive::verify::{Begun, Options, Report, Severity, Survey};
use crate::archive::walker::WalkError;
use crate::capture::Stop;
use crate::clock::Clock;
use crate::store::Store;

const FILE: &str = "verification.json";

/// The rolling verification of one archive.
#[derive(Debug)]
pub(super) struct Verification {
    store: Arc<dyn Store>,
    directory: PathBuf,
    span: SignedDuration,
    survey: Option<Box<Survey>>,
    position: Option<Position>,
    reach: Reach,
    pass_began: Option<Timestamp>,
    last_step: Option<Timestamp>,
    /// Since when this machine has been at it at all.
    began: Timestamp,
    /// Steps of a pass, as last counted, and how many of them are done.
    steps: (usize, usize),
    findings: u64,
}

impl Verification {
    /// Of the archive in `store`, every byte within `span`; goes on where a service before it was.
    pub fn open(store: Arc<dyn Store>, directory: &Path, span: SignedDuration, now: Timestamp) -> Verification {
        let value = file::read(directory, FILE);
        let time = |name: &str| value[name].as_str().and_then(|text| text.parse().ok());
        let count = |name: &str| value[name].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        Verification {
            store,
            directory: directory.to_owned(),
            span,
            survey: None,
            position: serde_json::from_value(value["position"].clone()).unwrap_or_default(),
            reach: serde_json::from_value(value["reach"].clone()).unwrap_or_default(),
            pass_began: time("pass_began"),
            last_step: time("last_step"),
            began: time("began").unwrap_or(now),
            steps: (count("steps"), count("done")),
            findings: 0,
        }
    }

    /// Makes a step, if one is due. Whether it did.
    pub async fn turn(&mut self, tenant: &Tenant, clock: &dyn Clock, stop: &Stop) -> bool {
        let now = clock.now();
        let (all, done) = self.steps;
        if !due(now, self.last_step, self.pass_began, done, all, self.span).is_zero() {
            self.say(tenant, now);
            return false;
        }
        match self.step(tenant, clock, stop).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "verification is tried again later");
                // As if it had been done: whoever can't read now can't read in a minute either.
                self.last_step = Some(now);
            }
        }
        self.say(tenant, clock.now());
        true
    }

    async fn step(&mut self, tenant: &Tenant, clock: &dyn Clock, stop: &Stop) -> Result<(), WalkError> {
        let stop = || stop.is_requested();
        let at = clock.now();
        let store = self.store.clone();
        let mut survey = match self.survey.take() {
            Some(survey) => survey,
            None => match Survey::begin(&*store).await? {
                Begun::Log(survey) => survey,
                Begun::NoGenesis(report) => {
                    self.tell(&report, tenant, at);
                    self.last_step = Some(at);
                    return Ok(());
                }
            },
        };
        if !survey.extend(&*store, &stop).await? {
            self.survey = Some(survey);
            return Ok(());
        }
        if steps_before(&survey, self.position.as_ref()) == 0 {
            let Some(report) = survey.check(&*store, &Options::default(), &stop).await? else { return Ok(()) };
            self.tell(&report, tenant, at);
        }
        let made = step(&*store, &survey, self.position.as_ref(), &stop).await?;
        if let Some(made) = made {
            self.tell(&made.report, tenant, at);
            self.take(made, &survey, at);
        }
        self.survey = Some(survey);
        Ok(())
    }

    fn take(&mut self, made: Step, survey: &Survey, at: Timestamp) {
        self.reach.record(&made, at);
        if made.begins {
            self.pass_began = Some(at);
        }
        self.last_step = Some(at);
        self.position = made.next;
        self.steps = (steps(survey), steps_before(survey, self.position.as_ref()));
        if self.position.is_none() {
            self.pass_began = None;
        }
        self.keep();
    }

    fn tell(&mut self, report: &Report, tenant: &Tenant, now: Timestamp) {
        for finding in report.findings.iter().filter(|finding| finding.severity == Severity::Finding) {
            self.findings += 1;
            let subject = format!("{} {}", finding.code, finding.name);
            let message = finding.message.clone();
            tenant.alarm(|book| book.happened(Kind::VerificationFinding, &subject, finding.seq, now, message));
        }
    }

    fn say(&self, tenant: &Tenant, now: Timestamp) {
        let since = self.reach.since();
        let verified = Verified { since, step_at: self.last_step, findings: self.findings };
        tenant.update(|health| health.verified = Some(verified));
        let patience = self.span + self.span / 2;
        let is_late = now.duration_since(since.unwrap_or(self.began)) > patience;
        let text =
            since.map_or("no pass is complete yet".to_owned(), |since| format!("the oldest was read at {since}"));
        tenant.alarm(|book| book.set(Kind::VerificationLate, "", is_late, now, text));
    }

    fn keep(&self) {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let value = |position: &Option<Position>| serde_json::to_value(position).unwrap_or(Value::Null);
        let kept = json!({
            "position": value(&self.position),
            "reach": serde_json::to_value(&self.reach).unwrap_or(Value::Null),
            "pass_began": time(self.pass_began),
            "last_step": time(self.last_step),
            "began": self.began.to_string(),
            "steps": self.steps.0,
            "done": self.steps.1,
        });
        file::write(&self.directory, FILE, &kept);
    }
}
