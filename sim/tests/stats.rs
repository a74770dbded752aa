//! No stat is dead: a table names for each what moves it, and the table is true.
//!
//! A stat that nothing moves shows a 0 that looks like a measurement. `stats/moved_by.txt` has a line for every stat that a
//! proxy declares, with a scenario in which it moves. What no simulated proxy can do, such as reading the memory of a
//! process, has a test of the proxy's that sees it move. A third kind of line is for what Envoy has and nothing moves here, so
//! that its 0 is true: dashboards add such stats to others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use finwait::stats::{Snapshot, StatKind};
use finwait_sim::run::Played;
use finwait_sim::scenario::{Family, Library};

/// A line of the table.
#[derive(Debug)]
struct Line {
    /// With `<…>` where a name or an address of the configuration stands.
    stat: String,
    moved_by: MovedBy,
}

#[derive(Debug, Eq, PartialEq)]
enum MovedBy {
    /// Nothing: its 0 is true.
    Nothing,
    /// A scenario file.
    Scenario(String),
    /// A test, and the file that has it.
    Test { file: String, name: String },
}

#[test]
fn every_stat_moves_in_the_test_that_the_table_names() {
    let table = table();
    let library = Library::Disk(repository());
    let mut complaints = Vec::new();
    let mut unlisted = BTreeSet::new();
    let files: BTreeSet<&String> = table.iter().filter_map(|line| line.moved_by.scenario()).collect();
    for file in files {
        let stats = stats(&library, file);
        let (declared, moved) = (names(&stats, |_| true), names(&stats, |moved| moved));
        for line in &table {
            let moves = moved.iter().any(|name| line.matches(name));
            match &line.moved_by {
                MovedBy::Scenario(by) if by == file && !moves => {
                    complaints.push(format!("{} does not move in {file}", line.stat));
                }
                MovedBy::Nothing if moves => complaints.push(format!("{} moves in {file}", line.stat)),
                MovedBy::Nothing | MovedBy::Scenario(_) | MovedBy::Test { .. } => {}
            }
        }
        unlisted.extend(declared.into_iter().filter(|name| !table.iter().any(|line| line.matches(name))));
    }
    if !unlisted.is_empty() {
        complaints.extend(with_scenarios(&library, unlisted));
    }
    assert!(complaints.is_empty(), "sim/tests/stats/moved_by.txt is wrong:\n{}", complaints.join("\n"));
}

#[test]
fn every_test_of_the_table_exists() {
    for line in table() {
        if let MovedBy::Test { file, name } = &line.moved_by {
            let text = fs::read_to_string(repository().join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {name}(")), "{}: {file} has no test {name}", line.stat);
        }
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut next = || words.next().map(str::to_owned);
        let (stat, by, name) = (next().unwrap_or_default(), next().unwrap_or_default(), next());
        let moved_by = match name {
            Some(name) => MovedBy::Test { file: by, name },
            None if by == "0" => MovedBy::Nothing,
            None => MovedBy::Scenario(by),
        };
        Self { stat, moved_by }
    }

    /// Is this the line of the stat `name`?
    fn matches(&self, name: &str) -> bool {
        let mut parts = self.stat.split(['<', '>']).step_by(2);
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        false
    }
}

impl MovedBy {
    fn scenario(&self) -> Option<&String> {
        match self {
            Self::Scenario(file) => Some(file),
            Self::Nothing | Self::Test { .. } => None,
        }
    }
}

/// The table's lines, but for comments.
fn table() -> Vec<Line> {
    let text = fs::read_to_string(repository().join("sim/tests/stats/moved_by.txt")).expect("the table is there");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Line::parse).collect()
}

/// What the proxies of all runs of a scenario have counted; each run is played once, whatever its seeds.
fn stats(library: &Library, file: &str) -> Vec<Snapshot> {
    let family = Family::load(library, file).expect("the table names scenarios that can be loaded");
    let played = family.runs.iter().filter_map(|scenario| scenario.play(None).ok());
    played.flat_map(|played: Played| played.stats).map(|(_, stats)| stats).collect()
}

/// The names of which `keep` says yes, told whether the stat has moved. A counter has if it is above 0, and a gauge if it was
/// ever written.
fn names(stats: &[Snapshot], keep: fn(bool) -> bool) -> BTreeSet<String> {
    let numbers = stats.iter().flat_map(|stats| &stats.numbers).map(|number| {
        let moved = match number.kind {
            StatKind::Counter => number.value > 0,
            StatKind::Gauge => number.used,
        };
        (&number.name, moved)
    });
    let histograms = stats.iter().flat_map(|stats| &stats.histograms);
    let histograms = histograms.map(|recorded| (&recorded.name, !recorded.total.is_empty()));
    let named = numbers.chain(histograms).filter(|(name, moved)| keep(*moved) && !appears_when_it_moves(name));
    named.map(|(name, _)| name.clone()).collect()
}

/// The stats of response codes and of gRPC methods are made by the first response that they count.
fn appears_when_it_moves(name: &str) -> bool {
    if name.contains(".grpc-web.") {
        return true;
    }
    let last = name.rsplit('.').next().and_then(|last| last.strip_prefix("upstream_rq_"));
    let is_code = |last: &str| last.len() == 3 && last.starts_with(['1', '2', '3', '4', '5']);
    last.is_some_and(|last| is_code(last) || ["completed", "time"].contains(&last))
}

/// For each stat that the table lacks, a scenario in which it moves.
fn with_scenarios(library: &Library, mut unlisted: BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeMap::new();
    for file in library.scenarios().expect("the repository has scenarios") {
        let moved = names(&stats(library, &file), |moved| moved);
        found.extend(unlisted.extract_if(.., |name| moved.contains(name)).map(|name| (name, file.clone())));
    }
    let listed = found.into_iter().map(|(name, file)| format!("{name} has no line; it moves in {file}"));
    let dead = unlisted.into_iter().map(|name| format!("{name} has no line, and moves in no scenario"));
    listed.chain(dead).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
