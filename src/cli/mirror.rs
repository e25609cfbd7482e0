//! Brings the copy of `[store.mirror]` in step after a capture, and remembers how far it has come.
//!
//! Must never know: what was captured. A copy that fails is told, and is never a failure of what was committed.

use super::failure::Failure;
use super::session::Session;
use super::state;
use super::storage::{self, Purpose};
use crate::archive::copy::{CopyReport, Position, step};
use crate::config::Config;
use crate::store::Store;

/// One step of the configured mirror; `None` where there is none.
///
/// # Errors
/// What kept it from going on. What was copied stays, and the next step goes on after it.
pub async fn bring_in_step(
    config: &Config,
    store: &dyn Store,
    mirror: &dyn Store,
) -> (Position, Result<CopyReport, Failure>) {
    let remembered = state::mirrored_head(&config.state_path);
    let mut position = remembered.as_ref().map_or_else(Position::new, Position::resume);
    let result = step(store, mirror, &mut position, |_, _| ()).await.map_err(Failure::from);
    if let Some(head) = position.remembered() {
        // Without it the next step looks at every name once more.
        let _ = state::remember_mirror(&config.state_path, &head);
    }
    (position, result)
}

/// After something was committed, so that the archive has `head` entries. Says what keeps the mirror from being in step.
pub(super) async fn follow(config: &Config, store: &dyn Store, head: u64, session: &mut Session<'_>) {
    let mirror = match storage::mirror(config, &session.clock, Purpose::Write) {
        Ok(Some(mirror)) => mirror,
        Ok(None) => return,
        Err(failure) => return session.warn(&format!("the mirror can't be opened: {}", failure.chain().join(": "))),
    };
    let (position, result) = bring_in_step(config, store, &*mirror).await;
    let place = config.mirror.as_ref().map(ToString::to_string).unwrap_or_default();
    match result {
        Ok(report) => {
            for left in &report.left_out {
                let (name, word) = (&left.name, left.reason.as_str());
                session.warn(&format!("the mirror at {place} has no {name}: it is {word} in the archive"));
            }
        }
        Err(failure) => {
            let lag = head.saturating_sub(position.size());
            let entries = super::render::count(lag, "entry", "entries");
            let reason = failure.chain().join(": ");
            session.warn(&format!(
                "the mirror at {place} lags by {entries}: {reason}; the archive itself has them, and the next capture tries again"
            ));
        }
    }
}
