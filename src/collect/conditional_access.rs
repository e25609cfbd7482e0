//! How Conditional Access policies and named locations are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{How, List, Part, Recipe};
use crate::graph::Bucket;

const fn plain(path: &'static str, part: Part) -> List {
    List { path, part, top: None, select: &[], extra: &[], guarded: &[], permission: None }
}

/// Policies. v1.0 doesn't list those that use features of the beta (EntraExporter#35): both are read, and beta's word
/// counts only for what v1.0 leaves out.
pub(super) const CONDITIONAL_ACCESS_POLICY: Recipe = Recipe {
    collection: "conditionalAccessPolicy",
    how: How::Lists {
        feed: None,
        lists: &[
            plain("/v1.0/identity/conditionalAccess/policies", Part::All),
            plain("/beta/identity/conditionalAccess/policies", Part::Beta),
        ],
        count: None,
    },
    permission: "Policy.Read.All",
    bucket: Bucket::ConditionalAccess,
    unknown_enum_members: true,
    relations: &[],
};

/// Named locations.
pub(super) const NAMED_LOCATION: Recipe = Recipe {
    collection: "namedLocation",
    how: How::Lists {
        feed: None,
        lists: &[plain("/v1.0/identity/conditionalAccess/namedLocations", Part::All)],
        count: None,
    },
    permission: "Policy.Read.All",
    bucket: Bucket::ConditionalAccess,
    unknown_enum_members: true,
    relations: &[],
};
