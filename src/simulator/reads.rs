//! Whole reads: lists, single objects, links and counts.
//!
//! Must never know: changes, delta tokens, or how the service is doing.
//!
//! Page sizes and options follow the list page of each type and "Paging Microsoft Graph data in your app".

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::directory::{Directory, Entry, Relation, Standing};
use super::exchange::{Ask, Refusal, Reply};
use super::schema::{Collection, Shown};
use super::token::Continuation;

/// The largest `$top` of directory lists.
const MAX_PAGE: usize = 999;
/// Objects on a page when `$top` is not given.
const DEFAULT_PAGE: usize = 100;

/// What a list is made of.
pub(super) struct List {
    /// Name of the set in `@odata.context`.
    pub set: String,
    /// The collection whose properties may be selected; none for lists of several types.
    pub collection: Option<Collection>,
    /// Places of the objects, ascending.
    pub places: Vec<usize>,
}

/// The properties asked for by `$select`, by their names in Graph; none without `$select`.
pub(super) fn selection(
    ask: &Ask,
    collection: Option<Collection>,
    links: &[&'static str],
    single: bool,
) -> Result<Option<Vec<&'static str>>, Refusal> {
    let Some(text) = ask.option("$select") else { return Ok(None) };
    let mut names = Vec::new();
    for wanted in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let name = links
            .iter()
            .copied()
            .find(|link| link.eq_ignore_ascii_case(wanted))
            .or_else(|| find(collection, wanted, single))
            .ok_or_else(|| {
                let kind = collection.map_or("directoryObject", Collection::name);
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

fn find(collection: Option<Collection>, name: &str, single: bool) -> Option<&'static str> {
    let several = [Collection::User, Collection::Group, Collection::Application, Collection::ServicePrincipal];
    let within: &[Collection] = match &collection {
        Some(one) => std::slice::from_ref(one),
        None => &several,
    };
    within.iter().find_map(|kind| {
        let property = &kind.properties()[kind.property(name)?];
        (single || property.shown != Shown::Single).then_some(property.name)
    })
}

/// An object as a whole read shows it: never-set properties are null.
pub(super) fn whole(entry: &Entry, select: Option<&[&'static str]>) -> Map<String, Value> {
    let mut shown = Map::new();
    if let Some(kind) = entry.value.get("@odata.type") {
        shown.insert("@odata.type".into(), kind.clone());
    }
    for property in entry.collection.properties() {
        let wanted = match select {
            Some(select) => select.contains(&property.name),
            None => matches!(property.shown, Shown::Always | Shown::Listed),
        };
        // Subtypes of named locations have some of these properties each; the others do not exist on them.
        let foreign = entry.collection == Collection::NamedLocation && !entry.value.contains_key(property.name);
        if wanted && !foreign {
            let value = entry.value.get(property.name).cloned().unwrap_or(Value::Null);
            let hide_keys = property.name == "keyCredentials" && select.is_none();
            shown.insert(property.name.into(), if hide_keys { without_keys(value) } else { value });
        }
    }
    shown
}

/// Key material comes only when `keyCredentials` is selected ("List applications", "List servicePrincipals").
pub(super) fn without_keys(mut credentials: Value) -> Value {
    for credential in credentials.as_array_mut().into_iter().flatten() {
        credential["key"] = Value::Null;
    }
    credentials
}

/// An object in a list of several types.
fn typed(entry: &Entry, select: Option<&[&'static str]>) -> Value {
    let mut item = Map::new();
    item.insert("@odata.type".into(), json!(type_name(entry.collection)));
    item.extend(whole(entry, select));
    Value::Object(item)
}

/// `@odata.type` of a collection's objects.
pub(super) fn type_name(collection: Collection) -> String {
    format!("#microsoft.graph.{}", collection.name())
}

/// One page of `list`.
pub(super) fn page(directory: &Directory, key: &[u8; 32], ask: &Ask, list: &List) -> Result<Reply, Refusal> {
    ask.allow_only(&["$select", "$top", "$count", "$skiptoken"])?;
    let select = selection(ask, list.collection, &[], false)?;
    let size = page_size(ask, DEFAULT_PAGE)?;
    let after = match ask.option("$skiptoken") {
        Some(token) => Some(opened(token, key, &ask.path())?),
        None => None,
    };
    let mut rest = list.places.iter().copied().filter(|place| after.is_none_or(|after| *place as u64 > after));
    let places: Vec<usize> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();

    let mut body = Map::new();
    let selected = ask.option("$select").map(|text| format!("({text})")).unwrap_or_default();
    body.insert("@odata.context".into(), json!(ask.context(&format!("{}{selected}", list.set))));
    if ask.eventual && ask.option("$count") == Some("true") && after.is_none() {
        body.insert("@odata.count".into(), json!(list.places.len()));
    }
    if more {
        body.insert("@odata.nextLink".into(), json!(next_link(ask, key, places.last().copied())));
    }
    let items = places.iter().map(|place| {
        let entry = &directory.entries[*place];
        match list.collection {
            Some(_) => Value::Object(whole(entry, select.as_deref())),
            None => typed(entry, select.as_deref()),
        }
    });
    body.insert("value".into(), items.collect());
    Ok(Reply::Json(Value::Object(body)))
}

/// `$top`, which must be between 1 and 999, or `default`.
pub(super) fn page_size(ask: &Ask, default: usize) -> Result<usize, Refusal> {
    let Some(top) = ask.option("$top") else { return Ok(default) };
    top.parse().ok().filter(|top| (1..=MAX_PAGE).contains(top)).ok_or_else(|| {
        Refusal::bad(format!("Invalid page size specified: '{top}'. Must be between 1 and {MAX_PAGE} inclusive."))
    })
}

/// The place after which a page token goes on.
fn opened(token: &str, key: &[u8; 32], path: &str) -> Result<u64, Refusal> {
    Continuation::open(token, key)
        .filter(|place| place.subject == path)
        .and_then(|place| place.after)
        .ok_or_else(|| Refusal::bad("The specified page token value is not valid for this request."))
}

/// Lists repeat the options of the request in their links.
fn next_link(ask: &Ask, key: &[u8; 32], last: Option<usize>) -> String {
    let place = Continuation {
        subject: ask.path(),
        select: None,
        since: None,
        until: 0,
        issued: ask.now.as_second(),
        nonce: 0,
        after: last.map(|last| last as u64),
        link_after: None,
        replay: false,
        turn: 0,
        epoch: 0,
    };
    let token = place.seal(key);
    let kept = ask.options.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
    let mut options: Vec<(&str, &str)> = kept.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    options.push(("$skiptoken", &token));
    ask.link(&options)
}

/// A single object by id; users also by user principal name.
pub(super) fn single(
    directory: &Directory,
    ask: &Ask,
    collection: Collection,
    set: &str,
    id: &str,
) -> Result<Reply, Refusal> {
    ask.allow_only(&["$select"])?;
    let select = selection(ask, Some(collection), &[], true)?;
    let place = live(directory, collection, id)?;
    let mut body = Map::new();
    body.insert("@odata.context".into(), json!(ask.context(&format!("{set}/$entity"))));
    body.extend(whole(&directory.entries[place], select.as_deref()));
    Ok(Reply::Json(Value::Object(body)))
}

/// The place of a live object.
pub(super) fn live(directory: &Directory, collection: Collection, id: &str) -> Result<usize, Refusal> {
    // GUIDs and user principal names are compared without regard to case; ids of assignments and grants are not.
    let guid = id.len() == 36;
    let name = (collection == Collection::User && id.contains('@')).then_some(id);
    let named = |place: &&usize| {
        let upn = directory.entries[**place].value.get("userPrincipalName").and_then(Value::as_str);
        directory.is_live(**place) && upn.zip(name).is_some_and(|(upn, name)| upn.eq_ignore_ascii_case(name))
    };
    directory
        .place(collection, &if guid { id.to_ascii_lowercase() } else { id.to_owned() })
        .or_else(|| name.and_then(|_| directory.places(collection).iter().find(named).copied()))
        .filter(|place| directory.is_live(*place))
        .ok_or_else(|| Refusal::missing(id))
}

/// All live objects of a collection.
pub(super) fn all(directory: &Directory, collection: Collection, set: &str) -> List {
    let places = directory.places(collection).iter().copied().filter(|place| directory.is_live(*place)).collect();
    List { set: set.to_owned(), collection: Some(collection), places }
}

/// What is in the bin of one type.
pub(super) fn bin(directory: &Directory, collection: Collection, set: &str) -> List {
    let binned = |place: &usize| matches!(directory.entries[*place].standing, Standing::Binned(_));
    let places = directory.places(collection).iter().copied().filter(binned).collect();
    List { set: set.to_owned(), collection: Some(collection), places }
}

/// The targets of a link, of several types.
pub(super) fn linked(directory: &Directory, from: usize, relation: Relation) -> List {
    List { set: "directoryObjects".into(), collection: None, places: directory.linked(from, relation).collect() }
}

/// The manager of a user, 404 if there is none.
pub(super) fn manager(directory: &Directory, ask: &Ask, id: &str) -> Result<Reply, Refusal> {
    ask.allow_only(&["$select"])?;
    let select = selection(ask, None, &[], false)?;
    let user = live(directory, Collection::User, id)?;
    let manager = directory.linked(user, Relation::Manager).next().ok_or_else(|| Refusal::missing("manager"))?;
    let mut body = Map::new();
    body.insert("@odata.context".into(), json!(ask.context("directoryObjects/$entity")));
    if let Value::Object(item) = typed(&directory.entries[manager], select.as_deref()) {
        body.extend(item);
    }
    Ok(Reply::Json(Value::Object(body)))
}

/// The number of live objects, from the index that needs `ConsistencyLevel` ("Advanced query capabilities").
pub(super) fn count(directory: &Directory, ask: &Ask, collection: Collection) -> Result<Reply, Refusal> {
    if !ask.eventual {
        return Err(Refusal::bad("$count is not currently supported."));
    }
    Ok(Reply::Text(directory.live(collection).count().to_string()))
}

/// Assignments or grants one of whose properties is `id`.
pub(super) fn with_property(
    directory: &Directory,
    collection: Collection,
    set: String,
    property: &str,
    id: usize,
) -> List {
    let wanted = directory.entries[id].id.as_str();
    let sources = directory.entries[id].incoming.range((Relation::Needs, 0)..=(Relation::Needs, usize::MAX));
    let places = sources
        .map(|(_, source)| *source)
        .filter(|place| {
            let entry = &directory.entries[*place];
            entry.collection == collection
                && entry.standing == Standing::Live
                && entry.value.get(property).and_then(Value::as_str) == Some(wanted)
        })
        .collect();
    List { set, collection: Some(collection), places }
}

/// `at` as an HTTP date (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
