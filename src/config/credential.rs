//! How the configuration says who we are.
//!
//! Must never know: how a token is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::ConfigError;
use super::read::Settings;
use crate::graph::{self, Assertion, IdentityHost};

/// Where the client secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// How to sign in, with places instead of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A client id with a secret.
    ClientSecret {
        /// The application's id.
        client_id: String,
        /// Where the secret is.
        secret: SecretPlace,
    },
    /// A client id with a certificate.
    ClientCertificate {
        /// The application's id.
        client_id: String,
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file, where it is another.
        key: Option<PathBuf>,
    },
    /// A client id with an assertion made outside.
    WorkloadIdentity {
        /// The application's id.
        client_id: String,
        /// The assertion's file; `None` where the platform names it.
        assertion: Option<PathBuf>,
    },
    /// The identity of the machine or the app.
    ManagedIdentity {
        /// The client id of a user-assigned identity.
        client_id: Option<String>,
        /// Where the instance metadata service is, if elsewhere.
        url: Option<String>,
    },
}

/// The variables by which platforms say where credentials are.
const PLATFORM: [&str; 5] =
    ["AZURE_FEDERATED_TOKEN_FILE", GITHUB_URL, GITHUB_TOKEN, "IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// What stands in the environment that a credential may need: secrets too, so that none of it is shown.
#[derive(Clone, Default)]
pub(super) struct Surroundings(BTreeMap<String, SecretString>);

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Surroundings {
    /// What credentials may need of `variables`, those called `secrets` among them.
    pub fn of(secrets: &[Option<&str>], variables: &[(String, String)]) -> Surroundings {
        let wanted = |name: &str| secrets.contains(&Some(name)) || PLATFORM.contains(&name);
        let found = variables.iter().filter(|(name, value)| wanted(name) && !value.trim().is_empty());
        Surroundings(found.map(|(name, value)| (name.clone(), SecretString::from(value.trim()))).collect())
    }

    pub fn get(&self, name: &str) -> Option<SecretString> {
        self.0.get(name).cloned()
    }

    fn text(&self, name: &str) -> Option<String> {
        use secrecy::ExposeSecret as _;
        self.0.get(name).map(|value| value.expose_secret().to_owned())
    }
}

/// What the options of a credential are called, in the section where it stands.
pub(super) struct Names {
    pub client_id: &'static str,
    pub client_secret_file: &'static str,
    pub client_secret_env: &'static str,
    pub certificate_file: &'static str,
    pub certificate_key_file: &'static str,
    pub assertion_file: &'static str,
    pub identity_url: &'static str,
}

/// The options of `[credential]`.
const NAMES: Names = Names {
    client_id: "credential.client_id",
    client_secret_file: "credential.client_secret_file",
    client_secret_env: "credential.client_secret_env",
    certificate_file: "credential.certificate_file",
    certificate_key_file: "credential.certificate_key_file",
    assertion_file: "credential.assertion_file",
    identity_url: "credential.identity_url",
};

impl Credential {
    /// Reads `[credential]`. Options of another kind than the one given don't count.
    pub(super) fn read(settings: &Settings) -> Result<Credential, ConfigError> {
        let kinds = ["client_secret", "client_certificate", "workload_identity", "managed_identity"];
        settings.one_of("credential.kind", &kinds, &[], "")?;
        Credential::of_kind(settings, &settings.text("credential.kind"), &NAMES)
    }

    /// Reads a credential of `kind` from options called `names`.
    pub(super) fn of_kind(settings: &Settings, kind: &str, names: &Names) -> Result<Credential, ConfigError> {
        let given = |name: &str| settings.given(name).map(|_| settings.path(name));
        if kind == "managed_identity" {
            let (client_id, url) = (settings.given(names.client_id), settings.given(names.identity_url));
            return Ok(Credential::ManagedIdentity { client_id, url });
        }
        let client_id = settings.required(names.client_id, "the application (client) id")?;
        match kind {
            "client_certificate" => {
                settings.required(names.certificate_file, "the PEM file with the certificate")?;
                let (certificate, key) = (settings.path(names.certificate_file), given(names.certificate_key_file));
                Ok(Credential::ClientCertificate { client_id, certificate, key })
            }
            "workload_identity" => {
                Ok(Credential::WorkloadIdentity { client_id, assertion: given(names.assertion_file) })
            }
            _ => Ok(Credential::ClientSecret { client_id, secret: read_secret(settings, names)? }),
        }
    }

    /// The variable that holds the secret, if one does.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Credential::ClientSecret { secret: SecretPlace::Variable(name), .. } => Some(name),
            _ => None,
        }
    }

    /// The credential itself. Reads a client secret; whatever changes while a service runs is read when it is needed.
    pub(super) fn resolve(&self, surroundings: &Surroundings) -> Result<graph::Credential, ConfigError> {
        Ok(match self {
            Credential::ClientSecret { client_id, secret } => {
                let secret = match secret {
                    SecretPlace::File(path) => std::fs::read_to_string(path)
                        .map(|text| SecretString::from(text.trim()))
                        .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?,
                    SecretPlace::Variable(name) => {
                        surroundings.get(name).ok_or_else(|| ConfigError::NoSecret { name: name.clone() })?
                    }
                };
                graph::Credential::ClientSecret { client_id: client_id.clone(), secret }
            }
            Credential::ClientCertificate { client_id, certificate, key } => graph::Credential::ClientCertificate {
                client_id: client_id.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            },
            Credential::WorkloadIdentity { client_id, assertion } => {
                let file = assertion.clone().or_else(|| surroundings.text(PLATFORM[0]).map(PathBuf::from));
                let github = || Some((surroundings.text(GITHUB_URL)?, surroundings.get(GITHUB_TOKEN)?));
                let assertion = match file {
                    Some(file) => Assertion::File(file),
                    None => {
                        let (url, token) = github().ok_or(ConfigError::NoAssertion)?;
                        Assertion::GitHub { url, token }
                    }
                };
                graph::Credential::WorkloadIdentity { client_id: client_id.clone(), assertion }
            }
            Credential::ManagedIdentity { client_id, url } => {
                let app = || Some((surroundings.text("IDENTITY_ENDPOINT")?, surroundings.get("IDENTITY_HEADER")?));
                let host = match (url, app()) {
                    (None, Some((url, secret))) => IdentityHost::AppService { url, secret },
                    (url, _) => IdentityHost::Machine { url: url.clone() },
                };
                graph::Credential::ManagedIdentity { client_id: client_id.clone(), host }
            }
        })
    }
}

fn read_secret(settings: &Settings, names: &Names) -> Result<SecretPlace, ConfigError> {
    let (file, variable) = (names.client_secret_file, names.client_secret_env);
    match (settings.given(file), settings.given(variable)) {
        (Some(_), Some(_)) => {
            let place = settings.place(variable);
            Err(ConfigError::Both { place, one: "client_secret_file", other: "client_secret_env" })
        }
        (_, Some(name)) => Ok(SecretPlace::Variable(name)),
        (Some(_), None) => Ok(SecretPlace::File(settings.path(file))),
        (None, None) => Err(ConfigError::Missing {
            path: settings.file().to_owned(),
            name: file,
            what: "the file that holds the client secret (or client_secret_env, the variable that does)",
        }),
    }
}
