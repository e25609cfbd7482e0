//! `tenure history`: every version of an object, and what changed.
//!
//! Must never know: how the answer is found.

use std::collections::BTreeMap;

use super::failure::{Ended, Failure};
use super::render;
use super::session::Session;
use crate::answer::objects;
use crate::canonical::Key;
use crate::diff::LinkChange;
use crate::query::{Archive, Attributed, Moment, QueryError, Revision};

/// Arguments of `tenure history`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Key, id, user principal name or display name, present or past
    name: String,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let archive = session
        .archive("history", &[("name", Some(&arguments.name)), ("known_at", arguments.known_at.as_deref())])
        .await?;
    let head = archive.at(&Moment::Head, session.now())?;
    let (key, id) = archive.resolve(&arguments.name, &head).await?;
    let revisions = archive.history(&key, id).await?;
    let basis = archive.basis(&head, Some(key.collection())).await?;
    if session.globals.json {
        for revision in &revisions {
            session.console.line(objects::revision(&key, revision))?;
        }
    } else {
        print(&archive, &key, &revisions, session).await?;
    }
    session.end_with_basis(&[&basis], false)?;
    if head.capture.unknown {
        return Ok(Ended::Finding);
    }
    Ok(if basis.is_incomplete() { Ended::Incomplete } else { Ended::Done })
}

/// Who did it, a line each.
fn actors(revision: &Revision) -> Vec<String> {
    let mut lines: Vec<String> = revision
        .by
        .iter()
        .map(|attribution| {
            let actor = match (&attribution.actor.name, &attribution.actor.key) {
                (Some(name), Some(key)) => format!("{name} ({key})"),
                (Some(name), None) => name.clone(),
                (None, Some(key)) => key.to_string(),
                (None, None) => "the service".to_owned(),
            };
            format!("  by {actor}, {}: {}", render::time(attribution.time), attribution.activity)
        })
        .collect();
    match &revision.attributed {
        Some(Attributed::Silent) => lines.push("  unattributed: the audit log was read and doesn't tell".to_owned()),
        Some(Attributed::Unread) => lines.push("  who did it isn't known: the audit log wasn't read then".to_owned()),
        _ => {}
    }
    lines
}

async fn print(archive: &Archive, key: &Key, revisions: &[Revision], session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let head = archive.head()?.seq;
    let label = archive.label(key, head).await?.map_or(String::new(), |label| format!("  {label:?}"));
    session.console.line(format!("{}{label}", paint.bold(key)))?;
    for revision in revisions {
        let before = match &revision.not_before {
            Some(before) => format!("after {}", render::capture(before)),
            None if archive.view().capture_before(revision.capture.seq).map_err(QueryError::from)?.is_some() => {
                "the oldest base that is kept has it, what was before expired".to_owned()
            }
            None => "the archive began with it".to_owned(),
        };
        let title = format!("{}  {}", render::capture(&revision.capture), revision.change.as_str());
        session.console.line(format!("\n{title}  {}", paint.dim(before)))?;
        let labels = labels_of(archive, &revision.links, revision.capture.seq).await?;
        for line in render::properties(paint, &revision.properties, revision.change) {
            session.console.line(line)?;
        }
        for line in render::links(paint, &revision.links, |key| labels.get(key).cloned()) {
            session.console.line(line)?;
        }
        for line in actors(revision) {
            session.console.line(paint.dim(line))?;
        }
    }
    session.console.line("")?;
    Ok(())
}

/// Links whose other end is shown with a label; each label is a read.
const LABELLED: usize = 100;

/// The labels of the ends of some links.
pub(super) async fn labels_of(
    archive: &Archive,
    links: &[LinkChange],
    seq: u64,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    let changed = |change: &LinkChange| change.changed.iter().map(|(key, ..)| key.clone()).collect::<Vec<_>>();
    let keys = links.iter().flat_map(|change| {
        let added = change.added.iter().map(|(key, _)| key.clone());
        added.chain(change.removed.iter().cloned()).chain(changed(change)).collect::<Vec<_>>()
    });
    for key in keys.take(LABELLED) {
        if let Some(label) = archive.label(&key, seq).await? {
            labels.insert(key.as_str().to_owned(), label);
        }
    }
    Ok(labels)
}
