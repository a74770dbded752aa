//! What a person is told about a scenario file that is none: file, line, the line itself, and what would be right.

use std::path::Path;

use finwait_sim::scenario::{Library, Scenario};

/// Every file under `bad_scenarios/`, with the message it gets. Reading them side by side is the review.
#[test]
fn the_messages_say_where_and_what() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_scenarios");
    let library = Library::Disk(folder.clone());
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort_unstable();
    let messages: Vec<String> = names
        .iter()
        .map(|name| match Scenario::load(&library, name) {
            Ok(_) => format!("{name} is accepted"),
            Err(error) => error.to_string(),
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn the_program_refuses_with_exit_status_two() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_scenarios/unknown-key.yaml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_finwait-sim")).arg("run").arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("did you mean `latency`?"));
}
