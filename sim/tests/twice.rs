//! Determinism: every scenario played twice in this process and once in another gives one trace, byte for byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use finwait_sim::scenario::{Library, Scenario};

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let library = Library::Disk(repository());
    let files = library.scenarios().unwrap();
    assert!(!files.is_empty());
    for file in files {
        let first = trace(&library, &file);
        assert!(!first.is_empty(), "{file}");
        assert_same(&first, &trace(&library, &file), &file, "again in this process");
        assert_same(&first, &trace_of_another_process(&file), &file, "in another process");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn trace(library: &Library, file: &str) -> String {
    let scenario = Scenario::load(library, file).expect("shipped scenarios load");
    scenario.play(None).expect("shipped configurations are accepted").trace.to_text()
}

fn trace_of_another_process(file: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
    let output = program.current_dir(repository()).args(["run", "--trace", file]).output().expect("the program starts");
    String::from_utf8(output.stdout).expect("a trace is text")
}

#[track_caller]
fn assert_same(first: &str, second: &str, file: &str, when: &str) {
    let difference = first.lines().zip(second.lines()).find(|(one, other)| one != other);
    assert_eq!(difference, None, "{file}, {when}: the first difference");
    assert_eq!(first.len(), second.len(), "{file}, {when}: one trace is the beginning of the other");
}
