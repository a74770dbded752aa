//! How far a long command has come, for the person who waits. Only a terminal shows it.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Between two pictures of the bar.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar itself.
const WIDTH: usize = 30;

/// A bar on standard error. No runtime pauses this thread's clock, so tokio's `Instant` has real time here.
pub(super) struct Progress {
    what: &'static str,
    of: usize,
    began: Instant,
    drawn: Drawn,
}

/// When it was drawn.
enum Drawn {
    At(Instant),
    /// Standard error is no terminal.
    Never,
    NotYet,
}

impl Progress {
    pub(super) fn new(what: &'static str, of: usize) -> Self {
        let drawn = if io::stderr().is_terminal() { Drawn::NotYet } else { Drawn::Never };
        Self { what, of, began: Instant::now(), drawn }
    }

    pub(super) fn show(&mut self, done: usize) {
        match self.drawn {
            Drawn::Never => return,
            Drawn::At(last) if last.elapsed() < INTERVAL && done < self.of => return,
            Drawn::At(_) | Drawn::NotYet => {}
        }
        self.drawn = Drawn::At(Instant::now());
        let line = line(self.what, done, self.of, self.began.elapsed());
        // A terminal that cannot be written to shows no bar.
        let _shown = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the bar away, until it is shown again.
    pub(super) fn hide(&mut self) {
        if let Drawn::At(_) = self.drawn {
            let _shown = write!(io::stderr(), "\r\x1b[K"); // as above
            self.drawn = Drawn::NotYet;
        }
    }
}

/// `[=====>    ] 512 of 1000 seeds, 204/s, 3 s left`
fn line(what: &str, done: usize, of: usize, took: Duration) -> String {
    let full = (WIDTH * done).checked_div(of).unwrap_or(WIDTH).min(WIDTH);
    let millis = took.as_millis().max(1);
    let tenths = (done as u128 * 10_000) / millis;
    let rate = if tenths < 100 { format!("{}.{}", tenths / 10, tenths % 10) } else { (tenths / 10).to_string() };
    // Rounded up: while something is left to do, no time left would be a lie.
    let left = (done > 0).then(|| (of.saturating_sub(done) as u128 * millis).div_ceil(done as u128 * 1000));
    let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
    format!("[{:=<full$}{:WIDTH$}] {done} of {of} {what}, {rate}/s{left}", "", "", WIDTH = WIDTH - full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_bar_shows_rate_and_remaining_time() {
        let line = line("seeds", 250, 1000, Duration::from_secs(2));
        assert_eq!(line, "[=======                       ] 250 of 1000 seeds, 125/s, 6 s left");
    }

    #[test]
    fn the_last_fraction_of_a_second_is_not_hidden_and_neither_is_a_slow_rate() {
        assert!(line("seeds", 58, 59, Duration::from_secs(1)).ends_with("58 of 59 seeds, 58/s, 1 s left"));
        assert!(line("failures", 1, 3, Duration::from_secs(4)).ends_with("1 of 3 failures, 0.2/s, 8 s left"));
        assert!(line("seeds", 9, 9, Duration::from_secs(1)).ends_with(", 0 s left"));
    }

    #[test]
    fn a_progress_bar_shows_zero_and_empty_work() {
        assert!(line("seeds", 0, 10, Duration::ZERO).ends_with("] 0 of 10 seeds, 0.0/s"));
        assert!(line("seeds", 0, 0, Duration::ZERO).contains("0 of 0"));
    }
}
