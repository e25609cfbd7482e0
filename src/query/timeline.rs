//! Since when each collection, relation, facet and property has been captured, and where there are holes. Pure.
//!
//! Must never know: where the entries come from, or how the answer is shown.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::EXPECTED_DISTANCE;
use crate::archive::entry::{Body, Coverage, Status};

/// A capture in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub seq: u64,
    /// The time it stands for.
    pub time: Timestamp,
}

/// Captures in a row in which something wasn't seen whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The first of them.
    pub from: Mark,
    /// The last of them.
    pub to: Mark,
    /// What coverage says; `None` where there was no capture at all, or none that knows of it.
    pub status: Option<Status>,
    /// Why, from the closed list.
    pub code: Option<String>,
}

/// What the log says of one thing that is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The first capture that read it.
    pub since: Option<Mark>,
    /// The last capture that read it, or some of it.
    pub last: Option<Mark>,
    /// What the last capture says.
    pub status: Status,
    /// Why it isn't complete.
    pub code: Option<String>,
    /// The permission that would open it.
    pub needs: Option<String>,
    /// Where it wasn't seen whole, since it was first read.
    pub holes: Vec<Hole>,
}

/// The name of what is captured: collection, relation, facet, property.
pub type Subject = (String, Option<String>, Option<String>, Option<String>);

/// The courses of everything, from the entries of the log in their order.
#[derive(Debug, Default)]
pub struct Timeline {
    courses: BTreeMap<Subject, Course>,
    /// By collection and facet: the properties that were asked for last.
    asked: BTreeMap<(String, Option<String>), Vec<String>>,
    outages: Vec<Hole>,
    last: Option<Mark>,
}

impl Timeline {
    /// Takes the next entry in. What isn't a capture says nothing of coverage, except a gap.
    pub fn add(&mut self, body: &Body) {
        if !body.is_capture() {
            return;
        }
        let mark = Mark { seq: body.seq, time: body.query_time() };
        if let Some(last) = self.last
            && mark.time.duration_since(last.time) > EXPECTED_DISTANCE
        {
            self.outages.push(Hole { from: last, to: mark, status: None, code: None });
        }
        self.last = Some(mark);
        for row in body.cover.iter().flatten() {
            let subject = (row.c.clone(), row.r.clone(), row.f.clone(), None);
            self.step(subject, mark, row.st, row.code.clone(), row.needs.clone());
            if row.r.is_none() {
                self.properties(row, mark);
            }
        }
    }

    /// Times without any capture, longer than they should be.
    pub fn outages(&self) -> &[Hole] {
        &self.outages
    }

    /// The courses by subject.
    pub fn courses(&self) -> impl Iterator<Item = (&Subject, &Course)> {
        self.courses.iter()
    }

    /// The properties that are asked for by name, or refused. Where none is named the service shows what it has, and
    /// nothing can be said of single ones.
    fn properties(&mut self, row: &Coverage, mark: Mark) {
        let name = (row.c.clone(), row.f.clone());
        match row.asked.as_slice() {
            [] => {}
            // None is named any more.
            [all] if all == "*" => drop(self.asked.remove(&name)),
            names => drop(self.asked.insert(name.clone(), names.to_vec())),
        }
        if matches!(row.st, Status::Carried | Status::NotDue | Status::Absent) {
            return;
        }
        let asked: BTreeSet<String> = self.asked.get(&name).into_iter().flatten().cloned().collect();
        let refused: BTreeSet<String> = row.refused.iter().cloned().collect();
        let subject = |property: &String| (row.c.clone(), None, row.f.clone(), Some(property.clone()));
        for property in asked.difference(&refused) {
            self.step(subject(property), mark, row.st, row.code.clone(), None);
        }
        for property in &refused {
            self.step(subject(property), mark, Status::Absent, Some("refused".to_owned()), None);
        }
    }

    fn step(&mut self, subject: Subject, mark: Mark, status: Status, code: Option<String>, needs: Option<String>) {
        let fresh = Course { since: None, last: None, status, code: None, needs: None, holes: Vec::new() };
        let course = self.courses.entry(subject).or_insert(fresh);
        let was_hole = is_hole(course.status) && course.last.is_some_and(|_| !course.holes.is_empty());
        let same = course.status == status && course.code == code;
        (course.status, course.code, course.needs) = (status, code.clone(), needs);
        if matches!(status, Status::Complete | Status::Rolling | Status::Partial) {
            course.since.get_or_insert(mark);
            course.last = Some(mark);
        }
        if course.since.is_none() || !is_hole(status) {
            return;
        }
        match course.holes.last_mut() {
            Some(hole) if was_hole && same => hole.to = mark,
            _ => course.holes.push(Hole { from: mark, to: mark, status: Some(status), code }),
        }
    }
}

fn is_hole(status: Status) -> bool {
    matches!(status, Status::Partial | Status::Carried | Status::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::note::Signer;

    fn capture(seq: u64, cover: Vec<Coverage>) -> Body {
        let signer = Signer::from_seed("tenure/test", [1; 32]);
        let at = Timestamp::from_second(1_780_272_000 + 3600 * seq as i64).unwrap();
        let mut body = Body::genesis(signer.verifier(), signer.verifier(), "test", serde_json::json!({}), at);
        (body.seq, body.t0) = (seq, Some(at));
        body.kind = "capture".to_owned();
        body.cover = Some(cover);
        body
    }

    fn row(status: Status, code: Option<&str>, asked: &[&str], refused: &[&str]) -> Coverage {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let code = code.map(str::to_owned);
        Coverage { code, asked: owned(asked), refused: owned(refused), ..Coverage::new("user", None, None, status) }
    }

    fn told(timeline: &Timeline, property: Option<&str>) -> String {
        let (_, course) = timeline.courses().find(|(subject, _)| subject.3.as_deref() == property).unwrap();
        let holes = course.holes.iter().map(|hole| {
            let status = hole.status.map_or("none", Status::as_str);
            format!(" {status}:{}-{}", hole.from.seq, hole.to.seq)
        });
        let mark = |mark: Option<Mark>| mark.map_or("-".to_owned(), |mark| mark.seq.to_string());
        let holes: String = holes.collect();
        format!("{}..{} {}{holes}", mark(course.since), mark(course.last), course.status.as_str())
    }

    #[test]
    fn since_when_and_with_which_holes() {
        use Status::{Absent, Carried, Complete, NotDue, Partial};
        let mut timeline = Timeline::default();
        let rows = [
            row(Absent, Some("no-permission"), &[], &[]),
            row(Complete, None, &["id", "mail"], &["birthday"]),
            row(Complete, None, &[], &["birthday"]),
            row(Carried, Some("throttled"), &[], &[]),
            row(Carried, Some("throttled"), &[], &[]),
            row(Partial, Some("time-limit"), &[], &[]),
            row(NotDue, None, &[], &[]),
            row(Complete, None, &["id", "mail", "birthday"], &[]),
            row(Complete, None, &[], &["mail"]),
        ];
        for (seq, row) in rows.into_iter().enumerate() {
            timeline.add(&capture(seq as u64 + 1, vec![row]));
        }
        assert_eq!(told(&timeline, None), "2..9 complete carried:4-5 partial:6-6");
        assert_eq!(told(&timeline, Some("id")), "2..9 complete partial:6-6");
        assert_eq!(told(&timeline, Some("mail")), "2..8 absent partial:6-6 absent:9-9");
        assert_eq!(told(&timeline, Some("birthday")), "8..9 complete", "what was never given has no hole");
        assert_eq!(timeline.outages(), []);
        timeline.add(&capture(20, Vec::new()));
        assert_eq!(timeline.outages().len(), 1);
    }
}
