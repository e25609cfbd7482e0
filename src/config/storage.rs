//! Where the configuration says the archive and its copy lie, and as whom segments are ended.
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

/// How to sign in to a store can be besides as `[credential]` says.
const KINDS: [&str; 6] =
    ["client_secret", "client_certificate", "workload_identity", "managed_identity", "sas", "azure_cli"];

/// What the options of a place are called, in the section where it stands.
pub(super) struct Section {
    kind: &'static str,
    path: &'static str,
    account_url: &'static str,
    prefix: &'static str,
    credential: &'static str,
    tenant: &'static str,
    sas_file: &'static str,
    sas_env: &'static str,
    resource_id: &'static str,
    management_url: &'static str,
    names: Names,
}

macro_rules! section {
    ($name:literal) => {
        Section {
            kind: concat!($name, ".kind"),
            path: concat!($name, ".path"),
            account_url: concat!($name, ".account_url"),
            prefix: concat!($name, ".prefix"),
            credential: concat!($name, ".credential"),
            tenant: concat!($name, ".tenant"),
            sas_file: concat!($name, ".sas_file"),
            sas_env: concat!($name, ".sas_env"),
            resource_id: concat!($name, ".resource_id"),
            management_url: concat!($name, ".management_url"),
            names: Names {
                client_id: concat!($name, ".client_id"),
                client_secret_file: concat!($name, ".client_secret_file"),
                client_secret_env: concat!($name, ".client_secret_env"),
                certificate_file: concat!($name, ".certificate_file"),
                certificate_key_file: concat!($name, ".certificate_key_file"),
                assertion_file: concat!($name, ".assertion_file"),
                identity_url: concat!($name, ".identity_url"),
            },
        }
    };
}

/// Where the archive lies.
pub(super) const STORE: Section = section!("store");
/// Where its copy lies.
pub(super) const MIRROR: Section = section!("store.mirror");
/// As whom segments are ended: a credential alone.
const EXPIRY: Section = section!("expiry");

/// The tenant that is captured, and how its application signs in.
#[derive(Clone, Copy)]
pub(super) struct Captured<'a> {
    pub tenant: &'a str,
    pub cloud: Cloud,
    pub credential: &'a Credential,
}

impl Storage {
    /// Reads the place that `section` says; none where its kind is `none`. Options of another kind than the one given
    /// don't count.
    pub(super) fn read(
        settings: &Settings,
        section: &Section,
        captured: Captured<'_>,
    ) -> Result<Option<Storage>, ConfigError> {
        let built: &[&str] = match settings.text(section.kind).as_str() {
            "none" if section.kind != STORE.kind => return Ok(None),
            _ if section.kind == STORE.kind => &["filesystem", "azure"],
            _ => &["none", "filesystem", "azure"],
        };
        settings.one_of(section.kind, built, &[], "")?;
        if settings.text(section.kind) == "filesystem" {
            if settings.text(section.path).is_empty() {
                settings.required(section.path, "the directory of the copy")?;
            }
            return Ok(Some(Storage::Filesystem(settings.path(section.path))));
        }
        let what = "the storage account's address, as in \"https://account.blob.core.windows.net\"";
        let access = AzureAccess::read(settings, section, &["same"], captured)?;
        let management_url = settings.given(section.management_url);
        Ok(Some(Storage::Azure(AzureAccount {
            account_url: settings.required(section.account_url, what)?,
            prefix: settings.text(section.prefix),
            access,
            resource_id: settings.given(section.resource_id),
            management_url: management_url.unwrap_or_else(|| captured.cloud.management_url().to_owned()),
        })))
    }

    /// The variable that holds a secret of the store, if one does.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Storage::Azure(account) => account.access.variable(),
            Storage::Filesystem(_) => None,
        }
    }
}

impl AzureAccess {
    /// Reads `[expiry]`: as whom segments are ended in a storage account; none where nobody is named. Never the identity
    /// that captures: what runs every hour must not be able to delete.
    pub(super) fn read_expiry(settings: &Settings, captured: Captured<'_>) -> Result<Option<AzureAccess>, ConfigError> {
        match settings.text(EXPIRY.credential).as_str() {
            "none" => Ok(None),
            _ => AzureAccess::read(settings, &EXPIRY, &["none"], captured).map(Some),
        }
    }

    fn read(
        settings: &Settings,
        section: &Section,
        more: &[&str],
        captured: Captured<'_>,
    ) -> Result<AzureAccess, ConfigError> {
        let kinds: Vec<&str> = more.iter().chain(&KINDS).copied().collect();
        settings.one_of(section.credential, &kinds, &[], "")?;
        Ok(match settings.text(section.credential).as_str() {
            "same" => {
                let (tenant, credential) = (captured.tenant.to_owned(), captured.credential.clone());
                AzureAccess::Identity { tenant, credential }
            }
            "azure_cli" => AzureAccess::AzureCli,
            "sas" => AzureAccess::Signature(read_signature(settings, section)?),
            kind => {
                let tenant = settings.given(section.tenant).unwrap_or_else(|| captured.tenant.to_owned());
                if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
                    return Err(settings.wrong(section.tenant, "a GUID or a domain"));
                }
                AzureAccess::Identity { tenant, credential: Credential::of_kind(settings, kind, &section.names)? }
            }
        })
    }

    /// The variable that holds a secret, if one does.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            AzureAccess::Identity { credential, .. } => credential.variable(),
            AzureAccess::Signature(SecretPlace::Variable(name)) => Some(name),
            AzureAccess::Signature(SecretPlace::File(_)) | AzureAccess::AzureCli => None,
        }
    }
}

fn read_signature(settings: &Settings, section: &Section) -> Result<SecretPlace, ConfigError> {
    match (settings.given(section.sas_file), settings.given(section.sas_env)) {
        (Some(_), Some(_)) => {
            Err(ConfigError::Both { place: settings.place(section.sas_env), one: "sas_file", other: "sas_env" })
        }
        (_, Some(name)) => Ok(SecretPlace::Variable(name)),
        (Some(_), None) => Ok(SecretPlace::File(settings.path(section.sas_file))),
        (None, None) => Err(ConfigError::Missing {
            path: settings.file().to_owned(),
            name: section.sas_file,
            what: "the file that holds the shared access signature (or sas_env, the variable that does)",
        }),
    }
}
