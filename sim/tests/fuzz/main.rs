//! Plays every seed and every input on which a fuzzer once failed through the function that failed, one test for each.
//!
//! `sim/fuzz/seeds` and `sim/fuzz/crashes` have a folder for each function; all scenarios of the repository are seeds too.
//! How the fuzzers run is told in `sim/fuzz/Cargo.toml`.

#[expect(clippy::panic, reason = "a target panics on what is wrong")]
#[expect(unreachable_pub, reason = "public for the fuzzers, which include this folder in another crate")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};

/// A function that panics if its input shows a fault.
type Target = fn(&[u8]);

/// The folders of the repository that hold further seeds of a target, those below them included.
const TARGETS: [(&str, Target, &[&str]); 3] = [
    ("hpack", targets::hpack, &[]),
    ("scenario_yaml", targets::scenario_yaml, &["scenarios", "sim/tests/bad_scenarios"]),
    ("trace_messages", targets::trace_messages, &[]),
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut trials = Vec::new();
    for (name, target, folders) in TARGETS {
        let own = [format!("sim/fuzz/seeds/{name}"), format!("sim/fuzz/crashes/{name}")];
        let folders = own.iter().map(String::as_str).chain(folders.iter().copied());
        let inputs: Vec<PathBuf> = folders.flat_map(|folder| inputs(&root.join(folder))).collect();
        assert!(!inputs.is_empty(), "{name} has no seeds");
        trials.extend(inputs.into_iter().map(|input| trial(&root, name, target, input)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(root: &Path, name: &str, target: Target, input: PathBuf) -> Trial {
    let shown = input.strip_prefix(root).unwrap_or(&input).display();
    Trial::test(format!("{name} {shown}"), move || {
        target(&fs::read(&input).expect("an input can be read"));
        Ok(())
    })
}

/// The files below `folder`, in the order of their names; none if there is no such folder.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed to its end").path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { inputs(&path) } else { vec![path] }).collect()
}
