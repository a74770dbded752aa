//! The command line: replays scenarios and shows what happened.

mod command;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Run(command::run::Run),
    Sweep(command::sweep::Sweep),
}

impl Default for Command {
    /// Everything there is, a line each.
    fn default() -> Self {
        Self::Run(command::run::Run::default())
    }
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
    let status = match Arguments::parse().command.unwrap_or_default() {
        Command::Explore(explore) => explore.run(&mut out),
        Command::New(new) => new.run(&mut out),
        Command::Run(run) => run.run(&mut out),
        Command::Sweep(sweep) => sweep.run(&mut out),
    };
    status.map(ExitCode::from)
}

/// How a scenario came out.
#[derive(Clone, Copy)]
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
