//! What Tenure costs at a tenant's real size: `cargo bench --bench scale -- --objects 100000`.
//!
//! The tenant is served by a second process on loopback and every figure is taken in a process of its own, so that CPU
//! and memory are those of the step alone. Options: `--objects N`, `--directory D` (kept afterwards; else a temporary
//! one), `--days N` (captures that stand for a month), `--only WORD` (steps whose name contains it, on a directory kept
//! from before).
//!
//! CPU seconds and ratios travel between machines, wall times don't.

mod dice;
mod measure;
mod phases;
mod tenant;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jiff::{Timestamp, ToSpan};
use measure::{Figures, run_apart};
use phases::World;

/// When the second segment begins: the steps before it are counted back from here, a day each.
const SECOND_SEGMENT: &str = "2026-07-01T00:00:00Z";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let objects = option("--objects").map_or(10_000, |text| text.parse().expect("--objects is a number"));
    if arguments.iter().any(|argument| argument == "--serve") {
        return tenant::serve(objects);
    }
    if let Some(step) = option("--step") {
        let world = World {
            directory: option("--directory").expect("a directory").into(),
            url: option("--url").unwrap_or_default(),
            now: option("--now").map_or(Timestamp::UNIX_EPOCH, |now| now.parse().expect("a time")),
            objects,
        };
        return run_step(&world, &step);
    }
    let days = option("--days").map_or(27, |text| text.parse().expect("--days is a number"));
    assert!((1..=27).contains(&days), "--days is at most 27, so that they lie in one month");
    let kept = option("--directory").map(PathBuf::from);
    let temporary = kept.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
    let directory = kept.unwrap_or_else(|| temporary.as_ref().expect("made just now").path().to_owned());
    phases::prepare(&directory);
    let only = option("--only").unwrap_or_default();
    Bench::begin(objects, directory, only).run(days);
}

fn run_step(world: &World, step: &str) {
    let words: Vec<&str> = step.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).expect("a number");
    let threads = if words[0] == "show" { 1 } else { 2 };
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match words[0] {
            "initialise" => world.initialise().await,
            "first" | "idle" => world.capture(number(1) as u32, false, false).await,
            "changed" => world.capture(number(1) as u32, true, false).await,
            "reconcile" => world.capture(1, true, true).await,
            "collect" => world.collect(words[1] == "reconcile").await,
            "show" => world.show(words[1], number(2)).await,
            "ask" => world.ask_many(number(1)).await,
            "diff" => world.diff(number(1), number(2)).await,
            "verify" => world.verify(words.get(1) == Some(&"deep")).await,
            "rebuild" => world.rebuild().await,
            "packs" => world.packs().await,
            "throughput" => world.throughput(),
            "sizes" => world.sizes(),
            other => panic!("no step {other}"),
        }
    });
}

/// The run of all steps.
struct Bench {
    objects: u32,
    directory: PathBuf,
    only: String,
    server: Child,
    url: String,
    now: Timestamp,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Bench {
    fn begin(objects: u32, directory: PathBuf, only: String) -> Bench {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--serve", "--objects", &objects.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("this program runs again");
        let mut url = String::new();
        let mut output = BufReader::new(server.stdout.take().expect("piped"));
        output.read_line(&mut url).expect("the tenant says its address");
        let now = SECOND_SEGMENT.parse().expect("a time");
        Bench { objects, directory, only, server, url: url.trim().to_owned(), now }
    }

    /// Runs one step in a process of its own; nothing where it isn't wanted.
    fn step(&self, step: &str) -> Figures {
        if !step.contains(&self.only) {
            return Figures::new();
        }
        let (now, objects) = (self.now.to_string(), self.objects.to_string());
        let directory = self.directory.to_str().expect("a path that is text");
        run_apart(step, &["--url", &self.url, "--now", &now, "--objects", &objects, "--directory", directory])
    }

    fn days_pass(&mut self, days: i64) {
        self.now = self.now.checked_add((24 * days).hours()).expect("a date of this century");
    }

    fn run(mut self, days: i64) {
        let objects = self.objects;
        let mut table = Table::default();
        self.days_pass(-days - 3);
        let throughput = self.step("throughput");
        for step in ["parse", "canonicalise", "hash", "pack"] {
            table.row(step, &throughput, &[(step, "MB of JSON a CPU s", 1.0)]);
        }
        self.step("initialise");
        let collect = self.step("collect first");
        table.row("first read, dropped", &collect, CAPTURE);
        let first = self.step("first 1");
        table.row("first capture", &first, CAPTURE);
        self.days_pass(1);
        let idle = self.step("idle 1");
        table.row("idle capture", &idle, CAPTURE);
        self.days_pass(1);
        let changed = self.step(&format!("changed {days}"));
        table.row("capture, 0.1 % changed", &changed, CAPTURE);
        self.days_pass(days);
        let collect_whole = self.step("collect reconcile");
        table.row("whole read, dropped", &collect_whole, CAPTURE);
        let reconcile = self.step("reconcile");
        table.row("reconciliation", &reconcile, CAPTURE);
        self.days_pass(1);
        let roll = self.step("changed 1 segment");
        table.row("capture that opens a segment", &roll, CAPTURE);
        let head = (days + 4) as u64;
        let key = format!("user/{}", tenant::id(tenant::Kind::User, 42 % (objects / 100 * 80)));
        let shows: Vec<Figures> = (0..15).map(|_| self.step(&format!("show {key} {}", head / 2))).collect();
        let mut show = Figures::new();
        for name in ["cpu", "process"] {
            let all = shows.iter().filter_map(|figures| figures.get(name)).copied().collect();
            show.insert(name.to_owned(), measure::median(all));
        }
        table.row("show --at, a process", &show, &[("cpu", "ms CPU", 1e3), ("process", "ms", 1e3)]);
        let asked = self.step(&format!("ask {}", head / 2));
        let columns = [("warm", "ms CPU warm", 1e3), ("median", "ms cold frame", 1e3), ("late", "ms 99th", 1e3)];
        table.row("show --at, inside", &asked, &columns);
        let diff = self.step(&format!("diff 2 {head}"));
        table.row("diff, a month", &diff, &[("cpu", "s CPU", 1.0), ("found", "objects", 1.0), ("peak", "MB", 1.0)]);
        for (name, step) in [("verify", "verify"), ("verify --deep", "verify deep")] {
            let verify = self.step(step);
            let columns = [("cpu", "s CPU", 1.0), ("bytes", "MB read", 1e-6), ("peak", "MB", 1.0)];
            table.row(name, &verify, &columns);
        }
        let mut rebuild = self.step("rebuild");
        if let (Some(rows), Some(cpu)) = (rebuild.get("rows"), rebuild.get("cpu")) {
            rebuild.insert("speed".to_owned(), rows / cpu);
        }
        let columns =
            [("cpu", "s CPU", 1.0), ("rows", "rows", 1.0), ("speed", "M rows a CPU s", 1e-6), ("peak", "MB", 1.0)];
        table.row("index rebuild", &rebuild, &columns);
        let packs = self.step("packs");
        let columns = [("delta_ratio", "x zstd -19", 1.0), ("delta_bytes", "bytes", 1.0)];
        table.row("delta pack", &packs, &columns);
        let columns = [("base_ratio", "x zstd -9", 1.0), ("base_bytes", "MB", 1e-6), ("base_cpu", "s CPU", 1.0)];
        table.row("base pack", &packs, &columns);
        let sizes = self.step("sizes");
        let columns = [("archive", "MB archive", 1e-6), ("files", "files", 1.0), ("index", "MB index", 1e-6)];
        table.row("on disk", &sizes, &columns);
        println!("{objects} objects\n\n{}", table.text);
    }
}

const CAPTURE: &[(&str, &str, f64)] = &[
    ("cpu", "s CPU", 1.0),
    ("wall", "s wall", 1.0),
    ("peak", "MB peak", 1.0),
    ("bytes", "KB written", 1e-3),
    ("files", "blobs", 1.0),
    ("records", "records changed", 1.0),
];

/// The table of results in Markdown.
#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, figures: &Figures, columns: &[(&str, &str, f64)]) {
        if self.text.is_empty() {
            self.text.push_str("| step | measured |\n|---|---|\n");
        }
        let shown = columns.iter().filter_map(|(figure, unit, scale)| {
            let value = figures.get(*figure)? * scale;
            let digits = if value >= 100.0 || value.fract() == 0.0 { 0 } else { 3 };
            Some(format!("{value:.digits$} {unit}"))
        });
        let shown: Vec<String> = shown.collect();
        if !shown.is_empty() {
            self.text.push_str(&format!("| {name} | {} |\n", shown.join(", ")));
        }
    }
}
