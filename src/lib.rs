//! Tenure: a long-retention archive for Microsoft Entra ID.

pub mod archive;
pub mod canonical;
pub mod clock;
pub mod hash;
pub mod store;
