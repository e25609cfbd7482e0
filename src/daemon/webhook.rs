//! Alarms to a receiver: signed, one after another, each until it is taken.
//!
//! Must never know: what an alarm is about.
//!
//! The form is that of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, specification 1.0.0): the headers
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`, the last being `v1,` and the base64 of an HMAC-SHA256 over
//! `id.timestamp.body`. A receiver takes what is signed and recent, and knows by the id what it has already.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{Url, redirect};
use ring::hmac;
use serde_json::json;

use super::alarm::Notice;
use crate::clock::Clock;

/// What a secret begins with, before its base64.
const PREFIX: &str = "whsec_";

/// A receiver that doesn't answer in this time didn't take it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A receiver that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Not an address that alarms may go to.
    #[error("webhook_url in [alarms] is no address that begins with https:// (or http:// for this machine)")]
    Address,
    /// Not a secret.
    #[error("the secret of the webhook is none: whsec_ and the base64 of 24 to 64 bytes")]
    Secret,
    /// No client can be made here.
    #[error("no TLS client can be built here")]
    Client(#[source] reqwest::Error),
}

/// What became of a notice.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver took it.
    Taken,
    /// It didn't, or didn't answer; with a word about it that holds no address.
    Refused(String),
}

/// Whoever receives the alarms.
#[derive(Debug)]
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
    key: hmac::Key,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// A receiver at `url`, to whom `secret` proves who sends.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(url: &str, secret: &str, clock: Arc<dyn Clock>) -> Result<Webhook, WebhookError> {
        let url = Url::parse(url).map_err(|_| WebhookError::Address)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !(url.scheme() == "https" && !host.is_empty() || url.scheme() == "http" && is_local) {
            return Err(WebhookError::Address);
        }
        let secret = secret.trim().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let secret = secret.filter(|secret| (24..=64).contains(&secret.len())).ok_or(WebhookError::Secret)?;
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE);
        if is_local {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(WebhookError::Client)?;
        Ok(Webhook { http, url, key: hmac::Key::new(hmac::HMAC_SHA256, &secret), clock })
    }

    /// Sends one notice of `tenant`, once.
    pub async fn deliver(&self, tenant: &str, notice: &Notice) -> Delivery {
        let kind = notice.kind;
        let body = json!({
            "type": notice.event,
            "timestamp": notice.at.to_string(),
            "data": {
                "tenant": tenant,
                "kind": kind.as_str(),
                "severity": kind.severity().as_str(),
                "subject": notice.subject,
                "seq": notice.seq,
                "meaning": kind.meaning(),
                "text": notice.text,
            },
        })
        .to_string();
        let at = self.clock.now();
        let call = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", at.as_second().to_string())
            .header("webhook-signature", self.sign(&notice.id, at, &body))
            .body(body);
        match call.send().await {
            Ok(answer) if answer.status().is_success() => Delivery::Taken,
            Ok(answer) => Delivery::Refused(format!("answered {}", answer.status().as_u16())),
            Err(error) if error.is_timeout() => Delivery::Refused("gave no answer in time".to_owned()),
            Err(_) => Delivery::Refused("can't be reached".to_owned()),
        }
    }

    fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let signed = format!("{id}.{}.{body}", at.as_second());
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.key, signed.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_has_its_signature() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let webhook =
            Webhook::new("https://receiver.example/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", clock).unwrap();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let signature = webhook.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn alarms_go_nowhere_in_the_open_and_never_unsigned() {
        let clock = || Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for url in ["http://receiver.example/", "ftp://receiver.example/", "receiver", "http://localhost.example/"] {
            assert!(matches!(Webhook::new(url, secret, clock()), Err(WebhookError::Address)), "{url}");
        }
        for url in ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:9/", "https://receiver.example/x"] {
            assert!(Webhook::new(url, secret, clock()).is_ok(), "{url}");
        }
        for secret in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(
                matches!(Webhook::new("https://a.example/", secret, clock()), Err(WebhookError::Secret)),
                "{secret}"
            );
        }
    }
}
