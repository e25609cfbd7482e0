//! Bytes by name, created once and never changed.
//!
//! Must never know: what the bytes mean. It can neither overwrite nor delete: expiry is another capability, handed to
//! nobody but the command that expires.
//!
//! Every write has three outcomes: done, not done, unknown. [`put_new`] turns the third into one of the first two by
//! reading back, and is the only way the rest of the crate writes.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

pub mod azure;
mod expiry;
mod faulty;
mod filesystem;
mod memory;

pub use azure::AzureStore;
pub use azure::expiry::AzureExpiry;
pub use expiry::{Aged, Expiry, Removal};
pub use faulty::{Fault, FaultyExpiry, FaultyStore};
pub use filesystem::{FilesystemExpiry, FilesystemStore};
pub use memory::{MemoryExpiry, MemoryStore};

/// What every operation of a [`Store`] or an [`Expiry`] returns.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A stored blob as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The whole name.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
}

/// A place for blobs. Names are relative paths of safe characters separated by `/`.
pub trait Store: Send + Sync + Debug {
    /// Creates `name` with exactly `bytes`, durably, unless a blob of that name exists. Atomic: no reader ever sees a
    /// part, and of several racing writers one succeeds. On return of `Ok` the blob survives a crash of the machine.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where the name is taken, by whatever bytes. Any other error leaves open whether the
    /// blob was created. Callers use [`put_new`], which settles both.
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()>;

    /// All bytes of `name`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>>;

    /// The bytes of `name` in `range`, fewer where the blob ends before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>>;

    /// Every blob whose name starts with `prefix` (whole path segments or a part of the last one) and is greater than
    /// `after`, sorted by name.
    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>>;

    /// Whether blobs can be created below `root`, the first segment of their names. Where others have to make the roots,
    /// one may be missing; a store that makes its own always says yes.
    fn is_provisioned<'a>(&'a self, root: &'a str) -> Operation<'a, bool> {
        let _ = root;
        Box::pin(async { Ok(true) })
    }
}

/// What a store operation can come to other than success.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No blob of that name.
    #[error("{name} does not exist in the store")]
    NotFound {
        /// The blob.
        name: String,
    },
    /// The name is taken.
    #[error("{name} exists in the store already, with other bytes")]
    Exists {
        /// The blob.
        name: String,
    },
    /// No room. Nothing that was committed before is touched.
    #[error("no space left to write {name}; free some and run again, nothing that was committed is lost")]
    Full {
        /// The blob.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The store refuses this identity.
    #[error("the store denies access to {name}")]
    Denied {
        /// The blob.
        name: String,
        /// What the operating system or the service said.
        source: std::io::Error,
    },
    /// The store could not be reached or failed in the middle; whether a write took effect is unknown.
    #[error("the store failed at {name}")]
    Unavailable {
        /// The blob.
        name: String,
        /// What the operating system or the service said.
        source: std::io::Error,
    },
    /// The container where the blob belongs isn't there. It has to be made, with its policy, before anything is written.
    #[error(
        "the container {container}, where {name} belongs, does not exist in the storage account: the deployment has to \
         make it and lock its immutability policy, the service can't and mustn't"
    )]
    NoContainer {
        /// The blob.
        name: String,
        /// The container, by its whole name.
        container: String,
    },
    /// Not a name that this store takes.
    #[error("{name:?} is no name for a blob")]
    BadName {
        /// The name.
        name: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }

    fn io(name: &str, source: std::io::Error) -> StoreError {
        use std::io::ErrorKind;
        let name = name.to_owned();
        match source.kind() {
            ErrorKind::NotFound => StoreError::NotFound { name },
            ErrorKind::AlreadyExists => StoreError::Exists { name },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StoreError::Full { name, source }
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::Denied { name, source },
            _ => StoreError::Unavailable { name, source },
        }
    }
}

/// How often a write whose outcome is unknown is read back and tried again before it is given up.
const TRIES: usize = 3;

/// Makes sure that `name` holds exactly `bytes`, durably. Safe to call again with the same bytes, by anybody.
///
/// Whoever may add blobs and not overwrite them can be told "denied" where a blob exists: Azure's documentation doesn't say
/// whether the right or the condition is looked at first (learn.microsoft.com/rest/api/storageservices/put-blob). So a
/// denial is settled by reading, too.
///
/// # Errors
/// [`StoreError::Exists`] where the name holds other bytes: for a pack that is an integrity error, for an entry a lost
/// race. A transient error where the outcome stayed unknown: the blob may or may not be there.
pub async fn put_new(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut last = None;
    for _ in 0..TRIES {
        let failure = match store.create(name, bytes).await {
            Ok(()) => return Ok(()),
            Err(failure @ (StoreError::Unavailable { .. } | StoreError::Exists { .. } | StoreError::Denied { .. })) => {
                failure
            }
            Err(failure) => return Err(failure),
        };
        let is_denied = matches!(failure, StoreError::Denied { .. });
        // A create that was retried below us answers "exists" for its own earlier write, and a lost answer says
        // nothing: only the stored bytes tell.
        match store.get(name).await {
            Ok(stored) if stored == bytes => return Ok(()),
            Ok(_) => return Err(StoreError::Exists { name: name.to_owned() }),
            Err(StoreError::NotFound { .. }) if is_denied => return Err(failure),
            Err(StoreError::NotFound { .. }) => last = Some(failure),
            Err(_) => return Err(failure),
        }
    }
    Err(last.expect("the loop ran at least once"))
}

/// Safe path segments, none of which is hidden or leads upward.
fn check_name(name: &str) -> Result<(), StoreError> {
    let safe = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match name.len() <= 512 && name.split('/').all(safe) {
        true => Ok(()),
        false => Err(StoreError::BadName { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that looks at the right to write before it looks whether there is something to write.
    #[derive(Debug, Default)]
    struct Strict(MemoryStore);

    impl Store for Strict {
        fn create<'a>(&'a self, name: &'a str, _: &'a [u8]) -> Operation<'a, ()> {
            let source = std::io::Error::other("403");
            Box::pin(async move { Err(StoreError::Denied { name: name.to_owned(), source }) })
        }

        fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
            self.0.get(name)
        }

        fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
            self.0.get_range(name, range)
        }

        fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
            self.0.list(prefix, after)
        }
    }

    /// An identity that may only add blobs was thought to have no rights at all where the blob was there already: a retry
    /// after a crash, or a lost race, would have ended every further capture.
    #[tokio::test]
    async fn a_denial_is_settled_by_reading() {
        let store = Strict::default();
        store.0.create("log/e/1", b"mine").await.unwrap();
        assert!(put_new(&store, "log/e/1", b"mine").await.is_ok());
        assert!(matches!(put_new(&store, "log/e/1", b"other").await, Err(StoreError::Exists { .. })));
        assert!(matches!(put_new(&store, "log/e/2", b"mine").await, Err(StoreError::Denied { .. })));
    }
}
