//! Whether a collection can be read at all: one small request for each thing that a permission or licence decides.
//!
//! Must never know: who asks, or what is done about what is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::code_of;
use super::recipe::{FacetRead, How, Part, Recipe};
use super::selection::address;
use crate::graph::{Error, Reader, Request, escape};
use crate::model;

/// What was tried, and what came of it.
#[derive(Debug)]
pub struct Probe {
    /// The collection.
    pub collection: &'static str,
    /// The relation, where it was one.
    pub relation: Option<&'static str>,
    /// The facet, where it was one.
    pub facet: Option<&'static str>,
    /// The property or subtype, where that alone needs more.
    pub property: Option<&'static str>,
    /// The least application permission for it; `None` where that isn't known here.
    pub permission: Option<&'static str>,
    /// What came of it.
    pub result: Tried,
}

/// What came of a probe.
#[derive(Debug)]
pub enum Tried {
    /// It can be read.
    Open,
    /// It can't.
    Closed {
        /// Why, of [`code`](super::code).
        code: &'static str,
        /// What the service said.
        error: Error,
    },
    /// Nothing was found on which it could be tried.
    Untried,
}

/// The permissions of properties that need more than their collection does (learn, resources/user and
/// resources/serviceprincipal).
const GUARDED: &[(&str, &str)] = &[
    ("customSecurityAttributes", "CustomSecAttributeAssignment.Read.All"),
    ("employeeLeaveDateTime", "User-LifeCycleInfo.Read.All"),
];

impl Recipe {
    /// Tries everything that is read of this collection but what `off` names, as [`Probe::subject`] does. `parent` is the
    /// id of an object of the collection that it hangs under, where it hangs under one. Also returns the id of one
    /// object.
    pub async fn probe(
        &'static self,
        reader: &Reader,
        parent: Option<&str>,
        off: &BTreeSet<String>,
    ) -> (Vec<Probe>, Option<String>) {
        let mut probes = Vec::new();
        let (path, guarded) = match &self.how {
            How::Lists { lists: [list, ..], .. } => {
                let select: &[&str] = if list.select.is_empty() { &[] } else { &["id"] };
                (address(list.path, select, list.top.map(|_| 1)), list.guarded)
            }
            How::Events { path, .. } => (format!("{path}?$top=1"), &[][..]),
            How::Single { path } => ((*path).to_owned(), &[][..]),
            How::Under { path, .. } | How::Per { path, .. } => match parent {
                Some(parent) => (path.replace("{id}", &escape(parent)), &[][..]),
                None => {
                    probes.push(self.row(Tried::Untried));
                    return (probes, None);
                }
            },
            How::Lists { lists: [], .. } => return (probes, None),
        };
        let (result, id) = self.try_one(reader, path, self.permission).await;
        let is_open = matches!(result, Tried::Open);
        probes.push(self.row(result));
        let mut kinds = BTreeMap::new();
        if is_open {
            self.probe_properties(reader, guarded, &mut probes).await;
            kinds = self.probe_lists(reader, &mut probes).await;
            self.probe_facets(reader, off, &mut probes).await;
        }
        self.probe_relations(reader, id.as_deref().filter(|_| is_open), &kinds, &mut probes).await;
        (probes, id)
    }

    fn row(&self, result: Tried) -> Probe {
        let permission = Some(self.permission);
        Probe { collection: self.collection, relation: None, facet: None, property: None, permission, result }
    }

    async fn try_one(&self, reader: &Reader, path: String, permission: &'static str) -> (Tried, Option<String>) {
        let request = Request::new(path).permission(permission).bucket(self.bucket);
        let identity = match model::find(self.collection).map(|collection| collection.identity) {
            Some(model::Identity::Property(property)) => property,
            _ => "id",
        };
        let read = reader.document(&request, |_, json| {
            let elements = json.get("value").and_then(crate::canonical::Json::elements);
            let first = elements.and_then(<[_]>::first).and_then(|first| first.text(identity));
            Ok(first.map(str::to_owned))
        });
        match read.await {
            Ok((_, id)) => (Tried::Open, id),
            // One that has none is readable all the same.
            Err(Error::NotFound { .. }) if self.per().is_some() => (Tried::Open, None),
            Err(error) => (Tried::Closed { code: code_of(&error), error }, None),
        }
    }

    async fn probe_properties(&self, reader: &Reader, guarded: &'static [&'static str], probes: &mut Vec<Probe>) {
        let How::Lists { lists: [list, ..], .. } = &self.how else { return };
        for property in guarded {
            let known = GUARDED.iter().find(|(name, _)| name == property).map(|(_, permission)| *permission);
            let path = address(list.path, &["id", property], list.top.map(|_| 1));
            let (result, _) = self.try_one(reader, path, known.unwrap_or("a permission of its own")).await;
            probes.push(Probe { property: Some(property), permission: known, ..self.row(result) });
        }
    }

    /// Lists beside the first, which have permissions of their own. Returns the id of one object of each subtype.
    async fn probe_lists(&self, reader: &Reader, probes: &mut Vec<Probe>) -> BTreeMap<&'static str, String> {
        let mut ids = BTreeMap::new();
        let How::Lists { lists: [_, others @ ..], .. } = &self.how else { return ids };
        for list in others {
            let permission = list.permission.unwrap_or(self.permission);
            let (Part::Kind(kind) | Part::Subtype(kind)) = list.part else { continue };
            let select: &[&str] = if list.select.is_empty() { &[] } else { &["id"] };
            let path = address(list.path, select, list.top.map(|_| 1));
            let (result, id) = self.try_one(reader, path, permission).await;
            probes.push(Probe { property: Some(kind), permission: Some(permission), ..self.row(result) });
            ids.extend(id.map(|id| (kind, id)));
        }
        ids
    }

    async fn probe_facets(&self, reader: &Reader, off: &BTreeSet<String>, probes: &mut Vec<Probe>) {
        let is_on = |facet: &&FacetRead| !off.contains(&format!("{}#{}", self.collection, facet.name));
        for facet in self.facets.iter().filter(is_on) {
            let kept = model::find(self.collection).and_then(|collection| {
                collection.facets.iter().find(|kept| kept.name == facet.name).map(|kept| kept.properties)
            });
            let select: Vec<&str> = std::iter::once("id").chain(kept.unwrap_or_default().iter().copied()).collect();
            let path = address(facet.path, &select, Some(1));
            let (result, _) = self.try_one(reader, path, facet.permission).await;
            probes.push(Probe { facet: Some(facet.name), permission: Some(facet.permission), ..self.row(result) });
        }
    }

    async fn probe_relations(
        &self,
        reader: &Reader,
        id: Option<&str>,
        kinds: &BTreeMap<&'static str, String>,
        probes: &mut Vec<Probe>,
    ) {
        for relation in self.relations {
            let tries: Vec<(Option<&'static str>, Option<&str>)> = match relation.kinds {
                [] => vec![(None, id)],
                some => some.iter().map(|kind| (Some(*kind), kinds.get(kind).map(String::as_str))).collect(),
            };
            for (kind, id) in tries {
                let by_kind = relation.kind_permissions.iter().find(|(known, _)| Some(*known) == kind);
                let permission = by_kind.map_or(relation.permission, |(_, permission)| permission);
                let result = match id {
                    None => Tried::Untried,
                    Some(id) => {
                        let path = relation.path.replace("{id}", &escape(id));
                        let path = path.replace("{kind}", kind.unwrap_or_default());
                        match self.try_one(reader, path, permission).await.0 {
                            // No manager, say.
                            Tried::Closed { code: super::code::NOT_OFFERED, .. } => Tried::Open,
                            result => result,
                        }
                    }
                };
                let (relation, permission) = (Some(relation.name), Some(permission));
                probes.push(Probe { relation, permission, property: kind, ..self.row(result) });
            }
        }
    }

    /// Every application permission that reading this collection whole takes, the least for each part of it.
    pub fn permissions(&self) -> Vec<&'static str> {
        let mut all = vec![self.permission];
        if let How::Lists { lists, .. } = &self.how {
            all.extend(lists.iter().filter_map(|list| list.permission));
            let guarded = lists.iter().flat_map(|list| list.guarded);
            all.extend(guarded.filter_map(|name| GUARDED.iter().find(|(known, _)| known == name)).map(|(_, p)| *p));
        }
        all.extend(self.relations.iter().map(|relation| relation.permission));
        let of_kinds = self.relations.iter().flat_map(|relation| relation.kind_permissions);
        all.extend(of_kinds.map(|(_, permission)| *permission));
        all.extend(self.facets.iter().map(|facet| facet.permission));
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Probe {
    /// `user`, `group members`, `user#activity`, `user customSecurityAttributes` or `servicePrincipal sponsors of
    /// agentIdentity`.
    pub fn subject(&self) -> String {
        let facet = self.facet.map_or(String::new(), |facet| format!("#{facet}"));
        let more = match (self.relation, self.property) {
            (Some(relation), Some(kind)) => format!(" {relation} of {kind}"),
            (Some(more), None) | (None, Some(more)) => format!(" {more}"),
            (None, None) => String::new(),
        };
        format!("{}{facet}{more}", self.collection)
    }
}

/// Whether an application permission of this name lets its holder change something (learn, graph/permissions-reference:
/// names are `Resource.Operation.Constraint`).
pub fn can_write(permission: &str) -> bool {
    let reads = |part: &str| part == "Read" || part.starts_with("ReadBasic");
    !permission.split('.').any(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_to_write_are_told_by_their_names() {
        for reading in
            ["User.Read.All", "User.ReadBasic.All", "Policy.Read.AuthenticationMethod", "RoleManagement.Read.Directory"]
        {
            assert!(!can_write(reading), "{reading}");
        }
        for writing in ["User.ReadWrite.All", "Mail.Send", "Sites.FullControl.All", "EntraBackup.ReadWrite.Recovery"] {
            assert!(can_write(writing), "{writing}");
        }
    }

    #[test]
    fn nothing_that_is_read_takes_a_permission_to_write() {
        for recipe in crate::collect::COLLECTIONS {
            for permission in recipe.permissions() {
                assert!(!can_write(permission), "{}: {permission}", recipe.collection);
            }
        }
    }
}
