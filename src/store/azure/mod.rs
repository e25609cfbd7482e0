//! A store in the containers of an Azure storage account.
//!
//! Must never know: what the blobs are for, and how to change one. What the account's policies enforce is checked by
//! [`guard`], which can touch nothing but a blob of its own.
//!
//! The first part of a name is the container: `log/e/0000000007` is the blob `e/0000000007` in the container `log`, since a
//! container is what Azure's retention policies and holds apply to. Containers are made by the deployment, never here.
//!
//! A blob is created by one Put Blob with `If-None-Match: *`, which is atomic: it is there whole or not at all, and of
//! several writers one is told 201. Every other answer than "created" and "taken" leaves open what happened.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;

use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{ClientOptions, Etag, RequestContent, RetryOptions, Transport as ClientTransport, Url};
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobContainerClientListBlobsOptions, BlobServiceClientListContainersOptions,
    BlockBlobClientUploadOptions,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use futures_util::TryStreamExt as _;
use md5::{Digest, Md5};

use super::{Listed, Operation, Store, StoreError, check_name};
use crate::clock::Clock;
use refusal::{Refusal, failure};
use transport::Transport;

mod access;
pub mod expiry;
pub mod guard;
mod management;
mod refusal;
mod rights;
mod transport;

pub use access::{Access, NoAccess, Signature, Token, TokenFuture, TokenSource};
pub use management::Management;

/// A blob that isn't the archive's: on it the guard tries whether the account really refuses changes.
const CANARY: &str = "canary";

/// What tokens for a storage account are asked for, in every cloud.
pub const RESOURCE: &str = "https://storage.azure.com";

/// A blob is read in parts of this size, two at a time: what is in memory beside the blob itself.
const PART: usize = 8 * 1024 * 1024;

/// The largest blob that is read whole. Packs are cut at 64 MiB.
const MAX_BLOB: u64 = 1024 * 1024 * 1024;

/// Ranges up to this length come with a checksum of their own, where they don't begin at the first byte.
const CHECKED_RANGE: u64 = 4 * 1024 * 1024;

/// Pages of one listing, 5000 blobs each.
const MAX_PAGES: u32 = 20_000;

/// Which account, and whose containers in it.
#[derive(Debug)]
pub struct Options {
    /// The account's blob endpoint, as in `https://account.blob.core.windows.net`.
    pub account_url: String,
    /// What the names of this archive's containers begin with, before a hyphen; empty for none.
    pub prefix: String,
    /// How requests prove who sends them.
    pub access: Access,
}

/// What makes options unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {reason}")]
pub struct OptionsError {
    /// The option, by its name in the configuration.
    pub option: &'static str,
    /// What was expected.
    pub reason: &'static str,
}

/// Blobs in the containers of a storage account.
pub struct AzureStore {
    service: Arc<BlobServiceClient>,
    containers: Containers,
}

impl std::fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let account = self.service.url().as_str();
        f.debug_struct("AzureStore").field("account", &account).field("containers", &self.containers).finish()
    }
}

impl AzureStore {
    /// A store for `options`. Sends nothing yet.
    ///
    /// # Errors
    /// [`OptionsError`] for an address or a prefix that can't be used.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Result<AzureStore, OptionsError> {
        let account = check_origin("store.account_url", &options.account_url)?;
        check_prefix(&options.prefix)?;
        let wrong = |_| OptionsError { option: "store.account_url", reason: "no client can be made for it" };
        let transport = Transport::new(&account, options.access, clock).map_err(wrong)?;
        let client = ClientOptions {
            transport: Some(ClientTransport::new(Arc::new(transport))),
            // Tries and waits are the transport's.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let options_of = BlobServiceClientOptions { client_options: client, ..BlobServiceClientOptions::default() };
        let service = BlobServiceClient::new(account, None, Some(options_of)).map_err(wrong)?;
        Ok(AzureStore { service: Arc::new(service), containers: Containers { prefix: options.prefix } })
    }

    /// What checks whether the account enforces immutability. `management` reads the policies themselves, where given.
    /// `retention_years` is how long the archive's history has to be kept.
    pub fn guard(&self, management: Option<Management>, retention_years: u64) -> guard::Guard {
        guard::Guard::new(self.service.clone(), self.containers.clone(), management, retention_years)
    }

    /// The container and the blob's name in it.
    fn place<'n>(&self, name: &'n str) -> Result<(String, &'n str), StoreError> {
        check_name(name)?;
        match name.split_once('/') {
            Some((root, blob)) if is_root(root) && blob != CANARY => Ok((self.containers.name(root), blob)),
            _ => Err(StoreError::BadName { name: name.to_owned() }),
        }
    }

    fn blob(&self, container: &str, blob: &str) -> BlobClient {
        self.service.blob_client(container, blob)
    }

    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (container, blob) = self.place(name)?;
        let options = BlockBlobClientUploadOptions {
            if_none_match: Some(Etag::from("*")),
            blob_content_type: Some("application/octet-stream".to_owned()),
            parallel: NonZero::new(1),
            // Larger than the content, so that it goes in one request and no blocks are left behind by a broken try.
            partition_size: NonZero::new(bytes.len() as u64 + 1),
            ..BlockBlobClientUploadOptions::default()
        };
        let client = self.blob(&container, blob).block_blob_client();
        let sent = client.upload(RequestContent::from(bytes.to_vec()), Some(options)).await;
        sent.map(drop).map_err(|error| failure(name, &container, error))
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let (container, blob) = self.place(name)?;
        let options = BlobClientDownloadOptions {
            parallel: NonZero::new(2),
            partition_size: NonZero::new(PART),
            ..BlobClientDownloadOptions::default()
        };
        let failed = |error| unless_absent(failure(name, &container, error));
        let answer = self.blob(&container, blob).download(Some(options)).await.map_err(failed)?;
        let length = whole_length(&answer.headers).or(answer.properties.content_length);
        let length =
            length.filter(|length| *length <= MAX_BLOB).ok_or_else(|| damaged(name, "tells no usable length"))?;
        let checksum = answer.properties.blob_content_md5.or(answer.properties.content_md5);
        let mut bytes = Vec::with_capacity(length as usize);
        let mut body = answer.body;
        while let Some(part) = body.try_next().await.map_err(failed)? {
            if bytes.len() + part.len() > length as usize {
                return Err(damaged(name, "is longer than announced"));
            }
            bytes.extend_from_slice(&part);
        }
        checked(name, bytes, length, checksum.as_deref())
    }

    async fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let (container, blob) = self.place(name)?;
        // An empty range still tells whether the blob is there.
        let wanted = range.end.saturating_sub(range.start);
        let asked = wanted.clamp(1, MAX_BLOB);
        let options = BlobClientDownloadOptions {
            parallel: NonZero::new(2),
            partition_size: NonZero::new(PART),
            range: Some((range.start..range.start.saturating_add(asked)).into()),
            // At the first byte the library falls back to no range for an empty blob, and the service refuses a range's
            // checksum without a range.
            range_get_content_md5: (asked <= CHECKED_RANGE && range.start > 0).then_some(true),
            ..BlobClientDownloadOptions::default()
        };
        let answer = match self.blob(&container, blob).download(Some(options)).await {
            Ok(answer) => answer,
            Err(error) if Refusal::of(&error).is_some_and(|refusal| refusal.is_behind_the_end()) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(unless_absent(failure(name, &container, error))),
        };
        let whole = whole_length(&answer.headers);
        let expected = whole.map_or(0, |whole| whole.saturating_sub(range.start).min(asked));
        let checksum = answer.properties.content_md5.filter(|_| range.start > 0 && asked <= CHECKED_RANGE);
        let mut bytes = Vec::with_capacity(expected.min(MAX_BLOB) as usize);
        let mut body = answer.body;
        while let Some(part) = body.try_next().await.map_err(|error| failure(name, &container, error))? {
            if bytes.len() as u64 + part.len() as u64 > expected {
                return Err(damaged(name, "gave more than the range that was asked for"));
            }
            bytes.extend_from_slice(&part);
        }
        let mut bytes = checked(name, bytes, expected, checksum.as_deref())?;
        bytes.truncate(wanted as usize);
        Ok(bytes)
    }

    /// Whether the container of `root` is there. One that this identity may not look at counts as there: the first write
    /// tells.
    async fn has_container(&self, root: &str) -> Result<bool, StoreError> {
        let container = self.containers.name(root);
        match self.service.blob_container_client(&container).get_properties(None).await {
            Ok(_) => Ok(true),
            Err(error) => match failure(root, &container, error) {
                StoreError::NoContainer { .. } | StoreError::NotFound { .. } => Ok(false),
                StoreError::Denied { .. } => Ok(true),
                error => Err(error),
            },
        }
    }

    async fn list_all(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let (roots, below) = match prefix.split_once('/') {
            Some((root, below)) if is_root(root) => (BTreeSet::from([root.to_owned()]), below),
            Some(_) => return Ok(Vec::new()),
            None => (self.containers.present(&self.service, prefix).await?, ""),
        };
        let mut found = Vec::new();
        // Sorted roots, and sorted names in each: `-` sorts before `/`, but no root is the beginning of another.
        for root in &roots {
            let container = self.containers.name(root);
            match self.list_container(&container, root, below, after, &mut found).await {
                Ok(()) => {}
                // A month may not be there yet, or be over. The log is what an archive begins with.
                Err(StoreError::NoContainer { .. }) if root != "log" => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn list_container(
        &self,
        container: &str,
        root: &str,
        below: &str,
        after: &str,
        found: &mut Vec<Listed>,
    ) -> Result<(), StoreError> {
        let prefix = format!("{root}/{below}");
        let failed = |error| failure(&prefix, container, error);
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!below.is_empty()).then(|| below.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let client: BlobContainerClient = self.service.blob_container_client(container);
        let mut pages = client.list_blobs(Some(options)).map_err(failed)?.into_pages();
        let mut count = 0;
        while let Some(page) = pages.try_next().await.map_err(failed)? {
            count += 1;
            if count > MAX_PAGES {
                return Err(damaged(&prefix, "has a listing without end"));
            }
            for item in page.into_model().map_err(failed)?.blob_items {
                let blob = item.name.unwrap_or_default();
                let name = format!("{root}/{blob}");
                if blob != CANARY && name.as_str() > after && name.starts_with(&prefix) && check_name(&name).is_ok() {
                    let len = item.properties.and_then(|properties| properties.content_length);
                    found.push(Listed { len: len.ok_or_else(|| damaged(&name, "is listed without a length"))?, name });
                }
            }
        }
        Ok(())
    }
}

impl Store for AzureStore {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(self.put(name, bytes))
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(self.read(name))
    }

    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(self.read_range(name, range))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(self.list_all(prefix, after))
    }

    fn is_provisioned<'a>(&'a self, root: &'a str) -> Operation<'a, bool> {
        Box::pin(self.has_container(root))
    }
}

/// How this archive's containers are called.
#[derive(Debug, Clone)]
struct Containers {
    prefix: String,
}

impl Containers {
    /// The container of the names that begin with `root`.
    fn name(&self, root: &str) -> String {
        match self.prefix.is_empty() {
            true => root.to_owned(),
            false => format!("{}-{root}", self.prefix),
        }
    }

    /// The roots beginning with `beginning` whose containers exist.
    async fn present(&self, service: &BlobServiceClient, beginning: &str) -> Result<BTreeSet<String>, StoreError> {
        let prefix = self.name(beginning);
        let failed = |error| failure(&prefix, "", error);
        let options = BlobServiceClientListContainersOptions {
            prefix: (!prefix.is_empty()).then(|| prefix.clone()),
            ..BlobServiceClientListContainersOptions::default()
        };
        let mut pages = service.list_containers(Some(options)).map_err(failed)?.into_pages();
        let (mut roots, mut count) = (BTreeSet::new(), 0);
        while let Some(page) = pages.try_next().await.map_err(failed)? {
            count += 1;
            if count > MAX_PAGES {
                return Err(damaged(&prefix, "has a listing without end"));
            }
            for item in page.into_model().map_err(failed)?.container_items {
                let name = item.name.unwrap_or_default();
                let root = match self.prefix.is_empty() {
                    true => Some(name.as_str()),
                    false => name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-')),
                };
                roots.extend(root.filter(|root| is_root(root)).map(str::to_owned));
            }
        }
        Ok(roots)
    }
}

/// Whether names may begin so: the log, the view, or a month.
fn is_root(root: &str) -> bool {
    let is_month = || {
        let (year, month) = root.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let month = (month.len() == 2 && digits(month)).then(|| month.parse::<u8>().ok())??;
        (year.len() == 4 && digits(year) && (1..=12).contains(&month)).then_some(())
    };
    matches!(root, "log" | "view") || is_month().is_some()
}

/// https, or http to this machine; no user, and no query, since that is where signatures stand.
fn check_origin(option: &'static str, text: &str) -> Result<Url, OptionsError> {
    let wrong = |reason| OptionsError { option, reason };
    let url = Url::parse(text.trim_end_matches('/')).map_err(|_| wrong("expected an address like https://host"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("expected an address without user and query: a signature goes into a file or a variable"));
    }
    match url.scheme() {
        "https" if url.host().is_some() => Ok(url),
        "http" if transport::is_loopback(&url) => Ok(url),
        "http" => Err(wrong("plain http is for loopback hosts only")),
        _ => Err(wrong("expected an address like https://host")),
    }
}

/// What a container may be called (learn, rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata).
fn check_prefix(prefix: &str) -> Result<(), OptionsError> {
    let letters =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    match prefix.is_empty() || prefix.len() <= 48 && prefix.split('-').all(letters) {
        true => Ok(()),
        false => Err(OptionsError {
            option: "store.prefix",
            reason: "expected lower-case letters, digits and single hyphens between them, at most 48",
        }),
    }
}

/// A month that isn't there, or no longer, has no blobs; but without its log there is no archive at all.
fn unless_absent(error: StoreError) -> StoreError {
    match error {
        StoreError::NoContainer { name, .. } if !name.starts_with("log/") => StoreError::NotFound { name },
        other => other,
    }
}

/// The blob's whole length, from an answer with a range of it.
fn whole_length(headers: &Headers) -> Option<u64> {
    let range = headers.get_optional_string(&HeaderName::from_static("content-range"))?;
    range.rsplit_once('/')?.1.parse().ok()
}

/// `bytes`, if they are what was announced. Both are of the service's making: whether they are what was once written only
/// the archive's own hashes tell.
fn checked(name: &str, bytes: Vec<u8>, length: u64, checksum: Option<&[u8]>) -> Result<Vec<u8>, StoreError> {
    if bytes.len() as u64 != length {
        return Err(damaged(name, "is shorter than announced"));
    }
    match checksum {
        Some(checksum) if checksum != Md5::digest(&bytes).as_slice() => Err(damaged(name, "doesn't fit its checksum")),
        _ => Ok(bytes),
    }
}

fn damaged(name: &str, what: &str) -> StoreError {
    let text = format!("what the storage account gave for it {what}");
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    StoreError::Unavailable { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn store(account: &str, prefix: &str) -> Result<AzureStore, OptionsError> {
        let access = Access::Signature(Signature::Held("sv=1&sig=secret".into()));
        let options = Options { account_url: account.into(), prefix: prefix.into(), access };
        AzureStore::new(options, Arc::new(SystemClock))
    }

    #[test]
    fn a_name_s_first_part_is_its_container() {
        let store = |prefix| store("https://a.blob.core.windows.net/", prefix).unwrap();
        let place = |prefix, name| store(prefix).place(name).map(|(container, blob)| format!("{container} {blob}"));
        assert_eq!(place("", "log/e/0000000007").unwrap(), "log e/0000000007");
        assert_eq!(place("contoso", "2026-08/s/1/2-d000-ab.ndz").unwrap(), "contoso-2026-08 s/1/2-d000-ab.ndz");
        assert_eq!(place("a-b", "view/checkpoint").unwrap(), "a-b-view checkpoint");
        for name in ["log", "2026-13/x", "2026-8/x", "other/x", "log/canary", "log/../x", "LOG/x", ""] {
            assert!(matches!(place("", name), Err(StoreError::BadName { .. })), "{name}");
        }
    }

    #[test]
    fn accounts_and_prefixes_that_can_t_be_are_refused_and_nothing_secret_is_shown() {
        let wrong = |account, prefix| store(account, prefix).unwrap_err().option;
        for account in ["", "a", "ftp://a", "http://a.example", "https://a/?sig=x", "https://u:p@a", "https://a/#f"] {
            assert_eq!(wrong(account, ""), "store.account_url", "{account}");
        }
        for prefix in ["A", "-a", "a-", "a--b", "a_b", &"a".repeat(49)] {
            assert_eq!(wrong("https://a", prefix), "store.prefix", "{prefix}");
        }
        assert!(store("http://127.0.0.1:1/devstoreaccount1", "a").is_ok());
        assert!(!format!("{:?}", store("https://a", "a").unwrap()).contains("secret"));
    }
}
