//! Connections: taken, bounded, perhaps with TLS, and ended when the service stops.
//!
//! Must never know: what is asked over them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
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

use super::patience::Patient;
use super::tls::Tls;
use crate::clock::Clock;

/// Connections at a time; more wait until one ends.
const CONNECTIONS: usize = 256;
/// Of them from one address: more are closed at once, so that nobody keeps everybody else out, the probes among them.
const FROM_ONE: usize = 64;
/// Whoever takes nothing of an answer for so long has gone.
const STALL: Duration = Duration::from_secs(30);
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
    let peers = Peers::default();
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
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peers.take(peer.ip())),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection can't be taken");
                clock.sleep(PAUSE).await;
                continue;
            }
        };
        let Some(peer) = peer else {
            tracing::debug!("a connection too many from one address");
            continue;
        };
        let (app, tls, watcher) = (app.clone(), tls.clone(), graceful.watcher());
        connections.spawn(async move {
            converse(stream, app, tls, watcher).await;
            drop((place, peer));
        });
    }
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
}

/// By address, how many connections come from there.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that counts for its address until this is dropped.
#[derive(Debug)]
struct Peer {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// One more from there; none where there are as many as may be.
    fn take(&self, address: IpAddr) -> Option<Peer> {
        let address = neighbourhood(address);
        let mut counts = self.0.lock().expect("no code panics while it counts");
        let count = counts.entry(address).or_default();
        if *count >= FROM_ONE {
            return None;
        }
        *count += 1;
        Some(Peer { peers: self.clone(), address })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().expect("no code panics while it counts");
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network, of which whoever has one address has all.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

async fn converse(stream: TcpStream, app: Router, tls: Option<Arc<Tls>>, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let stream = Patient::new(stream, STALL);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A stranger asks for the description again and again and reads none of it: the connection ends, and its place is free.
    #[tokio::test]
    async fn a_connection_whose_answers_nobody_reads_ends() {
        use tokio::io::AsyncWriteExt as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stranger = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let app = Router::new().route("/", axum::routing::get(async || "x".repeat(256 * 1024)));
        let graceful = GracefulShutdown::new();
        let spoken = speak(Patient::new(stream, Duration::from_millis(300)), app, graceful.watcher());
        let asked = async {
            // More answers than any buffer between the two holds; writing ends where the other side gave up.
            for _ in 0..2000 {
                if stranger.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = tokio::time::timeout(Duration::from_secs(20), spoken) => done.expect("nobody reads it"),
            () = asked => unreachable!("a client that waits for ever"),
        }
        drop(stranger);
    }

    /// One address holds as many connections as it may: others still get one, and so does it once one of its own ends.
    #[test]
    fn one_address_leaves_places_to_others() {
        let peers = Peers::default();
        let of = |text: &str| peers.take(text.parse().unwrap());
        let mut held: Vec<Peer> = (0..FROM_ONE).map(|_| of("192.0.2.1").unwrap()).collect();
        assert!(of("192.0.2.1").is_none() && of("::ffff:192.0.2.1").is_none());
        assert!(of("192.0.2.2").is_some());
        held.pop();
        assert!(of("192.0.2.1").is_some());
        drop(held);
        let _network: Vec<Peer> = (0..FROM_ONE).map(|n| of(&format!("2001:db8::{n:x}")).unwrap()).collect();
        assert!(of("2001:db8::ffff").is_none() && of("2001:db8:0:1::1").is_some());
        assert!(peers.0.lock().unwrap().len() == 1);
    }
}
