//! Questions 41 and 43: the evidence about the evidence. Is a list complete, and what may have gone unseen.
//!
//! Must never know: what the captures hold.

use serde_json::Value;

use super::rows::{Row, count_by, sort};
use super::{Ability, Asking, Question, Span, Table};
use crate::archive::entry::Status;
use crate::query::{EXPECTED_DISTANCE, QueryError};

/// Is it complete?
pub const COMPLETENESS: Question = Question {
    number: 41,
    name: "completeness",
    title: "Show that a capture is complete: what was counted and read of each kind, and what could not be read and why",
    description: "One row for each collection, relation and facet of the capture: how it was read, how many items, how many the service \
                  counted, since when its oldest part was last read, what was refused, and the permission that lacks.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &[],
    ability: Ability::Answered(|asking| Box::pin(completeness(asking))),
};

/// What may have gone unseen?
pub const UNSEEN: Question = Question {
    number: 43,
    name: "unseen",
    title: "Could access have existed and vanished unseen between captures of a period?",
    description: "One row for each time between two captures of the period that was longer than it should be, and one for each stretch in \
                  which a collection or relation wasn't read whole. Between any two captures something may have come and gone; where the audit log was \
                  read it would tell, and the totals say whether it was.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(unseen(asking))),
};

async fn completeness(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let body = asking.archive.body(asking.end.capture.seq).await?;
    let mut all = Vec::new();
    for cover in body.cover.iter().flatten() {
        let mut row = Row::new();
        row.insert("collection".to_owned(), cover.c.as_str().into());
        row.insert("part".to_owned(), part(cover.r.as_deref(), cover.f.as_deref()));
        row.insert("status".to_owned(), cover.st.as_str().into());
        row.insert("how".to_owned(), cover.how.clone().into());
        row.insert("read".to_owned(), cover.n.into());
        row.insert("counted".to_owned(), cover.count.into());
        let difference = cover.n.zip(cover.count).map(|(n, count)| n.cast_signed() - count.cast_signed());
        // Of a feed only what changed is read.
        let difference = difference.filter(|_| cover.how.as_deref() != Some("feed"));
        row.insert("difference".to_owned(), difference.into());
        row.insert("oldest".to_owned(), cover.oldest.into());
        row.insert("reason".to_owned(), cover.code.clone().into());
        row.insert("refused".to_owned(), cover.refused.clone().into());
        row.insert("needs".to_owned(), cover.needs.clone().into());
        all.push(row);
    }
    sort(&mut all, &["collection", "part"]);
    let mut totals = Row::new();
    totals.insert("rows_by_status".to_owned(), count_by(&all, "status"));
    totals.insert("objects".to_owned(), body.state.objects.into());
    totals.insert("links".to_owned(), body.state.links.into());
    totals.insert("run".to_owned(), body.run.clone().into());
    totals.insert("began".to_owned(), body.t0.map(|time| time.to_string()).into());
    totals.insert("ended".to_owned(), body.t1.map(|time| time.to_string()).into());
    totals.insert("clock_skew_ms".to_owned(), body.skew_ms.into());
    let is_seen = |status: Status| matches!(status, Status::Complete | Status::Rolling | Status::NotDue);
    let is_incomplete = body.cover.iter().flatten().any(|cover| !is_seen(cover.st));
    const COLUMNS: &[&str] =
        &["collection", "part", "status", "how", "read", "counted", "difference", "oldest", "reason", "needs"];
    Ok(Table { columns: COLUMNS, rows: all, totals, is_incomplete, ..Table::default() })
}

fn part(relation: Option<&str>, facet: Option<&str>) -> Value {
    match (relation, facet) {
        (Some(relation), _) => relation.into(),
        (_, Some(facet)) => format!("#{facet}").into(),
        _ => "objects".into(),
    }
}

async fn unseen(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (begin, end) = (asking.begin.capture, asking.end.capture);
    let view = asking.archive.view();
    let mut all = Vec::new();
    let (mut captures, mut longest, mut last) = (1_u64, jiff::SignedDuration::ZERO, begin);
    while let Some(next) = view.capture_after(last.seq)?.filter(|next| next.seq <= end.seq) {
        let distance = next.time.duration_since(last.time);
        longest = longest.max(distance);
        captures += 1;
        if distance > EXPECTED_DISTANCE || next.unknown {
            let mut row = Row::new();
            row.insert("what".to_owned(), "everything".into());
            row.insert("from".to_owned(), last.time.to_string().into());
            row.insert("to".to_owned(), next.time.to_string().into());
            let reason = if next.unknown { "packs or entries are lost, or expired" } else { "no capture" };
            row.insert("reason".to_owned(), reason.into());
            all.push(row);
        }
        last = next;
    }
    for (name, sights) in view.all_sights_during(&(begin.seq..=end.seq))? {
        for (place, sight) in sights.iter().enumerate() {
            let status = match sight.status {
                Some(Status::Complete | Status::Rolling | Status::NotDue) => continue,
                Some(status) => status.as_str(),
                None => "never read",
            };
            let until = sights.get(place + 1).map_or(end.seq, |next| next.seq);
            let mut row = Row::new();
            row.insert("what".to_owned(), name.as_str().into());
            row.insert("from".to_owned(), asking.time(sight.seq.max(begin.seq))?);
            row.insert("to".to_owned(), asking.time(until)?);
            let code = sight.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
            row.insert("reason".to_owned(), format!("{status}{code}").into());
            all.push(row);
        }
    }
    sort(&mut all, &["from", "what"]);
    let log = view.sights_during("directoryAudit", None, None, &(begin.seq..=end.seq))?;
    let was_read = !log.is_empty() && log.iter().all(|sight| sight.status == Some(Status::Complete));
    let mut totals = Row::new();
    totals.insert("captures".to_owned(), captures.into());
    totals.insert("longest_minutes_between_captures".to_owned(), longest.as_mins().into());
    totals.insert("audit_log_read_throughout".to_owned(), was_read.into());
    totals.insert("rows_by_reason".to_owned(), count_by(&all, "reason"));
    let note = match was_read {
        true => {
            "the audit log was read throughout: what came and went between two captures shows there, as far as the service logs it"
        }
        false => {
            "the audit log was not read throughout: what came and went between two captures may have left no trace here"
        }
    };
    let is_incomplete = !all.is_empty() || !was_read;
    let notes = vec![note.to_owned()];
    Ok(Table { columns: &["what", "from", "to", "reason"], rows: all, totals, notes, is_incomplete })
}
