//! Over HTTP: the interface for programs, and whether the service lives, whether it is ready, its metrics.
//!
//! Must never know: Graph, and where anything is stored.
//!
//! Probes and metrics tell nothing of any tenant's content, only ids of tenants, counts and times: whoever reaches the
//! address may read them, and the description of the interface. Everything else is for those whom `access` knows.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;

use crate::daemon::{Health, Tenant};

mod access;
mod answers;
mod api;
mod bearer;
mod keys;
mod lines;
mod metrics;
mod openapi;
mod operations;
mod options;
mod parameters;
mod patience;
mod problem;
mod server;
mod shelf;
mod tls;

pub use access::{Access, Caller, LocalToken, Role};
pub use api::Api;
pub use bearer::{Entra, Issuer, tenant_of};
pub use keys::KeysError;
pub use openapi::document;
pub use operations::{Form, Kind, Name, OPERATIONS, Operation, Parameter, Place, ROOT};
pub use options::{Identity, Options};
pub use server::serve;
pub use shelf::Shelf;
pub use tls::{Tls, TlsError};

/// The metrics of services that do as these say, as `/metrics` shows them.
pub fn metrics_of(services: impl Iterator<Item = Health>) -> String {
    metrics::text(services, None)
}

/// What requests are answered from.
#[derive(Clone)]
struct Served {
    tenants: Arc<Vec<Arc<Tenant>>>,
    api: Option<Arc<Api>>,
}

/// What answers for a service of these tenants: probes and metrics, and what `api` answers, if it is served. Where
/// `is_local`, requests that name another host than this machine are turned away: a page in somebody's browser that had a
/// name point here could ask otherwise.
pub fn router(tenants: Vec<Arc<Tenant>>, api: Option<Arc<Api>>, is_local: bool) -> Router {
    let mut router = Router::new()
        .route("/", get(root))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    if api.is_some() {
        router = router.route(
            &format!("{ROOT}/openapi.json"),
            get(description).fallback(async || problem::Problem::method().into_response()),
        );
        for operation in OPERATIONS {
            let answer = move |State(served): State<Served>,
                               path: Result<RawPathParams, RawPathParamsRejection>,
                               request: Request| async move {
                // A path that is no text leads nowhere.
                let (operation, path) = match path {
                    Ok(path) => (Some(operation), api::path_of(&path)),
                    Err(_) => (None, Vec::new()),
                };
                respond(&served, operation, path, request).await
            };
            router = router.route(&format!("{ROOT}{}", operation.path), any(answer));
        }
        let nowhere = |State(served): State<Served>, request: Request| async move {
            respond(&served, None, Vec::new(), request).await
        };
        router = router.route("/api/{*path}", any(nowhere));
    }
    let router = router.with_state(Served { tenants: Arc::new(tenants), api });
    let router = if is_local { router.layer(middleware::from_fn(only_this_machine)) } else { router };
    router.layer(middleware::map_response(secured))
}

async fn respond(
    served: &Served,
    operation: Option<&'static Operation>,
    path: Vec<(String, String)>,
    request: Request,
) -> Response {
    match &served.api {
        Some(api) => api.clone().respond(operation, path, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn root(State(served): State<Served>) -> String {
    match served.api {
        Some(_) => format!("tenure: {ROOT}/openapi.json describes the interface; /healthz, /readyz, /metrics\n"),
        None => "tenure: /healthz, /readyz, /metrics\n".to_owned(),
    }
}

/// What the source says, and nothing of any tenant.
async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document().to_string() + "\n").into_response()
}

/// What every answer tells browsers: to run nothing, to show it nowhere, and to keep nothing. What a directory says of
/// people has no place in anybody's cache; a client that wants to spare itself an answer keeps its tag.
async fn secured(mut response: Response) -> Response {
    let fields = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Turns away whoever reached this machine by a name that isn't its own.
async fn only_this_machine(request: Request<Body>, next: Next) -> Response {
    match is_this_machine(request.headers()) {
        true => next.run(request).await,
        false => problem::Problem::misdirected().into_response(),
    }
}

fn is_this_machine(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (values.next().and_then(|host| host.to_str().ok()), values.next()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// 200 while every tenant's service gets on; a supervisor restarts what doesn't.
async fn healthz(State(served): State<Served>) -> Response {
    let rows = served.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.is_alive(), ""));
    answer("alive", rows.collect())
}

/// 200 once every tenant's archive is open.
async fn readyz(State(served): State<Served>) -> Response {
    let rows = served.tenants.iter().map(|tenant| {
        let health = tenant.health();
        (tenant.name.clone(), health.is_ready(), health.doing.as_str())
    });
    answer("ready", rows.collect())
}

fn answer(word: &str, rows: Vec<(String, bool, &'static str)>) -> Response {
    let good = rows.iter().all(|(_, good, _)| *good);
    let tenants: Vec<_> = rows
        .iter()
        .map(|(name, good, doing)| match doing.is_empty() {
            true => json!({ "tenant": name, word: good }),
            false => json!({ "tenant": name, word: good, "doing": doing }),
        })
        .collect();
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ word: good, "tenants": tenants }).to_string() + "\n";
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(served): State<Served>) -> Response {
    let text = metrics::text(served.tenants.iter().map(|tenant| tenant.health()), served.api.as_deref());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_lead_here() {
        for (host, expected) in [
            ("localhost:8470", true),
            ("LOCALHOST", true),
            ("127.0.0.1:8470", true),
            ("127.8.8.8", true),
            ("[::1]:8470", true),
            ("[::1]", true),
            ("tenure.example:8470", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:8470", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(is_this_machine(&headers), expected, "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
    }
}
