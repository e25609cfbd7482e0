//! Who asks, and what whoever it is may ask: roles, identities, and how both follow from a request.
//!
//! Must never know: what an operation answers.
//!
//! Everything is denied that isn't allowed by a row of the table of operations. Whoever can't be told apart from a stranger
//! learns one thing, that a token is needed: every denial looks the same from outside, and its reason is a word from a
//! closed list that only counts and metrics show.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use ring::digest;

use super::bearer::Entra;
use crate::ledger::Who;

/// A role, by the value that the app registration gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Asks about objects, now and then.
    Reader,
    /// Asks for whole states too, and who else asked.
    Auditor,
    /// Asks what an auditor may ask; holds and exports come later.
    Legal,
    /// Looks after the service, and sees nothing of the directory.
    Operator,
    /// Everything.
    Administrator,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Reader, Role::Auditor, Role::Legal, Role::Operator, Role::Administrator];

    /// The value in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "Reader",
            Role::Auditor => "Auditor",
            Role::Legal => "Legal",
            Role::Operator => "Operator",
            Role::Administrator => "Administrator",
        }
    }

    /// The role with that value, letter for letter.
    pub fn from_value(value: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == value)
    }
}

/// Somebody known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As the own-use log has it.
    pub who: Who,
    /// The roles that count here.
    pub roles: Vec<Role>,
}

impl Caller {
    /// Whether one of `allowed` is theirs.
    pub fn may(&self, allowed: &[Role]) -> bool {
        self.roles.iter().any(|role| allowed.contains(role))
    }

    /// What tells one caller from another.
    pub fn name(&self) -> &str {
        match &self.who {
            Who::Entra { object, .. } => object,
            _ => "",
        }
    }
}

/// Why somebody is a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// For this reason, a word from a closed list.
    Stranger(&'static str),
    /// Nobody can tell: the keys that tokens are signed with can't be had.
    Unavailable,
}

/// How somebody becomes known.
#[derive(Debug)]
pub enum Access {
    /// By the token of a file on this machine, whose holder is an administrator.
    TokenFile(LocalToken),
    /// By an access token of Entra.
    Entra(Box<Entra>),
}

impl Access {
    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// [`Denial`].
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Denial> {
        let token = bearer(headers)?;
        match self {
            Access::TokenFile(file) if file.is(token) => {
                Ok(Caller { who: Who::TokenFile, roles: vec![Role::Administrator] })
            }
            Access::TokenFile(_) => Err(Denial::Stranger("wrong-token")),
            Access::Entra(entra) => entra.caller(token).await,
        }
    }
}

/// The longest token that is looked at. Entra's are a few thousand bytes.
const LONGEST: usize = 16 * 1024;

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let reason = if headers.contains_key(AUTHORIZATION) { "malformed" } else { "no-token" };
        return Err(Denial::Stranger(reason));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.filter(|token| !token.is_empty() && token.len() <= LONGEST).ok_or(Denial::Stranger("malformed"))
}

/// The token of a file, kept as its hash: equal or not, a comparison takes the same time for whatever a stranger sends,
/// since nobody can choose what a hash begins with.
#[derive(Debug)]
pub struct LocalToken(digest::Digest);

impl LocalToken {
    /// Of a token that was read from its file.
    pub fn new(token: &str) -> LocalToken {
        LocalToken(digest::digest(&digest::SHA256, token.trim().as_bytes()))
    }

    fn is(&self, token: &str) -> bool {
        let found = digest::digest(&digest::SHA256, token.as_bytes());
        let differs = self.0.as_ref().iter().zip(found.as_ref()).fold(0, |differs, (a, b)| differs | (a ^ b));
        differs == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_token_and_nothing_else() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Ok("abc"));
        for (values, reason) in [
            (&[][..], "no-token"),
            (&["abc"], "malformed"),
            (&["Bearer "], "malformed"),
            (&["Basic abc"], "malformed"),
            (&["Bearer abc", "Bearer abc"], "malformed"),
            (&[&format!("Bearer {}", "a".repeat(LONGEST + 1))], "malformed"),
        ] {
            assert_eq!(bearer(&headers(values)), Err(Denial::Stranger(reason)), "{values:?}");
        }
    }

    #[test]
    fn the_local_token_is_the_whole_of_it() {
        let token = LocalToken::new("s3cret-s3cret\n");
        assert!(token.is("s3cret-s3cret"));
        for other in ["", "s3cret", "s3cret-s3cret ", "S3cret-s3cret"] {
            assert!(!token.is(other), "{other:?}");
        }
    }
}
