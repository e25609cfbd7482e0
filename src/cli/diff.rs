//! `tenure diff`: what changed between two times.
//!
//! Must never know: how the answer is found.

use std::ops::ControlFlow;

use super::failure::{Ended, Failure};
use super::history::labels_of;
use super::render;
use super::session::Session;
use crate::answer::{effects, objects, request};
use crate::diff::Change;
use crate::query::{Archive, Difference, Effects, Instant, Scope, Turned};

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
    /// Also tell what it comes to: who gained and lost which access, which accounts were switched on or off, whom policies of
    /// Conditional Access stopped or began to cover
    #[arg(long)]
    effect: bool,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    request::collection(arguments.collection.as_deref())?;
    let (from, to) = (session.moment(Some(&arguments.from))?, session.moment(Some(&arguments.to))?);
    let archive = session
        .archive(
            "diff",
            &[
                ("from", Some(&arguments.from)),
                ("to", Some(&arguments.to)),
                ("collection", arguments.collection.as_deref()),
                ("object", arguments.object.as_deref()),
                ("effect", arguments.effect.then_some("true")),
                ("known_at", arguments.known_at.as_deref()),
            ],
        )
        .await?;
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
    if arguments.effect {
        let found = archive.effects(&from, &to, &scope).await?;
        match session.globals.json {
            true => {
                for line in effects::rows(&archive, &to, &found) {
                    session.console.line(line?)?;
                }
            }
            false => print_effects(&archive, &to, &found, session)?,
        }
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
        .difference(from, to, scope, |difference| {
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
        .difference(from, to, scope, |difference| {
            found.push(difference);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    for Difference { key, change, properties, links } in &found {
        let label = archive.label_of_difference(key, from, to).await?;
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

/// Whom policies stopped or began to cover, for people.
fn print_policies(
    archive: &Archive,
    to: &Instant,
    effects: &Effects,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    if effects.policies.counts.is_empty() {
        return Ok(());
    }
    let paint = session.paint();
    session.console.line(format!("\n{}", paint.bold("effect on policies")))?;
    let named = |key: &crate::canonical::Key| -> Result<String, Failure> {
        Ok(archive.label_of_key(key, to.capture.seq)?.map_or_else(|| key.to_string(), |name| format!("{name} ({key})")))
    };
    for count in &effects.policies.counts {
        let (began, stopped) = (count.began, count.stopped);
        let policy = named(&count.policy)?;
        let unclear = match count.unclear {
            0 => String::new(),
            unclear => format!(", of {unclear} nobody can say"),
        };
        session.console.line(format!("~ {policy}  began to cover {began}, stopped covering {stopped}{unclear}"))?;
        let own: Vec<_> = effects.policies.named.iter().filter(|effect| effect.policy == count.policy).collect();
        for effect in &own {
            let by: Result<Vec<String>, Failure> = effect.by.iter().map(&named).collect();
            let by = by?.join(", ");
            let by = if by.is_empty() { by } else { format!(" by {by}") };
            let line = format!("{}  {}{by}", named(&effect.subject)?, effect.after);
            session.console.line(match effect.began {
                true => paint.green(format!("  + {line}")),
                false => paint.red(format!("  - {line}")),
            })?;
        }
        let rest = began + stopped - own.len();
        if rest > 0 {
            session.console.line(format!("  … and {rest} more"))?;
        }
    }
    Ok(())
}

fn print_effects(archive: &Archive, to: &Instant, effects: &Effects, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    session.console.line(format!("\n{}", paint.bold("effect on access")))?;
    let named = |key: &crate::canonical::Key| -> Result<String, Failure> {
        Ok(archive.label_of_key(key, to.capture.seq)?.map_or_else(|| key.to_string(), |name| format!("{name} ({key})")))
    };
    for effect in &effects.access {
        let power = &effect.words;
        let target = power.name.as_ref().unwrap_or(&power.target);
        let scope = power.scope.as_ref().map_or(String::new(), |scope| format!(" {scope}"));
        let mut path = Vec::new();
        for step in &effect.access.path[..effect.access.path.len().saturating_sub(1)] {
            path.extend(step.to.as_ref().map(&named).transpose()?);
        }
        let path = if path.is_empty() { String::new() } else { format!(", through {}", path.join(", ")) };
        let who = named(&effect.access.subject)?;
        let line = format!("{who}  {} {target}{scope}, {}{path}", power.kind, power.form);
        session.console.line(match effect.turned {
            Turned::Gained => paint.green(format!("+ {line}")),
            Turned::Lost => paint.red(format!("- {line}")),
        })?;
    }
    for account in &effects.accounts {
        session.console.line(format!("~ {}  account {}", named(&account.key)?, account.turned))?;
    }
    let count = |turned| effects.access.iter().filter(|effect| effect.turned == turned).count();
    let (gained, lost, accounts) = (count(Turned::Gained), count(Turned::Lost), effects.accounts.len());
    session
        .console
        .line(format!("{gained} gained, {lost} lost, {accounts} accounts; {} looked at", effects.concerned))?;
    if effects.first_seen > 0 {
        let count = render::count(effects.first_seen as u64, "access rests", "accesses rest");
        let line = format!("{count} on what was first read in between: whether they were gained nobody knows");
        session.console.line(paint.dim(line))?;
    }
    print_policies(archive, to, effects, session)
}
