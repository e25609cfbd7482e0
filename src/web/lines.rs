//! Long answers, a row a line, sent as fast as whoever asked takes them.
//!
//! Must never know: who asks, and how lines travel.
//!
//! The last line is `{"end":{…}}` with the number of rows, what they rest on and whether that is complete. An answer without
//! it isn't whole, whatever a proxy made of a connection that broke.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc::Sender;

use crate::answer::failure::Failure;
use crate::answer::json::{self, Object};
use crate::answer::{effects, objects};
use crate::query::{Archive, Basis, Instant, Scope};

/// Bytes that leave at a time.
const PIECE: usize = 64 * 1024;
/// Whoever takes nothing for so long has gone.
const STALL: Duration = Duration::from_secs(30);

/// Rows that are made as they leave.
pub(super) enum Lines {
    /// A state.
    Dump { archive: Archive, at: Instant, collection: Option<String>, basis: Basis },
    /// A difference, from one basis to the other.
    Diff { archive: Archive, scope: Scope, bases: [Basis; 2], with_effect: bool },
}

/// Where lines go.
pub(super) struct Outlet {
    pub sender: Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    rows: u64,
}

/// Why lines ended before their end.
pub(super) enum Cut {
    /// Nobody takes them.
    Gone,
    /// They can't be made.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Cut {
    fn from(error: E) -> Cut {
        Cut::Failed(error.into())
    }
}

impl Outlet {
    pub fn new(sender: Sender<io::Result<Bytes>>) -> Outlet {
        Outlet { sender, buffer: Vec::new(), rows: 0 }
    }

    async fn line(&mut self, line: &str) -> Result<(), Cut> {
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        self.rows += 1;
        if self.buffer.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Cut> {
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        match tokio::time::timeout(STALL, self.sender.send(Ok(piece))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Cut::Gone),
        }
    }

    async fn end(&mut self, bases: &[&Basis]) -> Result<(), Cut> {
        let is_incomplete = bases.iter().any(|basis| basis.is_incomplete());
        let all = json::array(bases.iter().map(|basis| json::basis(basis)));
        let end = Object::new().number("rows", self.rows).raw("basis", &all).flag("incomplete", is_incomplete).end();
        self.line(&Object::new().raw("end", &end).end()).await?;
        self.flush().await
    }
}

impl Lines {
    /// Sends all of them.
    pub async fn send(&self, outlet: &mut Outlet) -> Result<(), Cut> {
        match self {
            Lines::Dump { archive, at, collection, basis } => {
                let mut last = None;
                loop {
                    let before = outlet.buffer.len();
                    let collection = collection.as_deref();
                    last = archive.dump_after(at, collection, last.as_ref(), PIECE, &mut outlet.buffer).await?;
                    outlet.rows += outlet.buffer[before..].iter().filter(|&&byte| byte == b'\n').count() as u64;
                    if last.is_none() {
                        return outlet.end(&[basis]).await;
                    }
                    if !outlet.buffer.is_empty() {
                        outlet.flush().await?;
                    }
                }
            }
            Lines::Diff { archive, scope, bases, with_effect } => {
                let (from, to) = (&bases[0].instant, &bases[1].instant);
                let mut differences = archive.differences(from, to, scope).await?;
                while let Some(difference) = differences.next().await? {
                    outlet.line(&objects::difference(&difference)).await?;
                }
                if *with_effect {
                    let found = archive.effects(from, to, scope).await?;
                    for line in effects::rows(archive, to, &found) {
                        outlet.line(&line?).await?;
                    }
                }
                outlet.end(&[&bases[0], &bases[1]]).await
            }
        }
    }
}
