//! Access tokens of Entra: whether one is genuine, for us and in time, and who it speaks of.
//!
//! Must never know: what may be asked with it.
//!
//! What is checked is what Microsoft asks of whoever takes access tokens
//! (learn.microsoft.com/entra/identity-platform/claims-validation): signature, issuer, tenant, audience, lifetime, and that
//! roles decide. A token is checked before anything in it is believed; of its header the key id alone is used, and the one
//! algorithm is compared, never chosen. `jku`, `jwk`, `x5u` and `x5c` are ways for a token to bring its own key: nobody
//! reads them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::access::{Caller, Denial, Role};
use super::keys::{Keys, KeysError, Unavailable};
use crate::clock::Clock;
use crate::ledger::Who;

/// Clocks differ by so much.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Who may issue tokens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer, letter for letter as in `iss`.
    pub issuer: String,
    /// The tenant's id, as in `tid`.
    pub tenant: String,
    /// The audiences that mean us: the client id, and the App ID URI where tokens of version 1.0 carry that.
    pub audiences: Vec<String>,
}

/// The tenant in an issuer's address: its first part is the id.
pub fn tenant_of(issuer: &str) -> Option<&str> {
    let tenant = issuer.split_once("://")?.1.split('/').nth(1)?;
    uuid::Uuid::try_parse(tenant).is_ok().then_some(tenant)
}

/// Tells who a token of one tenant speaks of.
#[derive(Debug)]
pub struct Entra {
    issuer: Issuer,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

impl Entra {
    /// Takes tokens of `issuer`. Fetches nothing yet.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn new(issuer: Issuer, clock: Arc<dyn Clock>) -> Result<Entra, KeysError> {
        let keys = Keys::new(&issuer.issuer, clock.clone())?;
        Ok(Entra { issuer, keys, clock })
    }

    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Denial> {
        let parts = Parts::of(token).map_err(Denial::Stranger)?;
        let key = self.keys.key(&parts.key_id).await.map_err(|Unavailable| Denial::Unavailable)?;
        let key = key.ok_or(Denial::Stranger("unknown-key"))?;
        if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
            return Err(Denial::Stranger("signature"));
        }
        let claims = json(parts.claims).ok_or(Denial::Stranger("malformed"))?;
        caller(&claims, &self.issuer, self.clock.now()).map_err(Denial::Stranger)
    }
}

/// A token taken apart.
struct Parts<'a> {
    key_id: String,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl Parts<'_> {
    fn of(token: &str) -> Result<Parts<'_>, &'static str> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("malformed");
        };
        let fields = json(header).ok_or("malformed")?;
        if fields["alg"].as_str() != Some("RS256") {
            return Err("algorithm");
        }
        // What a token says must be understood and isn't makes it void (RFC 7515, section 4.1.11).
        let is_ours = |typ: &Value| typ.as_str().is_some_and(|typ| ["jwt", "at+jwt"].contains(&&*typ.to_lowercase()));
        if fields.get("crit").is_some() || !fields.get("typ").is_none_or(is_ours) {
            return Err("malformed");
        }
        let key_id = fields["kid"].as_str().ok_or("unknown-key")?.to_owned();
        let signed = &token[..header.len() + 1 + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "malformed")?;
        Ok(Parts { key_id, signed, claims, signature })
    }
}

/// The JSON object in a part of a token.
fn json(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

/// Who the claims of a genuine token speak of.
fn caller(claims: &Value, expected: &Issuer, now: Timestamp) -> Result<Caller, &'static str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(&expected.issuer) {
        return Err("issuer");
    }
    if !text("tid").is_some_and(|tenant| tenant.eq_ignore_ascii_case(&expected.tenant)) {
        return Err("tenant");
    }
    if !text("aud").is_some_and(|audience| expected.audiences.iter().any(|ours| ours == audience)) {
        return Err("audience");
    }
    let instant = |name: &str| Timestamp::from_second(claims.get(name)?.as_i64()?).ok();
    let later = |at: Timestamp, by: SignedDuration| at.saturating_add(by).unwrap_or(at);
    if instant("exp").is_none_or(|exp| now >= later(exp, LEEWAY)) {
        return Err("expired");
    }
    if instant("nbf").is_none_or(|nbf| now < later(nbf, -LEEWAY)) {
        return Err("not-yet-valid");
    }
    // An identity token has the same issuer, audience and keys. It tells an application who signed in there, and gives
    // nobody a right here: it names no application that asks, and echoes a nonce.
    let app = text("azp").or(text("appid"));
    if app.is_none() || claims.get("nonce").is_some() {
        return Err("no-access-token");
    }
    let object = text("oid").ok_or("malformed")?;
    let values = claims.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles: Vec<Role> = values.filter_map(|value| Role::from_value(value.as_str()?)).collect();
    let is_user = text("idtyp") != Some("app") && claims.get("scp").is_some();
    let user = text("preferred_username").or(text("upn")).filter(|_| is_user);
    let who = Who::Entra {
        tenant: expected.tenant.clone(),
        object: object.to_owned(),
        app: app.map(str::to_owned),
        user: user.map(str::to_owned),
        roles: roles.iter().map(|role| role.as_str().to_owned()).collect(),
    };
    Ok(Caller { who, roles })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TENANT: &str = "11111111-1111-4111-8111-111111111111";

    fn expected() -> Issuer {
        Issuer {
            issuer: format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            tenant: TENANT.to_owned(),
            audiences: vec!["api".to_owned()],
        }
    }

    fn claims(change: &[(&str, Value)]) -> Value {
        let mut claims = json!({
            "iss": expected().issuer, "tid": TENANT, "aud": "api", "exp": 2000, "nbf": 1000, "azp": "client", "oid": "someone",
            "roles": ["Reader", "reader", "Root", "Operator"], "scp": "use", "preferred_username": "adele@contoso.example",
        });
        for (name, value) in change {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        claims
    }

    fn told(change: &[(&str, Value)], now: i64) -> Result<Vec<Role>, &'static str> {
        caller(&claims(change), &expected(), Timestamp::from_second(now).unwrap()).map(|caller| caller.roles)
    }

    #[test]
    fn each_claim_counts() {
        assert_eq!(told(&[], 1500), Ok(vec![Role::Reader, Role::Operator]));
        for (now, expected) in [(939, Err("not-yet-valid")), (940, Ok(())), (2059, Ok(())), (2060, Err("expired"))] {
            assert_eq!(told(&[], now).map(|_| ()), expected, "{now}");
        }
        for (name, value, reason) in [
            ("iss", json!("https://login.microsoftonline.com/common/v2.0"), "issuer"),
            ("iss", Value::Null, "issuer"),
            ("tid", json!("22222222-2222-4222-8222-222222222222"), "tenant"),
            ("tid", Value::Null, "tenant"),
            ("aud", json!("other"), "audience"),
            ("aud", json!(["api"]), "audience"),
            ("exp", Value::Null, "expired"),
            ("exp", json!("2000"), "expired"),
            ("nbf", Value::Null, "not-yet-valid"),
            ("nonce", json!("n"), "no-access-token"),
            ("azp", Value::Null, "no-access-token"),
            ("oid", Value::Null, "malformed"),
        ] {
            assert_eq!(told(&[(name, value.clone())], 1500), Err(reason), "{name} {value}");
        }
    }

    #[test]
    fn applications_and_people_are_told_apart() {
        let who = |change: &[(&str, Value)]| {
            let who = caller(&claims(change), &expected(), Timestamp::from_second(1500).unwrap()).unwrap().who;
            let Who::Entra { user, app, .. } = who else { panic!() };
            (user, app)
        };
        assert_eq!(who(&[]), (Some("adele@contoso.example".to_owned()), Some("client".to_owned())));
        assert_eq!(who(&[("scp", Value::Null)]).0, None);
        assert_eq!(who(&[("idtyp", json!("app"))]).0, None);
        assert_eq!(who(&[("azp", Value::Null), ("appid", json!("old"))]).1.as_deref(), Some("old"));
        assert_eq!(told(&[("roles", Value::Null)], 1500), Ok(Vec::new()));
    }

    #[test]
    fn the_tenant_stands_in_the_issuer() {
        assert_eq!(tenant_of(&expected().issuer), Some(TENANT));
        assert_eq!(tenant_of(&format!("https://sts.windows.net/{TENANT}/")), Some(TENANT));
        assert_eq!(tenant_of("https://login.microsoftonline.com/common/v2.0"), None);
        assert_eq!(tenant_of("https://login.microsoftonline.com"), None);
    }
}
