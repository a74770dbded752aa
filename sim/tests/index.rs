//! The index at the end of `scenarios/README.md`: every scenario with its `about` and its `refs`.
//!
//! `FINWAIT_WRITE_INDEX=1 cargo test -p finwait-sim --test index` writes it anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use finwait_sim::scenario::Library;
use serde::Deserialize;

/// The line after which the index begins; it goes to the end of the file.
const BEGIN: &str =
    "<!-- What follows is written by `FINWAIT_WRITE_INDEX=1 cargo test -p finwait-sim --test index`. -->\n";

/// What the index shows of a scenario.
#[derive(Deserialize)]
struct Entry {
    about: String,
    #[serde(default)]
    refs: Vec<String>,
}

#[test]
fn the_index_has_every_scenario() {
    let path = repository().join("scenarios/README.md");
    let text = std::fs::read_to_string(&path).expect("the reference of the language is there");
    let (before, has) = text.split_once(BEGIN).expect("it has the line that begins the index");
    let expected = index(&Library::Disk(repository()));
    if std::env::var_os("FINWAIT_WRITE_INDEX").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}")).expect("it can be written");
    } else if let Some((has, expected)) = has.lines().zip(expected.lines()).find(|(has, expected)| has != expected) {
        panic!("the index is stale; {BEGIN}has      {has}\nexpected {expected}");
    } else {
        assert_eq!(has.lines().count(), expected.lines().count(), "the index is stale; {BEGIN}");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A table for each topic.
fn index(library: &Library) -> String {
    let mut index = String::new();
    let mut topic = "";
    let files = library.scenarios().expect("the repository has scenarios");
    for file in &files {
        let path = file.trim_start_matches("scenarios/");
        let (of, name) = path.trim_end_matches(".yaml").split_once('/').expect("a scenario lives in a topic");
        if of != topic {
            topic = of;
            write!(index, "\n### {topic}\n\n| Scenario | What happens | Reports and rules |\n|---|---|---|\n")
                .expect("a string");
        }
        let text = library.read(file).expect("it was listed");
        let Entry { about, refs } = serde_yaml::from_str(&head(&text)).expect("it has `about`");
        let about = about.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<");
        let refs: Vec<String> = refs.iter().map(|it| link(it)).collect();
        writeln!(index, "| [{name}]({path}) | {about} | {} |", refs.join(", ")).expect("a string");
    }
    index
}

/// The keys that the index shows; others have values that are YAML only once a sweep has filled them in.
fn head(text: &str) -> String {
    let mut is_shown = false;
    let lines = text.lines().filter(|line| {
        if !line.starts_with([' ', '#']) && !line.is_empty() {
            is_shown = line.starts_with("about:") || line.starts_with("refs:");
        }
        is_shown
    });
    lines.fold(String::new(), |head, line| head + line + "\n")
}

/// `owner/repository#1` as a link; anything else as it is.
fn link(reference: &str) -> String {
    let repository = reference.split_once('#').filter(|(repository, number)| {
        repository.split('/').count() == 2 && !repository.contains(' ') && number.parse::<u32>().is_ok()
    });
    match repository {
        Some((repository, number)) => format!("[{reference}](https://github.com/{repository}/issues/{number})"),
        None => reference.to_owned(),
    }
}
