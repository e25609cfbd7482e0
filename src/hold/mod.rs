//! What keeps history and what ends it: retention, holds, and the end of segments that nothing keeps any more.
//!
//! Must never know: what the history says. Segments, names and times are all it sees.
//!
//! A plan is a value, made before anything is done and confirmed by its hash. What is done follows `docs/format.md`,
//! section 6, "Holds and ends": `expire` is committed, the log is read again, files go, `expired` is committed. A crash
//! at any point leaves what the next run completes.

mod end;
mod plan;
mod retention;

pub use end::{Ended, ExpireError, Expirer, Outcome, Stop};
pub use plan::{Fate, Plan, Row, Scope};
pub use retention::{PRESETS, Preset, Retention};
