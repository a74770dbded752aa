//! Many runs of one scenario, each departing from the plain course as its seed draws: which outcomes there are, how often
//! each comes, and with which seed it comes first.
//!
//! [`explore`] plays the seeds on several threads; the table does not depend on how many. Where something that must hold
//! does not, [`shrink`] looks for the smallest schedule that shows it, and [`write`](mod@write) makes a scenario file of it.
//! Machines that share the seeds write [`Findings`], which are then put together.

pub mod cause;
pub mod findings;
pub mod outcome;
pub mod shrink;
pub mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use serde::{Deserialize, Serialize};

use crate::course::{Bounds, Course};
use crate::scenario::{Scenario, ScenarioError};
pub use cause::Cause;
pub use findings::Findings;
pub use outcome::Outcome;

/// Results that wait for the table; a thread that is faster than that waits.
const RESULTS_MAX: usize = 256;

/// Parts that seeds are divided into; a fleet has fewer machines.
const PARTS_MAX: u64 = 100_000;

/// A part of the seeds: part `index` (from 1) of `of` parts. The parts of one exploration have no seed in common, and
/// together they have all, so that machines can share the work without knowing of each other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// All of them.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether some number of seeds has one that is in both. The parts of one division have none.
    fn meets(self, other: Self) -> bool {
        self.of != other.of || self.index == other.index
    }

    /// Of the seeds from 1 to `count`, those of this part.
    #[must_use]
    pub fn seeds(self, count: u64) -> Vec<u64> {
        (1..=count).filter(|seed| seed % self.of == self.index % self.of).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) && of <= PARTS_MAX => Ok(Self { index, of }),
            Some(_) | None => Err(format!("a part is written as 2/8: the second of eight, of {PARTS_MAX} at most")),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Seeds that are kept of each outcome: among several runs that fail alike, one may be made smaller than the others.
const SEEDS_KEPT: usize = 8;

/// One outcome among those of an exploration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Row {
    /// How many seeds came to it.
    pub runs: u64,
    /// The smallest of them, in order; never empty, and no more than a few.
    pub seeds: Vec<u64>,
}

/// What an exploration of one scenario has found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<Line>", into = "Vec<Line>")]
pub struct Table {
    rows: BTreeMap<Outcome, Row>,
}

/// A line of a table in a file.
#[derive(Deserialize, Serialize)]
struct Line {
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(flatten)]
    row: Row,
}

impl Table {
    /// The outcomes, the most frequent first.
    #[must_use]
    pub fn rows(&self) -> Vec<(&Outcome, &Row)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.runs.cmp(&a.runs).then_with(|| a.seeds.cmp(&b.seeds)));
        rows
    }

    /// How many seeds were played.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.rows.values().map(|row| row.runs).sum()
    }

    /// The outcomes in which something did not hold, the one with the smallest seed first.
    #[must_use]
    pub fn failures(&self) -> Vec<(&Outcome, &Row)> {
        let mut failures: Vec<_> = self.rows.iter().filter(|(outcome, _)| !outcome.complaints.is_empty()).collect();
        failures.sort_by(|(_, a), (_, b)| a.seeds.cmp(&b.seeds));
        failures
    }

    fn extend(&mut self, other: Self) {
        other.rows.into_iter().for_each(|(outcome, row)| self.add_row(outcome, &row));
    }

    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.add_row(outcome, &Row { runs: 1, seeds: vec![seed] });
    }

    fn add_row(&mut self, outcome: Outcome, found: &Row) {
        let row = self.rows.entry(outcome).or_default();
        row.runs = row.runs.saturating_add(found.runs);
        row.seeds.extend(&found.seeds);
        // Threads and machines finish in any order; the table must not differ.
        row.seeds.sort_unstable();
        row.seeds.truncate(SEEDS_KEPT);
    }
}

impl From<Vec<Line>> for Table {
    fn from(lines: Vec<Line>) -> Self {
        let mut table = Self::default();
        lines.into_iter().for_each(|Line { outcome, row }| table.add_row(outcome, &row));
        table
    }
}

impl From<Table> for Vec<Line> {
    fn from(table: Table) -> Self {
        let line = |(outcome, row): (&Outcome, &Row)| Line { outcome: outcome.clone(), row: row.clone() };
        table.rows().into_iter().map(line).collect()
    }
}

/// The course that exploring a scenario takes: within its own bounds, or else within common ones.
#[must_use]
pub fn course(scenario: &Scenario) -> Course<String> {
    match scenario.course {
        Course::Drawn(bounds) => Course::Drawn(bounds),
        Course::Fixed(_) | Course::Plain => Course::Drawn(Bounds::COMMON),
    }
}

/// Plays the scenario with each of the seeds, on `jobs` threads; `progress` gets how many are done. Once `stop` is set no
/// further seed begins, and the table has those that were played.
///
/// # Errors
/// A proxy refuses its configuration.
pub fn explore(
    scenario: &Scenario,
    seeds: &[u64],
    jobs: NonZeroUsize,
    stop: &AtomicBool,
    mut progress: impl FnMut(usize),
) -> Result<Table, ScenarioError> {
    let course = course(scenario);
    let next = AtomicUsize::new(0);
    let (results, played) = sync_channel(RESULTS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (results, course, next) = (results.clone(), &course, &next);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed)
                    && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = outcome::play(scenario, *seed, course);
                    if results.send((*seed, outcome)).is_err() {
                        return; // the receiver is gone: another seed has failed to start
                    }
                }
            });
        }
        drop(results);
        let mut table = Table::default();
        for (done, (seed, outcome)) in played.into_iter().enumerate() {
            table.add(seed, outcome?);
            progress(done + 1);
        }
        Ok(table)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_every_seed_once() {
        let mut all: Vec<u64> = (1..=3).flat_map(|index| Shard { index, of: 3 }.seeds(100)).collect();
        all.sort_unstable();
        assert_eq!(all, Shard::WHOLE.seeds(100));
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, of: 8 }));
        for text in ["0/8", "9/8", "2", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
