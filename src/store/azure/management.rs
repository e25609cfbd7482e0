//! What Azure's resource manager says of a container: its policy, whether that is locked, for how long it holds, and what
//! we may do.
//!
//! Must never know: blobs. It only reads, and only where the deployment gave the right to.

use std::sync::Arc;

use azure_core::http::{HttpClient as _, Method, Request, Url};
use futures_util::TryStreamExt as _;
use serde_json::Value;

use super::access::{Access, TokenSource};
use super::transport::Transport;
use super::{OptionsError, check_origin, rights};
use crate::clock::Clock;

/// Version of the storage resource provider's interface (learn, rest/api/storagerp/blob-containers/get).
const VERSION: &str = "2023-05-01";

/// Version of the interface that tells one's own rights over a resource (learn, rest/api/authorization/permissions/
/// list-for-resource).
const RIGHTS_VERSION: &str = "2022-04-01";

/// Reads the policies of an account's containers, and one's own rights over them.
#[derive(Debug)]
pub struct Management {
    transport: Transport,
    account: Url,
}

/// The policy of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Days that a blob is kept from its creation; none where there is no policy.
    pub days: Option<u64>,
    /// Whether nobody can take the policy away any more.
    pub is_locked: bool,
}

impl Management {
    /// For the account with `resource_id`, through the resource manager at `url`. Sends nothing yet.
    ///
    /// # Errors
    /// [`OptionsError`] for an address or an id that can't be used.
    pub fn new(
        url: &str,
        resource_id: &str,
        tokens: Box<dyn TokenSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Management, OptionsError> {
        let wrong = OptionsError {
            option: "store.resource_id",
            reason: "expected /subscriptions/…/resourceGroups/…/providers/Microsoft.Storage/storageAccounts/…",
        };
        let origin = check_origin("store.management_url", url)?;
        let parts: Vec<String> = resource_id.split('/').map(str::to_lowercase).collect();
        let words =
            ["", "subscriptions", "", "resourcegroups", "", "providers", "microsoft.storage", "storageaccounts", ""];
        let fits = |(part, word): (&String, &&str)| match *word {
            "" => part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte)) && part != "..",
            word => part == word,
        };
        if parts.len() != words.len() || !parts.iter().zip(&words).all(fits) {
            return Err(wrong);
        }
        let account =
            Url::parse(&format!("{}{resource_id}", origin.as_str().trim_end_matches('/'))).map_err(|_| wrong)?;
        let unusable = |_| OptionsError { option: "store.management_url", reason: "no client can be made for it" };
        let transport = Transport::new(&origin, Access::Tokens(tokens), clock).map_err(unusable)?;
        Ok(Management { transport, account })
    }

    /// The policy of `container`; `None` where it can't be read.
    pub(super) async fn policy(&self, container: &str) -> Option<Policy> {
        let body = self.get(container, &[], VERSION).await?;
        let properties = body.get("properties")?;
        let policy = properties.get("immutabilityPolicy").and_then(|policy| policy.get("properties"));
        let of_policy = |name| policy.and_then(|policy| policy.get(name));
        Some(Policy {
            days: of_policy("immutabilityPeriodSinceCreationInDays").and_then(Value::as_u64),
            is_locked: of_policy("state").and_then(Value::as_str).is_some_and(|state| state == "Locked"),
        })
    }

    /// The rights of this identity over `container` that are larger than a writer needs; `None` where they can't be read.
    pub(super) async fn excessive_rights(&self, container: &str) -> Option<Vec<&'static str>> {
        let body =
            self.get(container, &["providers", "Microsoft.Authorization", "permissions"], RIGHTS_VERSION).await?;
        body["value"].is_array().then(|| rights::excessive(&body))
    }

    async fn get(&self, container: &str, below: &[&str], version: &str) -> Option<Value> {
        let mut url = self.account.clone();
        url.path_segments_mut().ok()?.extend(["blobServices", "default", "containers", container]).extend(below);
        url.query_pairs_mut().append_pair("api-version", version);
        let answer = self.transport.execute_request(&Request::new(url, Method::Get)).await.ok()?;
        let is_success = u16::from(answer.status()) == 200;
        let parts: Vec<_> = answer.into_body().try_collect().await.ok()?;
        serde_json::from_slice(&parts.concat()).ok().filter(|_| is_success)
    }
}
