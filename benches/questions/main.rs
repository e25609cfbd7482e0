//! What questions cost at a tenant's real size: `cargo bench --bench questions -- --objects 100000`.
//!
//! A month of hourly captures of a synthetic tenant is written as an archive, without HTTP, then indexed, then asked.
//! Every figure is taken in a process of its own, so that CPU and memory are those of the step alone. Cold means that the
//! pages of archive and index are dropped from memory (Linux) and the process is new. Options: `--objects N`, `--directory D`
//! (kept afterwards and used again; else a temporary one), `--only WORD` (steps whose name contains it), `--deep` (recomputes
//! every state once more), `--again` (what takes more than a minute is asked again, too).

mod archive;
#[path = "../scale/dice.rs"]
mod dice;
mod life;
#[allow(dead_code, reason = "the other benchmarks measure more")]
#[path = "../scale/measure.rs"]
mod measure;
mod steps;
mod tenant;

use std::path::PathBuf;

use measure::{Figures, run_apart};
use steps::World;

/// Prints one figure.
fn say(name: &str, figure: f64) {
    println!("{name} {figure}");
}

/// What is asked: the step, and what it is called in the table.
const QUESTIONS: &[(&str, &str)] = &[
    ("reach", "`ask reach`, a typical user"),
    ("reach-most", "`ask reach`, the user who has most"),
    ("holders", "`ask role-holders`, Global Administrator"),
    ("holders-during", "`ask role-holders-during`, the month"),
    ("members", "members of the largest group, evaluated"),
    ("show-group", "the largest group as of a time, with its links"),
    ("group", "`ask who-could-reach`, the largest group"),
    ("small-group", "members of a group of thousands, evaluated"),
    ("application", "`ask who-could-reach`, given to a group of thousands"),
    ("application-of-all", "`ask who-could-reach`, given to the largest group"),
    ("diff-week", "`diff`, 130 hours"),
    ("diff", "`diff`, the month"),
    ("effect-day", "effects, a day"),
    ("effect-week", "effects, 130 hours"),
    ("effect", "effects, 700 hours"),
    ("effect-policy", "effects, an hour in which a policy changed"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let objects = option("--objects").map_or(10_000, |text| text.parse().expect("--objects is a number"));
    let kept = option("--directory").map(PathBuf::from);
    if let Some(step) = option("--step") {
        return run_step(&World { directory: kept.expect("a directory"), objects }, &step);
    }
    let temporary = kept.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
    let directory = kept.unwrap_or_else(|| temporary.as_ref().expect("made just now").path().to_owned());
    std::fs::create_dir_all(&directory).expect("a directory to work in");
    let deep = arguments.iter().any(|argument| argument == "--deep");
    let bench = Bench { world: World { directory, objects }, only: option("--only").unwrap_or_default() };
    bench.run(deep);
}

fn run_step(world: &World, step: &str) {
    // One thread, as the command line has; writing takes what there is.
    let mut builder = match step {
        "make" | "rebuild" => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match step {
            "make" => archive::write(world.archive(), world.objects).await,
            "verify" | "verify-deep" => world.verify(step == "verify-deep").await,
            "rebuild" => world.rebuild().await,
            "show" => world.show().await,
            question => world.ask(question).await,
        }
    });
}

/// The run of all steps.
struct Bench {
    world: World,
    only: String,
}

impl Bench {
    /// Runs one step in a process of its own.
    fn step(&self, step: &str) -> Figures {
        let objects = self.world.objects.to_string();
        let directory = self.world.directory.to_str().expect("a path that is text");
        let again = std::env::args().any(|argument| argument == "--again").then_some("--again");
        let arguments = ["--objects", &objects, "--directory", directory];
        run_apart(step, &arguments.into_iter().chain(again).collect::<Vec<_>>())
    }

    fn cold(&self, step: &str) -> Figures {
        steps::forget(&self.world.directory);
        self.step(step)
    }

    fn is_wanted(&self, step: &str) -> bool {
        step.contains(&self.only)
    }

    fn run(&self, deep: bool) {
        let mut rows = Vec::new();
        if !self.world.archive().join("log").exists() {
            let made = self.step("make");
            rows.push(row(
                "the archive written",
                &made,
                &[("records", "records an hour", 1.0), ("wall", "s", 1.0), ("peak", "MB", 1.0)],
            ));
            rows.push(row("at the end", &made, &[("keys", "keys", 1.0), ("links", "links", 1.0)]));
        }
        for step in ["verify", "verify-deep"] {
            let is_due = self.is_wanted(step) && (step == "verify" || deep);
            if is_due {
                rows.push(row(
                    step,
                    &self.step(step),
                    &[("cpu", "s CPU", 1.0), ("bytes", "MB read", 1e-6), ("peak", "MB", 1.0)],
                ));
            }
        }
        if self.is_wanted("rebuild") || !self.world.index().exists() {
            let columns =
                [("cpu", "s CPU", 1.0), ("rows", "rows", 1.0), ("speed", "M rows a CPU s", 1e-6), ("peak", "MB", 1.0)];
            let built = self.step("rebuild");
            rows.push(row("index rebuild", &built, &columns));
            rows.push(row(
                "on disk",
                &built,
                &[("archive", "MB archive", 1e-6), ("files", "files", 1.0), ("bytes", "MB index", 1e-6)],
            ));
        }
        if self.is_wanted("show") {
            rows.push(self.show());
        }
        println!("{} objects\n\n| step | measured |\n|---|---|\n{}", self.world.objects, rows.concat());
        println!("| question | rows | cold | again | others: middle, 95th, mean | memory |\n|---|---|---|---|---|---|");
        for (step, name) in QUESTIONS.iter().filter(|(step, _)| self.is_wanted(step)) {
            println!("{}", answer(name, &self.cold(step)));
        }
    }

    /// `show --at` as a process: the middle of fifteen, and of five cold ones.
    fn show(&self) -> String {
        let middle =
            |all: &[Figures], name| measure::median(all.iter().filter_map(|one| one.get(name)).copied().collect());
        let cold: Vec<Figures> = (0..5).map(|_| self.cold("show")).collect();
        let warm: Vec<Figures> = (0..15).map(|_| self.step("show")).collect();
        let figures =
            [("cold", middle(&cold, "process")), ("process", middle(&warm, "process")), ("cpu", middle(&warm, "cpu"))];
        let figures = figures.map(|(name, figure)| (name.to_owned(), figure)).into();
        row(
            "`show --at`, a process",
            &figures,
            &[("process", "ms", 1e3), ("cpu", "ms CPU", 1e3), ("cold", "ms cold", 1e3)],
        )
    }
}

fn row(name: &str, figures: &Figures, columns: &[(&str, &str, f64)]) -> String {
    let shown = columns.iter().filter_map(|(figure, unit, scale)| {
        let value = figures.get(*figure)? * scale;
        let digits = if value >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
        Some(format!("{value:.digits$} {unit}"))
    });
    format!("| {name} | {} |\n", shown.collect::<Vec<_>>().join(", "))
}

fn answer(name: &str, figures: &Figures) -> String {
    let of = |figure: &str| figures.get(figure).copied();
    let ms = |figure: &str| {
        of(figure).map_or("".to_owned(), |seconds| match seconds {
            0.0..0.1 => format!("{:.1} ms", seconds * 1e3),
            0.1..10.0 => format!("{:.0} ms", seconds * 1e3),
            _ => format!("{seconds:.1} s"),
        })
    };
    let count = |figure: &str| of(figure).map_or(String::new(), |count| format!("{count:.0}"));
    let others = match of("others") {
        Some(_) => format!("{}, {}, {} CPU", ms("others"), ms("late"), ms("others_cpu")),
        None => String::new(),
    };
    format!(
        "| {name} | {} | {}, {} CPU, {} MB read | {}, {} CPU | {others} | {} MB |",
        count("rows"),
        ms("cold"),
        ms("cold_cpu"),
        of("read").map_or(String::new(), |read| format!("{read:.0}")),
        ms("warm"),
        ms("warm_cpu"),
        count("peak"),
    )
}
