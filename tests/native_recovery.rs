//! Microsoft's own recovery writes what no feed tells of. What the capture after it must hold all the same: what it wrote,
//! links included, counted as changed and not as missed by the feed; and nothing read anew that the job didn't touch.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oracle::{Oracle, visible};
use proxy::{Reply, Server, proxy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::archive::entry::{Body, Status};
use tenure::capture::{Capturer, Options};
use tenure::clock::Clock;
use tenure::simulator::{Collection, Relation};
use world::{World, capture, machine, reconcile, sound};

const START: &str = "2026-06-29T00:00:00Z";

/// A tenant in which nothing happens but what a test does, and its archive.
struct Scene {
    world: World,
    capturer: Capturer,
    oracle: Oracle,
    /// Requests whose address or body holds one of these are refused.
    refused: Arc<Mutex<Vec<String>>>,
    met: Arc<AtomicBool>,
    /// People and a group that are kept in the cloud: recovery leaves others alone.
    users: Vec<String>,
    group: String,
    member: String,
    _server: Server,
    _local: TempDir,
}

fn is_in_cloud(object: &Value) -> bool {
    object["onPremisesSyncEnabled"] != json!(true)
}

impl Scene {
    async fn new(seed: u64) -> Scene {
        let world = World::new(seed, 40, START).await;
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let met = Arc::new(AtomicBool::new(false));
        let (hook, note) = (refused.clone(), met.clone());
        let server = proxy(
            world.tenant.url(),
            |_| (),
            move |seen, reply| {
                let is_refused =
                    |part: &String| seen.target.contains(part.as_str()) || seen.body.contains(part.as_str());
                match hook.lock().unwrap().iter().any(is_refused) {
                    true => {
                        note.store(true, Ordering::SeqCst);
                        Reply::error(500, "InternalServerError")
                    }
                    false => reply,
                }
            },
        )
        .await;
        let local = machine();
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let reader = world.reader_by(&server.url, clock.clone());
        let off = world::options().off.into_iter().filter(|row| row != "directoryAudit").collect();
        let options = Options { off, ..world::options() };
        let store = Arc::new(world.store.clone());
        let capturer = world.open_with(store, local.path(), reader, clock, options).await.unwrap();
        let record = world.tenant.record();
        let link = record.links.iter().find(|link| {
            let group = record.objects[&Collection::Group].get(&link.source);
            link.relation == Relation::Members
                && link.to == Collection::User
                && group.is_some_and(|group| group["membershipRule"].is_null() && is_in_cloud(group))
        });
        let link = link.expect("some group has a member");
        let (group, member) = (link.source.clone(), link.target.clone());
        let users = record.objects[&Collection::User].iter();
        let users = users.filter(|(id, user)| is_in_cloud(user) && **id != member && user["department"].is_string());
        let users = users.map(|(id, _)| id.clone()).collect();
        let (_server, _local) = (server, local);
        let mut scene =
            Scene { world, capturer, oracle: Oracle::default(), refused, met, users, group, member, _server, _local };
        scene.world.quiet_hour();
        scene.capture("at first").await;
        scene
    }

    /// A capture whose state is what the tenant shows.
    async fn capture(&mut self, story: &str) -> Body {
        let before = visible(&self.world.tenant);
        let body = capture(&mut self.capturer).await.body;
        self.check(&body, &before, story).await;
        body
    }

    async fn check(&mut self, body: &Body, before: &oracle::State, story: &str) {
        self.oracle.check(&self.world.store, body, before, &visible(&self.world.tenant), story).await;
        for row in body.cover.iter().flatten() {
            assert_eq!(row.missed, None, "{story}: {row:?}");
        }
    }

    /// Someone's department, a group's member and description are changed, someone new is made; the archive sees it.
    /// Returns what a recovery of all that must name.
    async fn incident(&mut self) -> Vec<String> {
        let first = self.users[0].clone();
        let new = "0e0e0e0e-0000-4000-8000-00000000beef".to_owned();
        self.world.quiet_hour();
        self.world.tenant.edit(|directory| {
            assert!(directory.patch(&first, json!({"department": "Nowhere", "jobTitle": "Nobody"})));
            assert!(directory.unlink(&self.group, Relation::Members, &self.member));
            assert!(directory.patch(&self.group, json!({"description": "Wrong"})));
            assert!(directory.create(Collection::User, json!({"id": new, "displayName": "New"})));
        });
        self.capture("after the incident").await;
        vec![first, new, self.group.clone()]
    }

    /// Starts a job over `objects` and lets it end.
    fn recover(&self, objects: &[String], minutes: u64) {
        let snapshot = self.world.tenant.native_snapshots().remove(0);
        assert!(self.world.tenant.recover_natively(&snapshot, objects).is_some());
        self.pass(minutes);
    }

    fn pass(&self, minutes: u64) {
        self.world.clock.advance(Duration::from_secs(60 * minutes));
    }

    /// The paths of requests since the first `before`, parts of batches included.
    fn paths_since(&self, before: usize) -> BTreeSet<String> {
        self.world.tenant.requests()[before..].iter().map(|request| request.path.clone()).collect()
    }

    async fn value(&self, key: &str, name: &str) -> Value {
        world::content(&self.capturer, key).await.map_or(Value::Null, |content| content[name].clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_capture_has_what_a_recovery_wrote() {
    let mut scene = Scene::new(31).await;
    let before = visible(&scene.world.tenant);
    let objects = scene.incident().await;
    let (first, new) = (format!("user/{}", objects[0]), format!("user/{}", objects[1]));
    assert_eq!(scene.value(&first, "department").await, "Nowhere");
    scene.recover(&objects, 60);
    let body = scene.capture("while the job still runs").await;
    assert_eq!(scene.value(&first, "department").await, before.objects[&first]["department"]);
    assert_eq!(world::content(&scene.capturer, &new).await, None, "it is in the bin");
    let delta = body.delta.clone().unwrap();
    assert!(delta.put >= 3 && delta.del >= 1 && delta.ladd >= 1, "{delta:?}");
    for (collection, relation) in [("user", None), ("group", None), ("group", Some("members"))] {
        assert_eq!(world::row(&body, collection, relation).st, Status::Complete);
    }
    scene.pass(60);
    let delta = scene.capture("when the job is done").await.delta.unwrap();
    assert_eq!((delta.del, delta.ladd, delta.ldel), (0, 0, 0));
    // The feed goes on from where it was.
    scene.world.hour();
    scene.capture("an hour later").await;
    let body = reconcile(&mut scene.capturer).await.body;
    let delta = body.delta.clone().unwrap();
    assert_eq!((delta.put, delta.del, delta.ladd, delta.ldel), (0, 0, 0, 0), "a whole read finds nothing more");
    let shown = visible(&scene.world.tenant);
    scene.check(&body, &shown, "the whole read").await;
    sound(&scene.world.store, "a recovery").await;
}

/// Whoever comes back has what led to them again, and no feed tells that either: groups they were in, people whose
/// manager they are (learn, recover-from-deletions).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_job_brings_back_is_in_their_groups_again() {
    let mut scene = Scene::new(37).await;
    let gone = scene.member.clone();
    let key = format!("user/{gone}");
    scene.world.tenant.edit(|directory| assert!(directory.soft_delete(&gone)));
    scene.world.quiet_hour();
    scene.capture("after the incident").await;
    assert_eq!(world::content(&scene.capturer, &key).await, None);
    scene.recover(&[gone], 120);
    scene.capture("a person is back").await;
    assert!(world::content(&scene.capturer, &key).await.is_some());
    let link = (format!("group/{}", scene.group), "members".to_owned(), key);
    assert!(scene.oracle.archived.links.contains(&link));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_over_one_person_has_that_person_read_anew_and_nobody_else() {
    let mut scene = Scene::new(32).await;
    let objects = scene.incident().await;
    let before = scene.world.tenant.requests().len();
    scene.recover(&objects[..1], 120);
    let body = scene.capture("one person").await;
    let read = scene.paths_since(before);
    let of_people = |path: &&String| path.starts_with("/v1.0/users") && !path.ends_with("/delta");
    // Those whom the audit log names have their sponsors read, which no feed tells of either.
    let people: BTreeSet<&String> = read.iter().filter(of_people).filter(|path| !path.ends_with("/sponsors")).collect();
    let one = format!("/v1.0/users/{}", objects[0]);
    assert!(people.contains(&one), "{people:?}");
    // Whose manager the person is may have changed with the person.
    let key = format!("user/{}", objects[0]);
    let leads = |link: &&(String, String, String)| link.2 == key && link.0.starts_with("user/");
    let leading: Vec<String> =
        scene.oracle.archived.links.iter().filter(leads).map(|link| format!("/v1.0/users/{}", &link.0[5..])).collect();
    let is_about = |path: &&&String| path.starts_with(&one) || leading.iter().any(|other| path.starts_with(other));
    let others: Vec<_> = people.iter().filter(|path| !is_about(path) && !path.contains("agentUser")).collect();
    assert!(others.is_empty(), "{others:?}");
    for list in ["/v1.0/users", "/v1.0/groups", "/v1.0/applications", "/v1.0/servicePrincipals"] {
        assert!(!read.contains(list), "{list} was read whole");
    }
    assert_eq!(body.delta.unwrap().del, 0, "who is new stays: the job wasn't about them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_over_a_kind_has_all_of_it_read_anew() {
    let mut scene = Scene::new(33).await;
    let id = scene.world.tenant.edit(|directory| {
        let ids = directory.ids(Collection::ServicePrincipal);
        let id = ids.into_iter().find(|id| directory.property(id, "notes").is_null()).unwrap();
        assert!(directory.patch(&id, json!({"notes": "Wrong", "loginUrl": "https://wrong.example"})));
        id
    });
    scene.world.quiet_hour();
    scene.capture("after the incident").await;
    let key = format!("servicePrincipal/{id}");
    assert_eq!(scene.value(&key, "notes").await, "Wrong");
    let before = scene.world.tenant.requests().len();
    scene.recover(&[id], 120);
    scene.capture("a service principal").await;
    assert!(scene.paths_since(before).contains("/v1.0/servicePrincipals"));
    assert_eq!(scene.value(&key, "notes").await, Value::Null);
    let before = scene.world.tenant.requests().len();
    scene.world.quiet_hour();
    scene.capture("an hour later").await;
    assert!(!scene.paths_since(before).contains("/v1.0/servicePrincipals"), "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_has_nothing_read_anew_and_changes_nothing() {
    let mut scene = Scene::new(34).await;
    let objects = scene.incident().await;
    let snapshot = scene.world.tenant.native_snapshots().remove(0);
    assert!(scene.world.tenant.preview_natively(&snapshot, &objects).is_some());
    for minutes in [30, 60, 60] {
        scene.pass(minutes);
        let before = scene.world.tenant.requests().len();
        scene.capture("a preview").await;
        let read = scene.paths_since(before);
        assert!(!read.iter().any(|path| objects.iter().any(|id| path == &format!("/v1.0/users/{id}"))), "{read:?}");
    }
    assert_eq!(scene.value(&format!("user/{}", objects[0]), "department").await, "Nowhere");
}

/// The capture that sees a job first may fail to read what it wrote. No feed and no later state of the job will tell the
/// next one, so that it must remember by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_anew_is_read_by_the_capture_after() {
    let mut scene = Scene::new(35).await;
    let objects = scene.incident().await;
    scene.recover(&objects, 180);
    *scene.refused.lock().unwrap() = objects.iter().map(|id| format!("/{id}")).collect();
    let before = visible(&scene.world.tenant);
    let body = capture(&mut scene.capturer).await.body;
    assert!(scene.met.load(Ordering::SeqCst));
    assert!(body.cover.iter().flatten().any(|row| row.c == "recoveryJob" && row.st == Status::Complete));
    let row = world::row(&body, "user", None);
    assert_ne!(row.st, Status::Complete, "what a job wrote wasn't read: {row:?}");
    scene.check(&body, &before, "the refused capture").await;
    assert_eq!(scene.value(&format!("user/{}", objects[0]), "department").await, "Nowhere");
    scene.refused.lock().unwrap().clear();
    scene.world.quiet_hour();
    scene.capture("the capture after").await;
    assert_ne!(scene.value(&format!("user/{}", objects[0]), "department").await, "Nowhere");
}

/// The same of a job over a whole kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_could_not_be_read_anew_is_read_by_the_capture_after() {
    let mut scene = Scene::new(36).await;
    let id = scene.world.tenant.edit(|directory| {
        let ids = directory.ids(Collection::ServicePrincipal);
        let id = ids.into_iter().find(|id| directory.property(id, "notes").is_null()).unwrap();
        assert!(directory.patch(&id, json!({"notes": "Wrong"})));
        id
    });
    scene.world.quiet_hour();
    scene.capture("after the incident").await;
    scene.recover(std::slice::from_ref(&id), 180);
    *scene.refused.lock().unwrap() = vec!["/v1.0/servicePrincipals?".to_owned()];
    let before = visible(&scene.world.tenant);
    let body = capture(&mut scene.capturer).await.body;
    assert!(scene.met.load(Ordering::SeqCst));
    let row = world::row(&body, "servicePrincipal", None);
    assert_ne!(row.st, Status::Complete, "what a job wrote wasn't read: {row:?}");
    scene.check(&body, &before, "the refused capture").await;
    scene.refused.lock().unwrap().clear();
    scene.world.quiet_hour();
    scene.capture("the capture after").await;
    assert_eq!(scene.value(&format!("servicePrincipal/{id}"), "notes").await, Value::Null);
}
