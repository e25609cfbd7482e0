//! Metrics in the text format that Prometheus reads (OpenMetrics 1.0).
//!
//! Must never know: where the figures come from.
//!
//! Made anew for each reader from [`Health`]: nothing is registered anywhere, so that nothing can disagree with it.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::api::Api;
use crate::daemon::{Doing, Health, Kind};

/// What the format is called.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Number = Family<Labels, Gauge<f64, AtomicU64>>;
type Count = Family<Labels, Counter>;

/// The metrics of all tenants.
pub(super) fn text(tenants: impl Iterator<Item = Health>, api: Option<&Api>) -> String {
    let mut registry = Registry::with_prefix("tenure");
    let metrics = Metrics::registered(&mut registry);
    tenants.for_each(|health| metrics.fill(&health));
    if let Some(api) = api {
        metrics.fill_api(api);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string never fails");
    text
}

#[derive(Default)]
struct Metrics {
    last_capture: Number,
    last_took: Number,
    next_slot: Number,
    objects: Number,
    links: Number,
    skew: Number,
    rows: Number,
    capturing: Number,
    ready: Number,
    captures: Count,
    gaps: Count,
    requests: Count,
    units: Count,
    throttled: Count,
    bytes: Count,
    verified: Number,
    findings: Count,
    sound: Number,
    mirror: Number,
    alarms: Number,
    notices: Count,
    waiting: Number,
    web_requests: Count,
    web_denied: Count,
    web_questions: Gauge<f64, AtomicU64>,
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

impl Metrics {
    fn registered(registry: &mut Registry) -> Metrics {
        let m = Metrics::default();
        let second = || Unit::Seconds;
        let last = "The instant for which the last capture stands";
        registry.register_with_unit("last_capture_timestamp", last, second(), m.last_capture.clone());
        registry.register_with_unit(
            "capture_duration",
            "How long the last capture took",
            second(),
            m.last_took.clone(),
        );
        registry.register_with_unit(
            "next_slot_timestamp",
            "When the next capture is due",
            second(),
            m.next_slot.clone(),
        );
        registry.register("objects", "Objects in the state after the last capture", m.objects.clone());
        registry.register("links", "Links in the state after the last capture", m.links.clone());
        let skew = "The service's clock minus ours, as the last capture saw it";
        registry.register_with_unit("clock_skew", skew, second(), m.skew.clone());
        registry.register("coverage_rows", "Rows of coverage of the last capture, by status", m.rows.clone());
        registry.register("capturing", "Whether a capture is under way", m.capturing.clone());
        registry.register("ready", "Whether the archive is open", m.ready.clone());
        registry.register("captures", "Captures by what became of them: committed, taken, failed", m.captures.clone());
        registry.register("gaps", "Gap entries that were written", m.gaps.clone());
        registry.register("graph_requests", "Requests to Graph", m.requests.clone());
        registry.register("graph_units", "Resource units that Graph charged", m.units.clone());
        registry.register("graph_throttled", "Requests that Graph turned away (429)", m.throttled.clone());
        registry.register_with_unit("pack", "Size of the packs that were committed", Unit::Bytes, m.bytes.clone());
        let verified = "Every byte of the archive was read and checked since this instant";
        registry.register_with_unit("verified_timestamp", verified, second(), m.verified.clone());
        registry.register("verification_findings", "What verification found wrong", m.findings.clone());
        let sound = "Whether the storage keeps everybody from changing what was written (-1: it has no such thing)";
        registry.register("storage_sound", sound, m.sound.clone());
        registry.register("mirror_entries_behind", "Entries that the second copy lacks", m.mirror.clone());
        registry.register("alarms", "Conditions that hold, by kind", m.alarms.clone());
        registry.register("alarm_notices", "Alarms raised and cleared, and events, by kind", m.notices.clone());
        registry.register("alarm_notices_waiting", "Notices that wait for the receiver", m.waiting.clone());
        let requests = "Requests to the interface, by operation and status";
        registry.register("web_requests", requests, m.web_requests.clone());
        let denied = "Requests that were turned away, by reason: strangers, and known callers without the role";
        registry.register("web_denied", denied, m.web_denied.clone());
        registry.register("web_questions", "Questions being answered", m.web_questions.clone());
        m
    }

    fn fill_api(&self, api: &Api) {
        for ((name, what), count) in api.counts.lock().expect("no code panics while it counts").iter() {
            let (family, labels) = match *name {
                "denied" => (&self.web_denied, vec![("reason", what.clone())]),
                name => (&self.web_requests, vec![("operation", name.to_owned()), ("status", what.clone())]),
            };
            family.get_or_create(&labels).inc_by(*count);
        }
        self.web_questions.set(api.under_way.load(Ordering::Relaxed) as f64);
    }

    fn fill(&self, health: &Health) {
        let own = || vec![("tenant", health.tenant.clone())];
        let with = |name: &'static str, value: &str| vec![("tenant", health.tenant.clone()), (name, value.to_owned())];
        let set = |family: &Number, value: f64| {
            family.get_or_create(&own()).set(value);
        };
        let flag = |family: &Number, value: bool| set(family, f64::from(u8::from(value)));
        if let Some(last) = &health.last {
            set(&self.last_capture, seconds(last.time));
            set(&self.last_took, last.took_ms as f64 / 1000.0);
            set(&self.objects, last.objects as f64);
            set(&self.links, last.links as f64);
            set(&self.skew, last.skew_ms as f64 / 1000.0);
            for status in ["complete", "rolling", "notdue", "partial", "carried", "absent"] {
                let rows = last.rows.get(status).copied().unwrap_or(0);
                self.rows.get_or_create(&with("status", status)).set(rows as f64);
            }
        }
        if let Some(next) = health.next {
            set(&self.next_slot, seconds(next));
        }
        flag(&self.capturing, health.doing == Doing::Capturing);
        flag(&self.ready, health.is_ready());
        let totals = &health.totals;
        for (result, count) in [("committed", totals.captures), ("taken", totals.taken), ("failed", totals.failures)] {
            self.captures.get_or_create(&with("result", result)).inc_by(count);
        }
        let pairs = [(&self.gaps, totals.gaps), (&self.requests, totals.requests), (&self.units, totals.units)];
        for (family, count) in
            pairs.into_iter().chain([(&self.throttled, totals.throttled), (&self.bytes, totals.bytes)])
        {
            family.get_or_create(&own()).inc_by(count);
        }
        if let Some(verified) = health.verified {
            if let Some(since) = verified.since {
                set(&self.verified, seconds(since));
            }
            self.findings.get_or_create(&own()).inc_by(verified.findings);
        }
        if let Some(storage) = &health.storage {
            set(&self.sound, storage.is_sound.map_or(-1.0, |sound| f64::from(u8::from(sound))));
        }
        if let Some(mirrored) = health.mirrored {
            set(&self.mirror, mirrored.lag as f64);
        }
        for kind in Kind::ALL {
            let holding = health.alarms.iter().filter(|alarm| alarm.kind == *kind).count();
            self.alarms.get_or_create(&with("kind", kind.as_str())).set(holding as f64);
            let notices = health.notices.get(kind).copied().unwrap_or(0);
            self.notices.get_or_create(&with("kind", kind.as_str())).inc_by(notices);
        }
        set(&self.waiting, health.waiting as f64);
    }
}
