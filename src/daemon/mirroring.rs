//! Keeps the second copy in step.
//!
//! Must never know: how anything is copied; `archive::copy` does.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::health::Mirrored;
use super::{Kind, Tenant};
use crate::archive::copy::{Position, step};
use crate::capture::{mirrored_head, remember_mirror};
use crate::clock::Clock;
use crate::store::Store;

/// A copy that is in step is looked at this often all the same: checkpoints and tiles come after their entry.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(30);

/// After a failure it waits so long.
const WAIT: SignedDuration = SignedDuration::from_mins(5);

/// A copy that lags for less is no alarm.
const PATIENCE: SignedDuration = SignedDuration::from_hours(2);

/// The copy of one archive.
#[derive(Debug)]
pub(super) struct Mirroring {
    from: Arc<dyn Store>,
    to: Arc<dyn Store>,
    position: Position,
    tried: Option<Timestamp>,
    failed: bool,
    /// When it was in step last; at first, when this service began.
    in_step: Timestamp,
    said: Option<Timestamp>,
}

impl Mirroring {
    pub fn open(from: Arc<dyn Store>, to: Arc<dyn Store>, tenant: &Tenant, now: Timestamp) -> Mirroring {
        let position = mirrored_head(&tenant.directory).as_ref().map_or_else(Position::new, Position::resume);
        Mirroring { from, to, position, tried: None, failed: false, in_step: now, said: None }
    }

    /// Copies what is new, if it is time to.
    pub async fn turn(&mut self, tenant: &Tenant, clock: &dyn Clock) {
        let now = clock.now();
        let head = tenant.locked().last.as_ref().map_or(0, |last| last.seq + 1);
        let lag = head.saturating_sub(self.position.size());
        let wait = match (self.failed, lag) {
            (true, _) => WAIT,
            (false, 0) => LOOK_EVERY,
            (false, _) => SignedDuration::ZERO,
        };
        if self.tried.is_some_and(|tried| now >= tried && now.duration_since(tried) < wait) {
            return;
        }
        self.tried = Some(now);
        let result = step(&*self.from, &*self.to, &mut self.position, |_, _| ()).await;
        if let Some(head) = self.position.remembered()
            && let Err(error) = remember_mirror(&tenant.directory, &head)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the next service looks through the whole copy");
        }
        let lag = head.saturating_sub(self.position.size());
        let now = clock.now();
        let mut text = String::new();
        self.failed = match &result {
            Ok(report) if report.left_out.is_empty() => false,
            Ok(report) => {
                text = format!("{} files aren't what was committed and were left out", report.left_out.len());
                true
            }
            Err(error) => {
                text = super::chain(error);
                true
            }
        };
        if !self.failed && lag == 0 {
            (self.in_step, self.said) = (now, Some(now));
        }
        let is_integrity = result.as_ref().is_err_and(|error| error.is_integrity())
            || result.as_ref().is_ok_and(|report| !report.left_out.is_empty());
        let is_behind = is_integrity || now.duration_since(self.in_step) > PATIENCE;
        tenant.update(|health| health.mirrored = Some(Mirrored { at: self.said, lag }));
        tenant.alarm(|book| book.set(Kind::MirrorBehind, "", is_behind, now, format!("{lag} entries: {text}")));
    }
}
