//! The command line: arguments in, text or JSON and an exit code out. One file per command.
//!
//! Must never know: anything that a program which uses the library would need too.
//!
//! To add a command: a file with `Arguments` and `run`, a row in [`Command`] and one in [`dispatch`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::answer::json;
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::Ledger;

mod ask;
mod audit;
mod capture;
mod captures;
mod console;
mod coverage;
mod demo;
mod diff;
mod doctor;
mod dump;
mod expire;
mod failure;
mod gate;
mod history;
mod index;
mod init;
mod migrate;
pub mod mirror;
mod render;
mod search;
mod serve;
mod session;
mod show;
mod state;
mod status;
pub mod storage;
mod verify;

pub use console::{Console, Paint, Progress};
pub use failure::{Ended, Failure, Kind, exit_code};
use gate::{Gate, Gated};
pub use session::Session;
pub use state::{mirrored_head, remember_head, remember_mirror, remembered_head};

/// A long-retention archive for Microsoft Entra ID.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, about, max_term_width = 100, after_help = AFTER)]
struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "Times are RFC 3339, a date (as of its end), a span back from now (\"3 days ago\"), or a capture by \
                     number (\"#123\"); UTC unless a zone is given.\nObjects are named by key, id, user principal name \
                     or display name.\nExit codes: 0 done, 1 failed, 2 usage or configuration, 3 integrity finding, 4 \
                     answered, but with incomplete coverage.";

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Globals {
    /// Configuration file [default: tenure.toml, else /etc/tenure/tenure.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON for programs, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour the output: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: Color,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Live through two months of a simulated tenant: capture, verify, ask
    Demo(demo::Arguments),
    /// Begin an archive: configuration, keys and the first entry
    Init(init::Arguments),
    /// Capture the tenant once, now
    Capture(capture::Arguments),
    /// Run the service: capture on schedule, look after the archive, raise alarms
    Serve(serve::Arguments),
    /// Tell how the service and the storage are doing
    Status(status::Arguments),
    /// List what was captured, with coverage and gaps
    Captures(captures::Arguments),
    /// Tell since when each collection, relation and property has been captured, and where there are holes
    Coverage(coverage::Arguments),
    /// Try what the credential may read; name what is missing and any right to write
    Doctor(doctor::Arguments),
    /// Check chain, signatures and every byte; needs nothing but the archive
    Verify(verify::Arguments),
    /// Ask a named question: who had access to what, by which path, since when
    Ask(ask::Arguments),
    /// Show an object and its links as of a time
    Show(show::Arguments),
    /// Show every version of an object, and what changed
    History(history::Arguments),
    /// Find objects by a part of their name, present or past
    Search(search::Arguments),
    /// Print the whole state as of a time, one JSON line after another
    Dump(dump::Arguments),
    /// Show what changed between two times
    Diff(diff::Arguments),
    /// Show who asked what: the own-use log
    Audit(audit::Arguments),
    /// End what is past its retention and nothing holds; shows its plan first
    Expire(expire::Arguments),
    /// Copy the archive to another store and prove it equal
    Migrate(migrate::Arguments),
    /// Look after the index
    #[command(subcommand)]
    Index(index::Command),
}

/// Runs a command line. `variables` is the environment. Returns the exit code of the process.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: Vec<(String, String)>,
    clock: Arc<dyn Clock>,
    mut console: Console<'_>,
) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let line = match parse(&arguments, &console) {
        Ok(line) => line,
        Err(error) => return refuse(&error, &arguments, &mut console),
    };
    let json = line.globals.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into()), json, &mut console),
    };
    let Console { out, err, out_is_terminal, err_is_terminal, colour } = console;
    let gate = Gate::default();
    let mut out = Gated { inner: out, gate: gate.clone() };
    let console = Console { out: &mut out, err, out_is_terminal, err_is_terminal, colour };
    let mut session = Session::new(line.globals, variables, clock, console, gate);
    let (result, recorded) = runtime.block_on(settled(line.command, &mut session));
    let flushed = session.console.out.flush();
    let result = result.and_then(|ended| flushed.map(|()| ended).map_err(Failure::from));
    let code = report(result, json, &mut session.console);
    // The answer has left: what brings its record into the chain keeps nobody waiting for it.
    if let Some((ledger, config)) = recorded {
        runtime.block_on(session.bring_uses(&ledger, &config));
    }
    code
}

/// Runs a command and sees to it that what it asked is recorded, whatever became of it. Where something was recorded it
/// also returns where.
async fn settled(command: Command, session: &mut Session<'_>) -> (Result<Ended, Failure>, Option<(Ledger, Config)>) {
    let result = dispatch(command, session).await;
    session.gate.settle(result)
}

async fn dispatch(command: Command, session: &mut Session<'_>) -> Result<Ended, Failure> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, session).await,
        Command::Capture(arguments) => capture::run(arguments, session).await,
        Command::Init(arguments) => init::run(arguments, session).await,
        Command::Serve(arguments) => serve::run(arguments, session).await,
        Command::Status(arguments) => status::run(arguments, session).await,
        Command::Captures(arguments) => captures::run(arguments, session).await,
        Command::Coverage(arguments) => coverage::run(arguments, session).await,
        Command::Doctor(arguments) => doctor::run(arguments, session).await,
        Command::Verify(arguments) => verify::run(arguments, session).await,
        Command::Ask(arguments) => ask::run(arguments, session).await,
        Command::Show(arguments) => show::run(arguments, session).await,
        Command::History(arguments) => history::run(arguments, session).await,
        Command::Search(arguments) => search::run(arguments, session).await,
        Command::Dump(arguments) => dump::run(arguments, session).await,
        Command::Diff(arguments) => diff::run(arguments, session).await,
        Command::Audit(arguments) => audit::run(arguments, session).await,
        Command::Expire(arguments) => expire::run(arguments, session).await,
        Command::Migrate(arguments) => migrate::run(arguments, session).await,
        Command::Index(command) => index::run(command, session).await,
    }
}

/// Runs a command line within another: what the demo shows is what a person would see.
async fn run_within(arguments: &[&str], session: &mut Session<'_>) -> Result<Ended, Failure> {
    let arguments: Vec<OsString> = std::iter::once("tenure").chain(arguments.iter().copied()).map(Into::into).collect();
    let line = parse(&arguments, &session.console).map_err(|error| Failure::new(Kind::Usage, error))?;
    let globals = std::mem::replace(&mut session.globals, line.globals);
    session.globals.color = globals.color;
    let (result, recorded) = Box::pin(settled(line.command, session)).await;
    session.globals = globals;
    if let Some((ledger, config)) = recorded {
        session.bring_uses(&ledger, &config).await;
    }
    result
}

fn parse(arguments: &[OsString], console: &Console<'_>) -> Result<CommandLine, clap::Error> {
    let mut command = CommandLine::command();
    if !console.out_is_terminal {
        command = command.term_width(100);
    }
    let matches = command.try_get_matches_from(arguments)?;
    CommandLine::from_arg_matches(&matches)
}

/// Help and version go where answers go; everything else is a usage error.
fn refuse(error: &clap::Error, arguments: &[OsString], console: &mut Console<'_>) -> u8 {
    if !error.use_stderr() {
        let text = error.render();
        let written = match console.out_is_terminal && console.colour {
            true => write!(console.out, "{}", text.ansi()),
            false => write!(console.out, "{text}"),
        };
        return report(written.map(|()| Ended::Done).map_err(Failure::from), false, console);
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let text = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let failure = Failure::new(Kind::Usage, text).hint("`tenure --help` lists the commands");
        return report(Err(failure), true, console);
    }
    console.notice(error.render().to_string().trim_end());
    exit_code(&Err(Failure::new(Kind::Usage, "usage")))
}

/// Tells of a failure, once, and gives the exit code.
fn report(result: Result<Ended, Failure>, json: bool, console: &mut Console<'_>) -> u8 {
    let code = exit_code(&result);
    let Err(failure) = result else { return code };
    if failure.kind == Kind::PipeClosed {
        return code;
    }
    let chain = failure.chain();
    if json {
        let hints = json::array(failure.hints.iter().map(|hint| json::quoted(hint)));
        let row = json::Object::new().text("error", chain.join(": ")).text("kind", failure.kind.as_str());
        console.notice(row.raw("hints", &hints).end());
        return code;
    }
    let paint = Paint::new(console.err_is_terminal && console.colour);
    for (index, text) in chain.iter().enumerate() {
        let word = if index == 0 { paint.red("error:") } else { "because:".to_owned() };
        console.notice(format!("{word} {text}"));
    }
    for hint in &failure.hints {
        console.notice(format!("{} {hint}", paint.yellow("hint:")));
    }
    code
}
