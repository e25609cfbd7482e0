//! What Microsoft's own recovery wrote: it appears in no change feed, so that the objects of a new job are read anew
//! (learn, entra-backup-recovery: "recovery writes produce no delta records and no change notifications").
//!
//! Must never know: how anything is read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::CaptureError;
use super::gather::Gatherer;
use super::rows::Part;
use crate::archive::Key;
use crate::archive::entry::Status;
use crate::canonical::{Json, parse};
use crate::collect;
use crate::hash::Hash;

/// The collection of Microsoft's jobs.
pub(super) const JOBS: &str = "recoveryJob";

/// Microsoft's names for what a job may write (resourceTypeName), and the collections that have a feed which won't tell.
/// What is read whole each time needs no entry.
const NATIVE: &[(&str, &[&str])] = &[
    // Who comes back, or goes, does so with the memberships and the people who report to them.
    ("user", &["user", "group", "administrativeUnit"]),
    ("group", &["group", "administrativeUnit"]),
    ("application", &["application"]),
    // A service principal comes with its grants and app role assignments.
    ("servicePrincipal", &["servicePrincipal", "oauth2PermissionGrant"]),
    ("oAuth2PermissionGrant", &["oauth2PermissionGrant"]),
    ("appRoleAssignment", &["servicePrincipal"]),
];

/// What has to be read anew.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    whole: BTreeSet<&'static str>,
    objects: BTreeMap<&'static str, BTreeSet<String>>,
    /// Collections of which it was read.
    read: BTreeSet<&'static str>,
}

impl Scope {
    /// What is left of earlier captures.
    pub fn of(left: Vec<(String, String)>) -> Scope {
        let mut scope = Scope::default();
        for (collection, id) in left {
            let Some(collection) = crate::model::find(&collection).map(|found| found.name) else { continue };
            match id.as_str() {
                "" => drop(scope.whole.insert(collection)),
                _ => drop(scope.objects.entry(collection).or_default().insert(id)),
            }
        }
        scope
    }

    /// What hasn't been read, for the next capture: collection and id, the id empty for all of it.
    pub fn left(&self) -> Vec<(String, String)> {
        let is_left = |collection: &&'static str| !self.read.contains(collection);
        let whole = self.whole.iter().filter(|collection| is_left(collection));
        let whole = whole.map(|collection| ((*collection).to_owned(), String::new()));
        let objects = self.objects.iter().filter(|(collection, _)| is_left(collection) && !self.is_whole(collection));
        let objects = objects.flat_map(|(collection, ids)| ids.iter().map(|id| ((*collection).to_owned(), id.clone())));
        whole.chain(objects).collect()
    }

    /// What it says of `collection` was read. It stays in scope for the rest of this capture.
    pub fn set_read(&mut self, collection: &'static str) {
        self.read.insert(collection);
    }

    /// Whether all of `collection` has to be.
    pub fn is_whole(&self, collection: &str) -> bool {
        self.whole.contains(collection)
    }

    /// The single objects of `collection` that have to be, unless all of it has.
    pub fn objects(&self, collection: &'static str) -> Option<Vec<Key>> {
        let ids = self.objects.get(collection).filter(|_| !self.is_whole(collection))?;
        Some(ids.iter().map(|id| Key::new(collection, id)).collect())
    }

    fn add_type(&mut self, name: Option<&str>) {
        let known = NATIVE.iter().filter(|(native, _)| name.is_none_or(|name| name.eq_ignore_ascii_case(native)));
        self.whole.extend(known.flat_map(|(_, collections)| collections.iter()).copied());
    }

    /// Adds what the job with this content may have written. A preview writes nothing.
    fn add(&mut self, job: &Json<'_>) {
        if job.text("@odata.type").is_some_and(|kind| kind.ends_with("recoveryPreviewJob")) {
            return;
        }
        let filter = job.get("filteringCriteria").filter(|filter| !filter.is_null());
        let list = |of: &'static str| filter.and_then(|filter| filter.get(of)).and_then(Json::elements);
        match (list("filterValues"), list("entityTypes")) {
            (Some(values), _) => {
                for value in values {
                    self.add_value(value);
                }
            }
            (None, Some(types)) => types.iter().for_each(|name| self.add_type(name.as_str())),
            // Without a filter, or with one that isn't known here, everything is in scope.
            (None, None) => self.add_type(None),
        }
    }

    fn add_value(&mut self, value: &Json<'_>) {
        let (kind, ids) = (value.text("entityType"), value.get("entityIds").and_then(Json::elements));
        let known = NATIVE.iter().find(|(native, _)| kind.is_some_and(|kind| kind.eq_ignore_ascii_case(native)));
        match (known, ids) {
            (Some((native, _)), Some(ids)) if matches!(*native, "user" | "group" | "application") => {
                let collection = crate::model::find(native).expect("a native name that is a collection's").name;
                let ids = ids.iter().filter_map(Json::as_str).map(str::to_owned);
                self.objects.entry(collection).or_default().extend(ids);
            }
            _ => self.add_type(kind),
        }
    }

    /// Adds one object. Of very many it is cheaper to read all.
    fn add_object(&mut self, key: &Key) {
        if let Some(found) = crate::model::find(key.collection()) {
            let ids = self.objects.entry(found.name).or_default();
            ids.insert(key.decoded_id());
            if ids.len() > SINGLY {
                self.whole.insert(found.name);
            }
        }
    }
}

/// So many objects of a collection are read one by one.
const SINGLY: usize = 2000;

/// How long what was deleted can be brought back with what led to it (learn, directory-deleteditems-list).
const RESTORABLE: SignedDuration = SignedDuration::from_hours(31 * 24);

impl Gatherer<'_> {
    /// Finds jobs that are new or whose state changed since the head: what they wrote since isn't in any feed. Where the
    /// jobs can't be read, an audit record of a recovery puts everything in scope.
    pub(super) fn find_recovered(&mut self) -> Result<(), CaptureError> {
        let are_read = self.out.rows.get_mut(JOBS, Part::Objects).is_some_and(|row| row.st == Status::Complete);
        if self.out.has_recovered && !are_read {
            self.recovered.add_type(None);
        }
        let Some(seenness) = self.out.collections.get_mut(JOBS) else { return Ok(()) };
        for (key, content) in std::mem::take(&mut seenness.kept) {
            let known = match self.view.id(&key)? {
                Some(id) => self.view.version_at(id, u64::from(u32::MAX))?.map(|version| version.content),
                None => None,
            };
            if known == Some(Hash::of(&content)) {
                continue;
            }
            if let Ok(job) = parse(&content) {
                self.recovered.add(&job);
            }
        }
        let objects = &self.recovered.objects;
        let keys = objects.iter().flat_map(|(collection, ids)| ids.iter().map(|id| Key::new(collection, id)));
        for key in keys.collect::<Vec<_>>() {
            self.add_what_leads_to(&key)?;
        }
        self.out.touched.extend(self.recovered.objects.values().flatten().cloned());
        Ok(())
    }

    /// Whoever comes back is in their groups again, and whoever goes is in none: what leads to an object, or did while it
    /// could still be brought back, is read anew with it.
    fn add_what_leads_to(&mut self, key: &Key) -> Result<(), CaptureError> {
        let Some(id) = self.view.id(key)? else { return Ok(()) };
        for link in self.view.links_to(id)? {
            let ended = link.until.map(|until| self.view.capture(until)).transpose()?.flatten();
            if ended.is_some_and(|ended| self.t0.duration_since(ended.time) > RESTORABLE) {
                continue;
            }
            let source = self.view.key(link.source)?;
            let recipe = collect::find(source.collection());
            match recipe.and_then(|recipe| recipe.relation(&link.relation)).is_some_and(|relation| relation.feed) {
                true => self.recovered.add_object(&source),
                // A sweep reads it, and what was touched comes first there.
                false => drop(self.out.touched.insert(source.decoded_id())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(job: &str) -> Scope {
        let mut scope = Scope::default();
        scope.add(&parse(job.as_bytes()).unwrap());
        scope
    }

    #[test]
    fn a_job_is_as_wide_as_its_filter() {
        let preview = r##"{"@odata.type":"#microsoft.graph.entraRecoveryServices.recoveryPreviewJob"}"##;
        assert_eq!(scope(preview), Scope::default());
        let all = scope("{}");
        assert!(
            ["user", "group", "application", "servicePrincipal", "oauth2PermissionGrant"]
                .iter()
                .all(|c| all.is_whole(c))
        );
        let users = scope(r#"{"filteringCriteria":{"entityTypes":["user","conditionalAccessPolicy"]}}"#);
        assert!(users.is_whole("user") && users.is_whole("group"), "who comes back is in groups again");
        assert!(!users.is_whole("application"));
        let one = scope(
            r#"{"filteringCriteria":{"filterValues":[{"entityType":"user","entityIds":["U"]},{"entityType":"appRoleAssignment","entityIds":["x"]}]}}"#,
        );
        assert_eq!(one.objects("user"), Some(vec![Key::new("user", "U")]));
        assert!(one.is_whole("servicePrincipal") && !one.is_whole("user"));
        assert_eq!(one.objects("group"), None);
    }

    #[test]
    fn what_was_not_read_is_left_for_the_next_capture() {
        let mut scope = scope(
            r#"{"filteringCriteria":{"filterValues":[{"entityType":"user","entityIds":["a","b"]},{"entityType":"group","entityIds":["g"]}]}}"#,
        );
        scope.set_read("group");
        assert!(scope.objects("group").is_some(), "the sweeps of this capture still have to know");
        let left = scope.left();
        assert_eq!(left, [("user".to_owned(), "a".to_owned()), ("user".to_owned(), "b".to_owned())]);
        let mut later = Scope::of(left);
        assert_eq!(later.objects("user").unwrap().len(), 2);
        later.add_type(Some("application"));
        later.add_type(Some("user"));
        let whole = ["administrativeUnit", "application", "group", "user"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(later.left(), whole, "all of it holds the single ones");
        ["administrativeUnit", "group", "user"].into_iter().for_each(|name| later.set_read(name));
        assert_eq!(later.left(), [("application".to_owned(), String::new())]);
    }
}
