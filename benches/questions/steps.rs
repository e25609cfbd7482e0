//! What is measured, each in a process of its own: a figure is printed as `name value`.
//!
//! Must never know: how the archive came about, beyond the ids of its objects.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tenure::archive::verify;
use tenure::canonical::Key;
use tenure::index::Index;
use tenure::query::access::Evaluator;
use tenure::query::questions::{self, Times};
use tenure::query::{Archive, Library, Moment, Scope};
use tenure::store::{FilesystemStore, Store};

use super::life::{HOURS, POLICY_HOUR, time};
use super::measure::{Meter, cpu_seconds, median, peak_megabytes, size_of};
use super::say;
use super::tenant::{GLOBAL, Kind, Shape, Thing};

/// In the middle of the month and between two captures.
const MIDDLE: &str = "2026-06-15T12:30:00Z";
/// How often one question is asked again, and of how many other subjects.
const AGAIN: usize = 11;
const OTHERS: u32 = 200;

/// Where everything is.
pub struct World {
    pub directory: PathBuf,
    pub objects: u32,
}

/// Something that is asked.
enum Task {
    Question(&'static str, Vec<(String, String)>, Times),
    Members(Key),
    Show(Key),
    Difference(u64, u64),
    Effects(u64, u64),
}

fn middle() -> Moment {
    Moment::At(MIDDLE.parse().expect("a time"))
}

fn at_middle(question: &'static str, parameter: &str, value: impl ToString) -> Task {
    let times = Times { at: Some(middle()), ..Times::default() };
    Task::Question(question, vec![(parameter.to_owned(), value.to_string())], times)
}

fn in_month(question: &'static str, parameter: &str, value: impl ToString) -> Task {
    let (from, to) = (Moment::At(time(0)), Moment::At(time(HOURS - 1)));
    let times = Times { from: Some(from), to: Some(to), at: None };
    Task::Question(question, vec![(parameter.to_owned(), value.to_string())], times)
}

impl World {
    pub fn archive(&self) -> PathBuf {
        self.directory.join("archive")
    }

    pub fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(FilesystemStore::new(self.archive()))
    }

    async fn open(&self) -> Archive {
        let opened = Archive::open(self.store(), &self.index(), |notice| panic!("{notice:?}"), |_, _| ()).await;
        opened.expect("the archive opens")
    }

    pub async fn verify(&self, deep: bool) {
        let options = verify::Options { deep, ..verify::Options::default() };
        let meter = Meter::start();
        let report = verify::verify(&*self.store(), &options, |_, _| ()).await.expect("an archive");
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        say("entries", report.checked.entries as f64);
        say("roots", report.checked.roots as f64);
        say("bytes", report.checked.bytes as f64);
        spent(&meter);
    }

    /// Builds the index that the questions are asked of.
    pub async fn rebuild(&self) {
        Index::destroy(&self.index()).expect("a directory");
        let meter = Meter::start();
        let index = Index::open(&self.index()).expect("an empty index");
        let caught_up = index.catch_up(&self.store(), |_, _| ()).await.expect("a sound archive");
        assert!(caught_up.unknown.is_empty());
        let (cpu, wall) = (meter.cpu(), meter.wall());
        let (keys, versions, links) = index.view().and_then(|view| view.counts()).expect("counts");
        // Keys both ways, versions, links both ways, leaves: what grows with the tenant and its history.
        let rows = (2 * keys + versions + 2 * links + keys) as f64;
        for (name, figure) in [("rows", rows), ("versions", versions as f64), ("links", links as f64)] {
            say(name, figure);
        }
        say("speed", rows / cpu);
        say("cpu", cpu);
        say("wall", wall);
        say("peak", peak_megabytes());
        say("bytes", size_of(&self.index()).0 as f64);
        say("archive", size_of(&self.archive()).0 as f64);
        say("files", size_of(&self.archive()).1 as f64);
    }

    /// One object with its links as of the middle of the month, by a process that does nothing else.
    pub async fn show(&self) {
        let archive = self.open().await;
        let key = Shape::of(self.objects).key((Kind::User, 42));
        assert_eq!(perform(&archive, &Task::Show(key)).await, 1);
        say("cpu", cpu_seconds());
        say("peak", peak_megabytes());
    }

    /// Asks one thing cold, then the same again, then of others.
    pub async fn ask(&self, name: &str) {
        let (first, others) = self.tasks(name);
        let read = bytes_read();
        let meter = Meter::start();
        // As a command opens it: after that nothing has to be indexed.
        drop(self.open().await);
        say("open", meter.wall());
        let library = Library::open(self.store(), &self.index()).expect("a sound index").expect("an index");
        let question = Meter::start();
        say("rows", perform(&archive(&library), &first).await as f64);
        say("cold", question.wall());
        say("cold_cpu", question.cpu());
        say("read", (bytes_read() - read) / 1e6);
        say("cold_peak", peak_megabytes());
        let patient = std::env::args().any(|argument| argument == "--again");
        if meter.wall() < 60.0 || patient {
            let again = match question.wall() {
                seconds if seconds > 60.0 => 1,
                seconds if seconds > 2.0 => 3,
                _ => AGAIN,
            };
            let (wall, cpu) = times(&library, std::iter::repeat_n(&first, again)).await;
            say("warm", median(wall));
            say("warm_cpu", cpu);
        }
        if !others.is_empty() {
            let (mut wall, cpu) = times(&library, others.iter()).await;
            say("others_cpu", cpu);
            wall.sort_by(f64::total_cmp);
            say("others", wall[wall.len() / 2]);
            say("late", wall[wall.len() * 95 / 100]);
        }
        say("peak", peak_megabytes());
    }

    /// What a step asks first, and of which others then.
    fn tasks(&self, name: &str) -> (Task, Vec<Task>) {
        let shape = Shape::of(self.objects);
        let key = |thing: Thing| shape.key(thing).to_string();
        let reach = |number| at_middle("reach", "subject", key((Kind::User, number)));
        let users = shape.count(Kind::User);
        let typical = |at: u32| 1 + (u64::from(at) * 7919 % u64::from(users - 1)) as u32;
        let principals = shape.count(Kind::ServicePrincipal);
        let (large, some) = ((Kind::Group, 0), (Kind::Group, shape.assigned_group()));
        let (last, policy) = (u64::from(HOURS), u64::from(POLICY_HOUR));
        match name {
            "reach" => (reach(typical(1)), (2..2 + OTHERS).map(|at| reach(typical(at))).collect()),
            "reach-most" => (reach(0), Vec::new()),
            "holders" => {
                let others = (1..60).map(|role| at_middle("role-holders", "role", shape.role(role)));
                (at_middle("role-holders", "role", GLOBAL), others.collect())
            }
            "holders-during" => {
                let others = (1..60).map(|role| in_month("role-holders-during", "role", shape.role(role)));
                (in_month("role-holders-during", "role", GLOBAL), others.collect())
            }
            "members" => (Task::Members(shape.key(large)), Vec::new()),
            "show-group" => (Task::Show(shape.key(large)), Vec::new()),
            "group" => (at_middle("who-could-reach", "target", key(large)), Vec::new()),
            "small-group" => {
                let others = (100..100 + OTHERS).map(|group| Task::Members(shape.key((Kind::Group, group))));
                (Task::Members(shape.key(some)), others.collect())
            }
            "application" => {
                let others = (2..42)
                    .map(|at| at_middle("who-could-reach", "target", key((Kind::ServicePrincipal, at % principals))));
                (at_middle("who-could-reach", "target", key((Kind::ServicePrincipal, 1))), others.collect())
            }
            "application-of-all" => {
                (at_middle("who-could-reach", "target", key((Kind::ServicePrincipal, 0))), Vec::new())
            }
            "diff-week" => (Task::Difference(21, 151), Vec::new()),
            "diff" => (Task::Difference(1, last), Vec::new()),
            "effect-day" => (Task::Effects(349, 373), Vec::new()),
            "effect-week" => (Task::Effects(21, 151), Vec::new()),
            "effect" => (Task::Effects(1, policy), Vec::new()),
            "effect-policy" => (Task::Effects(policy, policy + 1), Vec::new()),
            other => panic!("no step {other}"),
        }
    }
}

/// What one question is answered from: a view of its own, as the service takes one for each.
fn archive(library: &Library) -> Archive {
    library.archive().expect("an index")
}

/// Wall times of some questions, and CPU of each on average.
async fn times<'t>(library: &Library, tasks: impl Iterator<Item = &'t Task>) -> (Vec<f64>, f64) {
    let (mut walls, all) = (Vec::new(), Meter::start());
    for task in tasks {
        let meter = Meter::start();
        perform(&archive(library), task).await;
        walls.push(meter.wall());
    }
    let cpu = all.cpu() / walls.len() as f64;
    (walls, cpu)
}

/// Asks, and counts what comes back.
async fn perform(archive: &Archive, task: &Task) -> usize {
    let instant = |seq| archive.at(&Moment::Capture(seq), Timestamp::MAX).expect("a capture");
    let at = archive.at(&middle(), Timestamp::MAX).expect("the middle of the month");
    match task {
        Task::Question(name, parameters, times) => {
            let question = questions::find(name).expect("a question of the catalogue");
            let answer = questions::ask(archive, question, parameters, times, Timestamp::MAX).await;
            let answer = answer.expect("an answer");
            assert!(answer.evidence.is_complete && !answer.hash.is_zero());
            answer.table.rows.len()
        }
        Task::Members(group) => {
            let evaluator = Evaluator::at(archive, &at).expect("an evaluator");
            evaluator.members(group).expect("an answer").len()
        }
        Task::Show(key) => {
            let id = archive.view().id(key).expect("an index").expect("a key of the tenant");
            let answer = archive.as_of(key, id, &at).await.expect("an answer");
            assert!(answer.is_present());
            if key.collection() == "group" { answer.links.len() } else { 1 }
        }
        Task::Difference(from, to) => {
            let mut found = 0;
            let each = |_| {
                found += 1;
                Ok(ControlFlow::Continue(()))
            };
            archive.difference(&instant(*from), &instant(*to), &Scope::default(), each).await.expect("an answer");
            found
        }
        Task::Effects(from, to) => {
            let effects = archive.effects(&instant(*from), &instant(*to), &Scope::default()).await.expect("an answer");
            let policies: usize = effects.policies.counts.iter().map(|count| count.began + count.stopped).sum();
            say("concerned", effects.concerned as f64);
            effects.access.len() + effects.accounts.len() + policies
        }
    }
}

fn spent(meter: &Meter) {
    say("cpu", meter.cpu());
    say("wall", meter.wall());
    say("peak", peak_megabytes());
}

/// Bytes that this process had fetched from the disk.
fn bytes_read() -> f64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0)
}

/// Asks the system to forget the pages of every file below a directory, and of no other: others work on this machine.
#[cfg(target_os = "linux")]
pub fn forget(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => forget(&entry.path()),
            _ => {
                let file = std::fs::File::open(entry.path()).expect("a file that was listed");
                // Pages that aren't written yet stay.
                file.sync_all().expect("a file on a disk");
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is free");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub fn forget(_: &Path) {}
