//! Addresses: which may be called at all, and what may be shown of them.
//!
//! Must never know: what is behind them.

use reqwest::Url;

use super::error::Error;
use super::receipt::is_token_name;

/// Checks an origin: https, or http on a loopback host; no user, query or fragment.
pub fn origin(option: &'static str, text: &str) -> Result<Url, Error> {
    let wrong = |reason| Error::Options { option, reason };
    let url = Url::parse(text.trim_end_matches('/')).map_err(|_| wrong("expected an address like https://host"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected an address without user, query and fragment"));
    }
    match url.scheme() {
        "https" if url.host().is_some() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(wrong("plain http is for loopback hosts only")),
        _ => Err(wrong("expected an address like https://host")),
    }
}

/// Whether the host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The address of whoever gives tokens to this machine: https, or http within it. IMDS and some app platforms have
/// link-local addresses, which no router forwards.
pub fn token_host(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let link_local = url.host_str().and_then(|host| host.parse::<std::net::Ipv4Addr>().ok());
    let near = is_loopback(&url) || link_local.is_some_and(|host| host.is_link_local());
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let fits = url.scheme() == "https" && url.host().is_some() || url.scheme() == "http" && near;
    (plain && fits).then_some(url)
}

/// `base`, with whatever path it has, followed by `path_and_query`.
pub fn joined(base: &Url, path_and_query: &str) -> Option<Url> {
    Url::parse(&format!("{}{path_and_query}", base.as_str().trim_end_matches('/'))).ok()
}

/// Whether a path has a segment `.` or `..`, escaped or not: an address is another one without it (URL standard, "double-dot
/// URL path segment").
pub fn has_dots(path_and_query: &str) -> bool {
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
        .any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."))
}

/// Whether a query holds a page or delta token.
pub fn has_token(url: &Url) -> bool {
    let parameters = || url.query().unwrap_or_default().split('&');
    parameters().filter_map(|one| one.split_once('=')).any(|(name, value)| is_token_name(name) && !value.is_empty())
}

/// What comes after the origin.
pub fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The host and port of an address, to be named in an error.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
