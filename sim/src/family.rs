//! All runs of one scenario file: every value of a sweep, every variant, both orders of two events, many seeds. They are
//! told as one text: a table with a row for each run, or with a row for each outcome and how often it came, and the story
//! of one run: the one that the file names, or else the first in which something fails.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::actor::{Exchange, Outcome};
use crate::check::{check, expect};
use crate::columns;
use crate::explain::explain;
use crate::play::Played;
use crate::report;
use crate::report::histogram::Histogram;
use crate::report::map::OutcomeMap;
use crate::scenario::{Family, Library, Scenario, ScenarioError};

/// What came of a file.
#[derive(Debug)]
pub struct Performance {
    /// The table, if there is more than one run, and the story of one.
    pub text: String,
    /// Which run is told, by its place among those of the file.
    pub number: usize,
    /// The same, as it was played.
    pub told: Played,
    /// What came of all runs, if they differ in one or two parameters and in nothing else.
    pub map: Option<OutcomeMap>,
    /// Everything that does not hold, run by run.
    pub complaints: Vec<ScenarioError>,
}

/// One run of several, in short.
struct Row {
    label: String,
    seed: u64,
    outcome: String,
}

/// The run that is told, as far as is known.
struct Telling {
    number: usize,
    seed: u64,
    story: String,
    played: Played,
    /// Whether something fails in it; not asked if the file names the run.
    fails: bool,
}

/// Loads a file and plays all its runs, with another first seed than its own if one is given.
///
/// # Errors
/// As [`Family::load`]; or a proxy refuses its configuration, and the scenario does not expect that.
pub fn perform(library: &Library, file: &str, seed: Option<u64>) -> Result<Performance, ScenarioError> {
    Family::load(library, file)?.perform(file, seed)
}

impl Family {
    /// Plays all runs, with another first seed than their own if one is given. `file` is for messages.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that.
    pub fn perform(&self, file: &str, seed: Option<u64>) -> Result<Performance, ScenarioError> {
        self.perform_by(file, seed, |scenario, seed| scenario.play(Some(seed)))
    }

    /// The same, when runs are played in another way.
    ///
    /// # Errors
    /// Those of `play`.
    pub fn perform_by(
        &self,
        file: &str,
        seed: Option<u64>,
        play: impl Fn(&Scenario, u64) -> Result<Played, ScenarioError>,
    ) -> Result<Performance, ScenarioError> {
        let mut rows = Vec::new();
        let mut complaints = Vec::new();
        let mut telling: Option<Telling> = None;
        let mut histograms = self.histograms();
        for (number, scenario) in self.runs.iter().enumerate() {
            // For each line of `expect`, in how many runs it held.
            let mut held = vec![0_u32; scenario.expect.len()];
            let first = seed.unwrap_or(scenario.seed);
            for seed in (first..).take(usize::try_from(self.seeds).unwrap_or(usize::MAX)) {
                let played = play(scenario, seed)?;
                // Telling a run takes longer than playing it.
                let is_watched = !scenario.never.is_empty();
                let story = if is_watched { report::story(scenario, &played) } else { String::new() };
                let found = check(scenario, &played, &story);
                let fails = || !found.is_empty() || !explain(scenario, &played).is_empty();
                let is_told = match (&telling, self.told) {
                    (None, Some(named)) => number == named,
                    (Some(_), Some(_)) => false,
                    (None, None) => true,
                    (Some(telling), None) => !telling.fails && fails(),
                };
                let fails = is_told && self.told.is_none() && fails();
                complaints.extend(found.into_iter().map(|complaint| self.of_run(complaint, scenario, seed)));
                for (nth, held) in held.iter_mut().enumerate() {
                    *held += u32::from(expect::holds(scenario, &played, nth));
                }
                rows.push(Row { label: scenario.label.to_string(), seed, outcome: outcome(scenario, &played) });
                if number == self.measured() {
                    for histogram in &mut histograms {
                        let gaps = expect::gaps(&played, histogram.host());
                        histogram.add(&gaps);
                    }
                }
                if is_told {
                    let story = if is_watched { story } else { report::story(scenario, &played) };
                    telling = Some(Telling { number, seed, story, played, fails });
                }
            }
            complaints.extend(shares(scenario, &held, self.seeds));
        }
        let telling = telling.ok_or_else(|| ScenarioError::of_file(file, "it has no run"))?;
        let map = self.map(&rows);
        let text = self.text(&rows, map.as_ref(), &histograms, &telling);
        Ok(Performance { text, number: telling.number, told: telling.played, map, complaints })
    }

    /// The run that is told of a performance of this family.
    #[must_use]
    pub fn told_in(&self, performance: &Performance) -> &Scenario {
        self.runs.get(performance.number).expect("a performance tells a run of its family")
    }

    /// The run whose seeds are measured: that which the file names, or the first.
    fn measured(&self) -> usize {
        self.told.unwrap_or(0)
    }

    /// One for each app whose `gaps` are expected, if many seeds are played.
    fn histograms(&self) -> Vec<Histogram> {
        let measured = self.runs.get(self.measured()).filter(|_| self.seeds > 1);
        let expected = measured.into_iter().flat_map(|scenario| &scenario.expect);
        expected.filter_map(|line| Some(Histogram::new(&line.value.host, line.value.seen.gaps.as_deref()?))).collect()
    }

    fn map(&self, rows: &[Row]) -> Option<OutcomeMap> {
        if self.seeds > 1 {
            return None; // a cell would need several outcomes
        }
        let of_run = |(run, row): (&Scenario, &Row)| (run.label.0.clone(), row.outcome.clone());
        OutcomeMap::new(&self.runs.iter().zip(rows).map(of_run).collect::<Vec<_>>())
    }

    /// The table, if there is anything to compare, as a map too if it has two parameters; and a story.
    fn text(&self, rows: &[Row], map: Option<&OutcomeMap>, histograms: &[Histogram], told: &Telling) -> String {
        let Telling { number, seed, story, .. } = told;
        let [_, _, ..] = rows else { return story.clone() };
        let whose = self.runs.get(*number).map(|run| run.label.to_string()).unwrap_or_default();
        let (table, whose) = match self.seeds {
            1 => match map.filter(|map| map.down.is_some()) {
                Some(map) => (format!("{}\nTHE SAME AS A MAP\n{}", table(rows), map.to_text()), whose),
                None => (table(rows), whose),
            },
            _ => (frequencies(rows) + &drawn(histograms), format!("{whose} seed {seed}")),
        };
        format!("{table}\nTHE RUN WITH {}\n\n{story}", whose.trim())
    }

    /// Says which of several runs a complaint is about.
    fn of_run(&self, complaint: ScenarioError, scenario: &Scenario, seed: u64) -> ScenarioError {
        let run = match self.seeds {
            1 => scenario.label.to_string(),
            _ => format!("{} seed {seed}", scenario.label).trim().to_owned(),
        };
        if run.is_empty() { complaint } else { complaint.of_run(&run) }
    }
}

/// One complaint for each line of `expect` that held in too few or too many runs.
fn shares(scenario: &Scenario, held: &[u32], runs: u32) -> Vec<ScenarioError> {
    let mut complaints = Vec::new();
    for (line, held) in scenario.expect.iter().zip(held) {
        if let Some(share) = line.value.share.filter(|share| !share.contains(*held, runs)) {
            let what = format!("expected in {share} of the runs, held in {held} of {runs}");
            complaints.push(scenario.complain(line.referenced, what));
        }
    }
    complaints
}

/// A run in one line: the answers each client got, and what the proxies logged of it.
#[must_use]
pub fn outcome(scenario: &Scenario, played: &Played) -> String {
    if let Some((host, why)) = played.refused.first() {
        return format!("{host} refuses its configuration: {}", why.lines().next().unwrap_or_default());
    }
    let mut parts = Vec::new();
    for host in &scenario.hosts {
        let answers: Vec<String> =
            played.sightings.exchanges.iter().filter(|exchange| exchange.host == host.name).map(answer).collect();
        let logged: Vec<String> = played
            .trace
            .log()
            .into_iter()
            .filter(|(_, at, _)| *at == host.name)
            .map(|(_, _, line)| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        for seen in [answers, logged] {
            if !seen.is_empty() {
                parts.push(format!("{} {}", host.name, counted(&seen)));
            }
        }
    }
    if let Some((_, why)) = &played.stuck {
        parts.push(format!("stuck: {}", why.lines().next().unwrap_or_default()));
    }
    parts.join("; ")
}

fn answer(exchange: &Exchange) -> String {
    match &exchange.outcome {
        Outcome::Answer { status, .. } => status.to_string(),
        Outcome::Failed(_) => "no answer".into(),
        Outcome::Waiting => "waiting".into(),
    }
}

/// `200, 200, 503` as `2 x 200, 503`: neighbours that are alike are counted.
fn counted(words: &[String]) -> String {
    let mut groups: Vec<(usize, &str)> = Vec::new();
    for word in words {
        match groups.last_mut() {
            Some((times, last)) if last == word => *times += 1,
            _ => groups.push((1, word)),
        }
    }
    let told = groups.iter().map(|(times, word)| match times {
        1 => (*word).to_owned(),
        _ => format!("{times} x {word}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A row for each run.
fn table(rows: &[Row]) -> String {
    let width = columns::width(rows.iter().map(|row| row.label.as_str()));
    let mut text = String::from("WHAT CAME OF EACH RUN\n");
    for Row { label, outcome, .. } in rows {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{label:width$}  {outcome}");
    }
    text
}

fn drawn(histograms: &[Histogram]) -> String {
    histograms.iter().map(|histogram| format!("\n{histogram}")).collect()
}

/// How often each outcome came, the most frequent first, with the first seed that shows it.
fn frequencies(rows: &[Row]) -> String {
    let mut found: BTreeMap<(&str, &str), (usize, u64)> = BTreeMap::new();
    for Row { label, seed, outcome } in rows {
        found.entry((label, outcome)).or_insert((0, *seed)).0 += 1;
    }
    let mut sorted: Vec<Frequency<'_>> = found.into_iter().collect();
    // By run, then by number, then by first seed: an order without chance.
    sorted.sort_by_key(|((label, _), (times, seed))| (*label, std::cmp::Reverse(*times), *seed));
    let width = columns::width(sorted.iter().map(|((label, _), _)| *label));
    let mut text = String::from("HOW OFTEN EACH OUTCOME CAME\n");
    let _infallible = write(&mut text, &sorted, width); // as above
    text
}

/// The label and outcome of runs; how many there were, and the first seed.
type Frequency<'a> = ((&'a str, &'a str), (usize, u64));

fn write(text: &mut String, sorted: &[Frequency<'_>], width: usize) -> fmt::Result {
    for ((label, outcome), (times, seed)) in sorted {
        let label = if width > 0 { format!("{label:width$}  ") } else { String::new() };
        writeln!(text, "{label}{times:>6} times, first with seed {seed:<6}  {outcome}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_counted() {
        let words: Vec<String> = ["200", "200", "503", "200"].map(String::from).to_vec();
        assert_eq!(counted(&words), "2 x 200, 503, 200");
    }

    #[test]
    fn outcomes_are_sorted_by_how_often_they_came() {
        let row = |seed, outcome: &str| Row { label: String::new(), seed, outcome: outcome.into() };
        let text = frequencies(&[row(1, "a"), row(2, "b"), row(3, "b")]);
        assert_eq!(
            text,
            "HOW OFTEN EACH OUTCOME CAME\n     2 times, first with seed 2       b\n     1 times, first with seed 1       a\n"
        );
    }
}
