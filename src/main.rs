//! The `tenure` binary.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use tenure::cli::{self, Console};
use tenure::clock::SystemClock;

fn main() -> ExitCode {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    tell_the_log();
    let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let (out_is_terminal, err_is_terminal) = (stdout.is_terminal(), stderr.is_terminal());
    let mut out = std::io::BufWriter::new(stdout.lock());
    let mut err = stderr;
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let console = Console { out: &mut out, err: &mut err, out_is_terminal, err_is_terminal, colour };
    let code = cli::run(std::env::args_os(), variables.collect(), Arc::new(SystemClock), console);
    // What could be written was flushed; what is left belongs to a closed pipe.
    let _ = out.flush();
    ExitCode::from(code)
}

/// What nobody can be told in an answer. `TENURE_LOG=debug` shows more, in the syntax of tracing's filters; the service
/// tells what it does, others what went wrong. `TENURE_LOG_FORMAT=json` makes each line an object, for collectors.
fn tell_the_log() {
    let is_service = std::env::args_os().skip(1).any(|argument| argument == "serve");
    let default = if is_service { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TENURE_LOG").unwrap_or_else(|_| default.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_json = std::env::var_os("TENURE_LOG_FORMAT").is_some_and(|format| format == "json");
    match (is_json, is_service) {
        (true, _) => log.json().flatten_event(true).init(),
        (false, true) => log.with_ansi(std::io::stderr().is_terminal()).init(),
        (false, false) => log.without_time().compact().init(),
    }
}
