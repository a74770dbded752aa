//! What happens again and again in a run, shown once: rounds of a `repeat` that go like the one before, in long runs
//! whatever follows itself many times, and of runs that are longer still the beginning, the end, and what is around
//! streams with response flags.
//!
//! Stories, diagrams and pages all show a run as [`shown`] makes it, so that none of them grows without bound.

use std::time::Duration;

use super::sequence::{Crossing, Item, What};
use crate::clock::Millis;
use crate::trace::accounts::accounts;
use crate::trace::conversation::Moment;
use crate::trace::{HostId, Trace};
use crate::words::{SCRIPT_HOST, round_of};

/// Below this number of items everything is shown that is not a round of a `repeat`.
const LONG_MIN: usize = 1_000;
/// Items that a repeated stretch may have: a request through several hops has about twenty.
const PERIOD_MAX: usize = 64;
/// A stretch that follows itself so often is shown once.
const TIMES_MIN: usize = 4;
/// Items shown before and after the end of a stream with response flags.
const AROUND: (usize, usize) = (24, 8);

/// The items with notes in place of those that are like the ones before, and no more than about `most` of them.
pub(crate) fn shown(trace: &Trace, items: Vec<Item>, most: usize) -> Vec<Item> {
    let rounds = without_equal_rounds(trace, items);
    let folded = if rounds.len() >= LONG_MIN { without_cycles(trace, rounds) } else { rounds };
    at_most(trace, folded, most)
}

/// Rounds that are alike in one. The last round is shown in any case: what follows the rounds is not to be confused with it.
fn without_equal_rounds(trace: &Trace, items: Vec<Item>) -> Vec<Item> {
    let mut rounds: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match rounds.last_mut() {
            Some(round) if round_number(trace, &item).is_none() => round.push(item),
            _ => rounds.push(vec![item]),
        }
    }
    let numbers: Vec<Option<u32>> = rounds.iter().map(|round| round_number(trace, round.first()?)).collect();
    let mut kept = Vec::new();
    let mut before: Option<Vec<String>> = None;
    let mut alike: Option<(u32, u32, Moment)> = None;
    for (nth, round) in rounds.into_iter().enumerate() {
        let number = numbers.get(nth).copied().flatten();
        let is_last = numbers.get(nth + 1).copied().flatten().is_none_or(|next| next == 1);
        let words = number.map(|_| round.iter().skip(1).map(words).collect::<Vec<_>>());
        match (number, round.first()) {
            (Some(number), Some(first)) if !is_last && words == before => {
                alike = Some(alike.map_or((number, number, first.moment), |(first, _, from)| (first, number, from)));
            }
            _ => {
                kept.extend(alike.take().map(|alike| rounds_note(trace, alike)));
                kept.extend(round);
            }
        }
        before = words;
    }
    kept.extend(alike.map(|alike| rounds_note(trace, alike)));
    kept
}

fn rounds_note(trace: &Trace, (first, last, from): (u32, u32, Moment)) -> Item {
    let text = match last.saturating_sub(first) {
        0 => format!("round {first} goes like this one"),
        _ => format!("rounds {first} to {last} go like this one"),
    };
    note(trace, from, text)
}

/// The number of the round that begins with this item.
fn round_number(trace: &Trace, item: &Item) -> Option<u32> {
    match &item.what {
        What::Note { host, text } if trace.host(*host) == SCRIPT_HOST => round_of(text),
        What::Crossing(_) | What::Log { .. } | What::Note { .. } => None,
    }
}

/// A stretch that follows itself, once.
fn without_cycles(trace: &Trace, items: Vec<Item>) -> Vec<Item> {
    let words: Vec<String> = items.iter().map(words).collect();
    let ends: Vec<Duration> = items.iter().map(|item| item.moment.at).collect();
    let mut kept = Vec::new();
    let mut items = items.into_iter();
    let mut at = 0;
    while at < words.len() {
        let Some((period, times)) = cycle(words.get(at..).unwrap_or_default()) else {
            kept.extend(items.next());
            at += 1;
            continue;
        };
        kept.extend(items.by_ref().take(period));
        let again = (times - 1) * period;
        let until = ends.get(at + times * period - 1).copied().unwrap_or_default();
        if let Some(first) = items.by_ref().take(again).fold(None, |first, item| first.or(Some(item.moment))) {
            let lines = if period == 1 { "the line before".into() } else { format!("the {period} lines before") };
            let text = format!("{lines} {} more times, until {} ms", times - 1, Millis(until));
            kept.push(note(trace, first, text));
        }
        at += times * period;
    }
    kept
}

/// How long a stretch is with which the words begin and that follows itself, and how often it comes.
fn cycle(words: &[String]) -> Option<(usize, usize)> {
    let (first, rest) = words.split_first()?;
    let periods = rest.iter().take(PERIOD_MAX).enumerate().filter(|(_, word)| *word == first);
    let mut cycles = periods.map(|(nth, _)| {
        let period = nth + 1;
        let same = words.iter().zip(words.get(period..).unwrap_or_default()).take_while(|(one, next)| one == next);
        (period, same.count() / period + 1)
    });
    cycles.find(|(_, times)| *times >= TIMES_MIN)
}

/// Of too many, the first, the last, and those around failures.
fn at_most(trace: &Trace, items: Vec<Item>, most: usize) -> Vec<Item> {
    if items.len() <= most {
        return items;
    }
    let third = most / 3;
    let mut keeps: Vec<bool> = (0..items.len()).map(|nth| nth < third || nth + third >= items.len()).collect();
    let mut room = most.saturating_sub(2 * third);
    let failed = accounts(trace).into_iter().filter(|account| !account.flags.is_empty());
    for account in failed {
        let end = items.partition_point(|item| item.moment.event <= account.event);
        let around = end.saturating_sub(AROUND.0)..(end + AROUND.1).min(items.len());
        for keeps in keeps.get_mut(around).into_iter().flatten().filter(|keeps| !**keeps) {
            if room == 0 {
                break;
            }
            *keeps = true;
            room -= 1;
        }
    }
    let mut kept = Vec::new();
    let mut left_out: Option<(Moment, usize)> = None;
    for (item, keeps) in items.into_iter().zip(keeps) {
        if keeps {
            kept.extend(left_out.take().map(|(from, number)| left_out_note(trace, from, number)));
            kept.push(item);
        } else {
            left_out = Some(left_out.map_or((item.moment, 1), |(from, number)| (from, number + 1)));
        }
    }
    kept
}

fn left_out_note(trace: &Trace, from: Moment, number: usize) -> Item {
    note(trace, from, format!("{number} lines are left out here; --json has them"))
}

/// A remark that no host has made.
fn note(trace: &Trace, moment: Moment, text: String) -> Item {
    let script = trace.hosts().iter().position(|host| host == SCRIPT_HOST).unwrap_or_default();
    Item { moment, what: What::Note { host: HostId(script), text } }
}

/// The text of an item, without times and numbers that are others in each round.
fn words(item: &Item) -> String {
    match &item.what {
        What::Crossing(Crossing { from, to, arrived, text, .. }) => {
            format!("{from:?} {to:?} {} {}", arrived.is_some(), without_numbers(text))
        }
        What::Log { host, line } => format!("{host:?} {}", without_numbers(line)),
        What::Note { host, text } => format!("{host:?} {}", without_numbers(text)),
    }
}

/// A text without the numbers that count: of streams and connections, and of milliseconds.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for place in 0..words.len() {
        let next = words.get(place + 1).copied().unwrap_or_default();
        let before = place.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let counts = ["connection", "on", "stream"].contains(&before) || next.starts_with("ms");
        if let Some(word) = words.get_mut(place).filter(|word| counts && word.starts_with(|c: char| c.is_ascii_digit()))
        {
            *word = "#";
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_that_follows_itself_is_found() {
        let words = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (text, expected) in [
            ("abababab", Some((2, 4))),
            ("ababab", None),
            ("aaaaab", Some((1, 5))),
            ("abcabcabcabcab", Some((3, 4))),
            ("abcdef", None),
            ("", None),
        ] {
            assert_eq!(cycle(&words(text)), expected, "{text}");
        }
    }
}
