//! The service: one tenant's archive kept up, slot after slot, by itself.
//!
//! Must never know: serving, and the command line. Who serves reads [`Health`].
//!
//! A [`Service`] captures. A [`Keeper`] beside it looks after what was written: the storage's protection, every byte, the
//! second copy. Both go by turns that somebody else drives, each turn a look at the time and at most one thing done, so
//! that a year can be lived through in a test. Several services may keep one archive up: the log decides who fills a slot.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::ledger::Ledger;

mod alarm;
mod due;
mod file;
mod health;
mod keeper;
mod memory;
mod mirroring;
mod schedule;
mod service;
mod verification;
mod watch;
mod webhook;

pub use alarm::{Active, Book, Kind, Notice, Severity};
pub use due::{Due, Gap, Known, Wanted, code, due};
pub use health::{Doing, Health, Last, Mirrored, Storage, Totals, Verified};
pub use keeper::{Keeper, MONTHS_AHEAD, Tasks};
pub use schedule::{InvalidSchedule, Schedule};
pub use service::{OpenFailure, Opener, Opening, Service, Settings};
pub use webhook::{Delivery, Webhook, WebhookError};

/// The file in the directory of `[state]` that tells `tenure status` how the service is doing.
pub const STATUS_FILE: &str = "status.json";

/// What the parts of one tenant's service share.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant.
    pub name: String,
    /// The directory of `[state]`.
    pub directory: std::path::PathBuf,
    clock: Arc<dyn Clock>,
    health: Mutex<Health>,
    book: Mutex<Book>,
    /// Wakes who delivers notices.
    pub noticed: tokio::sync::Notify,
    /// Who asked what of this tenant's archive.
    pub ledger: Ledger,
}

impl Tenant {
    /// The tenant `name`, which keeps its memory in `directory`.
    pub fn new(name: &str, directory: &std::path::Path, has_receiver: bool, clock: Arc<dyn Clock>) -> Tenant {
        Tenant {
            name: name.to_owned(),
            directory: directory.to_owned(),
            health: Mutex::new(Health::new(name, clock.now())),
            book: Mutex::new(Book::open(directory, name, has_receiver)),
            ledger: Ledger::open(directory, clock.clone()),
            clock,
            noticed: tokio::sync::Notify::new(),
        }
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        let mut health = self.locked().clone();
        let book = self.book();
        health.alarms = book.active().cloned().collect();
        health.notices = book.counts().clone();
        health.waiting = book.waiting() as u64;
        health
    }

    /// Whether it gets on, by its clock.
    pub fn is_alive(&self) -> bool {
        self.locked().is_alive(self.clock.now())
    }

    /// Says that it gets on.
    pub fn beat(&self) {
        let now = self.clock.now();
        self.update(|health| health.beat = now);
    }

    /// The alarms, for as long as the caller holds them.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while it holds the alarms")
    }

    /// Changes how it is doing.
    fn update(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.locked());
    }

    /// Raises and clears alarms, and wakes who tells of them.
    fn alarm(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.noticed.notify_one();
    }

    /// Leaves what [`Tenant::health`] says to commands on this machine.
    fn leave_word(&self) {
        let mut value = self.health().to_json();
        value["written"] = self.clock.now().to_string().into();
        file::leave(&self.directory, STATUS_FILE, &value);
    }

    fn locked(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("no code panics while it holds the health")
    }

    /// Delivers what waits, oldest first, until something isn't taken. Returns a word about why, then.
    pub async fn deliver(&self, webhook: &Webhook) -> Option<String> {
        loop {
            let notice = self.book().first_waiting().cloned()?;
            match webhook.deliver(&self.name, &notice).await {
                Delivery::Taken => {
                    let mut book = self.book();
                    book.delivered(&notice.id);
                    book.set(Kind::WebhookFailing, "", false, self.clock.now(), "");
                }
                Delivery::Refused(why) => return Some(why),
            }
        }
    }

    /// The receiver of alarms hasn't taken one for a while.
    pub fn not_taken(&self, why: &str) {
        self.book().set(Kind::WebhookFailing, "", true, self.clock.now(), why);
    }
}

/// An error with its causes, which hold no personal data by the rules of those who make them.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = sources(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// An error and its causes.
fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The later of two instants, of which either may be unknown.
fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.max(b)
}
