//! What a client of Graph needs to be told: cloud, tenant, credential, limits.
//!
//! Must never know: where configuration is read from.

use std::time::Duration;

use super::credential::Credential;

/// The largest page that may be allowed: the archive's memory is planned with it.
pub const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;

/// A deployment of Graph with its own hosts. Tokens of one are refused by another.
///
/// Hosts: learn.microsoft.com, graph/deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    /// The public cloud, and GCC.
    #[default]
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    UsDod,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// Every cloud with the name it has in the configuration.
    pub const NAMES: &'static [(&'static str, Cloud)] =
        &[("global", Cloud::Global), ("us-gov", Cloud::UsGov), ("us-dod", Cloud::UsDod), ("china", Cloud::China)];

    /// The cloud called `name` in the configuration.
    pub fn from_name(name: &str) -> Option<Cloud> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, cloud)| *cloud)
    }

    /// Where Graph is.
    pub fn graph_url(self) -> &'static str {
        match self {
            Cloud::Global => "https://graph.microsoft.com",
            Cloud::UsGov => "https://graph.microsoft.us",
            Cloud::UsDod => "https://dod-graph.microsoft.us",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// Where Azure's resource manager is.
    pub fn management_url(self) -> &'static str {
        match self {
            Cloud::Global => "https://management.azure.com",
            Cloud::UsGov | Cloud::UsDod => "https://management.usgovcloudapi.net",
            Cloud::China => "https://management.chinacloudapi.cn",
        }
    }

    /// Where tokens come from.
    pub fn login_url(self) -> &'static str {
        match self {
            Cloud::Global => "https://login.microsoftonline.com",
            Cloud::UsGov | Cloud::UsDod => "https://login.microsoftonline.us",
            Cloud::China => "https://login.chinacloudapi.cn",
        }
    }
}

/// Bounds on everything that a server could otherwise make endless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests at a time, all collections together.
    pub in_flight: usize,
    /// Resource units per 10 seconds that all requests together may spend while nobody complains. Two windows of ours may
    /// fall into one of Graph's, which therefore should allow twice as many.
    pub units_per_10s: u64,
    /// Tries of one request, the first included.
    pub tries: u32,
    /// Bytes of one body after transport decoding; at most [`MAX_PAGE_BYTES`].
    pub page_bytes: usize,
    /// Pages of one list or feed.
    pub pages: u64,
    /// Real time for one try, from connecting to the last byte of the body.
    pub request_timeout: Duration,
    /// The longest single wait between two tries, whatever `Retry-After` asks for.
    pub longest_wait: Duration,
    /// All waiting between the tries of one request.
    pub total_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            in_flight: 8,
            // Half of what Graph allows the smallest tenants (3,500; learn, graph/throttling-limits).
            units_per_10s: 1750,
            tries: 8,
            page_bytes: MAX_PAGE_BYTES,
            pages: 200_000,
            request_timeout: Duration::from_secs(120),
            longest_wait: Duration::from_secs(300),
            total_wait: Duration::from_secs(900),
        }
    }
}

/// Everything a [`Reader`](super::Reader) is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tenant id (GUID) or domain.
    pub tenant: String,
    /// Decides the hosts, unless they are named below.
    pub cloud: Cloud,
    /// Graph's origin without version, `https://graph.microsoft.com` say. Plain http for loopback hosts only.
    pub graph_url: Option<String>,
    /// The login service's origin. Plain http for loopback hosts only.
    pub login_url: Option<String>,
    /// Who we are.
    pub credential: Credential,
    /// Bounds.
    pub limits: Limits,
}

impl Options {
    /// Options with every default of the public cloud.
    pub fn new(tenant: impl Into<String>, credential: Credential) -> Self {
        let limits = Limits::default();
        Options { tenant: tenant.into(), cloud: Cloud::Global, graph_url: None, login_url: None, credential, limits }
    }
}
