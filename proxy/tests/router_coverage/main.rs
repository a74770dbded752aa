//! What shows each behaviour of the router: the list `proxy/ROUTER_COVERAGE.md`, which is made from a table here.
//!
//! Whatever the table names exists: a scenario, a test, a configuration with its snapshot. With `FINWAIT_WRITE_COVERAGE=1` the list
//! is written anew.

#![expect(clippy::disallowed_methods, reason = "the inputs of this test are files")]
#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

mod checklist;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use checklist::GROUPS;
use table::PARTS;

/// What shows a behaviour.
enum Shown {
    /// A file under `proxy/tests/configs`.
    Config(&'static str),
    /// Nothing here, for this reason.
    Missing(&'static str),
    /// A file under `scenarios`, without its ending.
    Scenario(&'static str),
    /// The name of a test of the proxy.
    Test(&'static str),
}

#[test]
fn the_list_is_that_of_the_table() {
    let path = root().join("proxy/ROUTER_COVERAGE.md");
    let list = list();
    if std::env::var_os("FINWAIT_WRITE_COVERAGE").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == list,
        "FINWAIT_WRITE_COVERAGE=1 cargo test -p finwait --test router_coverage writes {path:?} anew"
    );
}

#[test]
fn what_the_table_names_exists() {
    let tests = tests();
    let mut missing = Vec::new();
    let items = PARTS.iter().flat_map(|part| part.items).chain(GROUPS.iter().flat_map(|group| group.items));
    for shown in items.flat_map(|(_, shown)| *shown) {
        let (name, exists) = match shown {
            Shown::Config(file) => (file, root().join("proxy/tests/configs").join(file).exists()),
            Shown::Missing(reason) => (reason, !reason.is_empty()),
            Shown::Scenario(name) => (name, root().join("scenarios").join(format!("{name}.yaml")).exists()),
            Shown::Test(name) => (name, tests.contains(*name)),
        };
        if !exists {
            missing.push(*name);
        }
    }
    assert_eq!(missing, [""; 0], "the table names what does not exist");
}

#[test]
fn every_behaviour_has_something_that_shows_it() {
    for (behaviour, shown) in
        PARTS.iter().flat_map(|part| part.items).chain(GROUPS.iter().flat_map(|group| group.items))
    {
        assert!(!shown.is_empty(), "{behaviour}");
    }
}

/// How many items the list of what Envoy's tests check has.
const ITEMS: usize = 157;

#[test]
fn no_item_of_envoys_tests_is_left_out() {
    let mut next = 1;
    for group in GROUPS {
        assert_eq!(group.first, next, "{}", group.title);
        next += group.items.len();
    }
    assert_eq!(next - 1, ITEMS);
}

fn list() -> String {
    let mut out = String::from(
        "# The router, and what shows its behaviour\n\nMade from `proxy/tests/router_coverage/table.rs` by its test. A scenario is a file under \
         `scenarios/`, a configuration one under\n`proxy/tests/configs/`, a test a function of the crate `finwait`.\n",
    );
    for part in PARTS {
        _ = write!(out, "\n## {}\n\n| Behaviour | Shown by |\n|---|---|\n", part.title);
        for (behaviour, shown) in part.items {
            let shown: Vec<String> = shown.iter().map(describe).collect();
            _ = writeln!(out, "| {behaviour} | {} |", shown.join("; "));
        }
    }
    out += "\n# What Envoy's own tests of its router check, item by item\n";
    for group in GROUPS {
        _ = write!(out, "\n## {}\n\n| | Item | Shown by |\n|---|---|---|\n", group.title);
        for (number, (item, shown)) in (group.first..).zip(group.items) {
            let shown: Vec<String> = shown.iter().map(describe).collect();
            _ = writeln!(out, "| {number} | {item} | {} |", shown.join("; "));
        }
    }
    out
}

fn describe(shown: &Shown) -> String {
    match shown {
        Shown::Config(file) => format!("configuration [{file}](tests/configs/{file})"),
        Shown::Missing(reason) => format!("not shown or not supported: {reason}"),
        Shown::Scenario(name) => format!("scenario [{name}](../scenarios/{name}.yaml)"),
        Shown::Test(name) => format!("test `{name}`"),
    }
}

/// The names of all functions behind a test attribute, and within `proptest!`.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources(&root().join("proxy/src")) {
        let text = std::fs::read_to_string(&source).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")
                && std::mem::take(&mut is_test)
            {
                names.extend(rest.split('(').next().map(str::to_owned));
            }
        }
    }
    names
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
