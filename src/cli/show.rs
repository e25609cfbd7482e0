//! `tenure show`: an object and its links as of a time.
//!
//! Must never know: how the answer is found.

use super::failure::{Ended, Failure};
use super::render;
use super::session::Session;
use crate::answer::objects;
use crate::archive::line::Content;
use crate::diff;
use crate::query::{Answer, Archive, Link, label_of};

/// Arguments of `tenure show`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Key, id, user principal name or display name
    name: String,
    /// As of when [default: the newest capture]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
}

/// Links that are shown with a label of the other end; further ones by key alone, since each label is a read.
const LABELLED: usize = 200;

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let moment = session.moment(arguments.at.as_deref())?;
    let archive = session
        .archive(
            "show",
            &[
                ("name", Some(&arguments.name)),
                ("at", arguments.at.as_deref()),
                ("known_at", arguments.known_at.as_deref()),
            ],
        )
        .await?;
    let at = archive.at(&moment, session.now())?;
    let (key, id) = archive.resolve(&arguments.name, &at).await?;
    let answer = archive.as_of(&key, id, &at).await?;
    if session.globals.json {
        session.console.line(objects::object(&answer))?;
    } else {
        print(&archive, &answer, session).await?;
    }
    if answer.basis.instant.capture.unknown {
        return Ok(Ended::Finding);
    }
    Ok(if answer.is_incomplete() { Ended::Incomplete } else { Ended::Done })
}

async fn print(archive: &Archive, answer: &Answer, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let instant = &answer.basis.instant;
    let label = match &answer.content {
        Some(content) => label_of(content),
        None => archive.label(&answer.key, instant.capture.seq).await?,
    };
    let label = label.map_or(String::new(), |label| format!("  {label:?}"));
    session.console.line(format!("{}{label}", paint.bold(&answer.key)))?;
    let certainty = match answer.read_since() {
        Some(read) => format!("last read at #{read} or later (read in turns)"),
        None => render::certainty(answer.certainty).to_owned(),
    };
    let since = answer.since.as_ref().map_or("no capture before".to_owned(), render::capture);
    let state = match (answer.content.is_some(), answer.since.is_some()) {
        (true, _) => format!("as it is since {since}"),
        (false, true) => format!("not there, removed at {since}"),
        (false, false) if answer.is_present() => "known by its links only".to_owned(),
        (false, false) => "not there until then".to_owned(),
    };
    session.console.line(format!("as of {}: {state}; {certainty}", render::capture(&instant.capture)))?;
    print_content(answer.content.as_ref(), session)?;
    let seq = instant.capture.seq;
    print_links(archive, "links", "→", &answer.links, seq, session).await?;
    print_links(archive, "linked from", "←", &answer.incoming, seq, session).await?;
    session.console.line("")?;
    session.end_with_basis(&[&answer.basis], false)
}

fn print_content(content: Option<&Content>, session: &mut Session<'_>) -> Result<(), Failure> {
    let bytes = match content {
        Some(Content::Canonical(bytes) | Content::Raw(bytes)) => bytes,
        Some(Content::Hidden(hash)) => {
            session.console.line(format!("\n  the content is erased or sealed; its hash is {hash}"))?;
            return Ok(());
        }
        None => return Ok(()),
    };
    session.console.line("")?;
    let rows = diff::content(None, Some(bytes));
    let width = rows.iter().map(|row| row.path.len()).max().unwrap_or(0);
    for row in rows {
        let path = if row.path.is_empty() { "(as received)" } else { &row.path };
        session.console.line(format!("  {path:width$}  {}", row.after.unwrap_or_default()))?;
    }
    Ok(())
}

async fn print_links(
    archive: &Archive,
    title: &str,
    arrow: &str,
    links: &[Link],
    seq: u64,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    if links.is_empty() {
        return Ok(());
    }
    let paint = session.paint();
    session.console.line(format!("\n{title}"))?;
    for (index, link) in links.iter().enumerate() {
        let label = if index < LABELLED { archive.label(&link.other, seq).await? } else { None };
        let label = label.map_or(String::new(), |label| format!("  {label:?}"));
        let properties =
            link.properties.as_ref().map_or(String::new(), |json| format!("  {}", String::from_utf8_lossy(json)));
        let since = paint.dim(format!("since #{}", link.since));
        session.console.line(format!("  {} {arrow} {}{label}{properties}  {since}", link.relation, link.other))?;
    }
    Ok(())
}
