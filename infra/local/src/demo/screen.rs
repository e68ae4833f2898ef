//! What the person in front of the terminal sees.
//!
//! A terminal gets one line that changes in place; a log file gets a new line, and only when something is new.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

/// Standard output.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    /// The line that is still being rewritten, or the last one that was written.
    status: String,
}

impl Screen {
    pub fn new() -> Self {
        Self { is_terminal: stdout().is_terminal(), status: String::new() }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        self.keep_status();
        // Nobody is reading any more; that is their choice and no reason to stop.
        let _ = writeln!(stdout(), "{text}");
    }

    /// The line that tells how it goes.
    pub fn status(&mut self, text: &str) {
        if self.status == text {
            return;
        }
        text.clone_into(&mut self.status);
        let mut out = stdout();
        let _ = if self.is_terminal {
            // Back to the start of the line, and clear what is longer than the new text.
            write!(out, "\r{text}\x1b[K").and_then(|()| out.flush())
        } else {
            writeln!(out, "{text}")
        };
    }

    /// Ends the changing line, so that what follows begins below it.
    pub fn keep_status(&mut self) {
        if self.is_terminal && !self.status.is_empty() {
            let _ = writeln!(stdout());
        }
        self.status.clear();
    }

    /// How long to wait before the status is worth writing again.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(if self.is_terminal { 500 } else { 2000 })
    }
}
