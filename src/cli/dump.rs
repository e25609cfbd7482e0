//! `tenure dump`: the whole state as of a time, in the lines of a base pack.
//!
//! Must never know: how the answer is found.

use std::ops::ControlFlow;

use super::failure::{Ended, Failure};
use super::session::Session;
use crate::answer::request;

/// Arguments of `tenure dump`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// As of when [default: the newest capture]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Objects of this collection only
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    request::collection(arguments.collection.as_deref())?;
    let moment = session.moment(arguments.at.as_deref())?;
    let archive = session
        .archive(
            "dump",
            &[
                ("at", arguments.at.as_deref()),
                ("collection", arguments.collection.as_deref()),
                ("known_at", arguments.known_at.as_deref()),
            ],
        )
        .await?;
    let at = archive.at(&moment, session.now())?;
    let basis = archive.basis(&at, arguments.collection.as_deref()).await?;
    archive
        .dump(&at, arguments.collection.as_deref(), |lines| {
            session.console.out.write_all(lines)?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    session.end_with_basis(&[&basis], true)?;
    if at.capture.unknown {
        return Ok(Ended::Finding);
    }
    Ok(if basis.is_incomplete() { Ended::Incomplete } else { Ended::Done })
}
