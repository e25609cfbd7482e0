//! How the tenant's own objects are read: its organization and its domains.
//!
//! Must never know: how another collection is read.

use super::recipe::{How, List, Part, Recipe};
use crate::graph::Bucket;

const fn plain(path: &'static str) -> List {
    List { path, part: Part::All, top: None, select: &[], extra: &[], guarded: &[], permission: None }
}

/// The organization: a list of one.
pub(super) const ORGANIZATION: Recipe = Recipe {
    collection: "organization",
    how: How::Lists { feed: None, lists: &[plain("/v1.0/organization")], count: None },
    permission: "Organization.Read.All",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[],
};

/// Domains; their id is their name.
pub(super) const DOMAIN: Recipe = Recipe {
    collection: "domain",
    how: How::Lists { feed: None, lists: &[plain("/v1.0/domains")], count: None },
    permission: "Domain.Read.All",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[],
};
