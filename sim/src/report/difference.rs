//! Two runs beside each other: what came of each, the first event where they part, and the fields of heads that differ.
//!
//! Events are compared by what they are, not by when they were: two runs part where one has a message or a step that the
//! other lacks, or another in its place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::heads::{Head, heads};
use super::rounds::{shown, without_numbers};
use super::sequence::{Crossing, What, messages};
use super::table::outcome;
use super::timeline::LINES_MAX;
use crate::clock::Millis;
use crate::run::Played;
use crate::scenario::Scenario;
use crate::trace::{HostId, Trace};
use crate::words::{SCRIPT_HOST, printable};

/// Lines before the first difference that are printed.
const BEFORE: usize = 3;
/// Lines of each run that are compared from the first difference on, and rows that are printed.
const COMPARED_MAX: usize = 400;
const ROWS_MAX: usize = 40;
/// Heads with differences that are printed.
const HEADS_MAX: usize = 40;
/// Fields that chance fills in each run anew.
const DRAWN: [&str; 4] = ["date", "sec-websocket-accept", "sec-websocket-key", "x-request-id"];

/// One of the two runs.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is called: a file, or a value of a parameter.
    pub name: &'a str,
    /// What was played.
    pub scenario: &'a Scenario,
    /// What came of it.
    pub played: &'a Played,
}

/// A line of a run.
struct Line {
    at: Duration,
    text: String,
    /// The text without the numbers that count.
    key: String,
}

/// The comparison as text, in lines of at most `columns`.
#[must_use]
pub fn difference(one: Side<'_>, other: Side<'_>, columns: usize) -> String {
    let mut text = format!("TWO RUNS\n A  {}\n B  {}\n", one.name, other.name);
    let came = |side: Side<'_>| outcome(side.scenario, side.played);
    // Writing to a String cannot fail.
    let _infallible = write!(text, "\nWHAT CAME OF THEM\n A  {}\n B  {}\n", came(one), came(other));
    let (left, right) = (lines(&one.played.trace), lines(&other.played.trace));
    let alike = left.iter().zip(&right).take_while(|(left, right)| left.key == right.key).count();
    match (left.get(alike), right.get(alike)) {
        (None, None) => text.push_str(&of_times(&left, &right)),
        (a, b) => {
            let at =
                |line: Option<&Line>| line.map_or("after its end".into(), |line| format!("at {} ms", Millis(line.at)));
            let _infallible =
                writeln!(text, "\nWHERE THEY PART: after {alike} lines that are alike, A {}, B {}", at(a), at(b));
            let from = alike.saturating_sub(BEFORE);
            beside(&mut text, left.get(from..).unwrap_or_default(), right.get(from..).unwrap_or_default(), columns);
        }
    }
    text.push_str("\nFIELDS THAT DIFFER, HOP BY HOP\n");
    let differing = fields(&one.played.trace, &other.played.trace);
    text.push_str(if differing.is_empty() { "  none\n" } else { &differing });
    text
}

/// What is to be said of two runs with the same lines.
fn of_times(left: &[Line], right: &[Line]) -> String {
    let differing = left.iter().zip(right).find(|(left, right)| left.at != right.at);
    match differing {
        None => format!("\nTHEY DO NOT PART: {} lines that are alike, at the same times\n", left.len()),
        Some((a, b)) => format!(
            "\nTHEY DO NOT PART: {} lines that are alike; the first at another time, {} ms in A and {} ms in B, is\n    {}\n",
            left.len(),
            Millis(a.at),
            Millis(b.at),
            a.text
        ),
    }
}

/// What crossed the network and what was done, a line each. Logs follow from it, and have times in them.
fn lines(trace: &Trace) -> Vec<Line> {
    let name = |host: HostId| trace.host(host);
    let items = shown(trace, messages(trace), LINES_MAX);
    let of_item = |item: super::sequence::Item| {
        let text = match item.what {
            What::Log { .. } => return None,
            What::Note { host, text } if name(host) == SCRIPT_HOST => format!("* {text}"),
            What::Note { host, text } => format!("* {}: {text}", name(host)),
            What::Crossing(Crossing { from, to, text, arrived, .. }) => {
                let lost = if arrived.is_none() { " (never arrives)" } else { "" };
                format!("{} -> {}  {text}{lost}", name(from), to.map_or("nowhere", name))
            }
        };
        Some(Line { at: item.moment.at, key: without_numbers(&text), text })
    };
    items.into_iter().filter_map(of_item).collect()
}

/// Both in columns: what they share stands in both, in the order of each.
fn beside(text: &mut String, left: &[Line], right: &[Line], columns: usize) {
    let (left, right) = (left.get(..COMPARED_MAX).unwrap_or(left), right.get(..COMPARED_MAX).unwrap_or(right));
    let width = columns.saturating_sub(3) / 2;
    let rows = rows(left, right);
    for (a, b) in rows.iter().take(ROWS_MAX) {
        let cell = |line: Option<&Line>| {
            let whole = line.map_or_else(String::new, |line| format!("{:>11} {}", Millis(line.at), line.text));
            match whole.chars().count() > width {
                true => whole.chars().take(width.saturating_sub(2)).chain("..".chars()).collect(),
                false => whole,
            }
        };
        let mark = match (a, b) {
            (Some(_), Some(_)) => ' ',
            (Some(_), None) => '<',
            (None, _) => '>',
        };
        let row = format!("{:width$} {mark} {}", cell(*a), cell(*b));
        let _infallible = writeln!(text, "{}", row.trim_end());
    }
    if rows.len() > ROWS_MAX {
        let _infallible = writeln!(text, "{:>11} and so on", "");
    }
}

type Row<'l> = (Option<&'l Line>, Option<&'l Line>);

/// Lines in pairs, as the longest sequence that both have puts them.
fn rows<'l>(left: &'l [Line], right: &'l [Line]) -> Vec<Row<'l>> {
    let width = right.len() + 1;
    // How many lines both have from here on.
    let mut common = vec![0_usize; (left.len() + 1) * width];
    let at = |a: usize, b: usize| a * width + b;
    for (a, one) in left.iter().enumerate().rev() {
        for (b, other) in right.iter().enumerate().rev() {
            let value = |a, b| common.get(at(a, b)).copied().unwrap_or_default();
            let longest =
                if one.key == other.key { value(a + 1, b + 1) + 1 } else { value(a + 1, b).max(value(a, b + 1)) };
            if let Some(cell) = common.get_mut(at(a, b)) {
                *cell = longest;
            }
        }
    }
    let (mut rows, mut a, mut b) = (Vec::new(), 0, 0);
    loop {
        let value = |a, b| common.get(at(a, b)).copied().unwrap_or_default();
        match (left.get(a), right.get(b)) {
            (Some(one), Some(other)) if one.key == other.key => {
                rows.push((Some(one), Some(other)));
                (a, b) = (a + 1, b + 1);
            }
            (Some(one), Some(_)) if value(a + 1, b) >= value(a, b + 1) => {
                rows.push((Some(one), None));
                a += 1;
            }
            (Some(one), None) => {
                rows.push((Some(one), None));
                a += 1;
            }
            (_, Some(other)) => {
                rows.push((None, Some(other)));
                b += 1;
            }
            (None, None) => return rows,
        }
    }
}

/// The heads that two runs have in the same place, with the fields that differ.
fn fields(one: &Trace, other: &Trace) -> String {
    let mut text = String::new();
    let (left, right) = (placed(one), placed(other));
    let differing = left.iter().filter_map(|(place, a)| {
        let differing = differences(a, right.get(place)?);
        (!differing.is_empty()).then_some((place, a, differing))
    });
    for (nth, ((from, to, number), head, differing)) in differing.enumerate() {
        if nth == HEADS_MAX {
            text.push_str("  and so on\n");
            break;
        }
        let _infallible = writeln!(text, "  {from} -> {to}, message {number}: {}", head.text);
        for (name, a, b) in differing {
            let name = if name.is_empty() { "first line" } else { name.as_str() };
            let _infallible = writeln!(text, "    {name}\n      A  {a}\n      B  {b}");
        }
    }
    text
}

/// Heads by sender, receiver and number between them.
fn placed(trace: &Trace) -> BTreeMap<(String, String, usize), Head> {
    let mut numbers: BTreeMap<(HostId, Option<HostId>), usize> = BTreeMap::new();
    let place = |head: Head| {
        let number = numbers.entry((head.from, head.to)).or_default();
        *number += 1;
        let to = head.to.map_or("nowhere", |to| trace.host(to));
        ((trace.host(head.from).to_owned(), to.to_owned(), *number), head)
    };
    heads(trace).into_iter().map(place).collect()
}

/// Names of fields with the values that each head has.
fn differences(one: &Head, other: &Head) -> Vec<(String, String, String)> {
    let values = |head: &Head, name: &str| {
        let its = head.fields.iter().filter(|(has, _)| has.eq_ignore_ascii_case(name));
        let its: Vec<String> = its.map(|(_, value)| printable(value.clone())).collect();
        if its.is_empty() { "(absent)".to_owned() } else { its.join(" | ") }
    };
    // Two versions of HTTP have the first line, or the pseudo-header fields, for the same.
    let is_http1 = |head: &Head| head.fields.iter().any(|(name, _)| name.is_empty());
    let is_mixed = is_http1(one) != is_http1(other);
    let is_control = |name: &str| name.is_empty() || name.starts_with(':') || name == "host";
    let mut names: Vec<String> = Vec::new();
    for (name, _) in one.fields.iter().chain(&other.fields) {
        let name = name.to_ascii_lowercase();
        let is_passed_over = DRAWN.contains(&name.as_str()) || (is_mixed && is_control(&name));
        if !is_passed_over && !names.contains(&name) {
            names.push(name);
        }
    }
    let both = names.into_iter().map(|name| {
        let (a, b) = (values(one, &name), values(other, &name));
        (name, a, b)
    });
    both.filter(|(_, a, b)| a != b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { at: Duration::ZERO, text: text.into(), key: text.into() }
    }

    #[test]
    fn lines_that_both_have_stand_beside_each_other() {
        let (left, right) = (["a", "b", "c", "d"].map(line), ["a", "x", "c", "d", "e"].map(line));
        let shown: Vec<String> = rows(&left, &right)
            .iter()
            .map(|(a, b)| [a, b].map(|line| line.map_or("-", |line| line.text.as_str())).concat())
            .collect();
        assert_eq!(shown, ["aa", "b-", "-x", "cc", "dd", "-e"]);
    }
}
