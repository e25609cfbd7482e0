//! How a tenant's service is doing, for whoever asks: probes, metrics, `tenure status`.
//!
//! Must never know: who asks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alarm::{Active, Kind};
use crate::archive::entry::Body;

/// What a tenant's service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It hasn't opened its archive yet.
    Opening,
    /// It waits for the next slot.
    Waiting,
    /// It captures.
    Capturing,
    /// It has stopped.
    Stopped,
}

impl Doing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Doing::Opening => "opening",
            Doing::Waiting => "waiting",
            Doing::Capturing => "capturing",
            Doing::Stopped => "stopped",
        }
    }
}

/// A committed capture, as much of it as is asked for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub seq: u64,
    /// The slot that it fills.
    pub slot: Option<Timestamp>,
    /// The instant for which it stands.
    pub time: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Objects in the state after it.
    pub objects: u64,
    /// Links in the state after it.
    pub links: u64,
    /// Rows of coverage by status.
    pub rows: BTreeMap<&'static str, u64>,
    /// The service's clock minus ours, in milliseconds.
    pub skew_ms: i64,
}

impl Last {
    /// Of an entry.
    pub fn of(body: &Body) -> Last {
        let mut rows = BTreeMap::new();
        for row in body.cover.iter().flatten() {
            *rows.entry(row.st.as_str()).or_default() += 1;
        }
        let took = body.t0.zip(body.t1).map_or(SignedDuration::ZERO, |(t0, t1)| t1.duration_since(t0));
        Last {
            seq: body.seq,
            slot: body.slot,
            time: body.query_time(),
            took_ms: took.as_millis().try_into().unwrap_or(0),
            objects: body.state.objects,
            links: body.state.links,
            rows,
            skew_ms: body.skew_ms.unwrap_or(0),
        }
    }
}

/// What was counted since the service began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Captures committed by this service.
    pub captures: u64,
    /// Captures that another writer committed first.
    pub taken: u64,
    /// Captures that failed.
    pub failures: u64,
    /// Slots declared gaps by this service.
    pub gaps: u64,
    /// Requests to Graph.
    pub requests: u64,
    /// Resource units of Graph.
    pub units: u64,
    /// Requests that Graph turned away.
    pub throttled: u64,
    /// Bytes of packs that were committed.
    pub bytes: u64,
}

/// What was found out about the storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// When.
    pub at: Timestamp,
    /// Whether everything was checked and nothing is wrong; `None` where the kind of store has nothing to check.
    pub is_sound: Option<bool>,
    /// All of it.
    pub detail: Value,
}

/// How far the rolling verification has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Every byte was read and checked since then.
    pub since: Option<Timestamp>,
    /// When the last step was done.
    pub step_at: Option<Timestamp>,
    /// Findings of all steps since the service began.
    pub findings: u64,
}

/// How far the second copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// When it was in step last.
    pub at: Option<Timestamp>,
    /// Entries that it lacks.
    pub lag: u64,
}

/// How a tenant's service is doing.
#[derive(Debug, Clone)]
pub struct Health {
    /// The tenant.
    pub tenant: String,
    /// When the service began.
    pub started: Timestamp,
    /// What it is doing.
    pub doing: Doing,
    /// Since when.
    pub since: Timestamp,
    /// When it was last seen to get on: while it captures, when a page arrived.
    pub beat: Timestamp,
    /// How long it may go without getting on.
    pub patience: SignedDuration,
    /// The last capture known, by whomever.
    pub last: Option<Last>,
    /// The next slot.
    pub next: Option<Timestamp>,
    /// What went wrong last, if it hasn't gone well since.
    pub trouble: Option<String>,
    /// What was counted.
    pub totals: Totals,
    /// What was found out about the storage.
    pub storage: Option<Storage>,
    /// The rolling verification; `None` where it is turned off.
    pub verified: Option<Verified>,
    /// The second copy; `None` where there is none.
    pub mirrored: Option<Mirrored>,
    /// The conditions that hold.
    pub alarms: Vec<Active>,
    /// Notices since the service began, by kind.
    pub notices: BTreeMap<Kind, u64>,
    /// Notices that wait for a receiver.
    pub waiting: u64,
}

/// A service that waits looks around at least so often.
pub const IDLE_PATIENCE: SignedDuration = SignedDuration::from_mins(5);

impl Health {
    /// Of a service that begins.
    pub fn new(tenant: &str, now: Timestamp) -> Health {
        Health {
            tenant: tenant.to_owned(),
            started: now,
            doing: Doing::Opening,
            since: now,
            beat: now,
            patience: IDLE_PATIENCE,
            last: None,
            next: None,
            trouble: None,
            totals: Totals::default(),
            storage: None,
            verified: None,
            mirrored: None,
            alarms: Vec::new(),
            notices: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Whether it gets on: what a supervisor restarts it for if not.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.doing == Doing::Stopped || now.duration_since(self.beat) <= self.patience
    }

    /// Whether it has its archive open and can capture.
    pub fn is_ready(&self) -> bool {
        matches!(self.doing, Doing::Waiting | Doing::Capturing)
    }

    /// The stable form for programs: members are added, never renamed.
    pub fn to_json(&self) -> Value {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        json!({
            "tenant": self.tenant,
            "started": self.started.to_string(),
            "doing": self.doing.as_str(),
            "since": self.since.to_string(),
            "next_slot": time(self.next),
            "trouble": self.trouble,
            "last_capture": self.last.as_ref().map(last_to_json),
            "totals": totals_to_json(&self.totals),
            "storage": self.storage.as_ref().map(|storage| {
                json!({ "at": storage.at.to_string(), "sound": storage.is_sound, "detail": storage.detail })
            }),
            "verification": self.verified.map(|verified| {
                let (since, step_at) = (time(verified.since), time(verified.step_at));
                json!({ "every_byte_since": since, "step_at": step_at, "findings": verified.findings })
            }),
            "mirror": self.mirrored.map(|mirrored| json!({ "in_step_at": time(mirrored.at), "entries_behind": mirrored.lag })),
            "alarms": self.alarms.iter().map(alarm_to_json).collect::<Vec<_>>(),
            "notices_waiting": self.waiting,
        })
    }
}

fn last_to_json(last: &Last) -> Value {
    json!({
        "seq": last.seq,
        "slot": last.slot.map(|slot| slot.to_string()),
        "time": last.time.to_string(),
        "took_ms": last.took_ms,
        "objects": last.objects,
        "links": last.links,
        "rows": last.rows,
        "skew_ms": last.skew_ms,
    })
}

fn totals_to_json(totals: &Totals) -> Value {
    json!({
        "captures": totals.captures,
        "taken_by_others": totals.taken,
        "failures": totals.failures,
        "gap_slots": totals.gaps,
        "requests": totals.requests,
        "units": totals.units,
        "throttled": totals.throttled,
        "pack_bytes": totals.bytes,
    })
}

fn alarm_to_json(alarm: &Active) -> Value {
    json!({
        "kind": alarm.kind.as_str(),
        "severity": alarm.kind.severity().as_str(),
        "subject": alarm.subject,
        "since": alarm.since.to_string(),
        "text": alarm.text,
    })
}
