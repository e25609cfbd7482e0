//! Connections: taken, bounded, perhaps with TLS, and ended when the service stops.
//!
//! Must never know: what is asked over them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::tls::Tls;
use crate::clock::Clock;

/// Connections at a time; more wait until one ends.
const CONNECTIONS: usize = 256;
/// The head of a request arrives within this, and a connection without a request is kept for so long.
const HEAD: Duration = Duration::from_secs(15);
/// A handshake is done within this.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and how many fields it has, at most.
const HEAD_BYTES: usize = 32 * 1024;
const HEAD_FIELDS: usize = 64;
/// Answers that are on their way when the service stops get so long.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection that couldn't be taken, for want of files, say.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves `app` until `stop`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<Arc<Tls>>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes the places");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection can't be taken");
                clock.sleep(PAUSE).await;
                continue;
            }
        };
        let (app, tls, watcher) = (app.clone(), tls.clone(), graceful.watcher());
        connections.spawn(async move {
            converse(stream, app, tls, watcher).await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, app: Router, tls: Option<Arc<Tls>>, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(stream, app, watcher).await };
    // Somebody else's patience and ours are real, whatever a clock says that a test moves.
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        speak(stream, app, watcher).await;
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, watcher: Watcher) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection).await {
        // Whoever went away, or spoke something else. Nothing of it is ours to mend.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
    }
}
