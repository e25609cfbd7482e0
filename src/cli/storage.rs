//! Opens the store that the configuration names, with what signs in to it.
//!
//! Must never know: what is stored, or which command runs.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::Mutex;

use super::failure::{Failure, Kind};
use crate::clock::Clock;
use crate::config::{AzureAccess, AzureAccount, Config, SecretPlace, Storage};
use crate::graph::ResourceTokens;
use crate::store::azure::guard::Guard;
use crate::store::azure::{
    Access, Management, NoAccess, Options, OptionsError, RESOURCE, Signature, Token, TokenFuture, TokenSource,
};
use crate::store::{AzureExpiry, AzureStore, Expiry, FilesystemExpiry, FilesystemStore, Store};

/// What a command is going to do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing that changes it.
    Read,
    /// Create blobs.
    Write,
    /// Create blobs that another store holds already, at a person's command.
    Copy,
}

/// The configured store. Sends nothing yet.
///
/// # Errors
/// Of kind configuration.
pub fn open(config: &Config, clock: &Arc<dyn Clock>, purpose: Purpose) -> Result<Arc<dyn Store>, Failure> {
    open_place(config, &config.store, clock, purpose)
}

/// The copy that is kept in step; none where none is configured.
///
/// # Errors
/// Of kind configuration.
pub fn mirror(config: &Config, clock: &Arc<dyn Clock>, purpose: Purpose) -> Result<Option<Arc<dyn Store>>, Failure> {
    config.mirror.as_ref().map(|place| open_place(config, place, clock, purpose)).transpose()
}

fn open_place(
    config: &Config,
    place: &Storage,
    clock: &Arc<dyn Clock>,
    purpose: Purpose,
) -> Result<Arc<dyn Store>, Failure> {
    match place {
        Storage::Filesystem(path) => Ok(Arc::new(FilesystemStore::new(path))),
        Storage::Azure(account) => Ok(Arc::new(open_account(config, account, clock, purpose)?)),
    }
}

/// What can end files at `place`, which is the archive or its copy. For the command that expires, and nobody else.
///
/// # Errors
/// Of kind configuration, also where nobody is named who may delete in a storage account.
pub(super) fn expiry(config: &Config, place: &Storage, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Expiry>, Failure> {
    let account = match place {
        Storage::Filesystem(path) => return Ok(Arc::new(FilesystemExpiry::new(path))),
        Storage::Azure(account) => account,
    };
    let Some(named) = &config.expiry else {
        let text = format!(
            "nobody is named who may delete in {place}: the identity in [store] must not be able to, and [expiry] is empty"
        );
        return Err(Failure::new(Kind::Configuration, text)
            .hint("for whoever is signed in to az: TENURE_EXPIRY__CREDENTIAL=azure_cli tenure expire")
            .hint(
                "it needs, on the months, Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read and \
                 …/blobs/delete, and on the account …/containers/read and …/containers/delete",
            ));
    };
    let access = access(config, named, clock)?;
    let options = Options { account_url: account.account_url.clone(), prefix: account.prefix.clone(), access };
    Ok(Arc::new(AzureExpiry::new(options, clock.clone())?))
}

fn access(config: &Config, named: &AzureAccess, clock: &Arc<dyn Clock>) -> Result<Access, Failure> {
    Ok(match named {
        AzureAccess::Signature(SecretPlace::File(path)) => Access::Signature(Signature::File(path.clone())),
        AzureAccess::Signature(SecretPlace::Variable(name)) => Access::Signature(Signature::Held(config.secret(name)?)),
        other => Access::Tokens(tokens(config, other, RESOURCE, clock)?.expect("all but signatures are identities")),
    })
}

/// What checks that the configured account enforces what it is trusted for; none for a directory, which enforces nothing.
///
/// # Errors
/// Of kind configuration.
pub fn guard(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Guard>, Failure> {
    let Storage::Azure(account) = &config.store else { return Ok(None) };
    let store = open_account(config, account, clock, Purpose::Read)?;
    let management = match &account.resource_id {
        Some(id) => {
            let tokens = match tokens(config, &account.access, &account.management_url, clock)? {
                Some(tokens) => tokens,
                None => {
                    let text = "resource_id in [store] needs an identity, and credential = \"sas\" is none";
                    return Err(
                        Failure::new(Kind::Configuration, text).hint("leave resource_id out, or use an identity")
                    );
                }
            };
            Some(Management::new(&account.management_url, id, tokens, clock.clone())?)
        }
        None => None,
    };
    Ok(Some(store.guard(management, config.retention_years)))
}

fn open_account(
    config: &Config,
    account: &AzureAccount,
    clock: &Arc<dyn Clock>,
    purpose: Purpose,
) -> Result<AzureStore, Failure> {
    if account.access == AzureAccess::AzureCli && purpose == Purpose::Write {
        let text = "credential = \"azure_cli\" in [store] is for reading and verifying an archive, not for writing one";
        return Err(Failure::new(Kind::Configuration, text)
            .hint("give the service an identity of its own: managed_identity, workload_identity or a certificate"));
    }
    let access = access(config, &account.access, clock)?;
    let options = Options { account_url: account.account_url.clone(), prefix: account.prefix.clone(), access };
    Ok(AzureStore::new(options, clock.clone())?)
}

/// Tokens for `resource` as the identity that signs in to the account; none for a signature, which is nobody.
fn tokens(
    config: &Config,
    access: &AzureAccess,
    resource: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Box<dyn TokenSource>>, Failure> {
    Ok(match access {
        AzureAccess::Signature(_) => None,
        AzureAccess::AzureCli => Some(Box::new(AzureCli::new(PathBuf::from("az"), resource, clock.clone()))),
        AzureAccess::Identity { tenant, credential } => {
            let options = config.storage_identity(tenant, credential)?;
            let tokens = ResourceTokens::new(options, resource, clock.clone()).map_err(|error| {
                Failure::new(Kind::Configuration, error).hint("check credential in [store] and the files that it names")
            })?;
            Some(Box::new(SignedIn(tokens)))
        }
    })
}

/// An identity that signs in as it does to Graph.
#[derive(Debug)]
struct SignedIn(ResourceTokens);

impl TokenSource for SignedIn {
    fn token(&self, refused: Option<u64>) -> TokenFuture<'_> {
        Box::pin(async move {
            match self.0.get(refused).await {
                Ok((secret, generation)) => Ok(Token { secret, generation }),
                Err(error) => Err(NoAccess { is_transient: error.is_transient(), source: Box::new(error) }),
            }
        })
    }
}

/// A token is asked for again this long before it ends.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Real time that the Azure command line gets. It is slow, and may have to renew what it keeps.
const CLI_TIME: Duration = Duration::from_secs(60);

/// Whoever is signed in to the Azure command line.
#[derive(Debug)]
struct AzureCli {
    program: PathBuf,
    resource: String,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<(Token, Timestamp)>>,
}

impl AzureCli {
    fn new(program: PathBuf, resource: &str, clock: Arc<dyn Clock>) -> AzureCli {
        AzureCli { program, resource: resource.to_owned(), clock, held: Mutex::new(None) }
    }

    async fn ask(&self) -> Result<(SecretString, Timestamp), NoAccess> {
        let lasting = |text: &str| NoAccess { source: text.into(), is_transient: false };
        let mut command = tokio::process::Command::new(&self.program);
        command.args(["account", "get-access-token", "--output", "json", "--resource", &self.resource]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = match tokio::time::timeout(CLI_TIME, command.output()).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => return Err(lasting("the Azure command line (az) can't be started: is it installed?")),
            Err(_) => return Err(lasting("the Azure command line (az) gave no answer")),
        };
        // What it prints besides may hold names and addresses, and isn't shown.
        let answer: serde_json::Value = match ended.status.success() {
            true => serde_json::from_slice(&ended.stdout).unwrap_or_default(),
            false => return Err(lasting("the Azure command line (az) gave no token: run `az login`")),
        };
        let token = answer["accessToken"].as_str().filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        let token =
            token.filter(|token| !token.is_empty()).ok_or_else(|| lasting("the Azure command line gave no token"))?;
        // Older ones tell no `expires_on`, and their local time is ambiguous: such a token is used for a while only.
        let expires = answer["expires_on"].as_i64().and_then(|second| Timestamp::from_second(second).ok());
        let expires = expires.unwrap_or_else(|| self.clock.now().saturating_add(MARGIN * 2).unwrap_or(Timestamp::MAX));
        Ok((SecretString::from(token), expires))
    }
}

impl TokenSource for AzureCli {
    fn token(&self, refused: Option<u64>) -> TokenFuture<'_> {
        Box::pin(async move {
            let mut held = self.held.lock().await;
            let soon = self.clock.now().saturating_add(MARGIN).unwrap_or(Timestamp::MAX);
            if let Some((token, expires)) = &*held
                && soon < *expires
                && refused != Some(token.generation)
            {
                return Ok(token.clone());
            }
            let generation = held.as_ref().map_or(1, |(token, _)| token.generation + 1);
            let (secret, expires) = self.ask().await?;
            let token = Token { secret, generation };
            *held = Some((token.clone(), expires));
            Ok(token)
        })
    }
}

impl From<OptionsError> for Failure {
    fn from(error: OptionsError) -> Failure {
        Failure::new(Kind::Configuration, error).hint("check [store]")
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn the_azure_command_line_is_asked_again_when_its_token_ends_or_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (program, count) = (directory.path().join("az"), directory.path().join("count"));
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = \"account get-access-token --output json --resource {RESOURCE}\" ] || exit 1\n\
             echo x >> {0}\necho '{{\"accessToken\":\"t'$(wc -l < {0} | tr -d ' ')'\",\"expires_on\":3600}}'\n",
            count.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let source = AzureCli::new(program.clone(), RESOURCE, Arc::new(clock.clone()));
        let token = async |refused| source.token(refused).await.unwrap();
        let text = |token: &Token| token.secret.expose_secret().to_owned();
        assert_eq!(text(&token(None).await), "t1");
        let known = token(None).await;
        assert_eq!(text(&known), "t1");
        assert_eq!(text(&token(Some(known.generation)).await), "t2");
        clock.advance(Duration::from_secs(3400));
        assert_eq!(text(&token(None).await), "t3");
        assert!(!format!("{source:?}").contains("t3"));
        let failing = |program: &str| AzureCli::new(PathBuf::from(program), RESOURCE, Arc::new(clock.clone()));
        for (program, expected) in [("/nowhere/az", "installed"), ("false", "az login")] {
            let error = failing(program).token(None).await.unwrap_err();
            assert!(!error.is_transient && error.source.to_string().contains(expected), "{error:?}");
        }
    }
}
