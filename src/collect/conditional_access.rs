//! How Conditional Access policies are read, and what they refer to.
//!
//! Must never know: how another collection is read.

use super::recipe::{List, Part, Recipe};
use crate::graph::Bucket;

const fn conditional_access(collection: &'static str, lists: &'static [List]) -> Recipe {
    Recipe {
        bucket: Bucket::ConditionalAccess,
        unknown_enum_members: true,
        ..Recipe::listed(collection, lists, "Policy.Read.All")
    }
}

/// Policies. v1.0 doesn't list those that use features of the beta (EntraExporter#35): both are read, and beta's word
/// counts only for what v1.0 leaves out.
pub(super) const CONDITIONAL_ACCESS_POLICY: Recipe = conditional_access(
    "conditionalAccessPolicy",
    &[
        List::plain("/v1.0/identity/conditionalAccess/policies"),
        List { part: Part::Beta, ..List::plain("/beta/identity/conditionalAccess/policies") },
    ],
);

/// Named locations.
pub(super) const NAMED_LOCATION: Recipe =
    conditional_access("namedLocation", &[List::plain("/v1.0/identity/conditionalAccess/namedLocations")]);

/// Authentication contexts, by which applications ask for a policy.
pub(super) const AUTHENTICATION_CONTEXT: Recipe = conditional_access(
    "authenticationContextClassReference",
    &[List::plain("/v1.0/identity/conditionalAccess/authenticationContextClassReferences")],
);
