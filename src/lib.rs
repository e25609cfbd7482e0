//! Tenure: a long-retention archive for Microsoft Entra ID.

pub mod canonical;
pub mod clock;
pub mod collect;
pub mod graph;
pub mod hash;
pub mod model;
