//! What questions and answers look like in text, the same on the command line and over HTTP: names and times in, JSON and
//! failures out.
//!
//! Must never know: how an answer is found, and who gets it.

pub mod effects;
pub mod failure;
pub mod json;
pub mod log;
pub mod objects;
pub mod questions;
pub mod request;
pub mod uses;
