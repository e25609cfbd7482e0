//! What the configuration says about serving.
//!
//! Must never know: how a configuration is read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::bearer::Issuer;

/// How others reach the service, and who may ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address.
    pub listen: SocketAddr,
    /// Whether the interface is served; probes and metrics always are.
    pub api: bool,
    /// Whether something before it speaks TLS.
    pub behind_proxy: bool,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How somebody becomes known.
    pub identity: Identity,
    /// Questions at a time.
    pub at_once: usize,
    /// How long one may take. Answers that are streamed get sixty times as much.
    pub patience: Duration,
}

/// How somebody becomes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By the token in a file of this machine.
    TokenFile(PathBuf),
    /// By tokens of an issuer.
    Issuer(Issuer),
}

impl Options {
    /// Whether names of this machine alone lead here: then a request that names another host was led here by somebody
    /// else's name service.
    pub fn is_local(&self) -> bool {
        self.listen.ip().is_loopback() && !self.behind_proxy
    }
}
