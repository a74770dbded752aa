//! `sweep`: one scenario over the values of one or two parameters, and a map of the outcomes.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use finwait_sim::explore::write::with_sweep;
use finwait_sim::report::page::{Page, page};
use finwait_sim::scenario::{Family, LeaveOut, ScenarioError};
use finwait_sim::suite::Performance;

use super::library;
use crate::ExitStatus;

/// Play a scenario once for every combination of values, and draw a map of the outcomes.
///
/// Exit status: 0 if everything expected was seen, 1 if something was not, 2 if the file is not a scenario.
#[derive(Args)]
pub(crate) struct Sweep {
    /// The scenario file, with `$NAME` in place of each value.
    file: String,
    /// Values to try, instead of those in the file's `sweep`. For a map, give one or two of these.
    #[arg(long, value_name = "NAME=VALUE,VALUE,...")]
    over: Vec<Parameter>,
    /// Leave out of every proxy's configuration what finwait does not have: `anything`, or names with commas between them.
    #[arg(long, value_name = "NAMES")]
    leave_out: Option<LeaveOut>,
    /// Play with this seed instead of the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// Also write an HTML page with the map and the run that `story` names: one file, which needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A parameter with its values.
#[derive(Clone)]
struct Parameter {
    name: String,
    values: Vec<String>,
}

impl FromStr for Parameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = || "parameters are written as gap=4s,5s,6s".to_owned();
        let (name, values) = text.split_once('=').ok_or_else(how)?;
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        if name.is_empty() || values.iter().any(String::is_empty) {
            return Err(how());
        }
        Ok(Self { name: name.into(), values })
    }
}

impl Sweep {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<ExitStatus> {
        let (family, performance) = match self.perform() {
            Ok(both) => both,
            Err(error) => {
                writeln!(io::stderr(), "{error}")?;
                return Ok(ExitStatus::NoScenario);
            }
        };
        let scenario = family.shown_in(&performance);
        let Performance { text, shown: played, map, complaints, .. } = &performance;
        match map {
            Some(map) => writeln!(out, "{}", map.to_text())?,
            // More than two parameters, or none: the table has it all.
            None => out.write_all(text.as_bytes())?,
        }
        if let Some(file) = &self.html {
            // The runs were played before, and nothing of them has changed.
            let others = family.others(&performance, self.seed).unwrap_or_default();
            fs::write(file, page(Page { scenario, played, complaints, map: map.as_ref(), others: &others }))?;
        }
        for complaint in complaints {
            writeln!(io::stderr(), "{complaint}")?;
        }
        Ok(if complaints.is_empty() { ExitStatus::Passed } else { ExitStatus::Failed })
    }

    fn perform(&self) -> Result<(Family, Performance), ScenarioError> {
        let library = library(&self.file);
        let text = library
            .read(&self.file)
            .map_err(|error| ScenarioError::of_file(&self.file, format!("cannot be read: {error}")))?;
        let parameters: Vec<_> = self.over.iter().map(|it| (it.name.as_str(), it.values.as_slice())).collect();
        let text = if parameters.is_empty() { text } else { with_sweep(&text, &parameters) };
        let mut family = Family::read(&library, &self.file, &text)?;
        if let Some(leave_out) = &self.leave_out {
            family.leave_out(leave_out)?;
        }
        family.name_remedies(); // the map shows no explanation
        let performance = family.perform(&self.file, self.seed)?;
        Ok((family, performance))
    }
}
