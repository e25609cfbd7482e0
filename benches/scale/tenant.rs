//! A synthetic tenant that costs next to nothing to found: every object is computed from its number, so that a million
//! of them take no more memory than what was changed.
//!
//! Must never know: how Tenure reads; it answers what Graph documents for these requests and nothing else.
//!
//! The simulator of the crate is faithful where this is only large.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use super::dice::{self, pick};
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::IntoResponse;

/// Objects on a page of a feed.
const FEED_PAGE: usize = 300;
/// Links on a page of a feed, about.
const FEED_LINKS: usize = 3000;
/// Objects on a page of a list.
const LIST_PAGE: usize = 999;

const GIVEN: [&str; 16] = [
    "Anna", "Bilal", "Chiara", "David", "Elif", "Finn", "Greta", "Hannah", "Ines", "Jonas", "Katya", "Luca", "Mina",
    "Noah", "Olga", "Pavel",
];
const SURNAMES: [&str; 20] = [
    "Albrecht",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Hoffmann",
    "Ivanova",
    "Jansen",
    "Keller",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Rossi",
    "Schneider",
    "Tanaka",
    "Weber",
];
const CITIES: [(&str, &str, &str); 6] = [
    ("Zurich", "Switzerland", "CH"),
    ("Hamburg", "Germany", "DE"),
    ("Lyon", "France", "FR"),
    ("Porto", "Portugal", "PT"),
    ("Krakow", "Poland", "PL"),
    ("Leeds", "United Kingdom", "GB"),
];
const DEPARTMENTS: [&str; 10] = [
    "Accounting",
    "Claims",
    "Engineering",
    "Facilities",
    "Legal",
    "Logistics",
    "Research",
    "Sales",
    "Support",
    "Treasury",
];
const TITLES: [&str; 8] =
    ["Analyst", "Assistant", "Consultant", "Director", "Engineer", "Manager", "Specialist", "Technician"];
const SERVICES: [&str; 8] = [
    "exchange",
    "SharePoint",
    "MicrosoftCommunicationsOnline",
    "TeamspaceAPI",
    "SCO",
    "YammerEnterprise",
    "Sway",
    "To-Do",
];
/// What a list shows as null and a feed leaves out.
const NEVER_SET: &str = ",\"ageGroup\":null,\"consentProvidedForMinor\":null,\"creationType\":null,\
    \"deletedDateTime\":null,\"employeeLeaveDateTime\":null,\"employeeOrgData\":null,\"externalUserState\":null,\
    \"externalUserStateChangeDateTime\":null,\"faxNumber\":null,\"legalAgeGroupClassification\":null,\
    \"onPremisesDistinguishedName\":null,\"onPremisesDomainName\":null,\"onPremisesImmutableId\":null,\
    \"passwordPolicies\":null,\"passwordProfile\":null,\"preferredDataLocation\":null";

/// The kinds of objects there are many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    User,
    Group,
    Application,
    ServicePrincipal,
}

const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::User, "users", "user"),
    (Kind::Group, "groups", "group"),
    (Kind::Application, "applications", "application"),
    (Kind::ServicePrincipal, "servicePrincipals", "servicePrincipal"),
];

/// A mix of numbers that is as good as random.
fn mix(kind: Kind, number: u32, salt: u64) -> u64 {
    dice::mix(kind as u64, number, salt)
}

/// A GUID from two numbers.
fn guid(high: u64, low: u64) -> String {
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", 0x8000 | low >> 48 & 0x3fff, low & 0xffff_ffff_ffff)
}

/// The id of an object.
pub fn id(kind: Kind, number: u32) -> String {
    guid(mix(kind, number, 1), mix(kind, number, 2))
}

/// A second of the years before the first capture.
fn date(dice: u64) -> String {
    let (year, month, day) = (2019 + dice % 7, 1 + (dice >> 8) % 12, 1 + (dice >> 16) % 28);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", (dice >> 24) % 24, (dice >> 32) % 60, (dice >> 40) % 60)
}

/// How many of each there are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    counts: [u32; 4],
    /// Members of a group on average, the largest apart.
    members: f64,
    largest: u32,
}

impl Shape {
    /// `objects` in the proportions of a middling tenant, with ten links each: 80 % users, 12 % groups, one
    /// group with an eighth of the users.
    pub fn of(objects: u32) -> Shape {
        let counts = [objects / 100 * 80, objects / 100 * 12, objects / 100 * 3, objects / 100 * 5];
        let single = counts.iter().sum::<u32>();
        let largest = counts[0] / 8;
        let members = f64::from(objects) * 10.0 - f64::from(single) - f64::from(largest);
        Shape { counts, members: members / f64::from(counts[1] - 1), largest }
    }

    fn count(&self, kind: Kind) -> u32 {
        self.counts[kind as usize]
    }

    fn first_members(&self, group: u32) -> impl Iterator<Item = u32> {
        let users = u64::from(self.count(Kind::User));
        let size = match group {
            0 => self.largest,
            _ => {
                let dice = (mix(Kind::Group, group, 3) >> 11) as f64 / (1u64 << 53) as f64;
                ((-(1.0 - dice).ln() * self.members) as u32).min(self.largest)
            }
        };
        let start = mix(Kind::Group, group, 4) % users;
        // A prime that divides no count of this shape, so that no member comes twice.
        (0..u64::from(size)).map(move |step| ((start + step * 7919) % users) as u32)
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Changed(Kind, u32),
    Member(u32, u32, bool),
}

/// The tenant: what every object was at first, and what happened since.
pub struct Tenant {
    shape: Shape,
    versions: HashMap<(Kind, u32), u64>,
    moved: HashMap<u32, BTreeMap<u32, bool>>,
    events: Vec<Event>,
    numbers: HashMap<String, u32>,
    dice: u64,
}

impl Tenant {
    /// A tenant of about `objects`.
    pub fn new(objects: u32) -> Tenant {
        let shape = Shape::of(objects);
        let named = KINDS.iter().skip(1).flat_map(|(kind, ..)| (0..shape.count(*kind)).map(|n| (id(*kind, n), n)));
        let numbers = named.collect();
        Tenant { shape, versions: HashMap::new(), moved: HashMap::new(), events: Vec::new(), numbers, dice: 0 }
    }

    fn roll(&mut self) -> u64 {
        self.dice += 1;
        mix(Kind::User, 0, self.dice << 8 | 0xff)
    }

    /// Changes so many of a million objects, and as many of a million memberships.
    pub fn change(&mut self, per_million: u64) -> (u64, u64) {
        let users = u64::from(self.shape.count(Kind::User));
        let objects = (u64::from(self.shape.counts.iter().sum::<u32>()) * per_million).div_ceil(1_000_000);
        for _ in 0..objects {
            let kind = if self.roll().is_multiple_of(10) { Kind::Group } else { Kind::User };
            let number = (self.roll() % u64::from(self.shape.count(kind))) as u32;
            *self.versions.entry((kind, number)).or_default() += 1;
            self.events.push(Event::Changed(kind, number));
        }
        let links = objects * 6;
        for at in 0..links {
            let group = (self.roll() % u64::from(self.shape.count(Kind::Group))) as u32;
            let members: Vec<u32> = self.members(group).into_iter().collect();
            let (user, present) = match (at % 2, members.is_empty()) {
                (0, false) => (*pick(&members, self.roll()), false),
                _ => ((self.roll() % users) as u32, true),
            };
            if members.contains(&user) != present {
                self.moved.entry(group).or_default().insert(user, present);
                self.events.push(Event::Member(group, user, present));
            }
        }
        (objects, links)
    }

    fn members(&self, group: u32) -> BTreeSet<u32> {
        let mut members: BTreeSet<u32> = self.shape.first_members(group).collect();
        for (user, present) in self.moved.get(&group).into_iter().flatten() {
            match present {
                true => members.insert(*user),
                false => members.remove(user),
            };
        }
        members
    }

    /// The properties of an object, without the closing brace. `list`: with those that were never set.
    fn object(&self, kind: Kind, number: u32, list: bool, out: &mut String) {
        let version = self.versions.get(&(kind, number)).copied().unwrap_or(0);
        match kind {
            Kind::User => user(number, version, list, out),
            Kind::Group => group(number, version, out),
            Kind::Application | Kind::ServicePrincipal => application(kind, number, version, out),
        }
    }

    /// A page of a list: the body, and where the next begins.
    pub fn list_page(&self, kind: Kind, start: u32, base: &str) -> String {
        let path = KINDS[kind as usize].1;
        let end = (start + LIST_PAGE as u32).min(self.shape.count(kind));
        let mut out = String::with_capacity(4 << 20);
        let _ = write!(out, "{{\"@odata.context\":\"{base}/v1.0/$metadata#{path}\"");
        if end < self.shape.count(kind) {
            let _ = write!(out, ",\"@odata.nextLink\":\"{base}/v1.0/{path}?$skiptoken={end}\"");
        }
        out.push_str(",\"value\":[");
        for number in start..end {
            if number > start {
                out.push(',');
            }
            self.object(kind, number, true, &mut out);
            out.push('}');
        }
        out.push_str("]}");
        out
    }

    /// A page of a feed's first round. `closing`: the state of the log at which the round began.
    fn feed_page(&self, kind: Kind, start: u32, skip: usize, closing: usize, base: &str) -> String {
        let path = KINDS[kind as usize].1;
        let mut out = String::with_capacity(1 << 20);
        out.push_str("{\"value\":[");
        let (mut number, mut skip, mut links, mut items) = (start, skip, 0, 0);
        let count = self.shape.count(kind);
        while number < count && items < FEED_PAGE && links < FEED_LINKS {
            if items > 0 {
                out.push(',');
            }
            items += 1;
            let mut more = false;
            self.object(kind, number, false, &mut out);
            match kind {
                Kind::User if number > 0 => {
                    let manager = id(Kind::User, number / 8);
                    let _ = write!(
                        out,
                        ",\"manager@delta\":[{{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"{manager}\"}}]"
                    );
                }
                Kind::Group => {
                    let members = self.members(number);
                    let part = members.iter().skip(skip).take(FEED_LINKS);
                    let written = write_members(part.map(|user| (*user, true)), &mut out);
                    links += written;
                    more = skip + written < members.len();
                    skip = if more { skip + written } else { 0 };
                }
                _ => {}
            }
            out.push('}');
            number += u32::from(!more);
        }
        out.push(']');
        match number < count {
            true => {
                let _ = write!(
                    out,
                    ",\"@odata.nextLink\":\"{base}/v1.0/{path}/delta?$skiptoken={number}.{skip}.{closing}\"}}"
                );
            }
            false => {
                let _ = write!(out, ",\"@odata.deltaLink\":\"{base}/v1.0/{path}/delta?$deltatoken={closing}\"}}");
            }
        }
        out
    }

    /// Everything that happened to objects of `kind` since the log had `since` events, on one page.
    fn changes(&self, kind: Kind, since: usize, base: &str) -> String {
        let mut changed: BTreeMap<u32, BTreeMap<u32, bool>> = BTreeMap::new();
        for event in &self.events[since.min(self.events.len())..] {
            match event {
                Event::Changed(of, number) if *of == kind => {
                    changed.entry(*number).or_default();
                }
                Event::Member(group, user, present) if kind == Kind::Group => {
                    changed.entry(*group).or_default().insert(*user, *present);
                }
                _ => {}
            }
        }
        let mut out = String::from("{\"value\":[");
        for (index, (number, moved)) in changed.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.object(kind, number, false, &mut out);
            if !moved.is_empty() {
                write_members(moved.into_iter(), &mut out);
            }
            out.push('}');
        }
        let (path, closing) = (KINDS[kind as usize].1, self.events.len());
        let _ = write!(out, "],\"@odata.deltaLink\":\"{base}/v1.0/{path}/delta?$deltatoken={closing}\"}}");
        out
    }

    fn member_page(&self, group: u32, skip: usize, base: &str) -> String {
        let members = self.members(group);
        let mut out = String::from("{\"value\":[");
        for (index, user) in members.iter().skip(skip).take(LIST_PAGE).enumerate() {
            if index > 0 {
                out.push(',');
            }
            let _ = write!(out, "{{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"{}\"}}", id(Kind::User, *user));
        }
        out.push(']');
        if skip + LIST_PAGE < members.len() {
            let (next, group) = (skip + LIST_PAGE, id(Kind::Group, group));
            let _ = write!(out, ",\"@odata.nextLink\":\"{base}/v1.0/groups/{group}/members?$skiptoken={next}\"");
        }
        out.push('}');
        out
    }

    fn answer(&mut self, uri: &Uri, base: &str) -> Option<String> {
        let query = uri.query().unwrap_or("");
        let option = |name: &str| {
            query.split('&').find_map(|pair| {
                pair.split_once('=').filter(|(found, _)| *found == name || *found == format!("%24{}", &name[1..]))
            })
        };
        let token = |name: &str| option(name).map(|(_, value)| value);
        let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let kind = |path: &str| KINDS.iter().find(|(_, known, _)| *known == path).map(|(kind, ..)| *kind);
        Some(match segments.as_slice() {
            ["control", "change"] => {
                let (objects, links) = self.change(token("$permillion")?.parse().ok()?);
                format!("{{\"objects\":{objects},\"links\":{links}}}")
            }
            [_, "oauth2", "v2.0", "token"] => {
                r#"{"token_type":"Bearer","expires_in":86400,"access_token":"synthetic"}"#.to_owned()
            }
            ["v1.0", path, "delta"] if kind(path).is_some() => {
                let kind = kind(path)?;
                match (token("$deltatoken"), token("$skiptoken")) {
                    (Some(since), _) => self.changes(kind, since.parse().ok()?, base),
                    (None, Some(place)) => {
                        let mut place = place.split('.');
                        let (number, skip) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
                        self.feed_page(kind, number, skip, place.next()?.parse().ok()?, base)
                    }
                    (None, None) => self.feed_page(kind, 0, 0, self.events.len(), base),
                }
            }
            ["v1.0", path, "delta"] => {
                format!("{{\"value\":[],\"@odata.deltaLink\":\"{base}/v1.0/{path}/delta?$deltatoken=0\"}}")
            }
            ["v1.0", path, "$count"] => self.shape.count(kind(path)?).to_string(),
            ["v1.0", path] if kind(path).is_some() => {
                self.list_page(kind(path)?, token("$skiptoken").unwrap_or("0").parse().ok()?, base)
            }
            ["v1.0", "groups", group, "members"] => {
                let skip = token("$skiptoken").unwrap_or("0").parse().ok()?;
                self.member_page(*self.numbers.get(*group)?, skip, base)
            }
            ["v1.0", _, of, "owners"] => {
                let owner = self.numbers.get(*of)? % self.shape.count(Kind::User);
                let owner = id(Kind::User, owner);
                format!("{{\"value\":[{{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"{owner}\"}}]}}")
            }
            ["v1.0", "organization"] => {
                format!("{{\"value\":[{{\"id\":\"{}\",\"displayName\":\"Synthetic\"}}]}}", guid(7, 7))
            }
            ["v1.0", "domains"] => r#"{"value":[{"id":"synthetic.example","isDefault":true}]}"#.to_owned(),
            _ => r#"{"value":[]}"#.to_owned(),
        })
    }
}

fn write_members(members: impl Iterator<Item = (u32, bool)>, out: &mut String) -> usize {
    out.push_str(",\"members@delta\":[");
    let mut written = 0;
    for (user, present) in members {
        if written > 0 {
            out.push(',');
        }
        written += 1;
        let _ = write!(out, "{{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"{}\"", id(Kind::User, user));
        out.push_str(if present { "}" } else { ",\"@removed\":{\"reason\":\"deleted\"}}" });
    }
    out.push(']');
    written
}

fn user(number: u32, version: u64, list: bool, out: &mut String) {
    let dice = |salt: u64| mix(Kind::User, number, salt + 16);
    let now = |salt: u64| mix(Kind::User, number, salt + 16 + version * 64);
    let (given, surname) = (*pick(&GIVEN, dice(0)), *pick(&SURNAMES, dice(1)));
    let nickname = format!("{}.{}{number}", given.to_lowercase(), surname.to_lowercase());
    let mail = format!("{nickname}@synthetic.example");
    let (city, country, code) = *pick(&CITIES, dice(2));
    let (department, title) = (*pick(&DEPARTMENTS, now(3)), *pick(&TITLES, now(4)));
    let (created, changed, id) = (date(dice(5)), date(now(6)), id(Kind::User, number));
    let _ = write!(
        out,
        "{{\"@odata.id\":\"directoryObjects/{id}\",\"id\":\"{id}\",\"accountEnabled\":true,\
         \"businessPhones\":[\"+41 44 {:07}\"],\"displayName\":\"{given} {surname}\",\"givenName\":\"{given}\",\
         \"surname\":\"{surname}\",\"jobTitle\":\"{title}\",\"department\":\"{department}\",\
         \"companyName\":\"Synthetic Holding\",\"mail\":\"{mail}\",\"mailNickname\":\"{nickname}\",\
         \"userPrincipalName\":\"{mail}\",\"userType\":\"Member\",\"officeLocation\":\"{}/{}\",\
         \"streetAddress\":\"Main Street {}\",\"city\":\"{city}\",\"country\":\"{country}\",\"postalCode\":\"{}\",\
         \"usageLocation\":\"{code}\",\"preferredLanguage\":\"en-US\",\"employeeId\":\"{:06}\",\
         \"employeeType\":\"Employee\",\"employeeHireDate\":\"{created}\",\"createdDateTime\":\"{created}\",\
         \"lastPasswordChangeDateTime\":\"{changed}\",\"signInSessionsValidFromDateTime\":\"{changed}\",\
         \"securityIdentifier\":\"S-1-12-1-{}-{}-{}-{}\",\"showInAddressList\":true,\"otherMails\":[],\
         \"identities\":[{{\"signInType\":\"userPrincipalName\",\"issuer\":\"synthetic.example\",\
         \"issuerAssignedId\":\"{mail}\"}}],\"imAddresses\":[\"{mail}\"],\
         \"proxyAddresses\":[\"SMTP:{mail}\",\"smtp:{}{number}@synthetic.example\"],\
         \"onPremisesExtensionAttributes\":{{\"extensionAttribute1\":\"{}\",\"extensionAttribute2\":null,\
         \"extensionAttribute3\":null,\"extensionAttribute4\":null,\"extensionAttribute5\":null}},\
         \"assignedLicenses\":[{{\"disabledPlans\":[],\"skuId\":\"{}\"}}],\"assignedPlans\":[",
        now(7) % 10_000_000,
        &city[..1],
        100 + now(8) % 300,
        1 + dice(9) % 80,
        1000 + dice(10) % 9000,
        100_000 + number,
        dice(11) as u32,
        dice(12) as u32,
        dice(13) as u32,
        dice(14) as u32,
        given.to_lowercase(),
        dice(15) % 1000,
        guid(mix(Kind::User, (dice(16) % 3) as u32, 5), 9),
    );
    let assigned = date(dice(17));
    for (index, service) in SERVICES.iter().enumerate() {
        let plan = guid(mix(Kind::User, index as u32, 6), 11);
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"assignedDateTime\":\"{assigned}\",\"capabilityStatus\":\"Enabled\",\"service\":\"{service}\",\
             \"servicePlanId\":\"{plan}\"}}"
        );
    }
    out.push_str("],\"provisionedPlans\":[");
    for (index, service) in SERVICES.iter().take(5).enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"capabilityStatus\":\"Enabled\",\"provisioningStatus\":\"Success\",\"service\":\"{service}\"}}"
        );
    }
    out.push(']');
    if list {
        out.push_str(NEVER_SET);
    }
}

fn group(number: u32, version: u64, out: &mut String) {
    let dice = |salt: u64| mix(Kind::Group, number, salt + 16);
    let now = |salt: u64| mix(Kind::Group, number, salt + 16 + version * 64);
    let id = id(Kind::Group, number);
    let (department, created) = (*pick(&DEPARTMENTS, dice(1)), date(dice(2)));
    let _ = write!(
        out,
        "{{\"@odata.id\":\"directoryObjects/{id}\",\"id\":\"{id}\",\"displayName\":\"{department} {number}\",\
         \"description\":\"{department}, {} of the {}\",\"createdDateTime\":\"{created}\",\"groupTypes\":[\"Unified\"],\
         \"mail\":\"group{number}@synthetic.example\",\"mailEnabled\":true,\"mailNickname\":\"group{number}\",\
         \"renewedDateTime\":\"{}\",\"securityEnabled\":false,\"securityIdentifier\":\"S-1-12-1-{}-{}\",\
         \"visibility\":\"Private\",\"proxyAddresses\":[\"SMTP:group{number}@synthetic.example\"],\
         \"resourceBehaviorOptions\":[],\"resourceProvisioningOptions\":[\"Team\"]",
        pick(&TITLES, now(3)),
        pick(&CITIES, now(4)).0,
        date(now(5)),
        dice(6) as u32,
        dice(7) as u32,
    );
}

fn application(kind: Kind, number: u32, version: u64, out: &mut String) {
    let dice = |salt: u64| mix(kind, number, salt + 16 + version * 64);
    let (id, app) = (id(kind, number), guid(mix(kind, number, 3), 5));
    let _ = write!(
        out,
        "{{\"id\":\"{id}\",\"appId\":\"{app}\",\"displayName\":\"{} tool {number}\",\"tags\":[],\
         \"passwordCredentials\":[{{\"keyId\":\"{}\",\"startDateTime\":\"{}\",\"hint\":\"x{}\"}}],\
         \"signInAudience\":\"AzureADMyOrg\"",
        pick(&DEPARTMENTS, dice(1)),
        guid(dice(2), dice(3)),
        date(dice(4)),
        dice(5) % 100,
    );
}

#[derive(Clone)]
struct Shared {
    tenant: Arc<Mutex<Tenant>>,
    base: Arc<str>,
}

async fn handle(State(shared): State<Shared>, _: Method, uri: Uri) -> impl IntoResponse {
    let answer = shared.tenant.lock().expect("no answer panics").answer(&uri, &shared.base);
    match answer {
        Some(body) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body),
        None => {
            let body = r#"{"error":{"code":"Request_ResourceNotFound","message":""}}"#.to_owned();
            (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], body)
        }
    }
}

/// Serves the tenant on loopback until standard input ends, which it does with the parent. Says its address first.
pub fn serve(objects: u32) {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let base: Arc<str> = format!("http://{}", listener.local_addr().expect("bound")).into();
        println!("{base}");
        let tenant = Arc::new(Mutex::new(Tenant::new(objects)));
        let service = Router::new().fallback(handle).with_state(Shared { tenant, base });
        axum::serve(listener, service).await.expect("serving ends with the process");
    });
}
