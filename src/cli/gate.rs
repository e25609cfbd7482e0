//! Holds answers back until it is recorded who asked: the first byte of an answer leaves after its own-use record.
//!
//! Must never know: what is asked, or answered.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::failure::{Ended, Failure, Kind};
use crate::config::Config;
use crate::hash::Hash;
use crate::ledger::{Ledger, LedgerError, Outcome, Use, Via, Who};

/// What is being asked, and whether that is recorded.
struct Asked {
    ledger: Ledger,
    config: Config,
    used: Use,
    is_recorded: bool,
}

impl Asked {
    fn record(&mut self, outcome: Outcome) -> Result<(), LedgerError> {
        if !self.is_recorded {
            self.used.outcome = outcome;
            self.ledger.record(&self.used)?;
            self.is_recorded = true;
        }
        Ok(())
    }
}

/// Between what commands write and who reads it. Clones are the same gate.
#[derive(Clone, Default)]
pub(super) struct Gate(Rc<RefCell<Option<Asked>>>);

impl Gate {
    /// From here on nothing gets through before `operation` is recorded.
    pub fn close(&self, ledger: Ledger, config: &Config, operation: &str, parameters: Map<String, Value>) {
        let used = Use {
            who: who(),
            via: Via::Cli,
            operation: operation.to_owned(),
            parameters,
            outcome: Outcome::Answered,
            answer: None,
        };
        *self.0.borrow_mut() = Some(Asked { ledger, config: config.clone(), used, is_recorded: false });
    }

    /// Ends a command: one that answered nothing, or failed, is recorded now, before anything is told of it. Returns what
    /// the command comes to, and, if something was recorded, where.
    pub fn settle(&self, result: Result<Ended, Failure>) -> (Result<Ended, Failure>, Option<(Ledger, Config)>) {
        let Some(mut asked) = self.0.borrow_mut().take() else { return (result, None) };
        let outcome = match &result {
            Ok(_) => Outcome::Answered,
            Err(failure) if failure.kind == Kind::Usage => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        match asked.record(outcome) {
            Ok(()) => (result, Some((asked.ledger, asked.config))),
            // What went wrong before may tell of the directory, as the names that a name is near to.
            Err(error) => (Err(error.into()), None),
        }
    }

    /// The hash of the answer that is going to leave, for its record.
    pub fn answer(&self, hash: Hash) {
        if let Some(asked) = self.0.borrow_mut().as_mut() {
            asked.used.answer = Some(hash);
        }
    }

    fn pass(&self) -> io::Result<()> {
        match self.0.borrow_mut().as_mut() {
            Some(asked) => asked.record(Outcome::Answered).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

/// A stream of answers behind a gate.
pub(super) struct Gated<'a> {
    pub inner: &'a mut dyn Write,
    pub gate: Gate,
}

impl Write for Gated<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gate.pass()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Who runs the command, as the operating system says.
#[cfg(unix)]
fn who() -> Who {
    let uid = rustix::process::getuid().as_raw();
    let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| name_of(&users, uid));
    // Kept through su and sudo, where the system audits logins; all ones where nobody logged in.
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    let login = login.and_then(|text| text.trim().parse().ok()).filter(|&login: &u32| login != u32::MAX);
    Who::System { uid, name, login }
}

#[cfg(not(unix))]
fn who() -> Who {
    Who::Stranger
}

/// The name of a user in the lines of `/etc/passwd`.
#[cfg(unix)]
fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn users_are_called_as_the_system_calls_them() {
        let users = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n";
        assert_eq!(name_of(users, 1000).as_deref(), Some("anna"));
        assert_eq!(name_of(users, 7), None);
        assert_eq!(name_of("", 0), None);
    }
}
