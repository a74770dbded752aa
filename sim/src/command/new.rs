//! `new`: a scenario from files of Envoy's.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use finwait_sim::draft::{Input, draft};
use finwait_sim::scenario::{Family, LeaveOut, Library};

use super::evidence::Evidence;
use crate::ExitStatus;

/// Write a scenario from one or more Envoy files, and play it.
///
/// Each file becomes a proxy; where an endpoint of one is a listener of another, the hops are joined. Everything else that
/// they connect to becomes an app, every listener that is left gets a client, and every route a request. What to try next is
/// in the comments of the scenario.
///
/// Exit status: 0 if it was played to its end, 1 if not, 2 if a file is refused.
#[derive(Args)]
pub(crate) struct New {
    /// Files of Envoy's, in YAML or JSON.
    #[arg(required = true)]
    files: Vec<String>,
    /// Leave out what finwait does not have: `anything`, or names of extensions and fields with commas between them.
    #[arg(long, value_name = "NAMES")]
    leave_out: Option<LeaveOut>,
    /// Where to write the scenario, in the current folder: its paths are those of the files as given here.
    #[arg(long, short, default_value = "new.scenario.yaml", value_name = "FILE")]
    output: PathBuf,
    /// Write over a scenario that is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    evidence: Evidence,
}

impl New {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let refuse = |what: String| writeln!(io::stderr(), "{what}").map(|()| ExitStatus::NoScenario);
        let output = self.output.display().to_string();
        if output.contains('/') {
            return refuse(format!(
                "{output} is in another folder: the paths in it would lead nowhere; write a name alone"
            ));
        }
        if self.output.exists() && !self.force {
            return refuse(format!(
                "{output} is there already: name another with --output, or write over it with --force"
            ));
        }
        let mut inputs = Vec::new();
        for path in &self.files {
            match fs::read_to_string(path) {
                Ok(text) => inputs.push(Input { path: path.clone(), text }),
                Err(error) => return refuse(format!("{path} cannot be read: {error}")),
            }
        }
        let text = match draft(&inputs, &self.leave_out.clone().unwrap_or_default()) {
            Ok(text) => text,
            Err(why) if self.leave_out.is_none() && why.contains("leave_out") => {
                let files = self.files.join(" ");
                return refuse(format!("{why}\nhere that is: finwait-sim new --leave-out anything {files}"));
            }
            Err(why) => return refuse(why),
        };
        fs::write(&self.output, &text)?;
        let library = Library::Disk(".".into());
        let played = Family::read(&library, &output, &text).and_then(|family| {
            let performance = family.perform(&output, None)?;
            Ok((family, performance))
        });
        match played {
            Err(error) => refuse(format!("{output} is written, and cannot be played:\n{error}")),
            Ok((family, performance)) => {
                self.evidence.show(&family, None, &performance, out)?;
                writeln!(out, "\n{output} is written: change it and play it with `finwait-sim run {output}`")?;
                for complaint in &performance.complaints {
                    writeln!(io::stderr(), "{complaint}")?;
                }
                Ok(if performance.complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed })
            }
        }
    }
}
