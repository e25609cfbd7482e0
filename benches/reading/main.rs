//! What reading costs at Graph and here, at a tenant's real size: `cargo bench --bench reading -- --objects 100000`.
//!
//! The simulated tenant runs in a second process and captures in a third and fourth, so that CPU and memory are those of
//! the captures alone: first the first capture, then `--hours H` ordinary hours (30 unless told), then one in which
//! nothing changes, with `--reconcile` a reconciliation. No further hour begins `--minutes M` after the first of them did.
//! `--sweep-requests N` sets the budget of the sweeps; 0 shows what a capture costs without them. `--off C` leaves a
//! collection out. `--directory D` keeps the archive.
//!
//! Requests and units are counts and don't depend on the machine. CPU seconds nearly don't; wall times do.

mod captures;
#[allow(dead_code, reason = "the other benchmark measures more")]
#[path = "../scale/measure.rs"]
mod measure;
mod tenant;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use captures::{Cost, Part, Run, Sources, Told};
use jiff::{Timestamp, ToSpan};
use measure::median;
use tenant::{Address, Served};

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: u32) -> u32 {
    option(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is followed by a number")))
}

fn is_given(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

fn main() {
    let objects = number("--objects", 10_000) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if is_given("--serve") {
        return runtime.block_on(tenant::serve(objects));
    }
    let kept = option("--directory").map(PathBuf::from);
    let temporary = kept.is_none().then(|| tempfile::tempdir().expect("a temporary directory"));
    let directory = kept.unwrap_or_else(|| temporary.as_ref().expect("made just now").path().to_owned());
    let start: Timestamp = tenant::START.parse().expect("a time");
    if let Some(tenant) = option("--tenant") {
        let address: Address = serde_json::from_str(&tenant).expect("written by this program");
        let run = Run {
            from: option("--from").expect("a time").parse().expect("a time"),
            hours: number("--hours", 1),
            lives: !is_given("--quiet"),
            reconcile: is_given("--reconcile"),
            sweep_requests: option("--sweep-requests").map(|text| text.parse().expect("a number")),
            off: option("--off"),
            limit: Duration::from_secs(60 * u64::from(number("--minutes", 60))),
        };
        return runtime.block_on(captures::run(&directory, &address, &run));
    }
    let served = Served::begin(objects);
    runtime.block_on(captures::initialise(&directory, start));
    measure_all(&served.address, &directory, start);
}

fn measure_all(tenant: &Address, directory: &Path, start: Timestamp) {
    let Address { objects, users, founded_in, .. } = tenant;
    eprintln!("{objects} objects, {users} of them users, founded in {founded_in:.1} s");
    let (hours, minutes) = (number("--hours", 30), number("--minutes", 60));
    let sweep_requests = option("--sweep-requests").map(|text| text.parse().expect("a number"));
    let off = option("--off");
    let all = |from, hours| {
        let off = off.clone();
        Run { from, hours, lives: true, reconcile: false, sweep_requests, off, limit: Duration::MAX }
    };
    let after = |hours: usize| start + (hours as i64).hours();
    let (first, _) = process(directory, tenant, &all(start, 1));
    let limit = Duration::from_secs(60 * u64::from(minutes));
    let (ordinary, sources) = process(directory, tenant, &Run { limit, ..all(after(1), hours) });
    let done = 1 + ordinary.len();
    let (quiet, _) = process(directory, tenant, &Run { lives: false, ..all(after(done), 1) });
    report(tenant, &first[0], &ordinary, &quiet[0], &sources);
    if is_given("--reconcile") {
        let (whole, _) = process(directory, tenant, &Run { reconcile: true, ..all(after(done + 1), 1) });
        println!("reconciliation: {}", effort(&whole));
    }
}

/// Runs captures in a process of their own.
fn process(directory: &Path, tenant: &Address, run: &Run) -> (Vec<Told>, Sources) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("--directory").arg(directory);
    command.args(["--tenant", &serde_json::to_string(tenant).expect("text and numbers")]);
    command.args(["--from", &run.from.to_string(), "--hours", &run.hours.to_string()]);
    command.args(["--minutes", &(run.limit.as_secs() / 60).min(u64::from(u32::MAX)).to_string()]);
    if let Some(budget) = run.sweep_requests {
        command.args(["--sweep-requests", &budget.to_string()]);
    }
    if let Some(off) = &run.off {
        command.args(["--off", off]);
    }
    command.args((!run.lives).then_some("--quiet"));
    command.args(run.reconcile.then_some("--reconcile"));
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().expect("this program runs again");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let mut captures: Vec<Told> = Vec::new();
    let mut sources = None;
    for line in &mut lines {
        match serde_json::from_str::<Told>(&line) {
            Ok(told) => {
                let Told { cpu, wall, peak, tenant_peak, changed, costs, .. } = &told;
                let so_far = began.elapsed().as_secs();
                eprintln!(
                    "{so_far} s: {cpu:.2} s CPU, {wall:.2} s, {peak:.0} MB (the tenant's process {tenant_peak:.0} MB), \
                     {changed} changed, {costs:?}, not yet {:?}, short {:?}",
                    told.not_yet, told.short
                );
                captures.push(told);
            }
            Err(_) => sources = serde_json::from_str(&line).ok(),
        }
    }
    assert!(child.wait().expect("it was started").success(), "captures failed");
    (captures, sources.expect("the last line is of the sources"))
}

fn effort(captures: &[Told]) -> String {
    let of = |figure: fn(&Told) -> f64| median(captures.iter().map(figure).collect());
    let peak = captures.iter().map(|told| told.peak).fold(0.0, f64::max);
    format!("{:.2} s CPU, {:.2} s wall, {peak:.0} MB at most", of(|told| told.cpu), of(|told| told.wall))
}

/// Requests and units of a part, an hour.
fn mean(captures: &[&Told], part: Part) -> (f64, f64) {
    let costs: Vec<Cost> = captures.iter().filter_map(|told| told.costs.get(&part)).copied().collect();
    let an_hour = |of: fn(&Cost) -> u64| costs.iter().map(of).sum::<u64>() as f64 / captures.len().max(1) as f64;
    (an_hour(|cost| cost.0), an_hour(|cost| cost.1))
}

fn report(tenant: &Address, first: &Told, ordinary: &[Told], quiet: &Told, sources: &Sources) {
    let (objects, users) = (tenant.objects, tenant.users);
    println!("{objects} objects, {users} of them users; {} keys, {} links archived", first.objects, first.links);
    let requests: u64 = first.costs.values().map(|cost| cost.0).sum();
    let units: u64 = first.costs.values().map(|cost| cost.1).sum();
    println!("first capture: {requests} requests, {units} units; {}", effort(std::slice::from_ref(first)));
    for row in ordinary.last().into_iter().flat_map(|told| &told.short) {
        println!("short at the end: {row}");
    }
    let changed = median(ordinary.iter().map(|told| told.changed as f64).collect());
    println!("an ordinary hour (the middle of {}): {changed:.0} records changed, {}", ordinary.len(), effort(ordinary));

    let begun: Vec<&Told> = ordinary.iter().filter(|told| !told.not_yet.is_empty()).collect();
    let settled: Vec<&Told> = ordinary.iter().filter(|told| told.not_yet.is_empty()).collect();
    let every: Vec<&Told> = ordinary.iter().collect();
    println!("\n| part | requests an hour | units an hour |\n|---|---|---|");
    let row = |name: &str, (requests, units): (f64, f64)| println!("| {name} | {requests:.0} | {units:.0} |");
    row("change feeds and audit records, nothing changed", mean(&[quiet], Part::Feeds));
    row("change feeds and audit records", mean(&every, Part::Feeds));
    row("lists", mean(&every, Part::Lists));
    if !begun.is_empty() {
        row("sweeps, until every source was read once", mean(&begun, Part::Sweeps));
    }
    if !settled.is_empty() {
        row("sweeps", mean(&settled, Part::Sweeps));
    }
    let (requests, units) = mean(&[first], Part::Daily);
    println!("\nonce a day besides: {requests:.0} requests, {units:.0} units");
    let steady = if settled.is_empty() { &begun } else { &settled };
    match (ordinary.last().map(|told| told.not_yet.as_slice()), begun.len()) {
        (None | Some([]), 0) => println!("every source was read in the first capture"),
        (None | Some([]), begun) => println!("every source was read within {} captures", begun + 2),
        (Some(rows), begun) => println!("after {} captures not every source of {rows:?} was read", begun + 1),
    }
    println!("\n| sweep | sources | requests an hour | captures for a whole turn |\n|---|---|---|---|");
    let mut longest = 0.0_f64;
    for (name, (sources, an_hour)) in turns(steady, sources) {
        let turn = (sources / an_hour).max(1.0);
        longest = longest.max(turn);
        println!("| {name} | {sources:.0} | {an_hour:.0} | {} |", span(turn));
    }
    println!("\nspan: every source is visited within {} captures", span(longest));
    let tenant_peak = ordinary.iter().map(|told| told.tenant_peak).fold(0.0, f64::max);
    println!("the tenant itself: founded in {:.0} s, {tenant_peak:.0} MB", tenant.founded_in);
}

/// Captures, where a sweep had its turn at all.
fn span(captures: f64) -> String {
    if captures.is_finite() { format!("{captures:.0}") } else { "no bound seen".to_owned() }
}

/// By row: sources, and requests an hour. A source takes one request, or more where it has more than a page of targets.
fn turns(captures: &[&Told], sources: &Sources) -> BTreeMap<String, (f64, f64)> {
    let with_sources = sources.iter().filter(|(_, sources)| **sources > 0);
    let each = with_sources.map(|(name, sources)| {
        let requests: u64 = captures.iter().filter_map(|told| told.sweeps.get(name)).sum();
        (name.clone(), (*sources as f64, requests as f64 / captures.len().max(1) as f64))
    });
    each.collect()
}
