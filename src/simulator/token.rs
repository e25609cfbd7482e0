//! The opaque strings that the simulator hands out: access tokens, page tokens and delta tokens.
//!
//! Must never know: what is in the directory.
//!
//! Page and delta tokens hold everything needed to go on, so the simulator remembers no reader. They are masked with a
//! hash and checked on return, so that a client can neither read nor make them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where a paged read or a delta round goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Continuation {
    /// What is read: the path for lists, the collection's name for delta.
    pub subject: String,
    /// Selected properties; none means the default set.
    pub select: Option<Vec<String>>,
    /// Delta: the change from which to tell; none in a first round.
    pub since: Option<u64>,
    /// Delta: the change that was the latest when the round began.
    pub until: u64,
    /// When the round's token was issued, in seconds since 1970.
    pub issued: i64,
    /// Sets the order of this round.
    pub nonce: u64,
    /// The key of the last object told; none at the start of a round.
    pub after: Option<u64>,
    /// Links of the object `after` + 1 that were told already end here.
    pub link_after: Option<u64>,
    /// Delta: earlier changes are told again in this round.
    pub replay: bool,
    /// Counts the pages of the round, so that no two links of a round are equal.
    pub turn: u64,
    /// How many times all tokens had been made to expire when this one was issued.
    pub epoch: u64,
}

impl Continuation {
    /// The token, different for every place in a round.
    pub fn seal(&self, key: &[u8; 32]) -> String {
        let plain = json!([
            self.subject,
            self.select,
            self.since,
            self.until,
            self.issued,
            self.nonce,
            self.after,
            self.link_after,
            self.replay,
            self.turn,
            self.epoch
        ])
        .to_string();
        let tag = Sha256::new().chain_update(key).chain_update(plain.as_bytes()).finalize();
        let mut bytes = tag[..8].to_vec();
        bytes.extend(mask(key, &tag[..8], plain.as_bytes()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The inverse of [`Continuation::seal`]; none for a string that this simulator did not make.
    pub fn open(token: &str, key: &[u8; 32]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, masked) = bytes.split_at_checked(8)?;
        let plain = mask(key, tag, masked);
        let expected = Sha256::new().chain_update(key).chain_update(&plain).finalize();
        if expected[..8] != *tag {
            return None;
        }
        let fields: Vec<Value> = serde_json::from_slice(&plain).ok()?;
        let [subject, select, since, until, issued, nonce, after, link_after, replay, turn, epoch] = fields.as_slice()
        else {
            return None;
        };
        let strings = |list: &Vec<Value>| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Self {
            subject: subject.as_str()?.to_owned(),
            select: select.as_array().map(strings),
            since: since.as_u64(),
            until: until.as_u64()?,
            issued: issued.as_i64()?,
            nonce: nonce.as_u64()?,
            after: after.as_u64(),
            link_after: link_after.as_u64(),
            replay: replay.as_bool()?,
            turn: turn.as_u64()?,
            epoch: epoch.as_u64()?,
        })
    }
}

fn mask(key: &[u8; 32], tag: &[u8], text: &[u8]) -> Vec<u8> {
    let block =
        |number: usize| Sha256::new().chain_update(key).chain_update(tag).chain_update(number.to_le_bytes()).finalize();
    text.chunks(32)
        .enumerate()
        .flat_map(|(n, chunk)| chunk.iter().zip(block(n)).map(|(a, b)| a ^ b).collect::<Vec<_>>())
        .collect()
}

/// A JWT for an application whose payload any client can read, as tokens of the Microsoft identity platform can be
/// ("Access tokens in the Microsoft identity platform"). `issued` and `expires` are seconds since 1970.
pub(super) fn access_token(key: &[u8; 32], claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"typ": "JWT", "alg": "RS256", "kid": "simulated"}).to_string());
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature = sign(key, &format!("{header}.{payload}"));
    format!("{header}.{payload}.{signature}")
}

/// The claims of a token that [`access_token`] made with the same key.
pub(super) fn claims(key: &[u8; 32], token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    if sign(key, signed) != signature {
        return None;
    }
    let payload = signed.split_once('.')?.1;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn sign(key: &[u8; 32], text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(key).chain_update(text).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_with_its_key_only_and_unchanged_only() {
        let place = Continuation {
            subject: "user".into(),
            select: Some(vec!["id".into(), "city".into()]),
            since: Some(7),
            until: 9,
            issued: 1_700_000_000,
            nonce: u64::MAX,
            after: None,
            link_after: Some(3),
            replay: true,
            turn: 2,
            epoch: 0,
        };
        let token = place.seal(&[1; 32]);
        assert_eq!(Continuation::open(&token, &[1; 32]), Some(place));
        assert_eq!(Continuation::open(&token, &[2; 32]), None);
        assert_eq!(Continuation::open(&token[1..], &[1; 32]), None);
        assert_eq!(Continuation::open("", &[1; 32]), None);
    }

    #[test]
    fn claims_are_read_back_unless_somebody_changed_them() {
        let token = access_token(&[1; 32], &json!({"roles": ["User.Read.All"]}));
        assert_eq!(claims(&[1; 32], &token).unwrap()["roles"][0], "User.Read.All");
        assert_eq!(claims(&[1; 32], &token.replace('.', ".e")), None);
    }
}
