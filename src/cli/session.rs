//! What commands begin with: the configuration, the store, the archive opened for questions, times and names.
//!
//! Must never know: which command runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::capture::signing_key;
use super::console::{Console, Paint, Progress};
use super::failure::{Failure, Kind};
use super::gate::Gate;
use super::storage::{self, Purpose};
use super::{Color, Globals, json, render, state};
use crate::answer::request;
use crate::archive::appender::{AppendError, Appender};
use crate::archive::entry::{Entry, entry_name};
use crate::archive::log::leaf_hash;
use crate::archive::walker::WalkError;
use crate::clock::Clock;
use crate::config::Config;
use crate::index::IndexError;
use crate::ledger::Ledger;
use crate::query::{Archive, Basis, Moment, Notice, QueryError};
use crate::store::{Store, StoreError};

/// How often, and how long each time, another process is waited for that brings the index to the head.
const WAITS: u32 = 100;
const WAIT: Duration = Duration::from_millis(50);

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
    /// What holds answers back until they are recorded.
    pub(super) gate: Gate,
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
        gate: Gate,
    ) -> Self {
        Session { globals, variables, clock, console, gate }
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
        self.place_of(self.config()?, purpose).await
    }

    async fn place_of(&self, config: Config, purpose: Purpose) -> Result<Place, Failure> {
        let store = storage::open(&config, &self.clock, purpose)?;
        check_tenant(&*store, &config).await?;
        check_remembered(&*store, &config.state_path).await?;
        Ok(Place { config, store })
    }

    /// The configured place to ask something of: from here on nothing is answered before it is recorded that `operation`
    /// was asked for, with those `parameters` that have a value; what fails is recorded too.
    ///
    /// # Errors
    /// As [`Session::place`].
    pub async fn asked_place(
        &mut self,
        operation: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> Result<Place, Failure> {
        let config = self.config()?;
        let ledger = Ledger::open(&config.state_path, self.clock.clone());
        let given = parameters.iter().filter_map(|(name, value)| Some(((*name).to_owned(), Value::from((*value)?))));
        self.gate.close(ledger, &config, operation, given.collect());
        self.place_of(config, Purpose::Read).await
    }

    /// The configured archive opened for questions, read up to the parameter `known_at` where that is given. It is handed
    /// out together with the record of who asked for it: [`Session::asked_place`].
    ///
    /// # Errors
    /// As [`Session::place`], and what the index says.
    pub async fn archive(&mut self, operation: &str, parameters: &[(&str, Option<&str>)]) -> Result<Archive, Failure> {
        let known_at = parameters.iter().find(|(name, _)| *name == "known_at").and_then(|(_, value)| *value);
        let known_at = known_at.map(|text| request::known_at("--known-at", text)).transpose()?;
        let place = self.asked_place(operation, parameters).await?;
        let mut archive = self.open(place).await?;
        if let Some(seq) = known_at {
            archive.know_at(seq)?;
        }
        Ok(archive)
    }

    /// Brings the index to the head of the log, and builds it again where it can't be used. Shows nothing of what it holds.
    ///
    /// # Errors
    /// As [`Session::place`], and what the index says.
    pub async fn repair_index(&mut self) -> Result<(), Failure> {
        let place = self.place(Purpose::Read).await?;
        self.open(place).await.map(drop)
    }

    /// Opens the index. One that another process is bringing to the head is waited for, for a while.
    async fn open(&mut self, place: Place) -> Result<Archive, Failure> {
        for _ in 0..WAITS {
            match self.try_open(&place).await {
                Err(QueryError::Index(IndexError::Busy { .. })) => self.clock.sleep(WAIT).await,
                opened => return Ok(opened?),
            }
        }
        Ok(self.try_open(&place).await?)
    }

    async fn try_open(&mut self, place: &Place) -> Result<Archive, QueryError> {
        let progress = Progress::new(&self.console, "reading the log");
        let mut notices = Vec::new();
        let opened = Archive::open(
            place.store.clone(),
            &place.config.index_path,
            |notice| notices.push(notice),
            |done, all| progress.set(done, all),
        )
        .await;
        drop(progress);
        for notice in &notices {
            self.tell(notice);
        }
        opened
    }

    /// Brings what was recorded into the chain, unless a service or a capture is at work here, which does it: those who
    /// write the log don't get in each other's way. Where it can't be done it stays spooled for who can.
    pub(super) async fn bring_uses(&self, ledger: &Ledger, config: &Config) {
        if let Err(failure) = self.try_bring_uses(ledger, config).await {
            tracing::debug!(why = failure.chain().join(": "), "own-use records stay spooled");
        }
    }

    async fn try_bring_uses(&self, ledger: &Ledger, config: &Config) -> Result<(), Failure> {
        let Some(_charge) = ledger.take_charge()? else { return Ok(()) };
        let signer = signing_key(&config.key_file)?;
        let store = storage::open(config, &self.clock, Purpose::Write)?;
        let remembered = state::remembered_head(&config.state_path)?;
        let mut appender = Appender::open(store, signer, remembered.as_ref()).await?;
        let entered = ledger.commit(&mut appender).await;
        if let Some(head) = appender.remembered() {
            state::remember_head(&config.state_path, &head)?;
        }
        entered?;
        Ok(())
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
        Ok(match text {
            Some(text) => Moment::parse(text, self.clock.now()).map_err(|error| Failure::new(Kind::Usage, error))?,
            None => Moment::Head,
        })
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

/// A bound of a period: of a date the side that is meant, of a capture its time.
///
/// # Errors
/// Of kind usage for what is no time, of kind integrity for a capture that tells none.
pub(super) async fn bound(
    session: &Session<'_>,
    store: &dyn Store,
    text: Option<&str>,
    side: fn(&Moment) -> Option<Timestamp>,
) -> Result<Option<Timestamp>, Failure> {
    let moment = session.moment(text)?;
    let Moment::Capture(seq) = moment else { return Ok(side(&moment)) };
    let file = store.get(&entry_name(seq)).await?;
    let entry = Entry::parse(&file).map_err(|error| {
        Failure::new(Kind::Integrity, format!("entry {seq} tells no time: {error}")).hint("give a time instead")
    })?;
    Ok(Some(entry.body.query_time()))
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
