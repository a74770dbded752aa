//! `run`: scenarios as they are, with their stories or a line for each.

use std::io::{self, Read, Write};

use clap::{Args, ValueEnum};
use finwait_sim::report::difference::{Side, difference};
use finwait_sim::scenario::{Family, LeaveOut, Library, ScenarioError};
use finwait_sim::suite::Performance;

use super::evidence::{Evidence, columns};
use super::files::{Named, STDIN, expand};
use super::library;
use super::selection::Selection;
use crate::ExitStatus;

/// Play scenarios and print their stories; without files, or with folders and patterns, print a line for each and a total.
///
/// Exit status: 0 if everything expected was seen, 1 if something was not, 2 if a file is not a scenario.
#[derive(Args, Default)]
pub(crate) struct Run {
    /// Scenario files, folders, patterns such as 'scenarios/**/a-*.yaml', or `-` for standard input. Without any: all of
    /// ./scenarios, or those built into this program.
    files: Vec<String>,
    /// Play with this seed instead of each scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// The network model.
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Leave out of every proxy's configuration what finwait does not have: `anything`, or names of extensions and fields
    /// with commas between them. The story begins with what was left out.
    #[arg(long, value_name = "NAMES")]
    leave_out: Option<LeaveOut>,
    /// Play only the runs with this value of a parameter, `variant` or `order`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    only: Vec<Selection>,
    /// Name what would change the outcome of a failed request, without playing the run again to see whether it does.
    #[arg(long)]
    no_remedies: bool,
    /// Compare the run with that of another file, or with another run of the same file (`gap=5s`, `variant=patched`): the
    /// first event where they part, and the header fields that differ.
    #[arg(long, value_name = "FILE2|NAME=VALUE", conflicts_with_all = ["trace", "json", "html", "pcap", "heads"])]
    diff: Option<String>,
    #[command(flatten)]
    evidence: Evidence,
}

/// A network model.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Engine {
    /// finwait-sim's own sockets: TCP as in Linux, segment by segment.
    #[default]
    Own,
    /// Sockets and links of the turmoil crate, for comparison. A scenario with a feature that turmoil lacks is refused, and
    /// the message names the feature.
    Turmoil,
}

/// How many files came out in which way.
#[derive(Default)]
struct Total {
    passed: usize,
    failed: usize,
    invalid: usize,
}

impl Total {
    fn add(&mut self, status: ExitStatus) {
        match status {
            ExitStatus::Passed => self.passed += 1,
            ExitStatus::Failed => self.failed += 1,
            ExitStatus::NoScenario => self.invalid += 1,
        }
    }

    fn number(&self) -> usize {
        self.passed + self.failed + self.invalid
    }

    fn worst(&self) -> ExitStatus {
        match self {
            Self { invalid: 1.., .. } => ExitStatus::NoScenario,
            Self { failed: 1.., .. } => ExitStatus::Failed,
            Self { .. } => ExitStatus::Passed,
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, invalid } = self;
        let number = self.number();
        write!(f, "{number} scenario{}: {passed} ok, {failed} failed", if number == 1 { "" } else { "s" })?;
        if *invalid > 0 { write!(f, ", {invalid} invalid") } else { Ok(()) }
    }
}

impl Run {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let refuse = |what: String| writeln!(io::stderr(), "{what}").map(|()| ExitStatus::NoScenario);
        let mut named = Vec::new();
        for argument in &self.files {
            match expand(argument) {
                Ok(files) => named.push(files),
                Err(error) => return refuse(error.to_string()),
            }
        }
        if let [Named::One(file)] = named.as_slice() {
            return match &self.diff {
                Some(other) => self.compare(file, other, out),
                None => self.replay(file, out),
            };
        }
        if self.diff.is_some() || self.evidence.has_files() {
            return refuse("--html, --pcap and --diff are about one run: name one scenario".into());
        }
        let mut total = Total::default();
        if named.is_empty() {
            let library = Library::find();
            for file in library.scenarios()? {
                total.add(self.line(&library, &file, out)?);
            }
        }
        for files in named {
            match files {
                Named::One(file) => total.add(self.replay(&file, out)?),
                Named::Many(files) if self.evidence.is_for_each() => {
                    for file in files {
                        total.add(self.replay(&file, out)?);
                    }
                }
                Named::Many(files) => {
                    for file in files {
                        total.add(self.line(&library(&file), &file, out)?);
                    }
                }
            }
        }
        // Objects for programs have nothing between them.
        if !self.evidence.is_for_programs() {
            writeln!(out, "{total}")?;
        }
        Ok(total.worst())
    }

    /// Plays a file and shows the run.
    fn replay(&self, file: &str, out: &mut impl Write) -> io::Result<ExitStatus> {
        let (family, performance) = match self.load_and_play(&library(file), file) {
            Ok(both) => both,
            Err(error) => return refuse(&error),
        };
        let complaints = &performance.complaints;
        self.evidence.show(&family, self.seed, &performance, out)?;
        for complaint in complaints {
            writeln!(io::stderr(), "{complaint}")?;
        }
        Ok(if complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed })
    }

    /// Plays a file and prints a line.
    fn line(&self, library: &Library, file: &str, out: &mut impl Write) -> io::Result<ExitStatus> {
        match self.load_and_play(library, file) {
            Err(error) => {
                writeln!(out, "BAD   {file}\n{error}")?;
                Ok(ExitStatus::NoScenario)
            }
            Ok((_, Performance { complaints, .. })) => {
                writeln!(out, "{}  {file}", if complaints.is_empty() { "ok  " } else { "FAIL" })?;
                for complaint in &complaints {
                    writeln!(out, "{complaint}")?;
                }
                Ok(if complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed })
            }
        }
    }

    /// Plays a file and another, or another run of the same, and prints where they part.
    fn compare(&self, file: &str, other: &str, out: &mut impl Write) -> io::Result<ExitStatus> {
        let selection: Option<Selection> = other.parse().ok().filter(|_| !std::path::Path::new(other).is_file());
        let one = self.load_and_play(&library(file), file);
        let (second_file, second) = match selection {
            Some(selection) => (file, self.load_and_play_only(&library(file), file, &[selection])),
            None => (other, self.load_and_play(&library(other), other)),
        };
        let ((family, one), (other_family, two)) = match (one, second) {
            (Ok(one), Ok(second)) => (one, second),
            (Err(error), _) | (_, Err(error)) => return refuse(&error),
        };
        let named = |file: &str, family: &Family, performance: &Performance| {
            format!("{file} {}", family.shown_in(performance).label).trim_end().to_owned()
        };
        let (name, other_name) = (named(file, &family, &one), named(second_file, &other_family, &two));
        let a = Side { name: &name, scenario: family.shown_in(&one), played: &one.shown };
        let b = Side { name: &other_name, scenario: other_family.shown_in(&two), played: &two.shown };
        out.write_all(difference(a, b, columns()).as_bytes())?;
        Ok(ExitStatus::Passed)
    }

    fn load_and_play(&self, library: &Library, file: &str) -> Result<(Family, Performance), ScenarioError> {
        self.load_and_play_only(library, file, &self.only)
    }

    /// Loads a file and plays those of its runs that have these values.
    fn load_and_play_only(
        &self,
        library: &Library,
        file: &str,
        only: &[Selection],
    ) -> Result<(Family, Performance), ScenarioError> {
        let family = self.load(library, file, only)?;
        let performance = self.play(&family, file)?;
        Ok((family, performance))
    }

    fn load(&self, library: &Library, file: &str, only: &[Selection]) -> Result<Family, ScenarioError> {
        let mut family = if file == STDIN {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| ScenarioError::of_file(file, format!("standard input cannot be read: {error}")))?;
            Family::read(&Library::Disk(".".into()), file, &text)?
        } else {
            Family::load(library, file)?
        };
        if let Some(leave_out) = &self.leave_out {
            family.leave_out(leave_out)?;
        }
        if !only.is_empty() {
            let labels: Vec<_> = family.runs.iter().map(|run| run.label.clone()).collect();
            Selection::check(only, &labels).map_err(|what| ScenarioError::of_file(file, what))?;
            family.keep(|run| Selection::selects(only, &run.label));
        }
        // Whether a remedy helps is found on the simulator's own sockets.
        if self.no_remedies || self.diff.is_some() || matches!(self.engine, Engine::Turmoil) {
            family.name_remedies();
        }
        Ok(family)
    }

    fn play(&self, family: &Family, file: &str) -> Result<Performance, ScenarioError> {
        match self.engine {
            Engine::Own => family.perform(file, self.seed),
            Engine::Turmoil => family.perform_by(file, self.seed, |scenario, seed| scenario.play_on_turmoil(seed)),
        }
    }
}

fn refuse(error: &ScenarioError) -> io::Result<ExitStatus> {
    writeln!(io::stderr(), "{error}").map(|()| ExitStatus::NoScenario)
}
