//! Compares two revisions of `golden/` and fails if anything but words differs.
//!
//! `cargo run -p finwait-sim --example words_only -- OLD [NEW]`, where NEW is a revision, or without it the working tree.
//!
//! Of each line the facts are compared: numbers with their units, statuses, response flags, response-code details, times,
//! addresses, header names, settings, quoted text. English words and the spaces between them may differ. A renamed file is
//! compared with the file that it was, and a scenario's name that occurs in a text counts as its new name. The introduction
//! of a story is compared as one line, because it is wrapped anew when it changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let revisions: Vec<String> = std::env::args().skip(1).collect();
    let (old, new) = match revisions.as_slice() {
        [old] => (old, None),
        [old, new] => (old, Some(new.as_str())),
        _ => {
            eprintln!("usage: words_only OLD [NEW]: revisions of this repository; without NEW the working tree");
            return ExitCode::from(2);
        }
    };
    match compare(old, new) {
        Ok((files, differences)) if differences.is_empty() => {
            eprintln!("words only: {files} golden files differ, in no fact");
            ExitCode::SUCCESS
        }
        Ok((_, differences)) => {
            eprintln!("{}", differences.join("\n"));
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// How many golden files differ, and the lines whose facts do.
fn compare(old: &str, new: Option<&str>) -> Result<(usize, Vec<String>), String> {
    let range: Vec<&str> = std::iter::once(old).chain(new).collect();
    let status =
        git(&[&["diff", "--name-status", "-M20%"], range.as_slice(), &["--", "golden", "scenarios"]].concat())?;
    let changes = Change::parse_all(&status)?;
    let renames: BTreeMap<String, String> = changes
        .iter()
        .filter(|change| change.old != change.new)
        .map(|Change { old, new }| (scenario(old), scenario(new)))
        .collect();
    let (mut files, mut differences) = (0, Vec::new());
    for Change { old: from, new: to } in changes.iter().filter(|change| change.new.ends_with(".snap")) {
        files += 1;
        let before = git(&["show", &format!("{old}:{from}")])?;
        let after = match new {
            Some(new) => git(&["show", &format!("{new}:{to}")])?,
            None => std::fs::read_to_string(root().join(to)).map_err(|error| format!("{to}: {error}"))?,
        };
        differences.extend(differing(&renamed(&before, &renames), &after).map(|lines| format!("{to}:{lines}")));
    }
    Ok((files, differences))
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn git(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").current_dir(root()).args(arguments).output();
    let output = output.map_err(|error| format!("git {}: {error}", arguments.join(" ")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A file that changed: its path before and after.
struct Change {
    old: String,
    new: String,
}

impl Change {
    /// From the lines of `git diff --name-status`.
    fn parse_all(status: &str) -> Result<Vec<Self>, String> {
        let parse = |line: &str| match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["M", path] => Some(Ok(Self { old: (*path).into(), new: (*path).into() })),
            [how, old, new] if how.starts_with('R') => Some(Ok(Self { old: (*old).into(), new: (*new).into() })),
            [_, path] if path.ends_with(".snap") => {
                Some(Err(format!("{path}: added or deleted; only changes and renames can be compared")))
            }
            _ => None,
        };
        status.lines().filter_map(parse).collect()
    }
}

/// `upgrades/a-client-abort-is-logged-like-a-close` of its scenario and of its golden file.
fn scenario(path: &str) -> String {
    let path = path.trim_start_matches("golden/").trim_start_matches("scenarios/");
    path.trim_end_matches(".snap").trim_end_matches(".yaml").to_owned()
}

/// A story with the new names of scenarios.
fn renamed(story: &str, renames: &BTreeMap<String, String>) -> String {
    renames
        .iter()
        .fold(story.to_owned(), |story, (old, new)| story.replace(&format!("{old}.yaml"), &format!("{new}.yaml")))
}

/// The first lines with different facts, as a number and both texts; None if there are none.
fn differing(before: &str, after: &str) -> Option<String> {
    let (before, after) = (lines(before), lines(after));
    let pairs = before.iter().zip(&after).enumerate();
    let mut found: Vec<String> = pairs
        .filter(|(_, (before, after))| facts(before) != facts(after))
        .map(|(nth, (before, after))| format!("{}\n    - {before}\n    + {after}", nth + 1))
        .collect();
    if before.len() != after.len() {
        found.push(format!("{} lines were {}", after.len(), before.len()));
    }
    (!found.is_empty()).then(|| found.join("\n"))
}

/// The lines of a golden file without insta's own head; the introduction is one line.
fn lines(text: &str) -> Vec<String> {
    let story = text.splitn(3, "---\n").nth(2).unwrap_or(text);
    let (introduction, rest) = story.split_once("\n\n").unwrap_or((story, ""));
    let introduction = introduction.lines().collect::<Vec<_>>().join(" ");
    std::iter::once(introduction).chain(rest.lines().map(str::to_owned)).collect()
}

/// What may not change in a line; a title has no facts.
fn facts(line: &str) -> Vec<String> {
    let is_title = !line.starts_with(' ') && !line.chars().any(|c| c.is_lowercase() || c.is_ascii_digit());
    if is_title {
        return Vec::new();
    }
    let mut facts = Vec::new();
    // Every second part stands between quotation marks, and is data.
    for (nth, part) in line.split('"').enumerate() {
        match nth % 2 {
            1 => facts.push(format!("\"{part}\"")),
            _ => facts.extend(part.split_whitespace().filter_map(fact)),
        }
    }
    facts
}

/// A word of a line without its punctuation, if it states a fact.
fn fact(word: &str) -> Option<String> {
    let word = word.trim_end_matches(&[',', ';', ':', '.', ')'][..]).trim_start_matches('(').trim_end_matches("'s");
    let is_code = word.contains(|c: char| c.is_ascii_digit() || "_={}/<>".contains(c)) || word.contains("->");
    let is_dotted = word.trim_matches('.').contains('.');
    let is_capital = word.chars().filter(char::is_ascii_uppercase).count() > 1;
    let is_header = word.contains('-') && ["x-", "content-", "grpc-", "retry-"].iter().any(|it| word.starts_with(it));
    let is_unit = matches!(word, "ms" | "bytes" | "%");
    (is_code || is_dotted || is_capital || is_header || is_unit).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "---\nsource: x\n---\nAn app leaves,\nwith FIN.\n\nWHY\n  front  asked 10.0.0.3:80 at 2.250 ms, 503 UC upstream_reset\n";

    #[test]
    fn words_and_spaces_may_differ() {
        let after = "---\nsource: x\n---\nAn app closes its\nconnection with FIN.\n\nREASONS\n front  sent the request to 10.0.0.3:80 (at 2.250 ms): 503 UC upstream_reset\n";
        assert_eq!(differing(BEFORE, after), None);
    }

    #[test]
    fn facts_may_not_differ() {
        for (old, new) in [
            ("503", "504"),
            ("UC", "UF"),
            ("FIN", "RST"),
            ("2.250", "2.500"),
            ("10.0.0.3:80", "10.0.0.4:80"),
            ("upstream_reset", "upstream_overflow"),
            ("503 UC", "UC 503"),
            ("WHY\n", "WHY\n\n"),
        ] {
            let after = BEFORE.replacen(old, new, 1);
            assert!(differing(BEFORE, &after).is_some(), "{old} became {new} unseen");
        }
        assert!(differing("a\n\n \"one\"\n", "a\n\n \"two\"\n").is_some(), "quoted text is data");
    }

    #[test]
    fn a_renamed_scenario_is_the_same_scenario() {
        let changes =
            Change::parse_all("R097\tgolden/a/x.snap\tgolden/a/y.snap\nM\tscenarios/README.md\n").expect("changes");
        let renames = BTreeMap::from([(scenario(&changes[0].old), scenario(&changes[0].new))]);
        assert_eq!(renamed("see scenarios/a/x.yaml:12", &renames), "see scenarios/a/y.yaml:12");
        assert!(Change::parse_all("D\tgolden/a/x.snap\n").is_err(), "a deleted story is no change of words");
    }
}
