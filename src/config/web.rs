//! What the configuration says about serving, and which of it can't be meant.
//!
//! Must never know: how anything is served.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::read::Settings;
use super::{ConfigError, Tenant};
use crate::web::{self, Identity, Issuer, Options};

/// Reads `[web]`. Who listens beyond this machine has to say who may ask, and how nobody listens in.
pub(super) fn read(settings: &Settings, tenant: &Tenant) -> Result<Options, ConfigError> {
    let listen: SocketAddr = settings.parsed("web.listen", "an address and a port, as in \"127.0.0.1:8470\"")?;
    let (api, behind_proxy) = (settings.flag("web.api"), settings.flag("web.behind_proxy"));
    let tls = read_tls(settings)?;
    let identity = match settings.given("web.oidc_audience") {
        Some(audiences) => Identity::Issuer(read_issuer(settings, tenant, &audiences)?),
        None => {
            let file = settings.given("web.token_file").map(|_| settings.path("web.token_file"));
            Identity::TokenFile(file.unwrap_or_else(|| settings.path("state.path").join("web.token")))
        }
    };
    let is_far = !listen.ip().is_loopback();
    if api && !is_far && behind_proxy && matches!(identity, Identity::TokenFile(_)) {
        let expected = "false, or oidc_audience beside it, which says who may ask: the token file is for this machine alone, and \
                        behind a proxy whoever has its one token is an administrator from anywhere; or api = false";
        return Err(settings.wrong("web.behind_proxy", expected));
    }
    if api && is_far {
        if matches!(identity, Identity::TokenFile(_)) {
            let expected = "an address of this machine alone, or oidc_audience beside it, which says who may ask; or api = false, \
                            which leaves probes and metrics";
            return Err(settings.wrong("web.listen", expected));
        }
        if tls.is_none() && !behind_proxy {
            let expected = "an address of this machine alone, or tls_certificate_file and tls_key_file beside it; or behind_proxy \
                            = true, where something before the service speaks TLS";
            return Err(settings.wrong("web.listen", expected));
        }
    }
    let seconds = super::between(settings, "web.question_seconds", 1, 3600)?;
    Ok(Options {
        listen,
        api,
        behind_proxy,
        tls,
        identity,
        at_once: super::between(settings, "web.questions_at_once", 1, 64)? as usize,
        patience: Duration::from_secs(seconds),
    })
}

fn read_tls(settings: &Settings) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let missing = |name, what| ConfigError::Missing { path: settings.file().to_owned(), name, what };
    match (settings.given("web.tls_certificate_file"), settings.given("web.tls_key_file")) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Ok(Some((settings.path("web.tls_certificate_file"), settings.path("web.tls_key_file")))),
        (Some(_), None) => Err(missing("web.tls_key_file", "the private key of the certificate")),
        (None, Some(_)) => Err(missing("web.tls_certificate_file", "the certificate that the key belongs to")),
    }
}

fn read_issuer(settings: &Settings, tenant: &Tenant, audiences: &str) -> Result<Issuer, ConfigError> {
    let login = tenant.login_url.clone().unwrap_or_else(|| tenant.cloud.login_url().to_owned());
    let own = format!("{}/{}/v2.0", login.trim_end_matches('/'), tenant.id);
    let issuer = settings.given("web.oidc_issuer").unwrap_or(own);
    let is_address = issuer.starts_with("https://") || issuer.starts_with("http://");
    let expected = "the issuer as it stands in tokens, an address with the tenant's id in it: \
                    \"https://login.microsoftonline.com/<tenant id>/v2.0\"";
    let Some(id) = web::tenant_of(&issuer).filter(|_| is_address).map(str::to_owned) else {
        return Err(match settings.given("web.oidc_issuer") {
            Some(_) => settings.wrong("web.oidc_issuer", expected),
            None => ConfigError::Missing {
                path: settings.file().to_owned(),
                name: "web.oidc_issuer",
                what: "the issuer of tokens, with the tenant's id in it (it follows from id in [tenant] where that is the id)",
            },
        });
    };
    let audiences: Vec<String> =
        audiences.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match audiences.is_empty() {
        true => Err(settings
            .wrong("web.oidc_audience", "the application (client) id of the app registration for the interface")),
        false => Ok(Issuer { issuer, tenant: id, audiences }),
    }
}
