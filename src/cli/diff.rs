//! `tenure diff`: what changed between two times.
//!
//! Must never know: how the answer is found.

use std::ops::ControlFlow;

use super::failure::{Ended, Failure};
use super::history::labels_of;
use super::render;
use super::session::Session;
use crate::answer::{objects, request};
use crate::diff::Change;
use crate::query::{Archive, Difference, Instant, Scope};

/// Arguments of `tenure diff`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// From when; of a date its beginning
    #[arg(value_name = "T1")]
    from: String,
    /// Until when; of a date its end
    #[arg(value_name = "T2", default_value = "now")]
    to: String,
    /// Objects of this collection only
    #[arg(long, value_name = "C")]
    collection: Option<String>,
    /// This object only
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    request::collection(arguments.collection.as_deref())?;
    let (from, to) = (session.moment(Some(&arguments.from))?, session.moment(Some(&arguments.to))?);
    let archive = session.archive(arguments.known_at.as_deref()).await?;
    let (from, to) = (archive.at_beginning(&from)?, archive.at(&to, session.now())?);
    let object = match &arguments.object {
        Some(name) => Some(archive.resolve(name, &to).await?.0),
        None => None,
    };
    let scope = Scope { collection: arguments.collection, object };
    let asked = scope.collection.as_deref().or(scope.object.as_ref().map(|key| key.collection()));
    let bases = [archive.basis(&from, asked).await?, archive.basis(&to, asked).await?];
    match session.globals.json {
        true => print_json(&archive, &from, &to, &scope, session).await?,
        false => print(&archive, &from, &to, &scope, session).await?,
    }
    session.end_with_basis(&[&bases[0], &bases[1]], false)?;
    if bases.iter().any(|basis| basis.instant.capture.unknown) {
        return Ok(Ended::Finding);
    }
    Ok(if bases.iter().any(|basis| basis.is_incomplete()) { Ended::Incomplete } else { Ended::Done })
}

async fn print_json(
    archive: &Archive,
    from: &Instant,
    to: &Instant,
    scope: &Scope,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    archive
        .difference(from, to, scope, async |difference| {
            session.console.line(objects::difference(&difference))?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(())
}

/// Differences that are collected before they are printed with labels, which are reads of their own.
async fn print(
    archive: &Archive,
    from: &Instant,
    to: &Instant,
    scope: &Scope,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let paint = session.paint();
    let mut found = Vec::new();
    archive
        .difference(from, to, scope, async |difference| {
            found.push(difference);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    for Difference { key, label, change, properties, links } in &found {
        let labels = labels_of(archive, links, to.capture.seq.max(from.capture.seq)).await?;
        session.console.line(render::heading(paint, *change, key.as_str(), label.as_deref()))?;
        for line in render::properties(paint, properties, *change) {
            session.console.line(line)?;
        }
        for line in render::links(paint, links, |key| labels.get(key).cloned()) {
            session.console.line(line)?;
        }
    }
    let count = |change: Change| found.iter().filter(|difference| difference.change == change).count();
    let (added, removed, changed) = (count(Change::Added), count(Change::Removed), count(Change::Changed));
    let gap = if found.is_empty() { "" } else { "\n" };
    session.console.line(format!("{gap}{added} added, {removed} removed, {changed} changed"))?;
    Ok(())
}
