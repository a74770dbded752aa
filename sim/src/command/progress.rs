//! How far a long command has come, for the person who waits. Only a terminal shows it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Between two pictures of the bar.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar itself.
const WIDTH: usize = 30;

/// A bar on standard error. No runtime pauses this thread's clock, so tokio's `Instant` tells real time here.
pub(super) struct Progress {
    what: &'static str,
    of: usize,
    began: Instant,
    /// When it was last drawn; none where nobody would see it.
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new(what: &'static str, of: usize) -> Self {
        let now = Instant::now();
        Self { what, of, began: now, drawn: io::stderr().is_terminal().then_some(now) }
    }

    pub(super) fn show(&mut self, done: usize) {
        let Some(drawn) = &mut self.drawn else { return };
        if drawn.elapsed() < INTERVAL && done < self.of {
            return;
        }
        *drawn = Instant::now();
        let line = line(self.what, done, self.of, self.began.elapsed());
        // A terminal that cannot be written to shows no bar.
        let _shown = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if self.drawn.is_some() {
            let _shown = write!(io::stderr(), "\r\x1b[K"); // as above
        }
    }
}

/// `[=====>    ] 512 of 1000 seeds, 204/s, 3 s left`
fn line(what: &str, done: usize, of: usize, took: Duration) -> String {
    let full = (WIDTH * done).checked_div(of).unwrap_or(WIDTH).min(WIDTH);
    let seconds = took.as_millis().max(1);
    let rate = (done as u128 * 1000) / seconds;
    let left = (of.saturating_sub(done) as u128 * seconds).checked_div(done as u128 * 1000);
    let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
    format!("[{:=<full$}{:WIDTH$}] {done} of {of} {what}, {rate}/s{left}", "", "", WIDTH = WIDTH - full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_rate_and_time_left() {
        let line = line("seeds", 250, 1000, Duration::from_secs(2));
        assert_eq!(line, "[=======                       ] 250 of 1000 seeds, 125/s, 6 s left");
    }

    #[test]
    fn nothing_done_and_nothing_to_do_are_shown_too() {
        assert!(line("seeds", 0, 10, Duration::ZERO).ends_with("] 0 of 10 seeds, 0/s"));
        assert!(line("seeds", 0, 0, Duration::ZERO).contains("0 of 0"));
    }
}
