//! Delta queries: what changed since a token was issued.
//!
//! Must never know: why something changed, or who asks.
//!
//! Follows "Use delta query to track changes in Microsoft Graph data" and the delta page of each type.

use serde_json::{Map, Value, json};

use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Entry, Relation, Standing};
use super::exchange::{Ask, Refusal, Reply};
use super::lens::{Selectable, kind, without_keys};
use super::reads::{Desk, Paging, page_size};
use super::schema::Shown;
use super::token::Continuation;

/// Objects on a page.
const PAGING: Paging = Paging { default: 200, ..Paging::USUAL };
/// Links on a page: an object with more is told again on the next page with others.
const PAGE_LINKS: usize = 200;
/// How long a token is good for.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;
/// How many earlier changes a replay tells again.
const REPLAYED_CHANGES: u64 = 40;

/// The parts of the simulator that a delta query needs.
pub(super) struct Feed<'a, 'b> {
    pub directory: &'a Directory,
    pub desk: &'a mut Desk<'b>,
    pub epoch: u64,
}

/// The link that a collection's delta can tell: its relation and the name to select it by.
fn tracked_link(collection: Collection) -> Option<(Relation, &'static str)> {
    match collection {
        Collection::User => Some((Relation::Manager, "manager")),
        Collection::Group | Collection::AdministrativeUnit => Some((Relation::Members, "members")),
        _ => None,
    }
}

/// What a round tells of each object.
struct Tracked {
    properties: Vec<usize>,
    /// Whether `keyCredentials` was named in `$select`.
    keys: bool,
    link: Option<(Relation, &'static str)>,
}

impl Tracked {
    /// Without `$select`: the default properties, and members for groups and administrative units.
    fn new(collection: Collection, select: Option<&[String]>) -> Self {
        let named = |name: &str| select.is_some_and(|select| select.iter().any(|selected| selected == name));
        let properties = collection.properties().iter().enumerate().filter(|(_, property)| match select {
            Some(_) => named(property.name),
            None => matches!(property.shown, Shown::Always | Shown::Listed),
        });
        let by_default = collection != Collection::User && select.is_none();
        Self {
            properties: properties.map(|(place, _)| place).collect(),
            keys: named("keyCredentials"),
            link: tracked_link(collection).filter(|(_, name)| by_default || named(name)),
        }
    }
}

/// Answers `/{set}/delta`.
pub(super) fn delta(feed: &mut Feed<'_, '_>, ask: &Ask, collection: Collection, set: &str) -> Result<Reply, Refusal> {
    let mut round = match (ask.option("$skiptoken"), ask.option("$deltatoken")) {
        (Some(token), _) => resume(feed, ask, collection, token)?,
        (None, Some("")) | (None, None) => begin(feed, ask, collection)?,
        (None, Some("latest")) => {
            let now = begin(feed, ask, collection)?;
            return Ok(last_page(ask, set, &now, &feed.desk.key, Vec::new()));
        }
        (None, Some(token)) => {
            let last = resume(feed, ask, collection, token)?;
            let replay = feed.desk.dice.chance(feed.desk.weather.replayed);
            Continuation { since: Some(last.until), ..start(feed, ask, collection, last.select, replay) }
        }
    };
    // Every second page at most, so that a round ends in any weather.
    if round.turn.is_multiple_of(2) && feed.desk.dice.chance(feed.desk.weather.empty_page) {
        round.turn += 1;
        return Ok(next_page(ask, set, &round, &feed.desk.key, Vec::new()));
    }
    let size = page_size(ask, &PAGING)?;
    let back = if feed.desk.dice.chance(feed.desk.weather.repeated) { feed.desk.dice.below(PAGE_LINKS / 2) } else { 0 };
    let (mut items, next) = tell(feed.directory, collection, &round, size, back);
    if feed.desk.dice.chance(feed.desk.weather.reordered) {
        shuffle(feed.desk.dice, &mut items);
    }
    if !items.is_empty() && feed.desk.dice.chance(feed.desk.weather.duplicated) {
        let again = feed.desk.dice.pick(&items).clone();
        items.insert(feed.desk.dice.below(items.len() + 1), again);
    }
    Ok(match next {
        Some((after, link_after)) => {
            round = Continuation { after: Some(after), link_after, turn: round.turn + 1, ..round };
            next_page(ask, set, &round, &feed.desk.key, items)
        }
        None => last_page(ask, set, &round, &feed.desk.key, items),
    })
}

/// Opens a token, or refuses because it is none of ours, combined with options, or too old.
fn resume(feed: &mut Feed<'_, '_>, ask: &Ask, collection: Collection, token: &str) -> Result<Continuation, Refusal> {
    ask.allow_only(&["$skiptoken", "$deltatoken"])?;
    let round = Continuation::open(token, &feed.desk.key)
        .filter(|round| round.subject == collection.name())
        .ok_or_else(|| Refusal::bad("Badly formed token."))?;
    let too_old = ask.now.as_second() - round.issued > TOKEN_SECONDS;
    let lost = round.after.is_none() && feed.desk.dice.chance(feed.desk.weather.state_lost);
    if too_old || lost || round.epoch != feed.epoch {
        let message = "The sync state generation is not found; a full synchronization is required.";
        // "A 40X error with codes such as syncStateNotFound" ("Use delta query"); all three were seen by users.
        if feed.desk.dice.chance(0.3) {
            let status = *feed.desk.dice.pick(&[400, 404]);
            return Err(Refusal::new(status, "SyncStateNotFound", message));
        }
        return Err(Refusal::new(410, "syncStateNotFound", message).with("Location", ask.link(&[("$deltatoken", "")])));
    }
    Ok(round)
}

/// A first round with the options of the request.
fn begin(feed: &mut Feed<'_, '_>, ask: &Ask, collection: Collection) -> Result<Continuation, Refusal> {
    // "$top, $orderby and $expand are not supported on users and groups" (delta query overview).
    let people = matches!(collection, Collection::User | Collection::Group);
    ask.allow_only(if people { &["$select", "$deltatoken"] } else { &["$select", "$deltatoken", "$top"] })?;
    let links: Vec<&'static str> = tracked_link(collection).into_iter().map(|(_, name)| name).collect();
    // What needs more than the collection's own permission is no part of the feed ("Use delta query").
    let selectable = Selectable {
        directory: feed.directory,
        refused: feed.desk.refused,
        collection: Some(collection),
        cast: None,
        links: &links,
        single: false,
        guarded: false,
    };
    let select = selectable.select(ask)?;
    let replay = feed.desk.dice.chance(feed.desk.weather.replayed);
    Ok(start(feed, ask, collection, select, replay))
}

fn start(
    feed: &mut Feed<'_, '_>,
    ask: &Ask,
    of: Collection,
    select: Option<Vec<String>>,
    replay: bool,
) -> Continuation {
    Continuation {
        subject: of.name().to_owned(),
        select,
        since: None,
        until: feed.directory.sequence(),
        issued: ask.now.as_second(),
        nonce: feed.desk.dice.bits(),
        after: None,
        link_after: None,
        replay,
        turn: 0,
        epoch: feed.epoch,
    }
}

fn next_page(ask: &Ask, set: &str, round: &Continuation, key: &[u8; 32], items: Vec<Value>) -> Reply {
    let token = round.seal(key);
    page(ask, set, "@odata.nextLink", &ask.link(&[("$skiptoken", &token)]), items)
}

fn last_page(ask: &Ask, set: &str, round: &Continuation, key: &[u8; 32], items: Vec<Value>) -> Reply {
    // From here the next round tells what changed since this one began: changes made meanwhile come again.
    let token = Continuation { after: None, link_after: None, ..round.clone() }.seal(key);
    page(ask, set, "@odata.deltaLink", &ask.link(&[("$deltatoken", &token)]), items)
}

fn page(ask: &Ask, set: &str, link: &str, url: &str, items: Vec<Value>) -> Reply {
    Reply::Json(json!({"@odata.context": ask.context(set), link: url, "value": items}))
}

/// The key that orders an object within a round. One to one for each nonce, so no two objects share a key.
fn order(nonce: u64, place: usize) -> u64 {
    let mut key = (place as u64).wrapping_add(nonce);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        key = (key ^ (key >> 31)).wrapping_mul(factor);
    }
    key ^ (key >> 29)
}

type Next = Option<(u64, Option<u64>)>;

/// Puts the objects of a page and the links of each into another order: none is promised.
fn shuffle(dice: &mut Dice, items: &mut [Value]) {
    dice.shuffle(items);
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        for links in
            item.values_mut().filter_map(Value::as_array_mut).filter(|links| links.iter().all(Value::is_object))
        {
            if links.iter().all(|link| link["@odata.type"].is_string() && link["id"].is_string()) {
                dice.shuffle(links);
            }
        }
    }
}

/// The objects of one page, and where the next begins. A page that goes on with the links of an object tells `back` of
/// those told before again.
fn tell(
    directory: &Directory,
    collection: Collection,
    round: &Continuation,
    size: usize,
    back: usize,
) -> (Vec<Value>, Next) {
    let tracked = Tracked::new(collection, round.select.as_deref());
    let since = round.since.map(|since| if round.replay { since.saturating_sub(REPLAYED_CHANGES) } else { since });
    let due = upcoming(directory, collection, round, (&tracked, since), size);

    let (mut items, mut links, mut last) = (Vec::new(), 0, None);
    for (key, place) in due {
        if items.len() == size || links >= PAGE_LINKS {
            return (items, last);
        }
        let from = if round.after == Some(key) { round.link_after } else { None };
        let (item, told, more) = show(directory, place, &tracked, since, (from, back), PAGE_LINKS - links);
        items.push(item);
        links += told;
        if more.is_some() {
            return (items, Some((key, more)));
        }
        last = Some((key, None));
    }
    (items, None)
}

/// The next objects of a round in its order: as many as a page holds and one more, fewer at the end.
///
/// A round from nothing tells nearly every object, and keys are spread evenly. So only those that can be among the next
/// are looked at: a page of a large collection would otherwise cost as much as all of it.
fn upcoming(
    directory: &Directory,
    collection: Collection,
    round: &Continuation,
    (tracked, since): (&Tracked, Option<u64>),
    size: usize,
) -> Vec<(u64, usize)> {
    let places = directory.places(collection);
    let first = match (round.after, round.link_after) {
        (None, _) => 0,
        (Some(after), Some(_)) => after,
        (Some(u64::MAX), None) => return Vec::new(),
        (Some(after), None) => after + 1,
    };
    let mut width = match since {
        Some(_) => u64::MAX,
        None => (u64::MAX / (places.len() as u64).max(1)).saturating_mul(2 * (size as u64 + 1)),
    };
    loop {
        let last = first.saturating_add(width);
        let keys = places.iter().map(|place| (order(round.nonce, *place), *place));
        let mut due: Vec<(u64, usize)> = keys
            .filter(|(key, _)| (first..=last).contains(key))
            .filter(|(_, place)| is_due(&directory.entries[*place], tracked, since, round.replay))
            .collect();
        if due.len() <= size && last < u64::MAX {
            width = width.saturating_mul(8);
            continue;
        }
        // Of many only the page and the one after it need an order.
        if due.len() > size + 1 {
            due.select_nth_unstable(size);
            due.truncate(size + 1);
        }
        due.sort_unstable();
        return due;
    }
}

fn is_due(entry: &Entry, tracked: &Tracked, since: Option<u64>, replay: bool) -> bool {
    let live = entry.standing == Standing::Live;
    let Some(since) = since else {
        // "@removed" may occur in a first round as well; under weather a round with replays shows what is gone.
        return live || (replay && entry.removed > 0);
    };
    if entry.touched <= since {
        return false;
    }
    if !live {
        return entry.removed > since;
    }
    let property = || tracked.properties.iter().any(|at| entry.changed.get(at).is_some_and(|changed| *changed > since));
    let link = || {
        tracked.link.is_some_and(|(relation, _)| {
            entry.links.range((relation, 0)..=(relation, usize::MAX)).any(|(_, link)| link.changed > since)
        })
    };
    entry.born > since || property() || link()
}

/// One object, the number of links told with it, and the last of them if others remain.
fn show(
    directory: &Directory,
    place: usize,
    tracked: &Tracked,
    since: Option<u64>,
    (from, back): (Option<u64>, usize),
    room: usize,
) -> (Value, usize, Option<u64>) {
    let entry = &directory.entries[place];
    if entry.standing != Standing::Live {
        let reason = if matches!(entry.standing, Standing::Binned(_)) { "changed" } else { "deleted" };
        return (json!({"id": entry.id, "@removed": {"reason": reason}}), 0, None);
    }
    let mut item = Map::new();
    if let Some(kind) = entry.value.get("@odata.type") {
        item.insert("@odata.type".into(), kind.clone());
    }
    for at in &tracked.properties {
        let name = entry.collection.properties()[*at].name;
        if let Some(value) = entry.value.get(name) {
            let hide = name == "keyCredentials" && !tracked.keys;
            item.insert(name.into(), if hide { without_keys(value.clone()) } else { value.clone() });
        }
    }
    item.insert("id".into(), json!(entry.id));
    let Some((relation, name)) = tracked.link else { return (Value::Object(item), 0, None) };

    let fresh = since.is_none_or(|since| entry.born > since);
    let first = from.map_or(0, |from| from as usize + 1);
    // At most half of the room, so that every page gets on.
    let earlier = entry.links.range((relation, 0)..(relation, first)).rev().take(back.min(room / 2)).last();
    let first = earlier.map_or(first, |((_, target), _)| *target);
    let mut due = entry.links.range((relation, first)..=(relation, usize::MAX)).filter_map(|((_, target), link)| {
        let present = link.present && directory.is_live(*target);
        let changed = since.is_some_and(|since| link.changed > since);
        (changed || (fresh && present)).then_some((*target, present))
    });
    let told: Vec<(usize, bool)> = due.by_ref().take(room).collect();
    let more = due.next().and(told.last()).map(|(target, _)| *target as u64);
    if !told.is_empty() {
        let links: Value =
            told.iter().map(|(target, present)| show_link(&directory.entries[*target], *present)).collect();
        item.insert(format!("{name}@delta"), links);
    }
    (Value::Object(item), told.len(), more)
}

fn show_link(target: &Entry, present: bool) -> Value {
    let kind = kind(target);
    if present {
        json!({"@odata.type": kind, "id": target.id})
    } else {
        json!({"@odata.type": kind, "id": target.id, "@removed": {"reason": "deleted"}})
    }
}
