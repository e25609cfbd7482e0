//! Where a command writes: answers to one stream, everything else to the other, coloured only for people.
//!
//! Must never know: what is written.

use std::fmt::Display;
use std::io::{self, Write};

use owo_colors::{OwoColorize, Style};

/// The streams of a process, and what is known of them.
pub struct Console<'a> {
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Errors, notices and progress.
    pub err: &'a mut dyn Write,
    /// Whether a person sees what goes to `out`.
    pub out_is_terminal: bool,
    /// Whether a person sees what goes to `err`: then long work shows progress.
    pub err_is_terminal: bool,
    /// Whether `out` is coloured where nothing else is said.
    pub colour: bool,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// Colours where `on`.
    pub fn new(on: bool) -> Paint {
        Paint(on)
    }

    fn style(self, text: impl Display, style: Style) -> String {
        if self.0 { text.style(style).to_string() } else { text.to_string() }
    }

    /// What was, or is wrong.
    pub fn red(self, text: impl Display) -> String {
        self.style(text, Style::new().red())
    }

    /// What is, or is well.
    pub fn green(self, text: impl Display) -> String {
        self.style(text, Style::new().green())
    }

    /// What asks for attention.
    pub fn yellow(self, text: impl Display) -> String {
        self.style(text, Style::new().yellow())
    }

    /// What a block is about.
    pub fn bold(self, text: impl Display) -> String {
        self.style(text, Style::new().bold())
    }

    /// What stands behind an answer.
    pub fn dim(self, text: impl Display) -> String {
        self.style(text, Style::new().dimmed())
    }
}

/// How far long work is: a bar on a terminal, nothing anywhere else.
#[derive(Debug)]
pub struct Progress(Option<indicatif::ProgressBar>);

impl Progress {
    /// Progress of `what`, in entries.
    pub fn new(console: &Console<'_>, what: &'static str) -> Progress {
        if !console.err_is_terminal {
            return Progress(None);
        }
        let bar = indicatif::ProgressBar::new(0).with_message(what);
        if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} entries {eta}") {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    /// `done` of `all`.
    pub fn set(&self, done: u64, all: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Work of unknown length: what it is at, on a terminal; nothing anywhere else.
#[derive(Debug)]
pub struct Spinner {
    bar: Option<indicatif::ProgressBar>,
    seen: std::sync::Mutex<(String, u64)>,
}

impl Spinner {
    /// A spinner, where a person sees it.
    pub fn new(console: &Console<'_>) -> Spinner {
        let bar = console.err_is_terminal.then(indicatif::ProgressBar::new_spinner);
        Spinner { bar, seen: std::sync::Mutex::default() }
    }

    /// `count` more of `what`.
    pub fn tell(&self, what: &str, count: u64) {
        let Some(bar) = &self.bar else { return };
        let mut seen = self.seen.lock().expect("no code panics while it holds the count");
        if seen.0 != what {
            *seen = (what.to_owned(), 0);
        }
        seen.1 += count;
        bar.set_message(format!("reading {what}: {}", seen.1));
        bar.tick();
    }

    /// Ends it without a trace.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Console<'_> {
    /// Writes a line of an answer.
    ///
    /// # Errors
    /// A closed pipe, a full disk behind a redirection.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes a line for people beside the answer. Nobody reading it is no failure.
    pub fn notice(&mut self, text: impl Display) {
        let _ = writeln!(self.err, "{text}");
    }
}
