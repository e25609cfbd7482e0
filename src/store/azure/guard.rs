//! Whether the account really refuses to change what was written.
//!
//! Must never know: the archive. It reads properties of containers, and it tries to overwrite and to delete one blob in
//! each, its canary, which holds nothing. It can name no other blob: that is why this isn't part of the store.
//!
//! Properties alone prove little: what counts is that the change was refused, and for the right reason. A missing right
//! refuses too, and says nothing about what somebody else could do.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;

use azure_core::error::Error;
use azure_core::http::{Etag, RequestContent};
use azure_storage_blob::models::{BlobContainerClientGetPropertiesResultHeaders as _, BlockBlobClientUploadOptions};
use azure_storage_blob::{BlobClient, BlobServiceClient};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{CANARY, Containers, Management};

/// What a canary holds.
const SONG: &[u8] =
    b"Tenure tries to overwrite and to delete this blob, to see that the account refuses. It holds nothing.\n";

/// A segment lives at most 93 days, and a blob's time counts from its own creation.
const SEGMENT_DAYS: u64 = 100;

/// The log outlives what it speaks of.
const LOG_YEARS: u64 = 10;

/// What is known about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Overwriting and deleting were tried, and refused for being immutable.
    Enforced,
    /// There is no policy, or a change went through.
    NotEnforced,
    /// It couldn't be found out.
    Unchecked,
}

/// What became of trying to change the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Refused for being immutable.
    Refused,
    /// It went through.
    Allowed,
    /// This identity may not, whatever the policy is.
    Denied,
    /// No clear answer came.
    Unknown,
    /// It wasn't tried.
    NotMade,
}

impl Verdict {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Enforced => "enforced",
            Verdict::NotEnforced => "not-enforced",
            Verdict::Unchecked => "unchecked",
        }
    }
}

impl Attempt {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Attempt::Refused => "refused",
            Attempt::Allowed => "allowed",
            Attempt::Denied => "denied",
            Attempt::Unknown => "unknown",
            Attempt::NotMade => "not-made",
        }
    }
}

/// What was found out about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerReport {
    /// Its whole name.
    pub container: String,
    /// The conclusion.
    pub verdict: Verdict,
    /// Codes of what is wrong or kept the check from an answer: `container-missing`, `denied`, `unavailable`, `no-policy`,
    /// `canary-denied`, `canary-unavailable`, `overwrite-allowed`, `delete-allowed`, `attempt-denied`, `attempt-unknown`,
    /// `policy-unlocked`, `interval-short`, `rights-too-large`.
    pub reasons: Vec<&'static str>,
    /// Whether it has a retention policy; `None` where that isn't known, as in what follows.
    pub has_policy: Option<bool>,
    /// Whether it is under a legal hold.
    pub has_hold: Option<bool>,
    /// Whether it has version-level immutability, under which an overwrite succeeds as a new version.
    pub has_versions: Option<bool>,
    /// What became of overwriting the canary.
    pub overwrite: Attempt,
    /// What became of deleting the canary.
    pub delete: Attempt,
    /// Whether the policy is locked, as the resource provider says.
    pub is_locked: Option<bool>,
    /// The days that a blob is kept, as the resource provider says.
    pub days: Option<u64>,
    /// The days that it has to be kept.
    pub days_wanted: u64,
    /// Rights of this identity that are larger than the service needs, as the resource manager says.
    pub excess: Option<Vec<&'static str>>,
}

/// What was found out about the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The log, then the months.
    pub containers: Vec<ContainerReport>,
    /// Containers that are needed now or soon and don't exist.
    pub missing: Vec<String>,
    /// Whether the months of the past are among the containers: listing containers takes a right of its own.
    pub is_whole: bool,
    /// Whether the resource provider was asked.
    pub has_management: bool,
}

impl Report {
    /// Whether everything was checked and nothing is wrong.
    pub fn is_sound(&self) -> bool {
        let sound = |one: &ContainerReport| one.verdict == Verdict::Enforced && one.reasons.is_empty();
        self.missing.is_empty() && self.containers.iter().all(sound)
    }

    /// The stable form for programs: members are added, never renamed.
    pub fn to_json(&self) -> Value {
        let containers: Vec<Value> = self.containers.iter().map(ContainerReport::to_json).collect();
        json!({
            "sound": self.is_sound(),
            "containers": containers,
            "missing": self.missing,
            "whole": self.is_whole,
            "management": self.has_management,
        })
    }
}

impl ContainerReport {
    fn new(container: String, days_wanted: u64) -> ContainerReport {
        ContainerReport {
            container,
            verdict: Verdict::Unchecked,
            reasons: Vec::new(),
            has_policy: None,
            has_hold: None,
            has_versions: None,
            overwrite: Attempt::NotMade,
            delete: Attempt::NotMade,
            is_locked: None,
            days: None,
            days_wanted,
            excess: None,
        }
    }

    fn because(mut self, verdict: Verdict, reason: &'static str) -> ContainerReport {
        self.verdict = verdict;
        self.reasons.push(reason);
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "container": self.container,
            "verdict": self.verdict.as_str(),
            "reasons": self.reasons,
            "policy": self.has_policy,
            "hold": self.has_hold,
            "versions": self.has_versions,
            "overwrite": self.overwrite.as_str(),
            "delete": self.delete.as_str(),
            "locked": self.is_locked,
            "days": self.days,
            "days_wanted": self.days_wanted,
            "excess": self.excess,
        })
    }
}

/// Checks what the account enforces.
pub struct Guard {
    service: Arc<BlobServiceClient>,
    containers: Containers,
    management: Option<Management>,
    retention_years: u64,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let management = self.management.is_some();
        f.debug_struct("Guard")
            .field("containers", &self.containers)
            .field("management", &management)
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(
        service: Arc<BlobServiceClient>,
        containers: Containers,
        management: Option<Management>,
        retention_years: u64,
    ) -> Guard {
        Guard { service, containers, management, retention_years }
    }

    /// Checks the log, the months that exist, the month of `now` and the `ahead` months after it. Fails never: what
    /// can't be found out is part of the report.
    pub async fn check(&self, now: Timestamp, ahead: u32) -> Report {
        let needed = coming(now, ahead);
        let listed = self.containers.present(&self.service, "").await;
        let is_whole = listed.is_ok();
        let present = listed.unwrap_or_default();
        let months: BTreeSet<&String> = present.iter().chain(&needed).filter(|root| root.contains('-')).collect();
        let (mut containers, mut missing) = (Vec::new(), Vec::new());
        for root in std::iter::once("log").chain(months.into_iter().map(String::as_str)) {
            let report = self.check_container(root).await;
            if report.reasons.contains(&"container-missing") {
                missing.push(report.container);
            } else {
                containers.push(report);
            }
        }
        Report { containers, missing, is_whole, has_management: self.management.is_some() }
    }

    async fn check_container(&self, root: &str) -> ContainerReport {
        let years = self.retention_years + if root == "log" { LOG_YEARS } else { 0 };
        // Rounded up: a year in four has a day more.
        let days_wanted = years * 365 + years.div_ceil(4) + SEGMENT_DAYS;
        let container = self.containers.name(root);
        let mut report = ContainerReport::new(container.clone(), days_wanted);
        let properties = match self.service.blob_container_client(&container).get_properties(None).await {
            Ok(properties) => properties,
            Err(error) => return report.because(Verdict::Unchecked, unreadable(&error)),
        };
        report.has_policy = properties.has_immutability_policy().unwrap_or_default();
        report.has_hold = properties.has_legal_hold().unwrap_or_default();
        report.has_versions = properties.is_immutable_storage_with_versioning_enabled().unwrap_or_default();
        if let Some(management) = &self.management {
            if let Some(policy) = management.policy(&container).await {
                report.is_locked = Some(policy.is_locked);
                report.days = policy.days;
            }
            report.excess = management.excessive_rights(&container).await;
            let is_too_large = report.excess.as_ref().is_some_and(|excess| !excess.is_empty());
            report.reasons.extend(is_too_large.then_some("rights-too-large"));
        }
        if report.has_policy == Some(false) && report.has_hold == Some(false) {
            return report.because(Verdict::NotEnforced, "no-policy");
        }
        let canary = Canary { blob: self.service.blob_client(&container, CANARY) };
        self.try_changes(&canary, report).await
    }

    async fn try_changes(&self, canary: &Canary, mut report: ContainerReport) -> ContainerReport {
        if let Err(error) = canary.place().await {
            let denied = Refusal::of(&error).is_some_and(|refusal| matches!(refusal.status, 401 | 403));
            return report.because(Verdict::Unchecked, if denied { "canary-denied" } else { "canary-unavailable" });
        }
        report.overwrite = attempt(canary.overwrite().await);
        report.delete = attempt(canary.delete().await);
        if report.delete == Attempt::Allowed && canary.place().await.is_ok() && report.overwrite == Attempt::Refused {
            // A canary whose own interval is over may be deleted, by right. A new one may not.
            report.delete = attempt(canary.delete().await);
            if report.delete == Attempt::Allowed {
                let _ = canary.place().await;
            }
        }
        let attempts = [report.overwrite, report.delete];
        for (attempt, reason) in attempts.into_iter().zip(["overwrite-allowed", "delete-allowed"]) {
            report.reasons.extend((attempt == Attempt::Allowed).then_some(reason));
        }
        for (attempt, reason) in [(Attempt::Denied, "attempt-denied"), (Attempt::Unknown, "attempt-unknown")] {
            report.reasons.extend(attempts.contains(&attempt).then_some(reason));
        }
        report.verdict = match attempts {
            _ if attempts.contains(&Attempt::Allowed) => Verdict::NotEnforced,
            [Attempt::Refused, Attempt::Refused] => Verdict::Enforced,
            _ => Verdict::Unchecked,
        };
        if report.is_locked == Some(false) {
            report.reasons.push("policy-unlocked");
        }
        if report.days.is_some_and(|days| days < report.days_wanted) {
            report.reasons.push("interval-short");
        }
        report
    }
}

/// The canary of a container: the only blob that anything in this crate tries to overwrite or delete.
struct Canary {
    blob: BlobClient,
}

impl Canary {
    /// Makes sure that there is one.
    async fn place(&self) -> Result<(), Error> {
        match self.write(Some(Etag::from("*"))).await {
            Err(error) if Refusal::of(&error).is_some_and(|refusal| refusal.is_taken()) => Ok(()),
            other => other,
        }
    }

    async fn overwrite(&self) -> Result<(), Error> {
        self.write(None).await
    }

    async fn delete(&self) -> Result<(), Error> {
        self.blob.delete(None).await.map(drop)
    }

    async fn write(&self, if_none_match: Option<Etag>) -> Result<(), Error> {
        let options = BlockBlobClientUploadOptions {
            if_none_match,
            parallel: NonZero::new(1),
            partition_size: NonZero::new(SONG.len() as u64 + 1),
            ..BlockBlobClientUploadOptions::default()
        };
        let client = self.blob.block_blob_client();
        client.upload(RequestContent::from(SONG.to_vec()), Some(options)).await.map(drop)
    }
}

fn attempt(result: Result<(), Error>) -> Attempt {
    let Err(error) = result else { return Attempt::Allowed };
    match Refusal::of(&error) {
        Some(refusal) if refusal.is_immutable() => Attempt::Refused,
        Some(refusal) if matches!(refusal.status, 401 | 403) => Attempt::Denied,
        _ => Attempt::Unknown,
    }
}

fn unreadable(error: &Error) -> &'static str {
    match Refusal::of(error) {
        Some(refusal) if refusal.is_without_container() || refusal.status == 404 => "container-missing",
        Some(refusal) if matches!(refusal.status, 401 | 403) => "denied",
        _ => "unavailable",
    }
}

/// The month of `now` in UTC and the `ahead` after it, as containers are called.
fn coming(now: Timestamp, ahead: u32) -> BTreeSet<String> {
    let mut first: Date = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let mut months = BTreeSet::new();
    for _ in 0..=ahead {
        months.insert(format!("{:04}-{:02}", first.year(), first.month()));
        first = first.last_of_month().tomorrow().unwrap_or(first);
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_months_that_come_cross_a_year() {
        let months = coming("2026-11-30T23:59:59Z".parse().unwrap(), 2);
        assert_eq!(months.into_iter().collect::<Vec<_>>(), ["2026-11", "2026-12", "2027-01"]);
    }
}
