//! Over HTTP: whether the service lives, whether it is ready, and its metrics.
//!
//! Must never know: Graph, and how anything is stored.
//!
//! It tells nothing of any tenant's content, only ids of tenants, counts and times, and takes nothing: whoever reaches the
//! address may read it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::daemon::{Health, Tenant};

mod metrics;

/// The metrics of services that do as these say, as `/metrics` shows them.
pub fn metrics_of(services: impl Iterator<Item = Health>) -> String {
    metrics::text(services)
}

type Tenants = Arc<Vec<Arc<Tenant>>>;

/// What answers for a service of these tenants.
pub fn router(tenants: Vec<Arc<Tenant>>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(tenants))
}

async fn root() -> &'static str {
    "tenure: /healthz, /readyz, /metrics\n"
}

/// 200 while every tenant's service gets on; a supervisor restarts what doesn't.
async fn healthz(State(tenants): State<Tenants>) -> Response {
    let rows = tenants.iter().map(|tenant| (tenant.name.clone(), tenant.is_alive(), ""));
    answer("alive", rows.collect())
}

/// 200 once every tenant's archive is open.
async fn readyz(State(tenants): State<Tenants>) -> Response {
    let rows = tenants.iter().map(|tenant| {
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

async fn metrics(State(tenants): State<Tenants>) -> Response {
    let text = metrics_of(tenants.iter().map(|tenant| tenant.health()));
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
