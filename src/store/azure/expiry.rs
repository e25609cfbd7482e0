//! What can end blobs of a storage account: creation times, holds, deletes.
//!
//! Must never know: whether a blob may go. It signs in on its own, since the identity that writes an archive must have no
//! right to delete.
//!
//! Each delete is conditional on the entity tag that the listing told, so that nothing but what was listed can go. What
//! a retention policy or a legal hold keeps is refused by the service, whatever is asked; that is an answer here.

use std::sync::Arc;

use azure_core::error::Error;
use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobContainerClientGetPropertiesResultHeaders as _, BlobContainerClientListBlobsOptions,
};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::refusal::{Refusal, failure};
use super::{AzureStore, CANARY, MAX_PAGES, Options, OptionsError, damaged, is_root};
use crate::clock::Clock;
use crate::store::{Aged, Expiry, Operation, Removal, StoreError, check_name};

/// What can end blobs in the containers of a storage account.
#[derive(Debug)]
pub struct AzureExpiry(AzureStore);

impl AzureExpiry {
    /// For the archive that a store with the same account and prefix holds. Sends nothing yet.
    ///
    /// # Errors
    /// [`OptionsError`] for an address or a prefix that can't be used.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Result<AzureExpiry, OptionsError> {
        AzureStore::new(options, clock).map(AzureExpiry)
    }

    /// The whole name of the container of `root`, which must not be the log's or the view's: those never end.
    fn month(&self, root: &str) -> Result<String, StoreError> {
        match is_root(root) && root.contains('-') {
            true => Ok(self.0.containers.name(root)),
            false => Err(StoreError::BadName { name: root.to_owned() }),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Aged>, StoreError> {
        let bad = || StoreError::BadName { name: prefix.to_owned() };
        let (root, below) = prefix.split_once('/').ok_or_else(bad)?;
        let container = self.month(root)?;
        let failed = |error| failure(prefix, &container, error);
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!below.is_empty()).then(|| below.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let client = self.0.service.blob_container_client(&container);
        let mut pages = client.list_blobs(Some(options)).map_err(failed)?.into_pages();
        let (mut found, mut count) = (Vec::new(), 0);
        loop {
            let page = match pages.try_next().await.map_err(failed) {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(StoreError::NoContainer { .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            count += 1;
            if count > MAX_PAGES {
                return Err(damaged(prefix, "has a listing without end"));
            }
            for item in page.into_model().map_err(failed)?.blob_items {
                let blob = item.name.unwrap_or_default();
                let name = format!("{root}/{blob}");
                if blob == CANARY || !name.starts_with(prefix) || check_name(&name).is_err() {
                    continue;
                }
                let told = item.properties.as_ref();
                let created = told.and_then(|told| told.creation_time);
                let created = created.and_then(|at| Timestamp::from_nanosecond(at.unix_timestamp_nanos()).ok());
                let len = told.and_then(|told| told.content_length);
                let version = told.and_then(|told| told.etag.as_ref()).map(ToString::to_string);
                let (Some(created), Some(len), Some(version)) = (created, len, version) else {
                    return Err(damaged(&name, "is listed without length, creation time or entity tag"));
                };
                found.push(Aged { name, len, created, version });
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn held(&self, root: &str) -> Result<bool, StoreError> {
        let container = self.month(root)?;
        let properties = match self.0.service.blob_container_client(&container).get_properties(None).await {
            Ok(properties) => properties,
            Err(error) => {
                return match failure(root, &container, error) {
                    StoreError::NoContainer { .. } | StoreError::NotFound { .. } => Ok(false),
                    error => Err(error),
                };
            }
        };
        match properties.has_legal_hold() {
            Ok(Some(held)) => Ok(held),
            // Not being told isn't being told that there is none.
            _ => Err(damaged(root, "doesn't say whether it is under a legal hold")),
        }
    }

    async fn end(&self, blob: &Aged) -> Result<Removal, StoreError> {
        let (container, name) = self.0.place(&blob.name)?;
        self.month(blob.name.split('/').next().unwrap_or_default())?;
        // Listings tell the tag without the quotes that a header has.
        let tag = format!("\"{}\"", blob.version.trim_matches('"'));
        let options = BlobClientDeleteOptions { if_match: Some(Etag::from(tag)), ..BlobClientDeleteOptions::default() };
        match self.0.blob(&container, name).delete(Some(options)).await {
            Ok(_) => Ok(Removal::Deleted),
            Err(error) => match answer(&blob.name, &container, error)? {
                // The condition isn't met by what isn't there, either.
                Removal::Changed => match self.0.read_range(&blob.name, 0..1).await {
                    Ok(_) => Ok(Removal::Changed),
                    Err(StoreError::NotFound { .. }) => Ok(Removal::Absent),
                    Err(error) => Err(error),
                },
                other => Ok(other),
            },
        }
    }

    async fn end_container(&self, root: &str) -> Result<Removal, StoreError> {
        let container = self.month(root)?;
        if !self.list(&format!("{root}/")).await?.is_empty() {
            return Ok(Removal::NotEmpty);
        }
        // The canary of the guard is all that may be left. A younger one than its policy allows to go keeps its container.
        match self.0.blob(&container, CANARY).delete(None).await.map(drop) {
            Ok(()) => {}
            Err(error) => match answer(root, &container, error)? {
                Removal::Absent => {}
                kept => return Ok(kept),
            },
        }
        match self.0.service.blob_container_client(&container).delete(None).await {
            Ok(_) => Ok(Removal::Deleted),
            Err(error) => answer(root, &container, error),
        }
    }
}

/// What a refusal comes to.
fn answer(name: &str, container: &str, error: Error) -> Result<Removal, StoreError> {
    let Some(refusal) = Refusal::of(&error) else { return Err(failure(name, container, error)) };
    match (refusal.status, refusal.code.as_str()) {
        (409, "BlobImmutableDueToLegalHold" | "ContainerHasLegalHold") => Ok(Removal::Hold),
        (409, "BlobImmutableDueToPolicy" | "ContainerImmutabilityPolicyLocked") => Ok(Removal::Policy),
        (409, "ContainerBeingDeleted") | (404, _) => Ok(Removal::Absent),
        (412, _) => Ok(Removal::Changed),
        _ => Err(failure(name, container, error)),
    }
}

impl Expiry for AzureExpiry {
    fn aged<'a>(&'a self, prefix: &'a str) -> Operation<'a, Vec<Aged>> {
        Box::pin(self.list(prefix))
    }

    fn is_held<'a>(&'a self, container: &'a str) -> Operation<'a, bool> {
        Box::pin(self.held(container))
    }

    fn delete<'a>(&'a self, blob: &'a Aged) -> Operation<'a, Removal> {
        Box::pin(self.end(blob))
    }

    fn delete_container<'a>(&'a self, container: &'a str) -> Operation<'a, Removal> {
        Box::pin(self.end_container(container))
    }
}
