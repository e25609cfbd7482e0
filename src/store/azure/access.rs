//! What proves to the storage account who is asking: tokens, or a shared access signature.
//!
//! Must never know: how a token is obtained, or what is asked of the account.

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use secrecy::{ExposeSecret, SecretString};

/// The longest signature that is read from a file.
const MAX_SIGNATURE: u64 = 16 * 1024;

/// A bearer token, and which of its source's it is.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token.
    pub secret: SecretString,
    /// Grows with every new token of the same source.
    pub generation: u64,
}

/// Why there is no proof to send.
#[derive(Debug, thiserror::Error)]
#[error("nothing to sign in to the storage account with")]
pub struct NoAccess {
    /// The reason.
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// Whether it may be over by itself.
    pub is_transient: bool,
}

impl NoAccess {
    fn lasting(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NoAccess {
        NoAccess { source: reason.into(), is_transient: false }
    }
}

/// What [`TokenSource::token`] returns.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, NoAccess>> + Send + 'a>>;

/// Where tokens for the account come from. Keeps them as long as they are good.
pub trait TokenSource: Send + Sync + Debug {
    /// A token that is good for a while; another one than that of generation `refused`, which the account wouldn't take.
    fn token(&self, refused: Option<u64>) -> TokenFuture<'_>;
}

/// Where a shared access signature stands.
#[derive(Debug, Clone)]
pub enum Signature {
    /// In a file, which is read again for every request: a renewed one needs no restart.
    File(PathBuf),
    /// Here.
    Held(SecretString),
}

/// How requests prove who sends them. `Debug` shows no secret.
#[derive(Debug)]
pub enum Access {
    /// By a token of Entra ID.
    Tokens(Box<dyn TokenSource>),
    /// By a shared access signature.
    Signature(Signature),
}

impl Signature {
    /// The signature as the query of an address, without `?`.
    pub(super) fn query(&self) -> Result<SecretString, NoAccess> {
        let text = match self {
            Signature::Held(text) => text.expose_secret().to_owned(),
            Signature::File(path) => read_short(path)
                .map_err(|error| NoAccess::lasting(format!("{} cannot be read: {error}", path.display())))?,
        };
        let query = text.trim().trim_start_matches('?');
        let fits = query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
            && query.split('&').any(|pair| pair.starts_with("sig="));
        match fits {
            true => Ok(SecretString::from(query)),
            false => Err(NoAccess::lasting(
                "the shared access signature is not one: expected name=value pairs with sig among them, no address before them",
            )),
        }
    }
}

fn read_short(path: &PathBuf) -> std::io::Result<String> {
    match std::fs::metadata(path)?.len() {
        0..=MAX_SIGNATURE => std::fs::read_to_string(path),
        _ => Err(std::io::Error::other("the file is too large for a signature")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_query_alone_and_never_shown() {
        let query = |text: &str| Signature::Held(text.into()).query().map(|query| query.expose_secret().to_owned());
        assert_eq!(query(" ?sv=1&sig=s%3D\n").unwrap(), "sv=1&sig=s%3D");
        for wrong in ["", "sv=1", "https://a.example/?sv=1", "sv=1&sig=a b", "sig=a#b", "sv=1&sig=a\r\nx: y"] {
            let error = query(wrong).unwrap_err();
            assert!(!error.is_transient && !format!("{error:?}").contains("https"), "{wrong:?}");
        }
        assert!(!format!("{:?}", Signature::Held("sig=secret".into())).contains("secret"));
        let missing = Signature::File("/nowhere/sas".into()).query().unwrap_err();
        assert!(missing.source.to_string().starts_with("/nowhere/sas cannot be read"));
    }
}
