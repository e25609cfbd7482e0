//! Tokens for another resource than Graph, had in the same ways.
//!
//! Must never know: what the resource is, or what the tokens are used for.

use std::sync::Arc;

use secrecy::SecretString;

use super::address::origin;
use super::credential::Credential;
use super::error::Error;
use super::options::Options;
use super::reader::{checked, http_client, local_client};
use super::sign_in::SignIn;
use super::tokens::Tokens;
use crate::clock::Clock;

/// Tokens for one resource. Kept until shortly before they end.
#[derive(Debug)]
pub struct ResourceTokens {
    tokens: Tokens,
}

impl ResourceTokens {
    /// Tokens for `resource`, an address, by the credential of `options`. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Options`] for addresses or limits that can't be used.
    pub fn new(options: Options, resource: &str, clock: Arc<dyn Clock>) -> Result<ResourceTokens, Error> {
        let limits = checked(options.limits)?;
        let resource = origin("resource", resource)?;
        let login = origin("login_url", options.login_url.as_deref().unwrap_or(options.cloud.login_url()))?;
        let local = matches!(options.credential, Credential::ManagedIdentity { .. });
        let http = if local { local_client(&limits)? } else { http_client(&limits, &login, &login)? };
        let sign_in = SignIn::new(http, clock.clone(), (&resource, &login, &options.tenant), options.credential)?;
        Ok(ResourceTokens { tokens: Tokens::new(sign_in, clock, limits) })
    }

    /// A token that is good for a while, other than that of generation `refused`; and its generation.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] with what to check, or what kept the login service from answering.
    pub async fn get(&self, refused: Option<u64>) -> Result<(SecretString, u64), Error> {
        let token = match refused {
            Some(refused) => self.tokens.renew(refused, None, None).await?,
            None => self.tokens.get(None).await?,
        };
        Ok(((*token.secret).clone(), token.generation))
    }
}
