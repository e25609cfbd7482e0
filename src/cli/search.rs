//! `tenure search`: objects by a part of their name, present or past.
//!
//! Must never know: how the answer is found.

use super::failure::{Ended, Failure};
use super::render;
use super::session::Session;
use crate::answer::{objects, request};
use crate::query::Moment;

/// Arguments of `tenure search`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Part of a display name, user principal name, mail address or application id; letter case doesn't matter
    text: String,
    /// Names as of this time only [default: names at any time]
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
            "search",
            &[
                ("text", Some(&arguments.text)),
                ("at", arguments.at.as_deref()),
                ("collection", arguments.collection.as_deref()),
                ("known_at", arguments.known_at.as_deref()),
            ],
        )
        .await?;
    let at = match arguments.at {
        Some(_) => Some(archive.at(&moment, session.now())?),
        None => None,
    };
    let head = archive.at(&Moment::Head, session.now())?;
    let collection = arguments.collection.as_deref();
    let found = archive.search(&arguments.text, at.as_ref(), collection).await?;
    let basis = archive.basis(at.as_ref().unwrap_or(&head), collection).await?;
    if session.globals.json {
        for found in &found {
            session.console.line(objects::found(found))?;
        }
    } else if found.is_empty() {
        session.console.line(format!("nothing is called {:?}", arguments.text))?;
    } else {
        let rows = found.iter().map(|found| {
            let state = if found.present { "present" } else { "gone" };
            let label = found.label.clone().unwrap_or_default();
            let also = if found.matched.iter().any(|name| *name == label.to_lowercase()) {
                String::new()
            } else {
                found.matched.join(", ")
            };
            vec![found.key.to_string(), label, state.to_owned(), format!("#{}", found.last), also]
        });
        let table = render::table(&["key", "name", "state", "last change", "found by"], rows.collect(), &[]);
        session.console.line(table)?;
        session.console.line("")?;
    }
    session.end_with_basis(&[&basis], false)?;
    if basis.instant.capture.unknown {
        return Ok(Ended::Finding);
    }
    Ok(if basis.is_incomplete() { Ended::Incomplete } else { Ended::Done })
}
