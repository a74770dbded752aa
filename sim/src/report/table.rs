//! The runs of one file beside each other: a row for each run, or for each outcome and how often it came.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::histogram::Histogram;
use super::map::OutcomeMap;
use crate::actor::{Exchange, Outcome};
use crate::columns;
use crate::run::Played;
use crate::scenario::Scenario;
use crate::trace::accounts::logged;
use crate::words::counted;

/// One run of several, in short.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) seed: u64,
    pub(crate) outcome: String,
}

/// The table, as a map too if it has two parameters.
pub(crate) fn table(rows: &[Row], map: Option<&OutcomeMap>) -> String {
    match map.filter(|map| map.down.is_some()) {
        Some(map) => format!("{}\nTHE SAME AS A MAP\n{}", runs(rows), map.to_text()),
        None => runs(rows),
    }
}

/// How often each outcome came in runs with many seeds, and the histograms of what was measured.
pub(crate) fn frequency_table(rows: &[Row], histograms: &[Histogram]) -> String {
    let drawn = histograms.iter().map(|histogram| format!("\n{histogram}"));
    frequencies(rows) + &drawn.collect::<String>()
}

fn outcome_text(exchange: &Exchange) -> String {
    match &exchange.outcome {
        Outcome::Response { status, .. } => status.to_string(),
        Outcome::Failed(_) => "no response".into(),
        Outcome::Waiting => "waiting".into(),
    }
}

/// A run in one line: the responses each client got, and what the proxies logged of it.
#[must_use]
pub fn outcome(scenario: &Scenario, played: &Played) -> String {
    if let Some((host, why)) = played.refused.first() {
        return format!("{host} refuses its configuration: {}", why.lines().next().unwrap_or_default());
    }
    let mut parts = Vec::new();
    for host in &scenario.hosts {
        let outcomes: Vec<String> =
            played.sightings.exchanges.iter().filter(|exchange| exchange.host == host.name).map(outcome_text).collect();
        let in_log = logged(&played.trace, &host.name);
        for seen in [outcomes, in_log] {
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

/// A row for each run.
fn runs(rows: &[Row]) -> String {
    let width = columns::width(rows.iter().map(|row| row.label.as_str()));
    let mut text = String::from("WHAT CAME OF EACH RUN\n");
    for Row { label, outcome, .. } in rows {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{label:width$}  {outcome}");
    }
    text
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
    fn outcomes_are_sorted_by_how_often_they_came() {
        let row = |seed, outcome: &str| Row { label: String::new(), seed, outcome: outcome.into() };
        let text = frequencies(&[row(1, "a"), row(2, "b"), row(3, "b")]);
        assert_eq!(
            text,
            "HOW OFTEN EACH OUTCOME CAME\n     2 times, first with seed 2       b\n     1 times, first with seed 1       a\n"
        );
    }
}
