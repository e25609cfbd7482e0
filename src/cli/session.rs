//! What commands begin with: the configuration, the store, the archive opened for questions, times and names.
//!
//! Must never know: which command runs.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::console::{Console, Paint, Progress};
use super::failure::{Failure, Kind};
use super::storage::{self, Purpose};
use super::{Color, Globals, json, render, state};
use crate::answer::request;
use crate::archive::appender::AppendError;
use crate::archive::entry::{Entry, entry_name};
use crate::archive::log::leaf_hash;
use crate::archive::walker::WalkError;
use crate::clock::Clock;
use crate::config::Config;
use crate::query::{Archive, Basis, Moment, Notice};
use crate::store::{Store, StoreError};

/// One run of the command line.
pub struct Session<'a> {
    /// Options of every command.
    pub globals: Globals,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where to write.
    pub console: Console<'a>,
}

/// A configured archive.
#[derive(Debug)]
pub struct Place {
    /// The configuration.
    pub config: Config,
    /// The archive's store.
    pub store: Arc<dyn Store>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        globals: Globals,
        variables: Vec<(String, String)>,
        clock: Arc<dyn Clock>,
        console: Console<'a>,
    ) -> Self {
        Session { globals, variables, clock, console }
    }

    /// Colours for answers.
    pub fn paint(&self) -> Paint {
        Paint::new(match self.globals.color {
            Color::Auto => self.console.colour && self.console.out_is_terminal,
            Color::Always => true,
            Color::Never => false,
        })
    }

    /// The configuration.
    ///
    /// # Errors
    /// Of kind configuration.
    pub fn config(&self) -> Result<Config, Failure> {
        let path = Config::find(self.globals.config.as_deref())?;
        Ok(Config::load(&path, &self.variables)?)
    }

    /// The configured archive, after a look at whether it is the tenant's and still has the head that this machine
    /// remembers.
    ///
    /// # Errors
    /// Of kind configuration for another tenant's archive, of kind integrity where entries are gone.
    pub async fn place(&mut self, purpose: Purpose) -> Result<Place, Failure> {
        let config = self.config()?;
        let store = storage::open(&config, &self.clock, purpose)?;
        check_tenant(&*store, &config).await?;
        check_remembered(&*store, &config.state_path).await?;
        Ok(Place { config, store })
    }

    /// The configured archive opened for questions, read up to `known_at` where that is given.
    ///
    /// # Errors
    /// As [`Session::place`], and what the index says.
    pub async fn archive(&mut self, known_at: Option<&str>) -> Result<Archive, Failure> {
        let known_at = known_at.map(|text| request::known_at("--known-at", text)).transpose()?;
        let place = self.place(Purpose::Read).await?;
        let progress = Progress::new(&self.console, "reading the log");
        let mut notices = Vec::new();
        let opened = Archive::open(
            place.store,
            &place.config.index_path,
            |notice| notices.push(notice),
            |done, all| progress.set(done, all),
        )
        .await;
        drop(progress);
        for notice in &notices {
            self.tell(notice);
        }
        let mut archive = opened?;
        if let Some(seq) = known_at {
            archive.know_at(seq)?;
        }
        Ok(archive)
    }

    /// Tells what opening the archive had to do or to leave out.
    pub(super) fn tell(&mut self, notice: &Notice) {
        let text = match notice {
            Notice::Rebuilding { reason } => format!("the index was built again: {reason}"),
            Notice::OtherLog => "the index belonged to another log and was built again".to_owned(),
            Notice::Unknown { captures } => {
                let numbers: Vec<String> = captures.iter().map(|seq| format!("#{seq}")).collect();
                format!(
                    "packs or entries are damaged or missing: the state is unknown at {}; `tenure verify` tells more",
                    numbers.join(", ")
                )
            }
        };
        self.warn(&text);
    }

    /// Tells of something beside the answer.
    pub fn warn(&mut self, text: &str) {
        let text = match self.globals.json {
            true => json::Object::new().text("warning", text).end(),
            false => format!("{} {text}", Paint::new(self.console.err_is_terminal).yellow("warning:")),
        };
        self.console.notice(text);
    }

    /// Reads a time expression; nothing given is the head.
    ///
    /// # Errors
    /// Of kind usage.
    pub fn moment(&self, text: Option<&str>) -> Result<Moment, Failure> {
        request::moment(text, self.clock.now())
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends an answer with its basis: a dim line, or, where rows are JSON and coverage isn't complete, a JSON line beside
    /// them.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn end_with_basis(&mut self, bases: &[&Basis], rows_are_json: bool) -> Result<(), Failure> {
        if self.globals.json {
            if bases.iter().any(|basis| basis.is_incomplete()) {
                let rows = json::array(bases.iter().map(|basis| json::basis(basis)));
                let row = json::Object::new().text("warning", "coverage of what was asked is not complete");
                self.console.notice(row.raw("basis", &rows).end());
            }
        } else if rows_are_json {
            let line = Paint::new(self.console.err_is_terminal).dim(render::basis(bases));
            self.console.notice(line);
        } else {
            let line = self.paint().dim(render::basis(bases));
            self.console.line(line)?;
        }
        Ok(())
    }
}

/// Whether the archive is that of the configured tenant.
pub(super) async fn check_tenant(store: &dyn Store, config: &Config) -> Result<(), Failure> {
    let file = match store.get(&entry_name(0)).await {
        Ok(file) => file,
        Err(StoreError::NotFound { .. }) => return Err(WalkError::NoArchive.into()),
        Err(error) => return Err(error.into()),
    };
    // A damaged genesis entry is reported by whoever follows the log.
    let Ok(genesis) = Entry::parse(&file) else { return Ok(()) };
    let tenant = genesis.body.tenant.unwrap_or_default();
    if tenant.eq_ignore_ascii_case(&config.tenant.id) {
        return Ok(());
    }
    let text = format!(
        "the archive at {} is that of tenant {tenant}, the configuration is for {}",
        config.store, config.tenant.id
    );
    Err(Failure::new(Kind::Configuration, text)
        .hint(format!("set path in [store], or id in [tenant], in {}", config.path.display())))
}

/// Whether the log still has the head that this machine remembers.
async fn check_remembered(store: &dyn Store, directory: &Path) -> Result<(), Failure> {
    let Some(head) = state::remembered_head(directory)? else { return Ok(()) };
    let seq = head.size.saturating_sub(1);
    match store.get(&entry_name(seq)).await {
        Ok(file) if leaf_hash(&file).to_string() == head.leaf => Ok(()),
        Ok(_) | Err(StoreError::NotFound { .. }) => Err(AppendError::Truncated { seq }.into()),
        Err(error) => Err(error.into()),
    }
}
