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
    /// Parts of an object that its list doesn't show and an address of their own does.
    pub details: &'static [Detail],
    /// How its facets are read; one of the model's that isn't here is lifted from the objects themselves.
    pub facets: &'static [FacetRead],
    /// Hours between two reads; 0 for every capture.
    pub hours: u32,
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
    /// From one address, which answers with the one object there is.
    Single {
        /// The address.
        path: &'static str,
    },
    /// One object for each object of another collection, with the same id.
    Per {
        /// The other collection.
        parent: &'static str,
        /// The address, with `{id}` for the parent's id.
        path: &'static str,
        /// The parent's subtypes that have it; empty where every object has it.
        kinds: &'static [&'static str],
        /// Whether there may be as many as people, as [`RelationRead::many`].
        many: bool,
    },
    /// From a list of what happened since a time.
    Events {
        /// The address.
        path: &'static str,
        /// The property that says when it happened.
        time: &'static str,
        /// `$top`.
        top: u32,
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
    /// The limit that it counts against, where it isn't the collection's.
    pub bucket: Option<Bucket>,
}

impl List {
    /// Every object at `path`, as it comes.
    pub(super) const fn plain(path: &'static str) -> List {
        List { path, part: Part::All, top: None, select: &[], extra: &[], guarded: &[], permission: None, bucket: None }
    }
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
    /// The address of its targets, with `{id}` for the source's id and `{kind}` for its subtype, for reading it whole.
    pub path: &'static str,
    /// The subtypes that have it; empty where every object has it.
    pub kinds: &'static [&'static str],
    /// The permissions of the subtypes, where they aren't the relation's.
    pub kind_permissions: &'static [(&'static str, &'static str)],
    /// Whether there may be as many sources as people or devices: such a relation is read in turns only, within the
    /// budget for that, not even in a reconciliation all at once.
    pub many: bool,
    /// Whether that address answers with one object instead of a list.
    pub single: bool,
    /// The least application permission for it.
    pub permission: &'static str,
}

/// A part of an object that has an address of its own.
#[derive(Debug)]
pub struct Detail {
    /// The property under which it is kept.
    pub property: &'static str,
    /// Its address, with `{id}` for the object's id.
    pub path: &'static str,
    /// What is at the address.
    pub form: Form,
    /// When it is asked for.
    pub when: When,
}

/// What is at the address of a [`Detail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A list, kept as an array.
    List,
    /// One object; 404 where there is none.
    Object,
    /// One object for each element of the property, by the element's id in place of `{id}`; it takes the element's place.
    Elements,
}

/// When a [`Detail`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Where the list didn't show it.
    Unshown,
    /// Where this property has this value.
    Is(&'static str, &'static str),
}

/// How a facet is read.
#[derive(Debug)]
pub struct FacetRead {
    /// Its name in the model's table.
    pub name: &'static str,
    /// A list that shows it for every object that has it.
    pub path: &'static str,
    /// `$top`.
    pub top: Option<u32>,
    /// The least application permission for it.
    pub permission: &'static str,
}

impl RelationRead {
    /// A relation of every object that no feed reports.
    pub(super) const fn unfed(name: &'static str, path: &'static str, permission: &'static str) -> RelationRead {
        RelationRead {
            name,
            feed: false,
            path,
            kinds: &[],
            kind_permissions: &[],
            many: false,
            single: false,
            permission,
        }
    }
}

impl Recipe {
    /// A collection that is read from one list without `$select`, whole each time.
    pub(super) const fn listed(collection: &'static str, lists: &'static [List], permission: &'static str) -> Recipe {
        Recipe {
            collection,
            how: How::Lists { feed: None, lists, count: None },
            permission,
            bucket: Bucket::Directory,
            unknown_enum_members: false,
            relations: &[],
            details: &[],
            facets: &[],
            hours: 0,
        }
    }

    /// A collection of one object.
    pub(super) const fn single(collection: &'static str, path: &'static str, permission: &'static str) -> Recipe {
        Recipe { how: How::Single { path }, ..Recipe::listed(collection, &[], permission) }
    }

    /// Whether there is a change feed.
    pub fn has_feed(&self) -> bool {
        self.feed_part().is_some()
    }

    /// The parent collection and its relation, for a collection that is read under one.
    pub fn parent(&self) -> Option<(&'static str, &'static str)> {
        match self.how {
            How::Under { parent, relation, .. } => Some((parent, relation)),
            _ => None,
        }
    }

    /// The collection for each object of which there is one here.
    pub fn per(&self) -> Option<&'static str> {
        match self.how {
            How::Per { parent, .. } => Some(parent),
            _ => None,
        }
    }

    /// Properties that only the list of a subtype gives.
    pub fn of_subtypes(&self) -> Vec<&'static str> {
        match &self.how {
            How::Lists { lists, .. } => lists.iter().flat_map(|list| list.extra).copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether these are events.
    pub fn is_events(&self) -> bool {
        matches!(self.how, How::Events { .. })
    }

    /// How the facet called `name` is read, where it has a read of its own.
    pub fn facet(&self, name: &str) -> Option<&'static FacetRead> {
        self.facets.iter().find(|facet| facet.name == name)
    }

    /// How the relation called `name` is read.
    pub fn relation(&self, name: &str) -> Option<&'static RelationRead> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    pub(super) fn feed_part(&self) -> Option<&Feed> {
        match &self.how {
            How::Lists { feed, .. } => feed.as_ref(),
            _ => None,
        }
    }
}
