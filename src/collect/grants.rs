//! How delegated permission grants are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Recipe};

/// Delegated grants: one list over the tenant and a feed; nothing below Directory.Read.All reads them.
pub(super) const OAUTH2_PERMISSION_GRANT: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/oauth2PermissionGrants/delta", select: &[], guarded: &[] }),
        lists: &[List::plain("/v1.0/oauth2PermissionGrants")],
        count: None,
    },
    ..Recipe::listed("oauth2PermissionGrant", &[], "Directory.Read.All")
};
