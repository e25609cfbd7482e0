//! Whole reads: lists, single objects, links and counts.
//!
//! Must never know: changes or delta tokens.
//!
//! Page sizes and options follow the list page of each type and "Paging Microsoft Graph data in your app".

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Relation, Standing};
use super::exchange::{Ask, Refusal, Reply};
use super::lens::{Lens, Refused, Selectable, is_a};
use super::token::Continuation;
use super::weather::Weather;

/// The largest `$top` of most directory lists.
pub(super) const MAX_PAGE: usize = 999;
/// Objects on a page when `$top` is not given.
pub(super) const DEFAULT_PAGE: usize = 100;

/// The most objects that a page tells once more in bad weather.
const MOST_REPEATED: usize = 5;

/// What every list needs beside the directory.
pub(super) struct Desk<'a> {
    pub key: [u8; 32],
    pub weather: Weather,
    pub dice: &'a mut Dice,
    pub refused: &'a Refused,
}

/// What a list is made of.
pub(super) struct List {
    /// Name of the set in `@odata.context`.
    pub set: String,
    /// The collection whose properties may be selected; none for lists of several types.
    pub collection: Option<Collection>,
    /// The subtype that the list is cast to.
    pub cast: Option<&'static str>,
    /// Places of the objects, ascending.
    pub places: Vec<usize>,
}

/// How a list is paged.
pub(super) struct Paging {
    /// Objects on a page when `$top` is not given.
    pub default: usize,
    /// The largest `$top`.
    pub max: usize,
    /// Options that may be given.
    pub options: &'static [&'static str],
}

impl Paging {
    /// As most lists are.
    pub const USUAL: Self =
        Self { default: DEFAULT_PAGE, max: MAX_PAGE, options: &["$select", "$top", "$count", "$skiptoken"] };
}

/// One page of `list`.
pub(super) fn page(directory: &Directory, desk: &mut Desk<'_>, ask: &Ask, list: &List) -> Result<Reply, Refusal> {
    // "List agentIdentities" and its like: 100 is the default and the most.
    let narrow = list.cast.is_some_and(|cast| cast.starts_with("agentIdentity"));
    let names = selectable(directory, desk.refused, list.collection, list.cast, false).select(ask)?;
    // "signInActivity ... when you select or filter on it, the maximum page size is 500" ("List users").
    let activity = names.as_ref().is_some_and(|names| names.iter().any(|name| name == "signInActivity"));
    let max = if narrow {
        100
    } else if activity {
        500
    } else {
        MAX_PAGE
    };
    let lens = Lens::new(list.collection, list.cast, names, false, directory.now());
    let paging = Paging { max, ..Paging::USUAL };
    rows(desk, ask, &list.set, &list.places, &paging, |place| Value::Object(lens.show(&directory.entries[place])))
}

fn selectable<'a>(
    directory: &'a Directory,
    refused: &'a Refused,
    collection: Option<Collection>,
    cast: Option<&'static str>,
    single: bool,
) -> Selectable<'a> {
    Selectable { directory, refused, collection, cast, links: &[], single, guarded: true }
}

/// One page of what `show` makes of `keys`, which ascend.
pub(super) fn rows(
    desk: &mut Desk<'_>,
    ask: &Ask,
    set: &str,
    keys: &[usize],
    paging: &Paging,
    show: impl Fn(usize) -> Value,
) -> Result<Reply, Refusal> {
    ask.allow_only(paging.options)?;
    let size = page_size(ask, paging)?;
    let after = match ask.option("$skiptoken") {
        Some(token) => Some(opened(token, &desk.key, &ask.path())?),
        None => None,
    };
    let mut first = after.map_or(0, |after| keys.partition_point(|key| *key as u64 <= after));
    let last = (first + size).min(keys.len());
    let more = last < keys.len();
    // Paging promises neither order nor that an object comes once ("Paging Microsoft Graph data in your app").
    if first > 0 && desk.dice.chance(desk.weather.repeated) {
        first = first.saturating_sub(1 + desk.dice.below(MOST_REPEATED));
    }
    let mut items: Vec<Value> = keys[first..last].iter().map(|key| show(*key)).collect();
    if desk.dice.chance(desk.weather.reordered) {
        desk.dice.shuffle(&mut items);
    }

    let mut body = Map::new();
    let selected = ask.option("$select").map(|text| format!("({text})")).unwrap_or_default();
    body.insert("@odata.context".into(), json!(ask.context(&format!("{set}{selected}"))));
    if ask.eventual && ask.option("$count") == Some("true") && after.is_none() {
        body.insert("@odata.count".into(), json!(keys.len()));
    }
    if more {
        body.insert("@odata.nextLink".into(), json!(next_link(ask, &desk.key, last.checked_sub(1).map(|at| keys[at]))));
    }
    body.insert("value".into(), Value::Array(items));
    Ok(Reply::Json(Value::Object(body)))
}

/// `$top`, which must be between 1 and the most that the list gives.
pub(super) fn page_size(ask: &Ask, paging: &Paging) -> Result<usize, Refusal> {
    let Some(top) = ask.option("$top") else { return Ok(paging.default.min(paging.max)) };
    let max = paging.max;
    top.parse().ok().filter(|top| (1..=max).contains(top)).ok_or_else(|| {
        Refusal::bad(format!("Invalid page size specified: '{top}'. Must be between 1 and {max} inclusive."))
    })
}

/// The key after which a page token goes on.
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
    desk: &Desk<'_>,
    ask: &Ask,
    of: (Collection, Option<&'static str>, &str),
    id: &str,
) -> Result<Reply, Refusal> {
    let (collection, cast, set) = of;
    let place = live(directory, collection, id)?;
    if cast.is_some_and(|cast| !is_a(&directory.entries[place], cast)) {
        return Err(Refusal::missing(id));
    }
    one(directory, desk, ask, (Some(collection), cast), place, &format!("{set}/$entity"))
}

/// The one object of a collection that has only one.
pub(super) fn only(
    directory: &Directory,
    desk: &Desk<'_>,
    ask: &Ask,
    collection: Collection,
    set: &str,
) -> Result<Reply, Refusal> {
    let live = |place: &&usize| directory.is_live(**place);
    let place = directory.places(collection).iter().find(live).ok_or_else(|| Refusal::missing(set))?;
    one(directory, desk, ask, (Some(collection), None), *place, &format!("{set}/$entity"))
}

fn one(
    directory: &Directory,
    desk: &Desk<'_>,
    ask: &Ask,
    of: (Option<Collection>, Option<&'static str>),
    place: usize,
    set: &str,
) -> Result<Reply, Refusal> {
    ask.allow_only(&["$select"])?;
    let names = selectable(directory, desk.refused, of.0, of.1, of.0.is_some()).select(ask)?;
    let lens = Lens::new(of.0, of.1, names, of.0.is_some(), directory.now());
    let mut body = Map::new();
    body.insert("@odata.context".into(), json!(ask.context(set)));
    body.extend(lens.show(&directory.entries[place]));
    Ok(Reply::Json(Value::Object(body)))
}

/// A single body under its context.
pub(super) fn document(ask: &Ask, set: &str, found: Value) -> Result<Reply, Refusal> {
    let mut body = Map::new();
    body.insert("@odata.context".into(), json!(ask.context(set)));
    if let Value::Object(found) = found {
        body.extend(found);
    }
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
    List { set: set.to_owned(), collection: Some(collection), cast: None, places }
}

/// All live objects of a subtype.
pub(super) fn all_of(directory: &Directory, collection: Collection, cast: &'static str, set: &str) -> List {
    let mut list = all(directory, collection, &format!("{set}/microsoft.graph.{cast}"));
    list.places.retain(|place| is_a(&directory.entries[*place], cast));
    List { cast: Some(cast), ..list }
}

/// What is in the bin of one type; the type itself when no subtype is asked for, with its subtypes.
pub(super) fn bin(directory: &Directory, collection: Collection, cast: Option<&'static str>, set: &str) -> List {
    let binned = |place: &usize| matches!(directory.entries[*place].standing, Standing::Binned(_));
    let fits = |place: &usize| cast.is_none_or(|cast| is_a(&directory.entries[*place], cast));
    let places = directory.places(collection).iter().copied().filter(|place| binned(place) && fits(place)).collect();
    List { set: set.to_owned(), collection: Some(collection), cast, places }
}

/// The targets of a link, of several types: those that the page asked for may show, and one more if there is one. A page
/// of a group with a hundred thousand members must not cost a hundred thousand.
pub(super) fn linked(directory: &Directory, desk: &Desk<'_>, ask: &Ask, from: usize, relation: Relation) -> List {
    let after = ask.option("$skiptoken").and_then(|token| opened(token, &desk.key, &ask.path()).ok());
    let after = after.and_then(|after| usize::try_from(after).ok());
    let is_counted = ask.eventual && ask.option("$count") == Some("true") && after.is_none();
    let ahead = if is_counted { usize::MAX } else { MAX_PAGE + 1 };
    let places = directory.linked_around(from, relation, after, (MOST_REPEATED, ahead));
    List { set: "directoryObjects".into(), collection: None, cast: None, places }
}

/// The parts of an object, all of one type.
pub(super) fn parts(directory: &Directory, from: usize, relation: Relation, of: Collection, set: String) -> List {
    List { set, collection: Some(of), cast: None, places: directory.linked(from, relation).collect() }
}

/// The manager of a user, 404 if there is none.
pub(super) fn manager(directory: &Directory, desk: &Desk<'_>, ask: &Ask, id: &str) -> Result<Reply, Refusal> {
    let user = live(directory, Collection::User, id)?;
    let manager = directory.linked(user, Relation::Manager).next().ok_or_else(|| Refusal::missing("manager"))?;
    one(directory, desk, ask, (None, None), manager, "directoryObjects/$entity")
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
    List { set, collection: Some(collection), cast: None, places }
}

/// `at` as an HTTP date (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
