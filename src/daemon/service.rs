//! Captures of one tenant: what is due, done, and what became of it.
//!
//! Must never know: where the archive lies and who the service signs in as; it is handed something that opens both.
//!
//! Slots go by the service's clock where this machine's is more than five minutes off: before anything is done about a
//! slot Graph is asked for something small, and its `Date` counts. A machine whose clock jumped therefore declares no gaps
//! that aren't there, and fills no slot that hasn't come.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::due::{self, Due, Known, Wanted, code, due};
use super::health::{Doing, IDLE_PATIENCE, Last};
use super::memory::Memory;
use super::schedule::Schedule;
use super::{Kind, Tenant, chain, sources, watch};
use crate::archive::entry::{Body, Entry, MAX_SKEW_MS, entry_name};
use crate::capture::{self, CaptureError, Capturer, Committed, Request, Stop, Watch};
use crate::clock::Clock;
use crate::ledger::{Charge, Entered};
use crate::query::power::{self, PowerChange};
use crate::store::StoreError;

/// Opens the archive for writing, and the client; called again after failures, so that renewed secrets are taken up.
pub type Opener = Box<dyn FnMut() -> Opening>;

/// What an [`Opener`] returns.
pub type Opening = Pin<Box<dyn Future<Output = Result<Capturer, OpenFailure>>>>;

/// Why an archive can't be opened.
#[derive(Debug)]
pub struct OpenFailure {
    /// In words, with causes.
    pub text: String,
    /// The code of a gap that comes of it.
    pub code: &'static str,
}

/// How a service captures.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When.
    pub schedule: Schedule,
    /// How long after a slot this service begins: one that only stands in for another gives that one the time to commit.
    pub delay: SignedDuration,
    /// How long one capture reads at most.
    pub time_limit: Duration,
}

/// After a failure the next try follows so much later, twice as much after each more.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// So long may the question for the service's clock take.
const ASKING: SignedDuration = SignedDuration::from_mins(1);

/// A service that waits looks at the clock at least so often: machines sleep, and clocks are set.
const LOOK: SignedDuration = SignedDuration::from_mins(1);

/// So long may bringing the last own-use records into the chain keep a service from stopping.
const PARTING: Duration = Duration::from_secs(10);

/// Captures whose time is remembered, for telling why a slot was missed.
const BUSY: usize = 50;

/// The captures of one tenant.
pub struct Service {
    tenant: Arc<Tenant>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    open: Opener,
    stop: Stop,
    capturer: Option<Capturer>,
    memory: Memory,
    /// The service's clock minus ours, where that is too much to be passed over.
    correction: SignedDuration,
    /// What our clock said when we last looked.
    looked: Option<Timestamp>,
    /// Failures in a row, and when to try again.
    failures: u32,
    retry: Option<Timestamp>,
    /// When captures ran, by the corrected clock.
    busy: Vec<(Timestamp, Timestamp)>,
    /// That commands on this machine leave the log to this service.
    charge: Option<Charge>,
    /// The slot with which what was asked was brought into the chain last.
    brought: Option<Option<Timestamp>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("tenant", &self.tenant.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a turn came to nothing.
struct Failed {
    code: &'static str,
    text: String,
    /// Whether it couldn't be opened.
    is_closed: bool,
}

impl Service {
    /// A service of `tenant`. Opens nothing yet.
    pub fn new(tenant: Arc<Tenant>, settings: Settings, clock: Arc<dyn Clock>, open: Opener, stop: Stop) -> Service {
        let memory = Memory::open(&tenant.directory);
        Service {
            tenant,
            settings,
            clock,
            open,
            stop,
            capturer: None,
            memory,
            correction: SignedDuration::ZERO,
            looked: None,
            failures: 0,
            retry: None,
            busy: Vec::new(),
            charge: None,
            brought: None,
        }
    }

    /// Captures until it is asked to stop. What it is committing then it completes; what it hasn't begun to commit leaves
    /// nothing.
    pub async fn run(&mut self) {
        while !self.stop.is_requested() {
            let next = self.turn().await;
            let wait = next.duration_since(self.now()).clamp(SignedDuration::from_millis(10), LOOK);
            let sleep = self.clock.sleep(wait.try_into().unwrap_or(Duration::from_secs(60)));
            tokio::select! {
                () = sleep => {}
                () = self.stop.requested() => {}
            }
        }
        self.bring_last_uses().await;
        self.capturer = None;
        self.charge = None;
        self.set_doing(Doing::Stopped);
    }

    /// Brings what was asked of the archive into its chain. What can't be brought there stays spooled, which is no reason
    /// not to capture.
    async fn bring_uses(&mut self) {
        let Some(capturer) = &mut self.capturer else { return };
        match self.tenant.ledger.commit(capturer.appender_mut()).await {
            Ok(Entered { seq: Some(seq), records }) => {
                tracing::info!(seq, records, "own-use records committed");
                // Whoever reads finds them by the index.
                if let Err(error) = capturer.catch_up().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the index stays behind the log");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "own-use records stay spooled");
            }
        }
    }

    /// What was asked since the last slot, and what is still counted. An archive that doesn't answer is waited for a moment:
    /// what isn't in the chain then is spooled, and the next run brings it there.
    async fn bring_last_uses(&mut self) {
        if let Err(error) = self.tenant.ledger.close() {
            tracing::warn!(error = &error as &dyn std::error::Error, "denials that were counted are not recorded");
        }
        let clock = self.clock.clone();
        tokio::select! {
            biased;
            () = self.bring_uses() => {}
            () = clock.sleep(PARTING) => tracing::warn!("own-use records stay spooled: the archive doesn't answer"),
        }
    }

    /// Looks what is due and does it. Returns when to look again, by the service's clock.
    pub async fn turn(&mut self) -> Timestamp {
        let now = self.now();
        self.tenant.beat();
        // A clock that was set back must not keep us from trying.
        if let Some(retry) = self.retry.filter(|retry| now < *retry && retry.duration_since(now) <= LONGEST_WAIT) {
            return retry;
        }
        self.retry = None;
        let result = self.act().await;
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    self.tenant.update(|health| health.trouble = None);
                    let now = self.now();
                    self.tenant.alarm(|book| book.set(Kind::CaptureFailing, "", false, now, ""));
                }
            }
            // Whoever was told to stop has not failed.
            Err(_) if self.stop.is_requested() => {}
            Err(failed) => self.fail(failed),
        }
        self.look_at_slots();
        let now = self.now();
        let next = self.settings.schedule.next(now).unwrap_or(Timestamp::MAX);
        let next = later_by(next, self.settings.delay);
        self.tenant.update(|health| health.next = Some(next));
        self.tenant.leave_word();
        self.retry.unwrap_or(next).min(later_by(now, LOOK * 10))
    }

    /// The time by which slots go.
    fn now(&self) -> Timestamp {
        later_by(self.clock.now(), self.correction)
    }

    async fn act(&mut self) -> Result<(), Failed> {
        let acted = self.act_on_slots().await;
        self.watch_the_log().await;
        acted
    }

    async fn act_on_slots(&mut self) -> Result<(), Failed> {
        if self.charge.is_none() {
            // Somebody else may just have it; without it a command may commit beside us, which costs one of us a race.
            self.charge = self.tenant.ledger.take_charge().unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "commands can't be told of this service");
                None
            });
        }
        if self.capturer.is_none() {
            // What opening builds anew it can build again.
            let stop = self.stop.clone();
            let capturer = tokio::select! {
                () = stop.requested() => return Ok(()),
                capturer = (self.open)() => capturer,
            };
            let capturer = capturer.map_err(|OpenFailure { code, text }| Failed { code, text, is_closed: true })?;
            let last = last_of(&capturer).await;
            self.tenant.update(|health| health.last = last.or(health.last.take()));
            self.memory.watched = self.memory.watched.or(capturer.head().checked_sub(1));
            self.capturer = Some(capturer);
            self.set_doing(Doing::Waiting);
        }
        let is_odd = self.is_clock_odd();
        if self.due()?.is_none() {
            // By a clock that may be wrong nothing would ever be due again.
            if !is_odd || self.ask_the_time().await.is_err() || self.due()?.is_none() {
                return Ok(());
            }
        }
        // Others may have done it meanwhile, and time may not be what it seems.
        self.capturer().catch_up().await.map_err(failed)?;
        // With each slot, and not with each try at one.
        let latest = self.settings.schedule.latest(self.now());
        if self.brought != Some(latest) {
            self.brought = Some(latest);
            self.bring_uses().await;
        }
        if self.due()?.is_none() {
            let last = last_of(self.capturer()).await;
            self.tenant.update(|health| {
                if last.as_ref().map(|last| last.seq) != health.last.as_ref().map(|last| last.seq) {
                    health.totals.taken += 1;
                }
                health.last = last;
            });
            return Ok(());
        }
        self.ask_the_time().await?;
        let Some(due) = self.due()? else { return Ok(()) };
        if let Some(missed) = due.missed {
            self.declare(missed).await?;
        }
        let now = self.now();
        self.tenant.alarm(|book| {
            book.set(
                Kind::SlotsAhead,
                "",
                due.is_ahead,
                now,
                "captures are made without a slot until their time has come",
            );
        });
        match due.wanted {
            Some(wanted) => self.capture(wanted, &due).await,
            None => Ok(()),
        }
    }

    /// What is due by what is known, once the delay of this service is over.
    fn due(&mut self) -> Result<Option<Due>, Failed> {
        let (schedule, delay) = (self.settings.schedule.clone(), self.settings.delay);
        let now = self.now();
        let capturer = self.capturer();
        let known = Known { last_slot: capturer.last_slot(), last_capture: capturer.last_capture().map_err(failed)? };
        let found = due(&schedule, now, known);
        let is_early = schedule.latest(now).is_some_and(|slot| now.duration_since(slot) < delay);
        Ok(found.filter(|_| !is_early))
    }

    /// Whether the time by which we go has to be asked for although nothing is due by it: at first, while our clock is off,
    /// when it went back, and when the log knows a later time.
    fn is_clock_odd(&mut self) -> bool {
        let local = self.clock.now();
        let went_back = self.looked.replace(local).is_none_or(|looked| local < looked);
        let now = self.now();
        let is_behind = self.capturer().last_slot().is_some_and(|slot| slot > now);
        went_back || is_behind || !self.correction.is_zero()
    }

    /// Asks the service what time it is, and goes by that where ours is too far off.
    async fn ask_the_time(&mut self) -> Result<(), Failed> {
        let until = later_by(self.clock.now(), ASKING);
        let stop = self.stop.clone();
        let skew = tokio::select! {
            () = stop.requested() => Err(CaptureError::Stopped),
            skew = self.capturer().skew_ms(until) => skew,
        };
        let skew = skew.map_err(failed)?;
        self.correction = match skew.abs() > MAX_SKEW_MS {
            true => SignedDuration::from_millis(skew),
            false => SignedDuration::ZERO,
        };
        Ok(())
    }

    /// Declares slots that nobody filled.
    async fn declare(&mut self, missed: (Timestamp, Timestamp)) -> Result<(), Failed> {
        let busy = self.busy.clone();
        let otherwise = |slot| match busy.iter().any(|(from, to)| *from < slot && slot <= *to) {
            true => code::OVERRUN,
            false => code::NOT_RUNNING,
        };
        let gaps = due::gaps(&self.settings.schedule, missed, &self.memory.reasons, otherwise);
        for gap in gaps {
            match self.capturer().declare_gap(gap.first, gap.last, &gap.code).await {
                Ok(_) => {
                    self.tenant.update(|health| health.totals.gaps += 1);
                    self.memory.settle(gap.last);
                }
                // Another service was first: what it says of the slot counts.
                Err(CaptureError::SlotTaken { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.memory.keep();
        Ok(())
    }

    async fn capture(&mut self, wanted: Wanted, due: &Due) -> Result<(), Failed> {
        let began = self.now();
        let reading = due::reading_time(&self.settings.schedule, began);
        let slot = match wanted {
            Wanted::Slot(slot) => Some(slot),
            Wanted::Unscheduled => None,
        };
        let latest = self.settings.schedule.latest(began);
        let reconcile = self.settings.schedule.reconciles(self.memory.reconciled, slot.unwrap_or(began));
        let request = Request {
            slot,
            reconcile,
            watch: self.watching(),
            until: Some(later_by(self.clock.now(), reading.max(SignedDuration::from_secs(10)))),
            unless_at: latest.filter(|_| slot.is_none() && !due.is_ahead),
            stop: self.stop.clone(),
            ..Request::default()
        };
        self.set_doing(Doing::Capturing);
        let result = self.capturer().capture(&request).await;
        self.set_doing(Doing::Waiting);
        self.busy.push((began, self.now()));
        if self.busy.len() > BUSY {
            self.busy.remove(0);
        }
        match result {
            Ok(committed) => {
                self.committed(&committed, reconcile, slot).await;
                Ok(())
            }
            Err(CaptureError::Stopped) => Ok(()),
            Err(CaptureError::SlotTaken { .. }) => {
                self.tenant.update(|health| health.totals.taken += 1);
                Ok(())
            }
            Err(error) => {
                self.tenant.update(|health| health.totals.failures += 1);
                Err(failed(error))
            }
        }
    }

    /// What follows from a capture that is in the log. Nothing here can take it back.
    async fn committed(&mut self, committed: &Committed, reconcile: bool, slot: Option<Timestamp>) {
        let body = &committed.body;
        tracing::info!(
            seq = body.seq,
            slot = slot.map(|slot| slot.to_string()),
            put = body.delta.as_ref().map(|d| d.put),
            "captured"
        );
        if let Some(slot) = slot {
            self.memory.settle(slot);
        }
        if reconcile {
            self.memory.reconciled = Some(body.query_time());
        }
        let last = Last::of(body);
        self.tenant.update(|health| {
            health.totals.captures += 1;
            health.totals.requests += committed.spent.requests;
            health.totals.units += committed.spent.units;
            health.totals.throttled += committed.spent.throttled;
            health.totals.bytes += bytes_of(body);
            health.last = Some(last);
        });
        self.memory.keep();
        let directory = self.tenant.directory.clone();
        if let Some(head) = self.capturer().remembered()
            && let Err(error) = capture::remember_head(&directory, &head)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "only the next look at a cut-off log knows less");
        }
    }

    /// Looks at what is new in the log, by whomever, for what somebody should hear. What a process didn't get to after its
    /// commit the next one does. A service that is new to an archive begins with what comes.
    async fn watch_the_log(&mut self) {
        let Some(capturer) = &self.capturer else { return };
        let store = capturer.lines().store().clone();
        let first = self.memory.watched.map_or(0, |watched| watched + 1);
        for seq in first..capturer.head() {
            // What is no entry, verification finds.
            let body = match store.get(&entry_name(seq)).await {
                Ok(file) => Entry::parse(&file).ok().map(|entry| entry.body),
                Err(StoreError::NotFound { .. }) => None,
                Err(error) => {
                    tracing::warn!(seq, error = &error as &dyn std::error::Error, "the log is looked at again later");
                    return;
                }
            };
            let now = self.now();
            match body {
                Some(body) if body.is_capture() => {
                    let memory = &mut self.memory;
                    self.tenant.alarm(|book| watch::look(&body, memory, book, now));
                    self.look_for_power(&body, now).await;
                }
                Some(body) if body.kind == "gap" => self.tenant.alarm(|book| watch::look_at_gap(&body, book, now)),
                _ => {}
            }
            self.memory.watched = Some(seq);
            self.memory.keep();
        }
    }

    /// Tells of who gained power in a capture. Only ids leave: what they are called is for who may ask the archive.
    async fn look_for_power(&mut self, body: &Body, now: Timestamp) {
        let capturer = self.capturer();
        let found = match capturer.index().view() {
            Ok(view) => power::changes(&view, capturer.lines(), body).await,
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(changes) => self.tenant.alarm(|book| {
                for change in &changes {
                    book.happened(alarm_of(change.kind), &subject_of(change), Some(body.seq), now, words_of(change));
                }
            }),
            Err(error) => {
                tracing::warn!(
                    seq = body.seq,
                    error = &error as &dyn std::error::Error,
                    "changes of power were not looked for"
                );
            }
        }
    }

    /// Whether the latest slot should have been filled by now.
    fn look_at_slots(&mut self) {
        let now = self.now();
        let Some(latest) = self.settings.schedule.latest(now) else { return };
        let captured = self.capturer.as_ref().and_then(|capturer| capturer.last_capture().ok().flatten());
        let captured = super::later(captured, self.tenant.locked().last.as_ref().map(|last| last.time));
        // Before anything was captured nothing is missed; that it doesn't begin is told as failing.
        let is_overdue =
            captured.is_some_and(|last| last < latest) && now > due::overdue_at(&self.settings.schedule, latest);
        let text = captured.map_or(String::new(), |last| format!("the last capture stands for {last}"));
        self.tenant.alarm(|book| book.set(Kind::CaptureMissed, "", is_overdue, now, text));
    }

    /// Remembers why the present slot isn't filled yet.
    fn blame(&mut self, code: &str) {
        if let Some(slot) = self.settings.schedule.latest(self.now()) {
            self.memory.blame(slot, code);
        }
    }

    fn fail(&mut self, failed: Failed) {
        let Failed { code, text, is_closed } = failed;
        self.failures += 1;
        let wait = FIRST_WAIT * 2_i32.pow(self.failures.min(8) - 1);
        let now = self.now();
        self.retry = Some(later_by(now, wait.min(LONGEST_WAIT)));
        tracing::warn!(code, failures = self.failures, "{text}");
        // Whatever it was: secrets may be new, and what is open may not fit what is stored any more.
        self.capturer = None;
        self.blame(code);
        if is_closed {
            self.set_doing(Doing::Opening);
        }
        self.tenant.update(|health| health.trouble = Some(text.clone()));
        if self.failures >= 2 {
            self.tenant.alarm(|book| book.set(Kind::CaptureFailing, "", true, now, format!("{code}: {text}")));
        }
    }

    fn set_doing(&self, doing: Doing) {
        let now = self.clock.now();
        // Merging and committing a large tenant says nothing for a while.
        let patience = match doing {
            Doing::Capturing => SignedDuration::try_from(self.settings.time_limit).unwrap_or(IDLE_PATIENCE) * 2,
            _ => IDLE_PATIENCE * 2,
        };
        self.tenant.update(|health| {
            (health.doing, health.since, health.beat) = (doing, now, now);
            health.patience = patience.max(IDLE_PATIENCE);
        });
        self.tenant.leave_word();
    }

    /// Hears of pages, so that whoever asks sees that it gets on.
    fn watching(&self) -> Watch {
        let tenant = self.tenant.clone();
        Watch::new(move |_, _| tenant.beat())
    }

    fn capturer(&mut self) -> &mut Capturer {
        self.capturer.as_mut().expect("opened at the beginning of the turn")
    }
}

fn later_by(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.saturating_add(duration).expect("a signed duration fits a saturating addition")
}

/// The last capture in the log, as far as it can be read.
async fn last_of(capturer: &Capturer) -> Option<Last> {
    let seq = capturer.index().view().ok()?.last_capture().ok()??.seq;
    let file = capturer.lines().store().get(&entry_name(seq)).await.ok()?;
    Some(Last::of(&Entry::parse(&file).ok()?.body))
}

fn bytes_of(body: &Body) -> u64 {
    let delta = body.delta.iter().flat_map(|delta| &delta.packs);
    let base = body.base.iter().flat_map(|base| &base.packs);
    delta.chain(base).chain(body.packs.iter().flatten()).map(|pack| pack.len).sum()
}

/// What a failed turn comes to.
fn failed(error: CaptureError) -> Failed {
    let is_of_store = sources(&error).any(|cause| cause.is::<StoreError>());
    let code = match &error {
        CaptureError::Graph(_) => code::UNREADABLE,
        _ if is_of_store => code::UNWRITABLE,
        _ => code::FAILED,
    };
    Failed { code, text: chain(&error), is_closed: false }
}

/// The alarm that a change of power is.
fn alarm_of(kind: power::Kind) -> Kind {
    match kind {
        power::Kind::RoleGranted => Kind::RoleGranted,
        power::Kind::RoleEligible => Kind::RoleEligible,
        power::Kind::RoleActivated => Kind::RoleActivated,
        power::Kind::PermissionGranted => Kind::PermissionGranted,
        power::Kind::CredentialAdded => Kind::CredentialAdded,
        power::Kind::OwnerAdded => Kind::OwnerAdded,
        power::Kind::PolicyLoosened => Kind::PolicyLoosened,
        power::Kind::LocationWidened => Kind::LocationWidened,
        power::Kind::SecurityDefaultsOff => Kind::SecurityDefaultsOff,
    }
}

/// What tells one change of a capture from another.
fn subject_of(change: &PowerChange) -> String {
    let parts = [Some(change.subject.to_string()), change.power.clone(), change.credential.clone()];
    let parts: Vec<String> = parts.into_iter().flatten().chain(change.path.iter().map(ToString::to_string)).collect();
    parts.join(" ")
}

fn words_of(change: &PowerChange) -> String {
    let mut words = vec![change.sight.as_str().to_owned()];
    words.extend(change.power.iter().map(|power| format!("power {power}")));
    words.extend(change.scope.iter().map(|scope| format!("at {scope}")));
    words.extend(change.credential.iter().map(|credential| format!("credential {credential}")));
    words.extend(change.aspects.iter().map(|aspect| (*aspect).to_owned()));
    words.join(", ")
}
