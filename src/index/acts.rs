//! Events by whom they were about, who did them and what was done.
//!
//! Must never know: what an event proves.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use super::IndexError;
use super::rows::Tables;
use super::view::View;
use crate::archive::line::Content;
use crate::archive::reader::Place;
use crate::canonical::Key;
use crate::model;

pub use crate::model::Part;

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The event.
    pub key: Key,
    /// When the service says that it happened.
    pub time: Timestamp,
}

impl Tables<'_> {
    /// Files an event that is new.
    pub fn add_acts(&mut self, key: &Key, content: &Content) -> Result<(), IndexError> {
        let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return Ok(()) };
        let Ok(json) = crate::canonical::parse(bytes) else { return Ok(()) };
        let Some(event) = model::event(&json) else { return Ok(()) };
        for (part, value) in event.parts {
            let number = self.value_id(&value)?;
            self.acts.insert((number, part as u8, event.time.as_millisecond(), key.as_str()), ())?;
        }
        Ok(())
    }
}

impl View {
    /// Events in which `value` (an id, or the name of an activity, letter case apart) has the part `part`, by their times.
    pub fn acts(&self, part: Part, value: &str, during: &RangeInclusive<Timestamp>) -> Result<Vec<Act>, IndexError> {
        let Some(number) = self.value_number(value)? else { return Ok(Vec::new()) };
        let (first, last) = (during.start().as_millisecond(), during.end().as_millisecond());
        // No key begins with the byte that is greater than all that keys are made of.
        let range = (number, part as u8, first, "")..=(number, part as u8, last, "\u{7f}");
        let mut found = Vec::new();
        for row in self.acts.range(range)? {
            let row = row?.0;
            let (_, _, time, key) = row.value();
            let time = Timestamp::from_millisecond(time).map_err(|_| super::build::damaged("a damaged time"))?;
            found.push(Act { key: key.parse()?, time });
        }
        Ok(found)
    }

    /// The capture that recorded an event, the number of the pack that has its line, and where.
    pub fn event_line(&self, key: &Key) -> Result<Option<(u64, u32, Place)>, IndexError> {
        let Some(row) = self.events.get(key.as_str())?.map(|row| row.value()) else { return Ok(None) };
        let (seq, pack, frame, offset, len) = row;
        Ok(Some((u64::from(seq), pack, Place { frame, offset, len })))
    }
}
