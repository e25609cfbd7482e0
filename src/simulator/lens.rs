//! How an object is shown: which of its properties a read gives, and which names a read may select.
//!
//! Must never know: pages, tokens, or who asks.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::collection::Collection;
use super::directory::{Directory, Entry};
use super::exchange::{Ask, Refusal};
use super::reports;
use super::schema::{Facet, Shown};

/// The kinds that lists of several kinds hold (`directoryObjects`).
pub(super) const SEVERAL: [Collection; 6] = [
    Collection::User,
    Collection::Group,
    Collection::Application,
    Collection::ServicePrincipal,
    Collection::Device,
    Collection::AdministrativeUnit,
];

/// Properties that the service refuses to know, on request of a test.
pub(super) type Refused = BTreeSet<(Collection, String)>;

/// One way of showing objects.
pub(super) struct Lens {
    several: bool,
    cast: Option<&'static str>,
    single: bool,
    names: Option<Vec<String>>,
    columns: Vec<(Collection, Vec<usize>)>,
    now: Timestamp,
}

impl Lens {
    /// As a read shows objects of `collection` that selects `names`, or nothing; of several kinds without a collection.
    pub fn new(
        collection: Option<Collection>,
        cast: Option<&'static str>,
        names: Option<Vec<String>>,
        single: bool,
        now: Timestamp,
    ) -> Self {
        let kinds = collection.map_or(SEVERAL.to_vec(), |one| vec![one]);
        let columns = kinds.into_iter().map(|kind| (kind, columns(kind, names.as_deref()))).collect();
        Self { several: collection.is_none(), cast, single, names, columns, now }
    }

    /// An object with all that lists can give of it.
    pub fn everything(entry: &Entry) -> Map<String, Value> {
        if entry.collection.is_open() {
            return kept(entry, false, |_| true);
        }
        let all: Vec<usize> = (0..entry.collection.properties().len()).collect();
        cells(entry, &all, true)
    }

    /// The object as this read shows it.
    pub fn show(&self, entry: &Entry) -> Map<String, Value> {
        let named = |name: &str| self.names.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
        if entry.collection.is_open() {
            return kept(entry, self.single, named);
        }
        let columns = self.columns.iter().find(|(kind, _)| *kind == entry.collection);
        let columns = columns.map_or(&[][..], |(_, columns)| columns);
        let mut shown = cells(entry, columns, self.names.is_some());
        if self.several {
            shown.entry("@odata.type").or_insert_with(|| json!(kind(entry)));
        }
        for (name, facet) in entry.collection.facets() {
            let given = match facet {
                Facet::Cast(cast) => self.cast == Some(cast) && named(name),
                Facet::Guarded => self.names.is_some() && named(name),
                Facet::Navigation | Facet::Detail => false,
            };
            if given {
                shown.insert((*name).into(), facet_value(entry, name, self.now));
            }
        }
        shown
    }
}

/// The value of a facet; null if the object has none.
pub(super) fn facet_value(entry: &Entry, name: &str, now: Timestamp) -> Value {
    match name {
        "signInActivity" => reports::sign_in_activity(entry, now),
        _ => entry.value.get(name).cloned().unwrap_or_default(),
    }
}

/// `@odata.type` of an object: its own where it is of a subtype.
pub(super) fn kind(entry: &Entry) -> String {
    let own = entry.value.get("@odata.type").and_then(Value::as_str);
    own.map_or_else(|| format!("#microsoft.graph.{}", entry.collection.name()), str::to_owned)
}

/// Whether an object is of the subtype called `cast`.
pub(super) fn is_a(entry: &Entry, cast: &str) -> bool {
    let own = entry.value.get("@odata.type").and_then(Value::as_str).and_then(|own| own.rsplit('.').next());
    own.unwrap_or(entry.collection.name()) == cast
}

fn columns(collection: Collection, names: Option<&[String]>) -> Vec<usize> {
    let properties = collection.properties().iter().enumerate();
    let wanted = properties.filter(|(_, property)| match names {
        Some(names) => names.iter().any(|name| name == property.name),
        None => matches!(property.shown, Shown::Always | Shown::Listed),
    });
    wanted.map(|(place, _)| place).collect()
}

fn cells(entry: &Entry, columns: &[usize], selected: bool) -> Map<String, Value> {
    let mut shown = Map::with_capacity(columns.len() + 1);
    if let Some(kind) = entry.value.get("@odata.type") {
        shown.insert("@odata.type".into(), kind.clone());
    }
    for column in columns {
        let property = &entry.collection.properties()[*column];
        // Subtypes of named locations have some of these properties each; the others do not exist on them.
        if entry.collection == Collection::NamedLocation && !entry.value.contains_key(property.name) {
            continue;
        }
        let value = entry.value.get(property.name).cloned().unwrap_or_default();
        let hide_keys = property.name == "keyCredentials" && !selected;
        shown.insert(property.name.into(), if hide_keys { without_keys(value) } else { value });
    }
    shown
}

/// A body as it is kept, without what is not for lists. Two types of cross-tenant access have no id ("Get default",
/// "List partners").
fn kept(entry: &Entry, single: bool, named: impl Fn(&str) -> bool) -> Map<String, Value> {
    let facets = entry.collection.facets();
    let nameless = matches!(
        entry.collection,
        Collection::CrossTenantAccessPolicyDefault | Collection::CrossTenantAccessPolicyPartner
    );
    let shown = entry.value.iter().filter(|(name, _)| {
        let facet = facets.iter().find(|(facet, _)| facet == name).map(|(_, facet)| *facet);
        let given = facet.is_none_or(|facet| facet == Facet::Detail && single);
        given && !name.starts_with('_') && !(nameless && *name == "id") && (name.starts_with('@') || named(name))
    });
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Key material comes only when `keyCredentials` is selected ("List applications", "List servicePrincipals").
pub(super) fn without_keys(mut credentials: Value) -> Value {
    for credential in credentials.as_array_mut().into_iter().flatten() {
        credential["key"] = Value::Null;
    }
    credentials
}

/// What a selection may name.
pub(super) struct Selectable<'a> {
    pub directory: &'a Directory,
    pub refused: &'a Refused,
    /// The collection; none for lists of several kinds.
    pub collection: Option<Collection>,
    pub cast: Option<&'static str>,
    /// Navigations that a delta query may select.
    pub links: &'a [&'static str],
    pub single: bool,
    /// Whether facets that need more than the collection's own permission may be named.
    pub guarded: bool,
}

impl Selectable<'_> {
    /// The properties asked for by `$select`, by their names in Graph; none without `$select`.
    pub fn select(&self, ask: &Ask) -> Result<Option<Vec<String>>, Refusal> {
        let Some(text) = ask.option("$select") else { return Ok(None) };
        let mut names: Vec<String> = Vec::new();
        for wanted in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = self.find(wanted).ok_or_else(|| {
                let kind = self.cast.or(self.collection.map(Collection::name)).unwrap_or("directoryObject");
                Refusal::bad(format!(
                    "Parsing OData Select and Expand failed: Could not find a property named '{wanted}' on type \
                     'microsoft.graph.{kind}'."
                ))
            })?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Some(names))
    }

    fn find(&self, name: &str) -> Option<String> {
        if let Some(link) = self.links.iter().find(|link| link.eq_ignore_ascii_case(name)) {
            return Some((*link).to_owned());
        }
        let kinds = self.collection.map_or(SEVERAL.to_vec(), |one| vec![one]);
        kinds.into_iter().find_map(|kind| self.property(kind, name))
    }

    fn property(&self, kind: Collection, name: &str) -> Option<String> {
        if self.refused.iter().any(|(refused, property)| *refused == kind && property.eq_ignore_ascii_case(name)) {
            return None;
        }
        if let Some(place) = kind.property(name) {
            let property = &kind.properties()[place];
            return (self.single || property.shown != Shown::Single).then(|| property.name.to_owned());
        }
        let facet = kind.facets().iter().find(|(facet, _)| facet.eq_ignore_ascii_case(name));
        if let Some((facet, how)) = facet {
            let allowed = match how {
                Facet::Cast(cast) => self.cast == Some(cast),
                Facet::Guarded => self.guarded,
                Facet::Detail => self.single,
                Facet::Navigation => false,
            };
            return allowed.then(|| (*facet).to_owned());
        }
        if !kind.is_open() {
            return None;
        }
        let entries = self.directory.places(kind).iter().map(|place| &self.directory.entries[*place]);
        let mut names = entries.flat_map(|entry| entry.value.keys());
        names.find(|kept| kept.eq_ignore_ascii_case(name) && !kept.starts_with(['_', '@'])).cloned()
    }
}
