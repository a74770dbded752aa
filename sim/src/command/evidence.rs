//! What `run` shows of one run: the story and a diagram on the terminal, and pages, captures and JSON in files.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use finwait_sim::report::diagram::{Style, diagram, fit};
use finwait_sim::report::heads;
use finwait_sim::report::json::json;
use finwait_sim::report::page::{Page, page};
use finwait_sim::report::pcapng::pcapng;
use finwait_sim::scenario::Family;
use finwait_sim::suite::Performance;

/// Columns of what is no terminal and does not report how many it has.
const COLUMNS: usize = 100;

/// How a run is shown.
#[derive(Args, Default)]
pub(crate) struct Evidence {
    /// Print the complete trace, every segment of it, instead of the story.
    #[arg(long)]
    trace: bool,
    /// Print one JSON object with the whole result instead of the story: exchanges, streams, explanations, timeline, segments,
    /// timers, connections, stats. Times are nanoseconds of virtual time.
    #[arg(long, conflicts_with = "trace")]
    json: bool,
    /// Also print the header fields of every message, hop by hop.
    #[arg(long, conflicts_with_all = ["trace", "json"])]
    heads: bool,
    /// Also write an HTML page that shows the run: one file, which needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write every packet into this file, as a pcapng capture for Wireshark and tshark.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl Evidence {
    /// Whether it writes into files.
    pub(crate) fn has_files(&self) -> bool {
        self.html.is_some() || self.pcap.is_some()
    }

    /// Whether every scenario is to be shown, where a line would do.
    pub(crate) fn is_for_each(&self) -> bool {
        self.trace || self.json || self.heads
    }

    /// Whether what is printed is for programs.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.trace || self.json
    }

    /// Shows the chosen run of a file, and what came of the others.
    pub(crate) fn show(
        &self,
        family: &Family,
        seed: Option<u64>,
        performance: &Performance,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let scenario = family.shown_in(performance);
        let Performance { text, shown: played, map, complaints, .. } = performance;
        if let Some(file) = &self.pcap {
            fs::write(file, pcapng(&played.trace))?;
        }
        if let Some(file) = &self.html {
            // The runs were played before, and nothing of them has changed.
            let others = family.others(performance, seed).unwrap_or_default();
            fs::write(file, page(Page { scenario, played, complaints, map: map.as_ref(), others: &others }))?;
        }
        if self.trace {
            return out.write_all(played.trace.to_text().as_bytes());
        }
        if self.json {
            return writeln!(out, "{}", json(scenario, played, complaints));
        }
        let style = style();
        let diagram = diagram(&played.trace, style);
        write!(out, "{}", fit(text, style.columns))?;
        if self.heads {
            write!(out, "\nTHE HEADER FIELDS, HOP BY HOP\n{}", fit(&heads::to_text(&played.trace), style.columns))?;
        }
        write!(out, "\nTHE SAME AS A DIAGRAM\n{diagram}")
    }
}

/// As wide as COLUMNS, or else the terminal.
pub(crate) fn columns() -> usize {
    let set = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    set.or_else(seen).unwrap_or(COLUMNS)
}

/// Coloured on a terminal, unless NO_COLOR is set (no-color.org: to anything but nothing).
fn style() -> Style {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style { columns: columns(), colours: io::stdout().is_terminal() && !is_plain }
}
