//! Microsoft Graph over HTTP, for reading: tokens, retries, throttling, pages, and an account of every response.
//!
//! Must never know: which collections exist, or what becomes of what was read. Nothing here can change a tenant:
//! [`Reader`] sends nothing but GET, alone or as the parts of a batch.

mod address;
mod batch;
mod budget;
mod certificate;
mod classify;
mod credential;
mod error;
mod exchange;
mod meter;
mod options;
mod pace;
mod pages;
mod reader;
mod receipt;
mod request;
mod resource;
mod response;
mod sign_in;
mod tokens;
mod wire;

pub use batch::MAX_PARTS;
pub use credential::{Assertion, Credential, IdentityHost};
pub use error::{Error, Refusal};
pub use meter::Meter;
pub use options::{Cloud, Limits, MAX_PAGE_BYTES, Options};
pub use pages::Pages;
pub use reader::Reader;
pub use receipt::{Receipt, cut_tokens};
pub use request::{Bucket, Request, escape};
pub use resource::ResourceTokens;
pub use response::Response;
pub use tokens::Identity;
pub use wire::Page;
