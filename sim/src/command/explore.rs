//! `explore`: one scenario with many seeds, and the smallest runs that show what went wrong.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use clap::Args;
use finwait_sim::explore::findings::Found;
use finwait_sim::explore::shrink::{Smallest, shrink};
use finwait_sim::explore::write::moved;
use finwait_sim::explore::{Cause, Findings, Outcome, Row, Shard, course, explore};
use finwait_sim::scenario::{Family, LeaveOut, Library, Remedies, Scenario, ScenarioError};

use super::interrupt::stop_on_interrupt;
use super::library;
use super::progress::Progress;
use super::selection::Selection;
use crate::ExitStatus;

/// Failures that are made small; an exploration with more of them has other worries.
const FAILURES_MAX: usize = 8;

/// Play a scenario with many seeds. Each seed delays packets, reads of programs, whole hosts and clocks by small random times, within the
/// bounds of the scenario's `chance`, or without it within common bounds. Prints how often each outcome occurs, and writes the
/// smallest run that shows each failure as a scenario.
///
/// If the file has many runs (`sweep`, `variants`, `orders`), each is explored with all seeds and gets a table; `--only`
/// selects runs. `seeds` in the file is ignored.
///
/// Failures with one cause get one file, in a folder of their own. Ctrl-C ends the exploration and prints what was found until then.
///
/// Several machines can share the work: each plays a part (`--shard 2/8 --json > 2.json`), and `--merge *.json` combines the
/// results.
///
/// Exit status: 0 if everything expected was seen with every seed, 1 if not, 2 if a file is invalid.
#[derive(Args)]
pub(crate) struct Explore {
    /// The scenario file.
    file: String,
    /// Leave out of every proxy's configuration what finwait does not have: `anything`, or names with commas between them.
    #[arg(long, value_name = "NAMES")]
    leave_out: Option<LeaveOut>,
    /// Explore only the runs with this value of a parameter, `variant` or `order`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    only: Vec<Selection>,
    /// Play the seeds from 1 to this one.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Play only part I of N of the seeds, so that N machines can share them.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Number of threads [default: one for each processor]. The result does not depend on it.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Write the scenarios that show failures into this folder [default: NAME.findings beside NAME.yaml].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print what was found as one JSON object, and write no scenarios.
    #[arg(long)]
    json: bool,
    /// Play nothing: combine the results that `--json` wrote for parts of the seeds.
    #[arg(long, value_name = "JSON", num_args = 1.., conflicts_with_all = ["seeds", "shard", "trace"])]
    merge: Vec<PathBuf>,
    /// Print the complete trace of every seed, one after the other, and nothing else.
    #[arg(long, conflicts_with = "json")]
    trace: bool,
}

impl Explore {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let library = library(&self.file);
        let runs = match self.runs(&library) {
            Ok(runs) => runs,
            Err(error) => return refuse(&error),
        };
        if self.trace {
            return self.print_traces(&runs, out);
        }
        let found = if self.merge.is_empty() { self.explore(&runs) } else { self.merge(&runs) };
        let findings = match found {
            Ok(findings) => findings,
            Err(error) => return refuse(&error),
        };
        if !findings.is_complete {
            let played: u64 = findings.runs.iter().map(|found| found.outcomes.runs()).sum();
            writeln!(
                io::stderr(),
                "stopped after {played} runs of {}",
                self.shard.seeds(self.seeds).len() * runs.len()
            )?;
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?;
        } else {
            findings.runs.iter().try_for_each(|found| print_table(&findings.scenario, found, out))?;
            print_missing(&findings, out)?;
            self.explain_failures(&library, &runs, &findings, out)?;
        }
        // Seeds that were not played have not held.
        let held = findings.is_complete && findings.runs.iter().all(|found| found.outcomes.failures().is_empty());
        Ok(if held { ExitStatus::Passed } else { ExitStatus::Failed })
    }

    /// The runs of the file that were requested.
    fn runs(&self, library: &Library) -> Result<Vec<Scenario>, ScenarioError> {
        let mut family = Family::load(library, &self.file)?;
        if let Some(leave_out) = &self.leave_out {
            family.leave_out(leave_out)?;
        }
        family.name_remedies(); // a table of many runs has no use for them
        let mut runs = family.runs;
        let labels: Vec<_> = runs.iter().map(|run| run.label.clone()).collect();
        Selection::check(&self.only, &labels).map_err(|what| ScenarioError::of_file(&self.file, what))?;
        runs.retain(|run| Selection::selects(&self.only, &run.label));
        Ok(runs)
    }

    fn explore(&self, runs: &[Scenario]) -> Result<Findings, ScenarioError> {
        let seeds = self.shard.seeds(self.seeds);
        let jobs = self.jobs.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let mut progress = Progress::new("seeds", seeds.len() * runs.len());
        let mut tables = Vec::new();
        let stop = stop_on_interrupt()
            .map_err(|error| ScenarioError::of_file(&self.file, format!("Ctrl-C cannot be waited for: {error}")))?;
        for (nth, run) in runs.iter().enumerate() {
            match explore(run, &seeds, jobs, stop, |done| progress.show(nth * seeds.len() + done)) {
                Ok(table) => tables.push(table),
                Err(error) => {
                    progress.hide();
                    return Err(error);
                }
            }
        }
        progress.hide();
        Ok(Findings::new(&self.file, runs, self.seeds, self.shard, tables))
    }

    fn merge(&self, runs: &[Scenario]) -> Result<Findings, ScenarioError> {
        let mut named = Vec::new();
        for path in &self.merge {
            let name = path.display().to_string();
            let wrong = |what: String| ScenarioError::of_file(&name, what);
            let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
            let findings: Findings = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("is not what `explore --json` writes: {error}")))?;
            if !findings.are_about(runs) {
                return Err(wrong(format!("is the result of another version of {}", self.file)));
            }
            named.push((name, findings));
        }
        Findings::merge(named).map_err(|what| ScenarioError::of_file(&self.file, what))
    }

    fn explain_failures(
        &self,
        library: &Library,
        runs: &[Scenario],
        findings: &Findings,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let failures = runs.iter().zip(&findings.runs);
        let failures: Vec<(&Scenario, (&Outcome, &Row))> = failures
            .flat_map(|(run, found)| found.outcomes.failures().into_iter().map(move |failure| (run, failure)))
            .collect();
        let mut progress = Progress::new("failures made small", failures.len().min(FAILURES_MAX));
        let mut written: Vec<(String, Cause, String)> = Vec::new();
        for (nth, (run, (failing, row))) in failures.iter().take(FAILURES_MAX).enumerate() {
            progress.show(nth);
            let smallest = shrink(library, run, &row.seeds, failing);
            progress.hide();
            let smallest = match smallest {
                Ok(smallest) => smallest,
                Err(error) => {
                    writeln!(out, "{error}\n")?;
                    continue;
                }
            };
            let seed = row.seeds.first().copied().unwrap_or_default();
            let label = run.label.to_string();
            let same = |(of, cause, _): &&(String, Cause, String)| *of == label && *cause == smallest.cause;
            if let Some((_, _, path)) = written.iter().find(same) {
                writeln!(
                    out,
                    "{}\n  first seen with {}; for the cause that {path} shows\n",
                    failing.summary,
                    of_seed(run, seed)
                )?;
                continue;
            }
            let path = self.report(library, run, &smallest, seed, out)?;
            written.push((label, smallest.cause, path));
        }
        match failures.len().saturating_sub(FAILURES_MAX) {
            0 => Ok(()),
            more => writeln!(out, "{more} more failing outcomes were not reduced"),
        }
    }

    /// Writes what was found, and returns where.
    fn report(
        &self,
        library: &Library,
        run: &Scenario,
        smallest: &Smallest,
        seed: u64,
        out: &mut impl Write,
    ) -> io::Result<String> {
        let Smallest { failure, began_with, schedule, text, .. } = smallest;
        writeln!(out, "{failure}")?;
        let first = format!("first seen with {}", of_seed(run, seed));
        match schedule.len() {
            0 => writeln!(out, "  {first}; the plain course of seed {} shows it", smallest.seed)?,
            few => writeln!(out, "  {first}; of {began_with} departures {few} are enough:")?,
        }
        for (perturbation, words) in schedule {
            writeln!(out, "    {} # {words}", perturbation.to_yaml())?;
        }
        let (folder, text) = self.place(library, text, &smallest.cause)?;
        let path = folder.join(self.name(run, seed));
        std::fs::write(&path, format!("# Found by exploring {}: {failure}\n{text}", self.file))?;
        let path = path.display().to_string();
        writeln!(out, "  replay it: finwait-sim run {path}\n")?;
        Ok(path)
    }

    /// The folder of the findings, and the text as it reads there: a scenario finds its configuration files relative to
    /// itself. Where it would not fail there as it does here, the folder is the scenario's own.
    fn place(&self, library: &Library, text: &str, cause: &Cause) -> io::Result<(PathBuf, String)> {
        let file = Path::new(&self.file);
        let beside = file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let (folder, back) = match &self.out {
            None => (beside.join(format!("{}.findings", self.stem())), "..".to_owned()),
            Some(out) => (out.clone(), std::path::absolute(&beside)?.display().to_string()),
        };
        let moved = moved(text, &back);
        let path = folder.join("x.yaml").display().to_string();
        let fails = |path: &str, text: &str| {
            let mut scenario = Scenario::read(library, path, text.to_owned()).ok()?;
            scenario.remedies = Remedies::Named;
            let played = scenario.play(None).ok()?;
            Some(Cause::of(&scenario, &played) == *cause)
        };
        std::fs::create_dir_all(&folder)?; // `..` leads out of no folder that does not exist
        if fails(&path, &moved) == Some(true) {
            return Ok((folder, moved));
        }
        let _left_where_others_are = std::fs::remove_dir(&folder);
        Ok((beside, text.to_owned()))
    }

    fn stem(&self) -> String {
        Path::new(&self.file).file_stem().map_or_else(|| "scenario".into(), |stem| stem.to_string_lossy().into_owned())
    }

    /// The name of the file for what a seed of a run has shown.
    fn name(&self, run: &Scenario, seed: u64) -> String {
        let (stem, label, seed) = (self.stem(), run.label.to_string(), format!("seed-{seed}"));
        let words = label.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|word| !word.is_empty());
        let name: Vec<&str> = [stem.as_str()].into_iter().chain(words).chain([seed.as_str()]).collect();
        format!("{}.yaml", name.join("-"))
    }

    fn print_traces(&self, runs: &[Scenario], out: &mut impl Write) -> io::Result<ExitStatus> {
        let seeds = self.shard.seeds(self.seeds);
        for run in runs {
            for seed in &seeds {
                match run.play_on(*seed, &course(run)) {
                    Ok(played) => write!(out, "TRACE {}\n{}", of_seed(run, *seed), played.trace.to_text())?,
                    Err(error) => return refuse(&error),
                }
            }
        }
        Ok(ExitStatus::Passed)
    }
}

fn refuse(error: &ScenarioError) -> io::Result<ExitStatus> {
    writeln!(io::stderr(), "{error}")?;
    Ok(ExitStatus::NoScenario)
}

/// `gap=5s, seed 17`, or without the run's own part where there is none.
fn of_seed(run: &Scenario, seed: u64) -> String {
    match run.label.0.as_slice() {
        [] => format!("seed {seed}"),
        _ => format!("{}, seed {seed}", run.label),
    }
}

fn print_table(file: &str, Found { run, outcomes }: &Found, out: &mut impl Write) -> io::Result<()> {
    let with = if run.is_empty() { String::new() } else { format!(" with {run}") };
    writeln!(out, "{} seeds of {file}{with}\n\n    runs   share  first seed  outcome", outcomes.runs())?;
    for (outcome, row) in outcomes.rows() {
        // Tenths of a percent, rounded down: what is not all is not shown as 100.0 %.
        let share = row.runs.saturating_mul(1000) / outcomes.runs().max(1);
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
            writeln!(out, "{:>26}  expectation not met: {complaint}", "")?;
        }
    }
    writeln!(out)
}

fn print_missing(findings: &Findings, out: &mut impl Write) -> io::Result<()> {
    let missing: Vec<String> = findings.missing().iter().map(ToString::to_string).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [part] => writeln!(out, "of the {} seeds, part {part} is missing\n", findings.seeds),
        parts => writeln!(out, "of the {} seeds, parts {} are missing\n", findings.seeds, parts.join(", ")),
    }
}
