//! How the service's own records are read: what was done in the directory, and Microsoft's snapshots and recovery jobs.
//!
//! Must never know: how another collection is read.

use super::recipe::{How, List, Recipe};
use crate::graph::Bucket;

/// Directory audit records. They arrive late and not in order (learn, reference-reports-latencies); the service keeps
/// them 30 days with P1 or P2, 7 days without.
pub(super) const DIRECTORY_AUDIT: Recipe = Recipe {
    how: How::Events { path: "/v1.0/auditLogs/directoryAudits", time: "activityDateTime", top: 999 },
    bucket: Bucket::Reports,
    ..Recipe::listed("directoryAudit", &[], "AuditLog.Read.All")
};

/// Microsoft's own snapshots: one a day, kept some days.
pub(super) const RECOVERY_SNAPSHOT: Recipe = Recipe {
    unknown_enum_members: true,
    ..Recipe::listed("recoverySnapshot", &[List::plain("/v1.0/directory/recovery/snapshots")], "EntraBackup.Read.All")
};

/// Microsoft's own recovery jobs, previews among them. What a job writes is in no change feed, so that a job is the only
/// trace of it (learn, entra-backup-recovery overview).
pub(super) const RECOVERY_JOB: Recipe = Recipe {
    unknown_enum_members: true,
    ..Recipe::listed("recoveryJob", &[List::plain("/v1.0/directory/recovery/jobs")], "EntraBackup.Read.All")
};
