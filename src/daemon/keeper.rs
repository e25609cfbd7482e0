//! What looks after the archive beside the captures: whether the storage protects it, whether every byte is still what was
//! committed, and the second copy.
//!
//! Must never know: how any of it is done; it decides when, and tells what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::health::Storage;
use super::mirroring::Mirroring;
use super::verification::Verification;
use super::{Kind, Tenant};
use crate::capture::Stop;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::azure::guard::{Guard, Report, Verdict};

/// How often the storage's protection is tried.
const GUARD_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// So many months ahead have to be there.
pub const MONTHS_AHEAD: u32 = 2;

/// It looks at the clock at least so often.
const LOOK: SignedDuration = SignedDuration::from_mins(1);

/// What is looked after.
#[derive(Debug)]
pub struct Tasks {
    /// The archive.
    pub store: Arc<dyn Store>,
    /// Whoever tries the storage's protection; `None` where the kind of store has none.
    pub guard: Option<Guard>,
    /// Within how long every byte is to be verified again; `None`: never.
    pub verify_within: Option<SignedDuration>,
    /// The second copy.
    pub mirror: Option<Arc<dyn Store>>,
}

/// Looks after one tenant's archive.
#[derive(Debug)]
pub struct Keeper {
    tenant: Arc<Tenant>,
    guard: Option<Guard>,
    verification: Option<Verification>,
    mirroring: Option<Mirroring>,
    clock: Arc<dyn Clock>,
    stop: Stop,
    guarded: Option<Timestamp>,
}

impl Keeper {
    /// A keeper of `tenant`'s archive.
    pub fn new(tenant: Arc<Tenant>, tasks: Tasks, clock: Arc<dyn Clock>, stop: Stop) -> Keeper {
        let now = clock.now();
        let Tasks { store, guard, verify_within, mirror } = tasks;
        let verification = verify_within.map(|span| Verification::open(store.clone(), &tenant.directory, span, now));
        let mirroring = mirror.map(|copy| Mirroring::open(store, copy, &tenant, now));
        Keeper { tenant, guard, verification, mirroring, clock, stop, guarded: None }
    }

    /// Looks after it until it is asked to stop.
    pub async fn run(&mut self) {
        while !self.stop.is_requested() {
            let next = self.turn().await;
            let wait = next.duration_since(self.clock.now()).clamp(SignedDuration::from_secs(1), LOOK);
            let sleep = self.clock.sleep(wait.try_into().unwrap_or(Duration::from_secs(60)));
            tokio::select! {
                () = sleep => {}
                () = self.stop.requested() => {}
            }
        }
    }

    /// Does what is due. Returns when to look again.
    pub async fn turn(&mut self) -> Timestamp {
        let now = self.clock.now();
        let is_due = |last: Option<Timestamp>, every: SignedDuration| {
            last.is_none_or(|last| now.duration_since(last) >= every || now < last)
        };
        if is_due(self.guarded, GUARD_EVERY) {
            self.guard(now).await;
            self.guarded = Some(now);
        }
        if let Some(mirroring) = &mut self.mirroring {
            mirroring.turn(&self.tenant, &*self.clock).await;
        }
        if let Some(verification) = &mut self.verification
            && verification.turn(&self.tenant, &*self.clock, &self.stop).await
        {
            self.tenant.leave_word();
        }
        now.saturating_add(LOOK).unwrap_or(Timestamp::MAX)
    }

    /// Tries the storage's protection.
    async fn guard(&mut self, now: Timestamp) {
        let Some(guard) = &self.guard else {
            let detail = serde_json::json!({
                "kind": "filesystem",
                "text": "a directory keeps nobody who may write there from changing it; what was changed, verification finds",
            });
            self.tenant.update(|health| health.storage = Some(Storage { at: now, is_sound: None, detail }));
            self.tenant.leave_word();
            return;
        };
        let report = guard.check(now, MONTHS_AHEAD).await;
        let (unprotected, unchecked) = sort(&report);
        let text = "make it, with its policy, before its time comes".to_owned();
        let missing = report.missing.iter().map(|name| (name.clone(), text.clone())).collect();
        self.tenant.alarm(|book| {
            book.set_all(Kind::StorageUnprotected, &unprotected, now);
            book.set_all(Kind::StorageUnchecked, &unchecked, now);
            book.set_all(Kind::MonthMissing, &missing, now);
        });
        let storage = Storage { at: now, is_sound: Some(report.is_sound()), detail: report.to_json() };
        self.tenant.update(|health| health.storage = Some(storage));
        self.tenant.leave_word();
    }
}

/// Containers that aren't protected, and those of which it isn't known, each with the reasons.
fn sort(report: &Report) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut unprotected, mut unchecked) = (BTreeMap::new(), BTreeMap::new());
    for one in &report.containers {
        let weak = |reason: &str| matches!(reason, "policy-unlocked" | "interval-short" | "rights-too-large");
        let is_weak = one.verdict == Verdict::NotEnforced || one.reasons.iter().any(|reason| weak(reason));
        let reasons = one.reasons.join(", ");
        if is_weak {
            unprotected.insert(one.container.clone(), reasons);
        } else if one.verdict == Verdict::Unchecked && !report.missing.contains(&one.container) {
            unchecked.insert(one.container.clone(), reasons);
        }
    }
    (unprotected, unchecked)
}
