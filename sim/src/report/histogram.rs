//! How the times between an app's requests spread over many runs: a histogram for each, side by side, with the windows
//! that `gaps` expects drawn in.
//!
//! Whether every time lies in its window is for the expectation to check. The reader of a golden file also wants to see
//! the shape: a window that is filled evenly, to its end.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::scenario::Times;

/// The shortest window has so many rows.
const ROWS_OF_SHORTEST: u32 = 5;
/// A histogram that would be longer has coarser rows instead.
const ROWS_MAX: u32 = 60;
/// How long the longest bar of a column is.
const BAR_MAX: usize = 10;
/// A bar, a blank, and room for a number.
const COLUMN_WIDTH: usize = BAR_MAX + 6;

/// The times between the requests that reached one app.
#[derive(Debug)]
pub(crate) struct Histogram {
    host: String,
    /// From the first request to the second, and so on.
    columns: Vec<Column>,
    runs: u32,
}

#[derive(Debug)]
struct Column {
    window: Times,
    times: Vec<Duration>,
}

impl Histogram {
    /// Without a run so far.
    pub(crate) fn new(host: &str, windows: &[Times]) -> Self {
        let column = |window: &Times| Column { window: *window, times: Vec::new() };
        Self { host: host.to_owned(), columns: windows.iter().map(column).collect(), runs: 0 }
    }

    /// The host it is about.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Adds the times of one run, in order.
    pub(crate) fn add(&mut self, times: &[Duration]) {
        self.runs += 1;
        for (column, time) in self.columns.iter_mut().zip(times) {
            column.times.push(*time);
        }
    }

    /// What a row covers. It divides the shortest window evenly, so that the ends of windows fall between rows.
    fn step(&self) -> Duration {
        let windows = self.columns.iter().map(|column| column.window.to.0.saturating_sub(column.window.from.0));
        let mut step = windows.min().unwrap_or_default() / ROWS_OF_SHORTEST;
        step = step.max(Duration::from_millis(1)); // the grain of timers
        while self.end().as_nanos() > step.as_nanos() * u128::from(ROWS_MAX) {
            step *= 2;
        }
        step
    }

    /// Where the last window, or the last time outside of one, ends.
    fn end(&self) -> Duration {
        let ends = self.columns.iter().flat_map(|column| column.times.iter().copied().chain([column.window.to.0]));
        ends.max().unwrap_or_default()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BETWEEN THE REQUESTS THAT REACHED {}, IN {} RUNS", self.host, self.runs)?;
        let mut head = format!("{:>8}", "");
        let mut windows = head.clone();
        for (nth, column) in self.columns.iter().enumerate() {
            write!(head, "  {:COLUMN_WIDTH$}", format!("{} to {}", nth + 1, nth + 2))?;
            write!(windows, "  {:COLUMN_WIDTH$}", column.window.to_string())?;
        }
        writeln!(f, "{}\n{}", head.trim_end(), windows.trim_end())?;
        let step = self.step();
        let last = row_of(self.end(), step);
        let columns: Vec<Vec<String>> = self.columns.iter().map(|column| column.cells(step, last + 1)).collect();
        for row in 0..=last + 1 {
            let to = format!("{:?}", step * u32::try_from(row + 1).unwrap_or(u32::MAX));
            let mut text = format!("{:>8}", if row > last { String::new() } else { to });
            for cells in &columns {
                write!(text, "  {:COLUMN_WIDTH$}", cells.get(row).map(String::as_str).unwrap_or_default())?;
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

impl Column {
    /// A bar and its number for each row up to `last`; a rule in the first row behind the window, unless there is something
    /// even there.
    fn cells(&self, step: Duration, last: usize) -> Vec<String> {
        let mut counts = vec![0_usize; last + 1];
        for time in &self.times {
            if let Some(count) = counts.get_mut(row_of(*time, step)) {
                *count += 1;
            }
        }
        let longest = counts.iter().copied().max().unwrap_or_default().max(1);
        let behind = row_of(self.window.to.0, step) + 1;
        let cell = |(row, count): (usize, usize)| match count {
            0 if row == behind => "-".repeat(BAR_MAX),
            0 => String::new(),
            _ => format!("{:BAR_MAX$} {count:>4}", "#".repeat((count * BAR_MAX).div_ceil(longest))),
        };
        counts.into_iter().enumerate().map(cell).collect()
    }
}

/// The row in which `time` lies. A row has its end, as a window has, and not its beginning, but for the first.
fn row_of(time: Duration, step: Duration) -> usize {
    let rows = time.as_nanos().div_ceil(step.as_nanos().max(1)).saturating_sub(1);
    usize::try_from(rows).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Time;

    #[test]
    fn histogram_draws_samples_outside_the_window() {
        let ms = Duration::from_millis;
        let window = |to| Times { from: Time(ms(0)), to: Time(ms(to)) };
        let mut histogram = Histogram::new("app", &[window(5), window(10)]);
        histogram.add(&[ms(0), ms(9)]);
        histogram.add(&[ms(0), ms(1)]);
        histogram.add(&[ms(4), ms(11)]);
        insta::assert_snapshot!(histogram);
    }
}
