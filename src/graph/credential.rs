//! How the client proves who it is, as a value.
//!
//! Must never know: how tokens are asked for, or where configuration is read from.

use std::path::PathBuf;

use secrecy::SecretString;

/// How the client proves who it is. `Debug` shows no secret.
///
/// Source for all but the last: learn, entra/identity-platform/v2-oauth2-client-creds-grant-flow.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A client id with a secret.
    ClientSecret {
        /// The application's id.
        client_id: String,
        /// The secret; leading and trailing white space (a file's line end) is not part of it.
        secret: SecretString,
    },
    /// A client id and a certificate whose public half the app registration has. The files are read anew for each token, so
    /// that a new certificate needs no restart.
    ClientCertificate {
        /// The application's id.
        client_id: String,
        /// A PEM file with the certificate; others of its chain may stand beside it.
        certificate: PathBuf,
        /// A PEM file with its RSA key (PKCS#8 or PKCS#1, not encrypted); `None` where that is in `certificate` too.
        key: Option<PathBuf>,
    },
    /// A client id and an assertion made outside, which a federated identity credential of the app registration trusts.
    WorkloadIdentity {
        /// The application's id.
        client_id: String,
        /// Where the assertion comes from.
        assertion: Assertion,
    },
    /// The identity that Azure gives to the machine or the app that this runs on. It can't answer claims challenges, and
    /// Azure keeps its tokens for up to a day: permissions that were just granted show late.
    ManagedIdentity {
        /// The client id of a user-assigned identity; `None` for the system-assigned one.
        client_id: Option<String>,
        /// Who gives the tokens.
        host: IdentityHost,
    },
}

/// Where an assertion for workload identity federation comes from. Asked anew for each token: assertions are short-lived.
#[derive(Debug, Clone)]
pub enum Assertion {
    /// A file, as Kubernetes keeps it up to date and names it in `AZURE_FEDERATED_TOKEN_FILE`.
    File(PathBuf),
    /// GitHub Actions, for audience `api://AzureADTokenExchange` (docs.github.com, actions/security-for-github-actions:
    /// about security hardening with OpenID Connect).
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        token: SecretString,
    },
}

/// Who gives the tokens of a managed identity.
#[derive(Debug, Clone)]
pub enum IdentityHost {
    /// The instance metadata service of a virtual machine or scale set (learn, entra/identity/managed-identities-azure-
    /// resources/how-to-use-vm-token).
    Machine {
        /// Its origin, where it isn't [`IdentityHost::METADATA_URL`].
        url: Option<String>,
    },
    /// App Service, Functions, Container Apps (learn, azure/app-service/overview-managed-identity).
    AppService {
        /// `IDENTITY_ENDPOINT`.
        url: String,
        /// `IDENTITY_HEADER`, which only this app knows.
        secret: SecretString,
    },
}

impl IdentityHost {
    /// Where virtual machines find the instance metadata service: a link-local address that no router forwards.
    pub const METADATA_URL: &'static str = "http://169.254.169.254";
}

impl Credential {
    /// Its kind, by the name that it has in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Credential::ClientSecret { .. } => "client_secret",
            Credential::ClientCertificate { .. } => "client_certificate",
            Credential::WorkloadIdentity { .. } => "workload_identity",
            Credential::ManagedIdentity { .. } => "managed_identity",
        }
    }
}
