//! What a process has spent, as Linux counts it. Elsewhere everything is zero.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// CPU seconds of this process. Ticks of 10 ms; while no thread has ended yet the scheduler's own count is finer.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let coarse = (ticks(11) + ticks(12)) / 100.0;
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    let fine = nanos.sum::<f64>() / 1e9;
    if (coarse - fine).abs() < 0.05 + coarse / 50.0 { fine } else { coarse }
}

/// The most memory that this process ever had, in MB of a million bytes.
pub fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Bytes and files below a directory.
pub fn size_of(directory: &Path) -> (u64, u64) {
    let mut found = (0, 0);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (bytes, files) = match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path()),
            _ => (entry.metadata().map_or(0, |data| data.len()), 1),
        };
        found = (found.0 + bytes, found.1 + files);
    }
    found
}

/// Time and CPU since it was made.
pub struct Meter {
    began: Instant,
    cpu: f64,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { began: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn cpu(&self) -> f64 {
        cpu_seconds() - self.cpu
    }

    pub fn wall(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a step measured, by name.
pub type Figures = BTreeMap<String, f64>;

/// Has this program run one step in a process of its own, with `arguments` besides, and reads the figures that it prints.
pub fn run_apart(step: &str, arguments: &[&str]) -> Figures {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--step", step]).args(arguments);
    let began = Instant::now();
    let output = command.stderr(Stdio::inherit()).output().expect("this program runs again");
    let process = began.elapsed().as_secs_f64();
    assert!(output.status.success(), "{step} failed");
    let text = String::from_utf8(output.stdout).expect("figures are text");
    let figures = text.lines().filter_map(|line| line.split_once(' '));
    let mut figures: Figures = figures.map(|(name, f)| (name.to_owned(), f.parse().expect("a figure"))).collect();
    figures.insert("process".to_owned(), process);
    eprintln!("{step}: {figures:.4?}");
    figures
}
