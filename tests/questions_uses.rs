//! The questions about the archive itself, asked of logs made by hand: who looked, what is held or was ended, and whether an
//! answer of old comes out the same.

mod support;

#[path = "support/story.rs"]
mod story;

use std::sync::Arc;

use serde_json::json;
use story::*;
use support::*;
use tenure::archive::pack::{Kind, parse_name};
use tenure::clock::{Clock, ManualClock};
use tenure::hash::Hash;
use tenure::ledger::{Ledger, Outcome, Use, Via, Who};
use tenure::query::{Archive, QueryError};
use tenure::store::{MemoryStore, Store};

/// A log that is written to hour by hour, and the local state of who asks.
struct Log {
    store: Arc<dyn Store>,
    builder: ArchiveBuilder,
    local: tempfile::TempDir,
    clock: ManualClock,
    ledger: Ledger,
}

impl Log {
    async fn begin() -> Log {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let builder = ArchiveBuilder::new(store.clone(), "home-tenant", at("2026-07-31T00:00:00Z")).await;
        let (local, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(at(&time(0))));
        let ledger = Ledger::open(local.path(), Arc::new(clock.clone()));
        Log { store, builder, local, clock, ledger }
    }

    async fn capture(&mut self, hour: u64, lines: Lines) -> u64 {
        let changes = lines.into_iter().map(|(name, change)| (key(&name), change)).collect();
        self.builder.capture(at(&time(hour)), changes, complete()).await
    }

    fn used(
        &self,
        when: &str,
        who: &str,
        operation: &str,
        parameters: serde_json::Value,
        answer: Option<Hash>,
    ) -> String {
        let span = at(when).duration_since(self.clock.now());
        self.clock.advance(span.try_into().expect("time goes on"));
        let used = Use {
            who: Who::System { uid: 7, name: Some(who.to_owned()), login: None },
            via: Via::Cli,
            operation: operation.to_owned(),
            parameters: parameters.as_object().unwrap().clone(),
            outcome: Outcome::Answered,
            answer,
        };
        self.ledger.record(&used).unwrap().to_string()
    }

    async fn commit(&mut self) -> u64 {
        self.ledger.commit(&mut self.builder.appender).await.unwrap().seq.unwrap()
    }

    async fn entry(&mut self, kind: &str, hour: u64, target: Option<u64>, range: Option<[u64; 2]>) -> u64 {
        let mut body = self.builder.appender.draft(kind, at(&time(hour))).unwrap();
        (body.target, body.range) = (target, range.map(Vec::from));
        self.builder.appender.commit(&body).await.unwrap();
        body.seq
    }

    async fn open(&self) -> (Archive, tempfile::TempDir) {
        let index = tempfile::tempdir().unwrap();
        let archive =
            Archive::open(self.store.clone(), index.path(), |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
        (archive, index)
    }
}

/// Capture 1; then Anna looks at Bea at 00:30, three strangers are turned away at 00:40, Ben asks at 01:30: entry 2; capture 3.
/// Cem searches at 02:30: entry 4, which no capture follows.
#[tokio::test]
async fn who_looked_at_what() {
    let mut log = Log::begin().await;
    log.capture(0, vec![user("bea", json!({}))]).await;
    log.used("2026-08-01T00:30:00Z", "anna", "show", json!({"name": "Bea B", "at": "2026-08-01"}), None);
    log.clock.advance(std::time::Duration::from_secs(600));
    (0..3).for_each(|_| log.ledger.count_denial(Via::Http, "no token"));
    let third = log.used("2026-08-01T01:30:00Z", "ben", "ask", json!({"question": "reach"}), Some(Hash::of(b"x")));
    assert_eq!((log.commit().await, log.capture(2, vec![]).await), (2, 3));
    log.used("2026-08-01T02:30:00Z", "cem", "search", json!({"text": "bea"}), None);
    assert_eq!(log.commit().await, 4);
    let (archive, _index) = log.open().await;

    let columns = ["at", "who", "operation", "outcome", "entry"];
    let all = ask_during(&archive, "who-looked", &[], &time(0), "now").await;
    let anna = "2026-08-01T00:30:00Z | anna | show | answered | 2";
    let ben = "2026-08-01T01:30:00Z | ben | ask | answered | 2";
    // Ben's record and the count of strangers before it have one time; which comes first their ids say.
    let mut found = rows(&all, &columns);
    found.sort();
    assert_eq!((found.len(), &*found[0], &*found[1]), (3, anna, ben), "{found:?}");
    assert!(found[2].contains("| strangers | denials |"), "{found:?}");
    assert_eq!((total(&all, "uses"), total(&all, "strangers_turned_away")), ("2".into(), "3".into()));
    assert!(rows(&all, &["use", "answer"]).contains(&format!("{third} | {}", Hash::of(b"x"))));
    assert!(all.table.notes[0].contains("after capture #3"), "{:?}", all.table.notes);

    let about = ask_during(&archive, "who-looked", &[("about", "BEA")], &time(0), "now").await;
    assert_eq!(rows(&about, &columns), [anna]);
    let who = ask_during(&archive, "who-looked", &[("who", "ben")], &time(0), "now").await;
    assert_eq!(rows(&who, &columns), [ben]);
    let denials = ask_during(&archive, "who-looked", &[("operation", "denials")], &time(0), "now").await;
    assert_eq!(denials.table.rows.len(), 1);
    let early = ask_during(&archive, "who-looked", &[], &time(0), "2026-08-01T01:00:00Z").await;
    assert!(rows(&early, &columns).iter().all(|row| !row.contains("ben")), "{:?}", rows(&early, &columns));

    // A cited answer stays, whoever looks later.
    log.capture(3, vec![]).await;
    let (mut later, _index) = log.open().await;
    let grown = ask_during(&later, "who-looked", &[], &time(0), "now").await;
    assert_eq!(grown.table.rows.len(), 4);
    later.know_at(3).unwrap();
    assert_eq!(ask_during(&later, "who-looked", &[], &time(0), "now").await.hash, all.hash);
}

/// Records that can't be read are no absence of uses.
#[tokio::test]
async fn uses_that_cannot_be_read_are_said() {
    let mut log = Log::begin().await;
    log.capture(0, vec![user("bea", json!({}))]).await;
    log.used("2026-08-01T00:30:00Z", "anna", "show", json!({"name": "Bea"}), None);
    log.commit().await;
    log.capture(1, vec![]).await;
    let broken = MemoryStore::default();
    for blob in log.store.list("", "").await.unwrap() {
        let is_lost = parse_name(&blob.name).is_some_and(|name| name.kind == Kind::Access);
        if !is_lost {
            broken.create(&blob.name, &log.store.get(&blob.name).await.unwrap()).await.unwrap();
        }
    }
    log.store = Arc::new(broken);
    let (archive, _index) = log.open().await;
    let answer = ask_during(&archive, "who-looked", &[], &time(0), "now").await;
    assert!(answer.is_incomplete() && answer.table.rows.is_empty());
    assert!(answer.table.notes.iter().any(|note| note.contains("entry 2 can't be read")), "{:?}", answer.table.notes);
}

/// Entry 2 holds entries 1 to 3; 4 releases it, and 5 begins to end segment 1, lawfully. Entry 6 holds all; 7 begins to end segment 1
/// again, against the hold.
#[tokio::test]
async fn what_was_held_and_what_was_ended() {
    let mut log = Log::begin().await;
    log.capture(0, vec![user("bea", json!({}))]).await;
    log.entry("hold", 1, None, Some([1, 3])).await;
    log.capture(2, vec![]).await;
    log.entry("release", 3, Some(2), None).await;
    log.entry("expire", 4, Some(1), Some([1, 3])).await;
    log.entry("hold", 5, None, None).await;
    log.capture(6, vec![]).await;
    let (archive, _index) = log.open().await;
    let columns = ["at", "entry", "what", "about", "entries"];
    let lawful = ask_during(&archive, "held-or-ended", &[], &time(0), "now").await;
    assert_eq!(
        rows(&lawful, &columns),
        [
            "2026-08-01T01:00:00Z | 2 | hold | - | 1 to 3",
            "2026-08-01T03:00:00Z | 4 | release | 2 | -",
            "2026-08-01T04:00:00Z | 5 | expire | 1 | 1 to 3",
            "2026-08-01T05:00:00Z | 6 | hold | - | -",
        ]
    );
    assert_eq!((total(&lawful, "holds_in_force"), total(&lawful, "ended_although_held")), ("[6]".into(), "0".into()));
    log.entry("expire", 7, Some(1), Some([1, 3])).await;
    log.capture(8, vec![]).await;
    let (archive, _index) = log.open().await;
    let unlawful = ask_during(&archive, "held-or-ended", &[], &time(7), "now").await;
    assert_eq!(rows(&unlawful, &columns), ["2026-08-01T07:00:00Z | 8 | expire | 1 | 1 to 3"]);
    assert_eq!(total(&unlawful, "ended_although_held"), "1");
}

/// At 00:30 somebody is told that Ada holds the role; an hour later Bea holds it, too. Asked again, the answer of then comes out.
#[tokio::test]
async fn an_answer_of_old_comes_out_the_same() {
    let mut log = Log::begin().await;
    let begin = vec![
        user("ada", json!({})),
        user("bea", json!({})),
        role(GLOBAL, "Global Administrator"),
        assigned("a1", "ada", GLOBAL, "/"),
    ];
    log.capture(0, begin).await;
    let (then, _index) = log.open().await;
    let told = ask_at(&then, "role-holders", &[("role", "Global Administrator")], "now").await;
    let parameters = json!({"question": "role-holders", "role": "Global Administrator"});
    let right = log.used("2026-08-01T00:30:00Z", "anna", "ask", parameters.clone(), Some(told.hash));
    let wrong = log.used("2026-08-01T00:31:00Z", "anna", "ask", parameters.clone(), Some(Hash::of(b"forged")));
    let look = log.used("2026-08-01T00:32:00Z", "anna", "show", json!({"name": "Ada"}), None);
    log.commit().await;
    log.capture(1, vec![assigned("a2", "bea", GLOBAL, "/")]).await;
    let (archive, _index) = log.open().await;
    let now = ask_at(&archive, "role-holders", &[("role", "Global Administrator")], "now").await;
    assert_ne!(now.hash, told.hash, "the answer of today is another");

    let same = ask_at(&archive, "rerun", &[("use", &right)], "now").await;
    assert_eq!(rows(&same, &["known_at", "hash", "same"]), [format!("1 | {} | true", told.hash)]);
    assert_eq!((total(&same, "same"), same.is_incomplete()), ("true".into(), false));
    let forged = ask_at(&archive, "rerun", &[("use", &wrong)], "now").await;
    assert_eq!(rows(&forged, &["known_at", "same"]), ["1 | false"]);
    assert_eq!((total(&forged, "same"), forged.is_incomplete()), ("false".into(), true));

    for nothing in [look.as_str(), "00000000-0000-4000-8000-000000000000", "ada"] {
        let refused = try_ask(&archive, "rerun", &[("use", nothing)], Default::default()).await.unwrap_err();
        assert!(matches!(refused, QueryError::Ask(_)), "{refused}");
    }
    drop(log.local);
}
