//! `explore`: one scenario with many seeds, and the smallest runs that show what went wrong.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use clap::Args;
use finwait_sim::explore::shrink::{Smallest, shrink};
use finwait_sim::explore::{Shard, Table, course, explore};
use finwait_sim::scenario::{Family, Library, Scenario, ScenarioError};

use super::library;
use super::progress::Progress;
use crate::Verdict;

/// Failures that are made small; an exploration with more of them has other worries.
const FAILURES_MAX: usize = 8;

/// Play a scenario with many seeds, each with small departures of its own from the plain course: packets, drivers and
/// hosts that are late. Tells how often each outcome comes, and writes the smallest run for each failure as a scenario.
///
/// Exit status: 0 if everything expected was seen with every seed, 1 if not, 2 if the file is not a scenario.
#[derive(Args)]
pub(crate) struct Explore {
    /// The scenario file.
    file: String,
    /// Play the seeds from 1 to this one.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Play only part I of N of the seeds, so that N machines can share them.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Threads. Without it: as many as there are processors. The result does not depend on it.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Where the scenarios that show failures go. Without it: beside the scenario.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print the complete trace of every seed, one after the other, and nothing else.
    #[arg(long)]
    trace: bool,
}

impl Explore {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<Verdict> {
        let library = library(&self.file);
        let family = match Family::load(&library, &self.file) {
            Ok(family) => family,
            Err(error) => {
                writeln!(io::stderr(), "{error}")?;
                return Ok(Verdict::NoScenario);
            }
        };
        let mut worst = Verdict::Held;
        for scenario in &family.runs {
            match self.explore(&library, scenario, out)? {
                Ok(verdict) => worst = worst.max(verdict),
                Err(error) => {
                    writeln!(io::stderr(), "{error}")?;
                    return Ok(Verdict::NoScenario);
                }
            }
        }
        Ok(worst)
    }

    fn explore(
        &self,
        library: &Library,
        scenario: &Scenario,
        out: &mut impl Write,
    ) -> io::Result<Result<Verdict, ScenarioError>> {
        let seeds = self.shard.seeds(self.seeds);
        if self.trace {
            return print_traces(scenario, &seeds, out);
        }
        let jobs = self.jobs.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let mut progress = Progress::new("seeds", seeds.len());
        let table = explore(scenario, &seeds, jobs, |done| progress.show(done));
        progress.end();
        let table = match table {
            Ok(table) => table,
            Err(error) => return Ok(Err(error)),
        };
        print_table(&table, scenario, out)?;
        for (failing, row) in table.failures().into_iter().take(FAILURES_MAX) {
            match shrink(library, scenario, &row.seeds, failing) {
                Ok(smallest) => self.tell(&smallest, row.seeds.first().copied().unwrap_or_default(), out)?,
                Err(error) => writeln!(out, "\n{error}")?,
            }
        }
        Ok(Ok(if table.failures().is_empty() { Verdict::Held } else { Verdict::Failed }))
    }

    fn tell(&self, smallest: &Smallest, seed: u64, out: &mut impl Write) -> io::Result<()> {
        let Smallest { failure, began_with, schedule, text, .. } = smallest;
        writeln!(out, "\n{failure}")?;
        match schedule.len() {
            0 => writeln!(out, "  first seen with seed {seed}; the plain course of seed {} shows it", smallest.seed)?,
            few => writeln!(out, "  first seen with seed {seed}; of {began_with} departures {few} are enough:")?,
        }
        for (perturbation, words) in schedule {
            writeln!(out, "    {} # {words}", perturbation.to_yaml())?;
        }
        let path = self.path(seed);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, format!("# Found by exploring {}: {failure}\n{text}", self.file))?;
        writeln!(out, "  replay it: finwait-sim run {}", path.display())
    }

    /// A scenario finds its configuration files relative to itself, so it belongs where the one explored is.
    fn path(&self, seed: u64) -> PathBuf {
        let file = Path::new(&self.file);
        let name = file.file_stem().map_or_else(|| "scenario".into(), |stem| stem.to_string_lossy().into_owned());
        let folder = self.out.as_deref().or_else(|| file.parent()).unwrap_or_else(|| Path::new("."));
        folder.join(format!("{name}-seed-{seed}.yaml"))
    }
}

fn print_traces(
    scenario: &Scenario,
    seeds: &[u64],
    out: &mut impl Write,
) -> io::Result<Result<Verdict, ScenarioError>> {
    for seed in seeds {
        match scenario.play_on(*seed, &course(scenario)) {
            Ok(played) => write!(out, "seed {seed}\n{}", played.trace.to_text())?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Verdict::Held))
}

fn print_table(table: &Table, scenario: &Scenario, out: &mut impl Write) -> io::Result<()> {
    let (file, label) = (&scenario.file, scenario.label.to_string());
    let label = if label.is_empty() { label } else { format!(" with {label}") };
    writeln!(out, "{} seeds of {file}{label}\n\n    runs   share  first seed  outcome", table.runs())?;
    for (outcome, row) in table.rows() {
        // Tenths of a percent, rounded down: what is not all is not shown as 100.0 %.
        let share = row.runs * 1000 / table.runs().max(1);
        writeln!(
            out,
            "{:>8}  {:>3}.{}%  {:>10}  {}",
            row.runs,
            share / 10,
            share % 10,
            row.seeds.first().copied().unwrap_or_default(),
            outcome.summary
        )?;
        for complaint in &outcome.complaints {
            writeln!(out, "{:>26}  not as it must be: {complaint}", "")?;
        }
    }
    Ok(())
}
