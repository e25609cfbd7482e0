//! How certain answers are, what they rest on, and what a damaged archive still answers.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use support::*;
use tenure::archive::entry::{Coverage, Status};
use tenure::index::{Index, IndexError};
use tenure::query::{Archive, Certainty, Moment, Notice, QueryError, Scope};
use tenure::store::{Fault, FaultyStore, FilesystemStore, MemoryStore, Store};

const NOW: &str = "2026-08-03T00:00:00Z";

fn user(status: Status) -> Vec<Coverage> {
    vec![row("user", None, status, None)]
}

fn rolling(oldest: u64) -> Vec<Coverage> {
    vec![Coverage { oldest: Some(oldest), ..row("user", None, Status::Rolling, None) }]
}

/// What capture number 1, 2 … says: its hour, its changes, its coverage.
type Story = Vec<(&'static str, Vec<(&'static str, tenure::archive::line::Change)>, Vec<Coverage>)>;

async fn tell(store: Arc<dyn Store>, story: Story) -> ArchiveBuilder {
    let mut builder = ArchiveBuilder::new(store, "t", at("2026-08-01T00:00:00Z")).await;
    for (hour, changes, cover) in story {
        let changes = changes.into_iter().map(|(name, change)| (key(name), change)).collect();
        builder.capture(at(&format!("2026-08-{hour}:00:00Z")), changes, cover).await;
    }
    builder
}

async fn open(story: Story) -> (Archive, tempfile::TempDir) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    tell(store.clone(), story).await;
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(store, directory.path(), |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
    (archive, directory)
}

async fn certainty(archive: &Archive, name: &str, time: &str) -> Certainty {
    let now: Timestamp = at(NOW);
    let instant = archive.at(&Moment::parse(time, now).unwrap(), now).unwrap();
    let id = archive.view().id(&key(name)).unwrap().unwrap();
    archive.as_of(&key(name), id, &instant).await.unwrap().certainty
}

/// Content that was read later without a change was so before, whatever the capture itself saw; what changed after a
/// time in which nobody looked may have changed at any moment of it.
#[tokio::test]
async fn certainty_follows_coverage_and_the_next_change() {
    let changed = |q| {
        let mut change = put(r#"{"n":2}"#);
        change.content.as_mut().unwrap().1 = Some(q);
        change
    };
    let (archive, _directory) = open(vec![
        ("01T01", vec![("user/a", put(r#"{"n":1}"#)), ("user/b", put(r#"{"n":1}"#))], user(Status::Complete)),
        ("01T02", vec![], user(Status::Carried)),
        ("01T03", vec![], user(Status::Partial)),
        ("01T04", vec![("user/a", changed(1))], user(Status::Complete)),
        ("01T05", vec![], user(Status::Carried)),
    ])
    .await;
    let check = async |name: &str, time: &str, expected: Certainty| {
        assert_eq!(certainty(&archive, name, time).await, expected, "{name} at {time}");
    };
    check("user/a", "#1", Certainty::Observed).await;
    check("user/a", "#2", Certainty::ChangedInGap).await;
    check("user/a", "#3", Certainty::ChangedInGap).await;
    check("user/a", "#4", Certainty::Observed).await;
    check("user/b", "#2", Certainty::Observed).await;
    // Nobody looked since.
    check("user/b", "#5", Certainty::Unknown).await;
    check("user/a", "#5", Certainty::Unknown).await;
}

#[tokio::test]
async fn a_rolling_read_is_certain_from_its_oldest_part_on() {
    let (archive, _directory) = open(vec![
        ("01T01", vec![("user/a", put(r#"{"n":1}"#))], user(Status::Complete)),
        ("01T02", vec![], rolling(1)),
        ("01T03", vec![], rolling(2)),
        ("01T04", vec![], rolling(2)),
    ])
    .await;
    assert_eq!(certainty(&archive, "user/a", "#2").await, Certainty::Observed);
    assert_eq!(certainty(&archive, "user/a", "#3").await, Certainty::Unknown);
    // It was read at #2 or later: less than now, and all that is promised.
    let instant = archive.at(&Moment::Head, at(NOW)).unwrap();
    let id = archive.view().id(&key("user/a")).unwrap().unwrap();
    let answer = archive.as_of(&key("user/a"), id, &instant).await.unwrap();
    assert_eq!((answer.read_since(), answer.is_incomplete()), (Some(2), false));
}

/// The time asked for lies in a wide gap, or long after the last capture.
#[tokio::test]
async fn gaps_between_captures_are_told() {
    let (archive, _directory) = open(vec![
        ("01T01", vec![("user/a", put(r#"{"n":1}"#)), ("user/b", put(r#"{"n":1}"#))], user(Status::Complete)),
        ("01T09", vec![("user/a", put(r#"{"n":2}"#))], user(Status::Complete)),
    ])
    .await;
    assert_eq!(certainty(&archive, "user/a", "2026-08-01T01:00Z").await, Certainty::Observed);
    assert_eq!(certainty(&archive, "user/a", "2026-08-01T05:00Z").await, Certainty::ChangedInGap);
    assert_eq!(certainty(&archive, "user/b", "2026-08-01T05:00Z").await, Certainty::Observed);
    assert_eq!(certainty(&archive, "user/b", "2026-08-01T10:00Z").await, Certainty::Observed);
    assert_eq!(certainty(&archive, "user/b", "2026-08-01T11:00Z").await, Certainty::Unknown);
    let now = at(NOW);
    let late = archive.at(&Moment::parse("2026-08-02", now).unwrap(), now).unwrap();
    assert!(archive.basis(&late, Some("user")).await.unwrap().is_incomplete());
    // A collection without a row was never read.
    let head = archive.at(&Moment::Head, now).unwrap();
    assert!(archive.basis(&head, Some("group")).await.unwrap().gaps[0].status.is_none());
}

/// A lost pack takes away what it held and nothing else: earlier captures answer, later ones after the next base.
#[tokio::test]
async fn what_a_lost_pack_does_not_hold_stays_answerable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(&path));
    let mut builder = tell(
        store.clone(),
        vec![
            ("29T01", vec![("user/a", put(r#"{"n":1}"#)), ("user/b", put(r#"{"n":1}"#))], user(Status::Complete)),
            ("29T02", vec![("user/a", put(r#"{"n":2}"#))], user(Status::Complete)),
            ("29T03", vec![("user/b", put(r#"{"n":3}"#))], user(Status::Complete)),
        ],
    )
    .await;
    builder.capture(at("2026-09-01T00:00:00Z"), [(key("user/b"), remove())].into(), user(Status::Complete)).await;
    let folder = path.join("2026-08/s/0000000001");
    let lost = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    std::fs::remove_file(lost.into_iter().find(|path| path.display().to_string().contains("0000000002-d")).unwrap())
        .unwrap();

    let mut notices = Vec::new();
    let index = directory.path().join("index");
    let archive = Archive::open(store, &index, |notice| notices.push(notice), |_, _| ()).await.unwrap();
    assert_eq!(notices, [Notice::Unknown { captures: vec![2, 3] }]);
    let at = |seq| archive.at(&Moment::Capture(seq), at("2026-10-01T00:00:00Z")).unwrap();
    let show = async |name: &str, seq| {
        let id = archive.view().id(&key(name)).unwrap().unwrap();
        archive.as_of(&key(name), id, &at(seq)).await.unwrap()
    };
    assert_eq!(show("user/a", 1).await.certainty, Certainty::Observed);
    assert_eq!(show("user/a", 3).await.certainty, Certainty::Unknown);
    assert!(show("user/a", 3).await.basis.is_incomplete());
    let after = show("user/a", 4).await;
    assert_eq!((after.content, after.certainty), (put(r#"{"n":2}"#).content.map(content), Certainty::Observed));
    let mut found = Vec::new();
    archive
        .difference(&at(1), &at(4), &Scope::default(), |difference| {
            found.push(difference.key.to_string());
            Ok(ControlFlow::Continue(()))
        })
        .await
        .unwrap();
    assert_eq!(found, ["user/a", "user/b"]);
}

/// The entry before the one that opens a segment is lost. The base tells the state after it, so that both ends are known, but the
/// changes of the opening capture are against a state that nobody knows: what only the lost one changed differs all the same.
#[tokio::test]
async fn a_difference_across_a_lost_entry_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(&path));
    let one = || put(r#"{"n":1}"#);
    let all = vec![("user/a", one()), ("user/b", one()), ("user/c", one())];
    let mut builder = tell(
        store.clone(),
        vec![
            ("29T01", all, user(Status::Complete)),
            ("29T02", vec![("user/a", put(r#"{"n":2}"#))], user(Status::Complete)),
        ],
    )
    .await;
    builder.capture(at("2026-09-01T00:00:00Z"), [(key("user/c"), remove())].into(), user(Status::Complete)).await;
    std::fs::remove_file(path.join("log/e/0000000002")).unwrap();

    let archive = Archive::open(store, &directory.path().join("index"), |_| (), |_, _| ()).await.unwrap();
    let at = |seq| archive.at(&Moment::Capture(seq), at("2026-10-01T00:00:00Z")).unwrap();
    assert!(!at(1).capture.unknown && !at(3).capture.unknown);
    let mut found = Vec::new();
    let each = |difference: tenure::query::Difference| {
        found.push(difference.key.to_string());
        Ok(ControlFlow::Continue(()))
    };
    archive.difference(&at(1), &at(3), &Scope::default(), each).await.unwrap();
    assert_eq!(found, ["user/a", "user/c"]);
}

fn content(change: (tenure::archive::line::ContentChange, Option<u64>)) -> tenure::archive::line::Content {
    match change.0 {
        tenure::archive::line::ContentChange::Put(content) => content,
        other => panic!("{other:?}"),
    }
}

/// A pack damaged after it was indexed: which keys differ the index still tells, what they hold it can't.
#[tokio::test]
async fn content_that_is_not_what_was_indexed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(&path));
    let story = vec![
        ("29T01", vec![("user/a", put(r#"{"n":1}"#))], user(Status::Complete)),
        ("29T02", vec![("user/a", put(r#"{"n":2}"#))], user(Status::Complete)),
    ];
    tell(store.clone(), story).await;
    let index = directory.path().join("index");
    let archive = Archive::open(store, &index, |_| (), |_, _| ()).await.unwrap();
    let folder = path.join("2026-08/s/0000000001");
    let pack = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.into_iter().find(|path| path.display().to_string().contains("0000000002-d")).unwrap();
    // Another line of the same length, soundly compressed: only its hash tells.
    let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
    let place = tenure::archive::pack::Place { container: "2026-08".into(), segment: 1, seq: 2 };
    let other = tenure::archive::pack::write(
        &place,
        tenure::archive::pack::Kind::Delta,
        b"{\"k\":\"user/a\",\"c\":{\"n\":9}}\n",
    );
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(pack.with_file_name(name), &other[0].file).unwrap();

    let at = |seq| archive.at(&Moment::Capture(seq), at(NOW)).unwrap();
    let id = archive.view().id(&key("user/a")).unwrap().unwrap();
    let refused = archive.as_of(&key("user/a"), id, &at(2)).await.unwrap_err();
    assert!(matches!(refused, QueryError::Content { seq: 2, .. }), "{refused}");
    assert!(refused.is_integrity());
    let refused = archive.difference(&at(1), &at(2), &Scope::default(), |_| Ok(ControlFlow::Continue(()))).await;
    assert!(refused.is_err_and(|error| error.is_integrity()));
}

/// Hashes wait for the end of a long catching up. Where it breaks off between two transactions, nobody commits to the state that
/// was left, and the next one goes on and arrives at the signed root.
#[tokio::test]
async fn a_catching_up_that_breaks_off_goes_on_to_the_signed_root() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut builder = ArchiveBuilder::new(memory.clone(), "t", at("2026-08-01T00:00:00Z")).await;
    let mut time: Timestamp = at("2026-08-01T01:00:00Z");
    for hour in 0..200 {
        let one = format!("user/{}", hour % 7);
        let mut changes: Changes = [(key(&one), put(&format!(r#"{{"n":{hour}}}"#)))].into();
        changes
            .insert(key("group/g"), if hour % 2 == 0 { link("members", &[&one]) } else { unlink("members", &[&one]) });
        builder.capture(time, changes, user(Status::Complete)).await;
        time += jiff::SignedDuration::from_hours(1);
    }
    let counting = FaultyStore::counting(memory.clone());
    let all: Arc<dyn Store> = Arc::new(counting.clone());
    let directory = tempfile::tempdir().unwrap();
    Index::open(directory.path()).unwrap().catch_up(&all, |_, _| ()).await.unwrap();
    let mut broken = 0;
    for part in 1..8 {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(directory.path()).unwrap();
        let failing = FaultyStore::failing(memory.clone(), counting.operations() * part / 8, Fault::NotDone);
        let failing: Arc<dyn Store> = Arc::new(failing);
        index.catch_up(&failing, |_, _| ()).await.unwrap_err();
        let view = index.view().unwrap();
        // The first transaction takes the base in, and nothing waits then.
        if view.last_capture().unwrap().is_some_and(|row| row.seq > 1) {
            broken += 1;
            assert!(view.root_with(&[]).unwrap_err().to_string().contains("damaged"), "{part}");
        }
        let caught_up = index.catch_up(&memory, |_, _| ()).await.unwrap();
        assert!(!caught_up.restarted && caught_up.unknown.is_empty());
        let view = index.view().unwrap();
        assert_eq!(view.last_capture().unwrap().unwrap().seq, 200);
        let head = builder.appender.walker().next_seq() - 1;
        let file = memory.get(&tenure::archive::entry::entry_name(head)).await.unwrap();
        let signed = tenure::archive::entry::Entry::parse(&file).unwrap().body.state.root;
        assert_eq!(view.root_with(&[]).unwrap(), signed, "{part}");
    }
    assert!(broken >= 3, "{broken}");
}

/// A reader that stays remembers numbers and labels from one view to the next, and none of an index that was emptied meanwhile.
#[tokio::test]
async fn names_are_remembered_until_the_index_is_emptied() {
    let named = |name: &str| put(&format!(r#"{{"displayName":"{name}"}}"#));
    let stores: Vec<Arc<dyn Store>> = vec![Arc::new(MemoryStore::default()), Arc::new(MemoryStore::default())];
    for (store, order) in stores.iter().zip([["user/a", "user/b"], ["user/b", "user/a"]]) {
        let one = |name: &'static str, hour| (hour, vec![(name, named(name))], user(Status::Complete));
        tell(store.clone(), vec![one(order[0], "29T01"), one(order[1], "29T02")]).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open(directory.path()).unwrap();
    index.catch_up(&stores[0], |_, _| ()).await.unwrap();
    let reader = tenure::index::Reader::open(directory.path()).unwrap().unwrap();
    let look = |name: &str| {
        let view = reader.view().unwrap();
        let id = view.id(&key(name)).unwrap().unwrap();
        assert_eq!(view.key(id).unwrap(), key(name));
        (id, view.label_at(id, 2).unwrap())
    };
    let (first, label) = look("user/a");
    assert_eq!(label.as_deref(), Some("user/a"));
    assert_eq!(look("user/a"), (first, label));
    assert_ne!(look("user/b").0, first);
    index.rebuild(&stores[1], |_, _| ()).await.unwrap();
    assert_eq!(look("user/b"), (first, Some("user/b".to_owned())), "the other archive's first");
    assert_ne!(look("user/a").0, first);
}

/// Who asks reads beside who writes, up to the head or not at all: nothing old is taken for new.
#[tokio::test]
async fn questions_are_answered_beside_who_writes_the_index_and_never_from_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(directory.path().join("archive")));
    let story = vec![("29T01", vec![("user/a", put(r#"{"n":1}"#))], user(Status::Complete))];
    let mut builder = tell(store.clone(), story).await;
    let index = directory.path().join("index");
    let writer = Index::open(&index).unwrap();
    let open = || Archive::open(store.clone(), &index, |notice| panic!("{notice:?}"), |_, _| ());
    let head = async || open().await.map(|archive| archive.head().unwrap().seq);
    assert!(matches!(head().await, Err(QueryError::Index(IndexError::Busy { .. }))), "nothing is indexed yet");
    writer.catch_up(&store, |_, _| ()).await.unwrap();
    assert_eq!(head().await.unwrap(), 1);
    // What changes no answer keeps nobody from asking.
    for _ in 0..3 {
        let body = builder.appender.draft("access", at("2026-08-29T01:30:00Z")).unwrap();
        builder.appender.commit(&body).await.unwrap();
    }
    assert_eq!(head().await.unwrap(), 1);
    // One that is open goes on with what it saw, whole, while the writer goes on.
    let before = open().await.unwrap();
    builder.capture(at("2026-08-29T02:00:00Z"), [(key("user/a"), remove())].into(), user(Status::Complete)).await;
    let behind = open().await.unwrap_err();
    assert!(matches!(behind, QueryError::Index(IndexError::Busy { .. })), "{behind}");
    writer.catch_up(&store, |_, _| ()).await.unwrap();
    assert_eq!(head().await.unwrap(), 5);
    let content = async |archive: &Archive| {
        let id = archive.view().id(&key("user/a")).unwrap().unwrap();
        let instant = archive.at(&Moment::Head, at(NOW)).unwrap();
        archive.as_of(&key("user/a"), id, &instant).await.unwrap().content.is_some()
    };
    assert!(content(&before).await && !content(&open().await.unwrap()).await);
    // Without a writer whoever asks indexes what is new.
    drop(writer);
    builder.capture(at("2026-08-29T03:00:00Z"), [(key("user/a"), put("{}"))].into(), user(Status::Complete)).await;
    assert_eq!(head().await.unwrap(), 6);
    let writer = Index::open(&index).unwrap();
    assert!(matches!(Index::open(&index), Err(IndexError::Busy { .. })), "one writes");
    assert_eq!(head().await.unwrap(), 6);
    drop(writer);
    // Further behind than a reader looks ahead: then somebody writes how far the index has come.
    for _ in 0..70 {
        let body = builder.appender.draft("access", at("2026-08-29T03:30:00Z")).unwrap();
        builder.appender.commit(&body).await.unwrap();
    }
    let archive = open().await.unwrap();
    assert_eq!(archive.view().position().unwrap().unwrap().size, 77);
}

/// Thirty accounts of a megabyte each, all of which changed: more than a difference reads ahead, so that it goes on several times.
#[tokio::test]
async fn a_difference_larger_than_what_is_read_ahead_has_everything_in_order() {
    const SIZE: usize = 1 << 20;
    let name = |number: usize| format!("user/{number:02}");
    let content = |number: usize, version: usize| {
        put(&format!("{{\"id\":\"{number:02}\",\"notes\":\"{}\",\"version\":{version}}}", "x".repeat(SIZE)))
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut builder = ArchiveBuilder::new(store.clone(), "t", at("2026-08-01T00:00:00Z")).await;
    for version in 1..=2 {
        let changes = (0..30).map(|number| (key(&name(number)), content(number, version))).collect();
        builder.capture(at(&format!("2026-08-01T0{version}:00:00Z")), changes, user(Status::Complete)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(store, directory.path(), |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
    let instant = |seq| archive.at(&Moment::Capture(seq), at(NOW)).unwrap();
    let mut found = Vec::new();
    let each = |difference: tenure::query::Difference| {
        let paths: Vec<String> = difference.properties.iter().map(|change| format!("{:?}", change.path)).collect();
        found.push((difference.key.to_string(), paths.join(" ")));
        Ok(ControlFlow::Continue(()))
    };
    archive.difference(&instant(1), &instant(2), &Scope::default(), each).await.unwrap();
    let names: Vec<String> = found.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(names, (0..30).map(name).collect::<Vec<_>>());
    assert!(found.iter().all(|(_, paths)| paths.contains("version") && !paths.contains("notes")), "{found:?}");
}

/// Lines are kept after reading, up to a bound that this archive is beyond: what is read again is what it was, whatever went.
#[tokio::test]
async fn a_line_is_the_same_when_it_is_read_again() {
    use tenure::archive::pack::{self, FrameReader, InvalidPack, Kind, Place};
    use tenure::archive::reader::{LineReader, read_pack};

    let line = |number: usize| format!("{{\"k\":\"user/{number:06}\",\"c\":{{\"n\":\"{}\"}}}}\n", "y".repeat(1000));
    let lines: String = (0..30_000).map(line).collect();
    let place = Place { container: "2026-08".to_owned(), segment: 1, seq: 1 };
    let part = pack::write(&place, Kind::Delta, lines.as_bytes()).remove(0);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    store.create(&part.reference.n, &part.file).await.unwrap();
    let mut places = Vec::new();
    read_pack(&*store, &part.reference, |_, place| places.push(place)).await.unwrap();
    assert_eq!(places.len(), 30_000);
    let reader = LineReader::new(store);
    let read = async |number: usize, place| {
        let found = reader.line(&part.reference.n, part.reference.len, place).await;
        assert_eq!(String::from_utf8(found.unwrap()).unwrap() + "\n", line(number), "line {number}");
    };
    // Steps of a prime, so that neighbours are read far from one another, and the first ones in between again and again.
    for step in 0..12_000 {
        let number = step * 7919 % 30_000;
        read(number, places[number]).await;
        read(step % 40, places[step % 40]).await;
    }
    // A place that says another length is none, kept or not.
    let longer = tenure::archive::reader::Place { len: places[0].len + 1, ..places[0] };
    let shorter = tenure::archive::reader::Place { len: places[0].len - 1, ..places[0] };
    for wrong in [longer, shorter] {
        reader.line(&part.reference.n, part.reference.len, wrong).await.unwrap_err();
    }

    // A place in the seek table is one frame.
    let frame = zstd::bulk::compress(b"a\n", 3).unwrap();
    let mut frames = FrameReader::default();
    assert_eq!(frames.read(&frame, 0, 2).unwrap(), b"a\n");
    assert_eq!(frames.read(&[frame.clone(), frame.clone()].concat(), 7, 4), Err(InvalidPack::Frame(7)));
    assert_eq!(frames.read(&frame, 0, 1), Err(InvalidPack::Frame(0)));
    assert_eq!(frames.read(&frame[..frame.len() - 1], 0, 2), Err(InvalidPack::Frame(0)));
}
