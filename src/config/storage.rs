//! Where the configuration says the archive lies.
//!
//! Must never know: how a store works.

use std::path::PathBuf;

use super::credential::Names;
use super::read::Settings;
use super::{ConfigError, Credential, SecretPlace};
use crate::graph::Cloud;

/// Where the archive lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a directory.
    Filesystem(PathBuf),
    /// In a storage account.
    Azure(AzureAccount),
}

/// A storage account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureAccount {
    /// Its blob endpoint.
    pub account_url: String,
    /// What the names of the archive's containers begin with.
    pub prefix: String,
    /// How to sign in to it.
    pub access: AzureAccess,
    /// Its id in the resource manager, where policies may be read there.
    pub resource_id: Option<String>,
    /// The resource manager's address.
    pub management_url: String,
}

/// How to sign in to a storage account, with places instead of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureAccess {
    /// As an identity of a tenant, which may be another one than the tenant that is captured.
    Identity {
        /// The tenant of the identity.
        tenant: String,
        /// How to sign in.
        credential: Credential,
    },
    /// By a shared access signature.
    Signature(SecretPlace),
    /// As whoever is signed in to the Azure command line: for people who read, not for the service.
    AzureCli,
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Storage::Filesystem(path) => write!(f, "{}", path.display()),
            Storage::Azure(account) if account.prefix.is_empty() => write!(f, "{}", account.account_url),
            Storage::Azure(account) => write!(f, "{} ({}-*)", account.account_url, account.prefix),
        }
    }
}

/// What a credential of the store can be besides those of `[credential]`.
const KINDS: [&str; 7] =
    ["same", "client_secret", "client_certificate", "workload_identity", "managed_identity", "sas", "azure_cli"];

/// The options of a credential of the store.
const NAMES: Names = Names {
    client_id: "store.client_id",
    client_secret_file: "store.client_secret_file",
    client_secret_env: "store.client_secret_env",
    certificate_file: "store.certificate_file",
    certificate_key_file: "store.certificate_key_file",
    assertion_file: "store.assertion_file",
    identity_url: "store.identity_url",
};

impl Storage {
    /// Reads `[store]`. Options of another kind than the one given don't count. `tenant`, `cloud` and `credential` are
    /// those of the tenant that is captured.
    pub(super) fn read(
        settings: &Settings,
        tenant: &str,
        cloud: Cloud,
        credential: &Credential,
    ) -> Result<Storage, ConfigError> {
        settings.one_of("store.kind", &["filesystem", "azure"], &[], "")?;
        if settings.text("store.kind") == "filesystem" {
            return Ok(Storage::Filesystem(settings.path("store.path")));
        }
        settings.one_of("store.credential", &KINDS, &[], "")?;
        let access = match settings.text("store.credential").as_str() {
            "same" => AzureAccess::Identity { tenant: tenant.to_owned(), credential: credential.clone() },
            "azure_cli" => AzureAccess::AzureCli,
            "sas" => AzureAccess::Signature(read_signature(settings)?),
            kind => {
                let tenant = settings.given("store.tenant").unwrap_or_else(|| tenant.to_owned());
                if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
                    return Err(settings.wrong("store.tenant", "a GUID or a domain"));
                }
                AzureAccess::Identity { tenant, credential: Credential::of_kind(settings, kind, &NAMES)? }
            }
        };
        let what = "the storage account's address, as in \"https://account.blob.core.windows.net\"";
        let management_url = settings.given("store.management_url");
        Ok(Storage::Azure(AzureAccount {
            account_url: settings.required("store.account_url", what)?,
            prefix: settings.text("store.prefix"),
            access,
            resource_id: settings.given("store.resource_id"),
            management_url: management_url.unwrap_or_else(|| cloud.management_url().to_owned()),
        }))
    }

    /// The variable that holds a secret of the store, if one does.
    pub(super) fn variable(&self) -> Option<&str> {
        let Storage::Azure(account) = self else { return None };
        match &account.access {
            AzureAccess::Identity { credential, .. } => credential.variable(),
            AzureAccess::Signature(SecretPlace::Variable(name)) => Some(name),
            AzureAccess::Signature(SecretPlace::File(_)) | AzureAccess::AzureCli => None,
        }
    }
}

fn read_signature(settings: &Settings) -> Result<SecretPlace, ConfigError> {
    let (file, variable) = ("store.sas_file", "store.sas_env");
    match (settings.given(file), settings.given(variable)) {
        (Some(_), Some(_)) => {
            Err(ConfigError::Both { place: settings.place(variable), one: "sas_file", other: "sas_env" })
        }
        (_, Some(name)) => Ok(SecretPlace::Variable(name)),
        (Some(_), None) => Ok(SecretPlace::File(settings.path(file))),
        (None, None) => Err(ConfigError::Missing {
            path: settings.file().to_owned(),
            name: "store.sas_file",
            what: "the file that holds the shared access signature (or sas_env, the variable that does)",
        }),
    }
}
