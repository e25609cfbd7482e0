//! The form in which a collection says how it is read.
//!
//! Must never know: any particular collection.

use crate::graph::Bucket;

/// How one collection is read.
#[derive(Debug)]
pub struct Recipe {
    /// Its name in the model's table.
    pub collection: &'static str,
    /// Where its objects come from.
    pub how: How,
    /// The least application permission for it.
    pub permission: &'static str,
    /// The limit of Graph's that its requests count against.
    pub bucket: Bucket,
    /// Whether its enums have members that are shown only on demand.
    pub unknown_enum_members: bool,
    /// How the relations of its objects are read.
    pub relations: &'static [RelationRead],
}

/// Where objects come from.
#[derive(Debug)]
pub enum How {
    /// From lists over the whole tenant, and from a change feed where there is one.
    Lists {
        /// The change feed.
        feed: Option<Feed>,
        /// The lists that together hold every object.
        lists: &'static [List],
        /// The address of the service's own count of the first list.
        count: Option<&'static str>,
    },
    /// From a list under each object of another collection: there is none over the whole tenant.
    Under {
        /// The other collection.
        parent: &'static str,
        /// The parent's relation whose targets these objects are.
        relation: &'static str,
        /// The address, with `{id}` for the parent's id.
        path: &'static str,
    },
}

/// A change feed (`/delta`).
#[derive(Debug)]
pub struct Feed {
    /// Its address.
    pub path: &'static str,
    /// What to select; links are selected through the relations. Empty for a feed that is read without `$select`.
    pub select: &'static [&'static str],
    /// Those of `select` that need a permission or licence beyond the collection's own: left out when the whole request
    /// is refused without naming a property.
    pub guarded: &'static [&'static str],
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// Its address.
    pub path: &'static str,
    /// What it holds of the collection.
    pub part: Part,
    /// `$top`; `None` where the documentation promises nothing for it.
    pub top: Option<u32>,
    /// What to select; empty for a list that is read without `$select`, which then shows unknown properties too.
    pub select: &'static [&'static str],
    /// What to select beyond that.
    pub extra: &'static [&'static str],
    /// As [`Feed::guarded`].
    pub guarded: &'static [&'static str],
    /// The permission, where it isn't the collection's.
    pub permission: Option<&'static str>,
}

/// What a list holds of its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every object.
    All,
    /// The objects of this subtype once more, with the properties that only they have. `All` shows them too, with what
    /// the base type has.
    Subtype(&'static str),
    /// Every object of this kind and no other; the other kinds come from further lists.
    Kind(&'static str),
    /// Every object in the beta version, of which only those count that v1.0 doesn't list.
    Beta,
}

/// How a relation is read.
#[derive(Debug)]
pub struct RelationRead {
    /// Its name in the model's table.
    pub name: &'static str,
    /// Whether the change feed reports it.
    pub feed: bool,
    /// The address of its targets, with `{id}` for the source's id, for reading it whole.
    pub path: &'static str,
    /// Whether that address answers with one object instead of a list.
    pub single: bool,
    /// The least application permission for it.
    pub permission: &'static str,
}

impl Recipe {
    /// Whether there is a change feed.
    pub fn has_feed(&self) -> bool {
        self.feed_part().is_some()
    }

    /// The parent collection and its relation, for a collection that is read under one.
    pub fn parent(&self) -> Option<(&'static str, &'static str)> {
        match self.how {
            How::Under { parent, relation, .. } => Some((parent, relation)),
            How::Lists { .. } => None,
        }
    }

    /// How the relation called `name` is read.
    pub fn relation(&self, name: &str) -> Option<&'static RelationRead> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    pub(super) fn feed_part(&self) -> Option<&Feed> {
        match &self.how {
            How::Lists { feed, .. } => feed.as_ref(),
            How::Under { .. } => None,
        }
    }
}
