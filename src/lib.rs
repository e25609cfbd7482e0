//! Tenure: a long-retention archive for Microsoft Entra ID.

pub mod clock;
pub mod hash;
pub mod simulator;
