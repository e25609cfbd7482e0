//! `tenure index`: throws the index away and builds it from the archive.
//!
//! Must never know: what the index holds.

use super::console::Progress;
use super::failure::{Ended, Failure};
use super::session::Session;
use super::storage::Purpose;
use super::{json, render};
use crate::index::Index;
use crate::query::{Archive, QueryError};

/// Commands about the index.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Throw the index away and build it from the archive; no answer changes
    Rebuild,
}

/// Runs the command.
pub async fn run(command: Command, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let Command::Rebuild = command;
    let place = session.place(Purpose::Read).await?;
    let directory = place.config.index_path.clone();
    // An index that another process has open stays.
    match Index::open(&directory) {
        Err(error @ (crate::index::IndexError::Busy { .. } | crate::index::IndexError::Directory { .. })) => {
            return Err(QueryError::from(error).into());
        }
        opened => drop(opened),
    }
    Index::destroy(&directory).map_err(QueryError::from)?;
    let progress = Progress::new(&session.console, "building the index");
    let mut notices = Vec::new();
    let archive =
        Archive::open(place.store, &directory, |notice| notices.push(notice), |done, all| progress.set(done, all))
            .await;
    drop(progress);
    for notice in &notices {
        session.tell(notice);
    }
    let archive = archive?;
    let (keys, versions, links) = archive.view().counts().map_err(QueryError::from)?;
    let captures = archive.view().captures().map_err(QueryError::from)?;
    if session.globals.json {
        let row = json::Object::new().number("captures", captures.len() as u64).number("keys", keys);
        session.console.line(row.number("versions", versions).number("links", links).end())?;
    } else {
        let counts = [
            render::count(captures.len() as u64, "capture", "captures"),
            render::count(keys, "key", "keys"),
            render::count(versions, "version", "versions"),
            render::count(links, "link", "links"),
        ];
        let text = format!("index built: {}", counts.join(", "));
        session.console.line(text)?;
    }
    Ok(if notices.is_empty() { Ended::Done } else { Ended::Finding })
}
