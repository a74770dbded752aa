//! The command line: replays scenarios and shows what happened.

mod command;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use command::evidence::Evidence;
use finwait_sim::scenario::{Family, LeaveOut, Library, ScenarioError};
use finwait_sim::suite::Performance;

/// Plays network scenarios against finwait, in virtual time. Without a command, plays all of them and prints a line for each.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Explore(command::explore::Explore),
    New(command::new::New),
    Run(Run),
    Sweep(command::sweep::Sweep),
}

impl Default for Command {
    /// Everything there is, a line each.
    fn default() -> Self {
        Self::Run(Run::default())
    }
}

/// Play scenarios and print their stories; without files, play every scenario and print a line for each.
///
/// Exit status: 0 if everything expected was seen, 1 if something was not, 2 if a file is not a scenario.
#[derive(Args, Default)]
struct Run {
    /// Scenario files. Without any: all of ./scenarios, or those built into this program.
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
    /// Name what would change the outcome of a failed request, without playing the run again to see whether it does.
    #[arg(long)]
    no_remedies: bool,
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

fn main() -> io::Result<ExitCode> {
    match obey() {
        // The reader closed the pipe: `finwait-sim run FILE | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

fn obey() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let run = match Arguments::parse().command.unwrap_or_default() {
        Command::Explore(explore) => return explore.run(&mut out).map(ExitCode::from),
        Command::New(new) => return new.run(&mut out).map(ExitCode::from),
        Command::Run(run) => run,
        Command::Sweep(sweep) => return sweep.run(&mut out).map(ExitCode::from),
    };
    if run.files.len() != 1 && run.evidence.has_files() {
        writeln!(io::stderr(), "--html and --pcap show one run: name one scenario")?;
        return Ok(ExitStatus::NoScenario.into());
    }
    let worst = match run.files.as_slice() {
        [] => replay_all(&run, &mut out)?,
        files => {
            let mut worst = ExitStatus::Passed;
            for file in files {
                worst = worst.max(replay(&command::library(file), file, &run, &mut out)?);
            }
            worst
        }
    };
    Ok(worst.into())
}

/// How a scenario came out, the worst last.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum ExitStatus {
    Passed,
    Failed,
    NoScenario,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Passed => Self::SUCCESS,
            ExitStatus::Failed => Self::from(1),
            ExitStatus::NoScenario => Self::from(2),
        }
    }
}

fn replay(library: &Library, file: &str, run: &Run, out: &mut impl Write) -> io::Result<ExitStatus> {
    let (family, performance) = match load_and_play(library, file, run) {
        Ok(both) => both,
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(ExitStatus::NoScenario);
        }
    };
    let complaints = &performance.complaints;
    run.evidence.show(family.shown_in(&performance), &performance, out)?;
    for complaint in complaints {
        writeln!(io::stderr(), "{complaint}")?;
    }
    Ok(if complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed })
}

fn replay_all(run: &Run, out: &mut impl Write) -> io::Result<ExitStatus> {
    let library = Library::find();
    let mut worst = ExitStatus::Passed;
    for file in library.scenarios()? {
        let status = match load_and_play(&library, &file, run) {
            Err(error) => {
                writeln!(out, "BAD   {file}\n{error}")?;
                ExitStatus::NoScenario
            }
            Ok((_, Performance { complaints, .. })) => {
                writeln!(out, "{}  {file}", if complaints.is_empty() { "ok  " } else { "FAIL" })?;
                for complaint in &complaints {
                    writeln!(out, "{complaint}")?;
                }
                if complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed }
            }
        };
        worst = worst.max(status);
    }
    Ok(worst)
}

fn load_and_play(library: &Library, file: &str, run: &Run) -> Result<(Family, Performance), ScenarioError> {
    let mut family = Family::load(library, file)?;
    if let Some(leave_out) = &run.leave_out {
        family.leave_out(leave_out);
    }
    // Whether a remedy helps is found on the simulator's own sockets.
    if run.no_remedies || matches!(run.engine, Engine::Turmoil) {
        family.name_remedies();
    }
    let performance = match run.engine {
        Engine::Own => family.perform(file, run.seed)?,
        Engine::Turmoil => family.perform_by(file, run.seed, |scenario, seed| scenario.play_on_turmoil(seed))?,
    };
    Ok((family, performance))
}
