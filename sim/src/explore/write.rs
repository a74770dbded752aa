//! Scenario files made of scenario files, line by line, so that the author's words and layout stay.

use serde_yaml::Spanned;
use serde_yaml::granit_parser::ScalarStyle::Plain;

use crate::course::Perturbation;
use crate::scenario::{Scenario, flow};

/// The text with these parameters in place of its own.
#[must_use]
pub fn with_sweep(text: &str, parameters: &[(&str, &[String])]) -> String {
    let mut lines = without_keys(text, &["sweep"]);
    lines.push("sweep:".into());
    lines.extend(parameters.iter().map(|(name, values)| {
        format!("  {name}: [{}]", values.iter().map(|value| flow(value, Plain)).collect::<Vec<_>>().join(", "))
    }));
    lines.join("\n") + "\n"
}

/// The text with this seed and this schedule in place of those that it has. `of` are the parameters of the run that
/// it is about; without any, the file requests no other run.
pub(super) fn with_schedule(
    text: &str,
    of: &[(String, String)],
    seed: u64,
    schedule: &[Perturbation<String>],
) -> String {
    let mut lines = without_keys(text, &["seed", "seeds", "chance", "schedule", "story"]);
    if of.is_empty() {
        lines = without_keys(&lines.join("\n"), &["sweep"]);
    } else {
        let of: Vec<String> = of.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        lines.push(format!("story: {{ {} }}", of.join(", ")));
    }
    lines.push(format!("seed: {seed}"));
    if schedule.is_empty() {
        lines.push("schedule: []".into());
    } else {
        lines.push("schedule:".into());
        lines.extend(schedule.iter().map(|perturbation| format!("- {}", perturbation.to_yaml())));
    }
    lines.join("\n") + "\n"
}

/// The text with its configuration files found from another folder, from where `folder` is the one it was in.
#[must_use]
pub fn moved(text: &str, folder: &str) -> String {
    const KEY: &str = "config:";
    let mut written = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(KEY) {
        let (before, behind) = rest.split_at(at + KEY.len());
        let is_key = !before.trim_end_matches(KEY).ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        let spaces = behind.len() - behind.trim_start_matches([' ', '"', '\'']).len();
        let (space, path) = behind.split_at(spaces);
        written.push_str(before);
        written.push_str(space);
        if is_key && path.starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_') {
            written.push_str(folder);
            written.push('/');
        }
        rest = path;
    }
    written + rest
}

/// The text with words behind the lines of its schedule.
pub(super) fn with_words(text: &str, schedule: &[(Perturbation<String>, String)]) -> String {
    let mut written = String::new();
    for line in text.lines() {
        written.push_str(line);
        let words = schedule.iter().find(|(perturbation, _)| line == format!("- {}", perturbation.to_yaml()));
        if let Some((_, words)) = words {
            written.push_str(" # ");
            written.push_str(words);
        }
        written.push('\n');
    }
    written
}

/// Texts that are shorter by one expectation, or by one step, or by a step and an expectation about the same host; the
/// later ones first. Not all of them are scenarios.
pub(super) fn shorter(text: &str, scenario: &Scenario) -> Vec<String> {
    let steps = places(text, &scenario.script);
    let expectations = places(text, &scenario.expect);
    let mut candidates: Vec<Vec<Place>> = expectations.iter().rev().map(|it| vec![*it]).collect();
    for step in steps.iter().rev() {
        candidates.push(vec![*step]);
        candidates.extend(expectations.iter().rev().map(|expectation| vec![*step, *expectation]));
    }
    candidates.iter().map(|places| without(text, places)).collect()
}

/// The text of one run without what distinguishes it: of the expectations that have `when`, those of the run lose it, and
/// the others go. `expect` are those of the run.
pub(super) fn without_conditions<T>(text: &str, expect: &[Spanned<T>]) -> String {
    let kept: Vec<usize> = places(text, expect).iter().map(|(begin, _)| *begin).collect();
    let mut written = Vec::new();
    let mut within = false; // the list of expectations
    let mut goes = false; // the element of another run
    let mut joined = String::new(); // the dash of an element whose first line was `when` alone
    for (number, line) in text.lines().enumerate() {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            (within, goes) = (line.starts_with("expect:"), false);
        }
        let begins = within && line.trim_start().starts_with("- ");
        if begins {
            goes = condition(line).is_some() && !kept.contains(&number);
        }
        match condition(line).filter(|_| begins) {
            _ if goes => {}
            Some((before, "")) => joined = before.to_owned(),
            Some((before, behind)) => written.push(format!("{before}{behind}")),
            None if !joined.is_empty() => written.push(std::mem::take(&mut joined) + line.trim_start()),
            None => written.push(line.to_owned()),
        }
    }
    written.join("\n") + "\n"
}

/// What stands before and behind the `when` of a line.
fn condition(line: &str) -> Option<(&str, &str)> {
    const KEY: &str = "when: ";
    let at =
        line.find(KEY).filter(|at| line.get(..*at).is_some_and(|before| before.trim_end().ends_with(['-', '{'])))?;
    let (before, rest) = (line.get(..at)?, line.get(at + KEY.len()..)?);
    let mut depth = 0_usize;
    for (place, c) in rest.char_indices() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => return Some((before, rest.get(place + 1..)?.trim_start())),
            _ => {}
        }
    }
    Some((before, ""))
}

/// Lines of a file, from the first up to the one before the second, counted from 0.
type Place = (usize, usize);

/// Where the elements of a list stand. An element ends where the next begins, or where its indentation does.
fn places<T>(text: &str, list: &[Spanned<T>]) -> Vec<Place> {
    let line =
        |element: &Spanned<T>| usize::try_from(element.referenced.line()).unwrap_or(usize::MAX).saturating_sub(1);
    let mut places = Vec::new();
    for (nth, element) in list.iter().enumerate() {
        let begin = line(element);
        let indentation = text.lines().nth(begin).map_or(0, indentation);
        let inside = |line: &str| line.trim().is_empty() || self::indentation(line) > indentation;
        let own_end = begin + 1 + text.lines().skip(begin + 1).take_while(|line| inside(line)).count();
        let next = list.get(nth + 1).map_or(own_end, line);
        places.push((begin, own_end.min(next)));
    }
    places
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn without(text: &str, places: &[Place]) -> String {
    let goes = |number: usize| places.iter().any(|(begin, end)| (*begin..*end).contains(&number));
    let kept = text.lines().enumerate().filter(|(number, _)| !goes(*number)).map(|(_, line)| line);
    let mut lines: Vec<String> = kept.map(str::to_owned).collect();
    // A list that has lost its last element is no list any more.
    for at in 0..lines.len() {
        let is_bare = matches!(lines.get(at).map(String::as_str), Some("expect:" | "script:"));
        let goes_on = lines.get(at + 1).is_some_and(|line| line.starts_with(['-', ' ', '#']));
        if is_bare
            && !goes_on
            && let Some(line) = lines.get_mut(at)
        {
            line.push_str(" []");
        }
    }
    lines.join("\n") + "\n"
}

/// The lines of a text without those of some top-level keys.
fn without_keys(text: &str, keys: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        // A key's value goes on over indented lines and over the elements of a list.
        let begins_key = line.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins_key {
            inside = keys.iter().any(|key| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
        }
        if !inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_schedule_takes_the_place_of_what_was_there() {
        let text = "about: a\nseed: 7\nschedule:\n- { first: a, choice: 1 }\nscript:\n- wait: 1s\n";
        let delay = Perturbation::Delay { from: "a".into(), to: "b".into(), segment: 3, by: Duration::from_millis(2) };
        let expected =
            "about: a\nscript:\n- wait: 1s\nseed: 2\nschedule:\n- { delay: 2ms, from: a, to: b, segment: 3 }\n";
        assert_eq!(with_schedule(text, &[], 2, std::slice::from_ref(&delay)), expected);
        let written = with_words(expected, &[(delay, "FIN".into())]);
        assert!(written.ends_with("segment: 3 } # FIN\n"), "{written}");
    }

    #[test]
    fn the_expectations_of_other_runs_go() {
        let text = "expect:\n- a: 1\n- { when: [5s, 6s], a: { b: 2 } }\n- { when: 7s, a: 3 }\n- when: { x: 5s }\n  a: 4\nseed: 1\n";
        #[derive(serde::Deserialize)]
        struct File {
            expect: Vec<Spanned<serde_json::Value>>,
        }
        let mut file: File = serde_yaml::from_str(text).unwrap();
        file.expect.remove(2);
        let expected = "expect:\n- a: 1\n- { a: { b: 2 } }\n- a: 4\nseed: 1\n";
        assert_eq!(without_conditions(text, &file.expect), expected);
    }

    #[test]
    fn a_scenario_that_moves_finds_its_configurations() {
        let text = "hosts:\n  a: { config: b.yaml, c: 1 }\n  d:\n    config: \"../e.yaml\"\n  f: { config: /g.yaml }\n";
        let expected =
            "hosts:\n  a: { config: ../b.yaml, c: 1 }\n  d:\n    config: \"../../e.yaml\"\n  f: { config: /g.yaml }\n";
        assert_eq!(moved(text, ".."), expected);
        let others = "about: its config: none\nx_config: y\n";
        assert_eq!(moved(others, "..").lines().last(), Some("x_config: y"));
    }

    #[test]
    fn elements_go_with_all_their_lines() {
        let text = "script:\n  - a:\n      b: 1\n  - c: 2\nexpect:\n- d: 3\n";
        assert_eq!(without(text, &[(1, 3)]), "script:\n  - c: 2\nexpect:\n- d: 3\n");
        assert_eq!(without(text, &[(5, 6)]), "script:\n  - a:\n      b: 1\n  - c: 2\nexpect: []\n");
    }
}
