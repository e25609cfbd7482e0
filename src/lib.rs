//! Tenure: a long-retention archive for Microsoft Entra ID.

pub mod answer;
pub mod archive;
pub mod canonical;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod daemon;
pub mod diff;
pub mod graph;
pub mod hash;
pub mod hold;
pub mod index;
pub mod ledger;
pub mod model;
pub mod query;
pub mod simulator;
pub mod store;
pub mod web;
