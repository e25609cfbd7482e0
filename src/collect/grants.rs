//! How delegated permission grants and directory role assignments are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Part, Recipe};
use crate::graph::Bucket;

const fn plain(path: &'static str) -> List {
    List { path, part: Part::All, top: None, select: &[], extra: &[], guarded: &[], permission: None }
}

/// Delegated grants: one list over the tenant and a feed; nothing below Directory.Read.All reads them.
pub(super) const OAUTH2_PERMISSION_GRANT: Recipe = Recipe {
    collection: "oauth2PermissionGrant",
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/oauth2PermissionGrants/delta", select: &[], guarded: &[] }),
        lists: &[plain("/v1.0/oauth2PermissionGrants")],
        count: None,
    },
    permission: "Directory.Read.All",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[],
};

/// Role definitions, built-in and custom. No feed.
pub(super) const UNIFIED_ROLE_DEFINITION: Recipe = Recipe {
    collection: "unifiedRoleDefinition",
    how: How::Lists { feed: None, lists: &[plain("/v1.0/roleManagement/directory/roleDefinitions")], count: None },
    permission: "RoleManagement.Read.Directory",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[],
};

/// Role assignments, active ones of PIM among them. No feed.
pub(super) const UNIFIED_ROLE_ASSIGNMENT: Recipe = Recipe {
    collection: "unifiedRoleAssignment",
    how: How::Lists { feed: None, lists: &[plain("/v1.0/roleManagement/directory/roleAssignments")], count: None },
    permission: "RoleManagement.Read.Directory",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[],
};
