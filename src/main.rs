//! The `tenure` binary.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tenure::cli::{self, Console};
use tenure::clock::SystemClock;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let traces = tell_the_log();
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
    // A collector that is away costs the last spans and nothing else.
    drop(traces.map(|traces| traces.shutdown()));
    ExitCode::from(code)
}

/// What nobody can be told in an answer. `TENURE_LOG=debug` shows more, in the syntax of tracing's filters; the service
/// tells what it does, others what went wrong. `TENURE_LOG_FORMAT=json` makes each line an object, for collectors. Where
/// OpenTelemetry's own variable names a collector, traces go there; what is returned sends the last of them.
fn tell_the_log() -> Option<SdkTracerProvider> {
    let is_service = std::env::args_os().skip(1).any(|argument| argument == "serve");
    let default = if is_service { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("TENURE_LOG").unwrap_or_else(|_| default.into());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let is_json = std::env::var_os("TENURE_LOG_FORMAT").is_some_and(|format| format == "json");
    let log = match (is_json, is_service) {
        (true, _) => log.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        (false, true) => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        (false, false) => log.without_time().compact().boxed(),
    };
    let (traces, failure) = match tracer_provider() {
        Ok(traces) => (traces, None),
        Err(failure) => (None, Some(failure)),
    };
    let ours = Targets::new().with_target("tenure", Level::INFO);
    let spans = traces
        .as_ref()
        .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("tenure")).with_filter(ours));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).init();
    if let Some(failure) = failure {
        tracing::warn!(error = &*failure as &dyn std::error::Error, "no traces are sent");
    }
    traces
}

/// What sends traces, by OTLP over HTTP, as `OTEL_EXPORTER_OTLP_ENDPOINT` and its kin say; nothing where none is set.
fn tracer_provider() -> Result<Option<SdkTracerProvider>, Box<dyn std::error::Error + Send + Sync>> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_set("OTEL_EXPORTER_OTLP_ENDPOINT") && !is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(None);
    }
    // A client needs one before it is built, also for plain http.
    rustls::crypto::ring::default_provider().install_default().ok();
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder().with_service_name("tenure").build();
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}
