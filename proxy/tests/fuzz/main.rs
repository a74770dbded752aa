//! Plays every seed and every input on which a fuzzer once failed through the function that failed, one test for each.
//!
//! `proxy/fuzz/seeds` and `proxy/fuzz/crashes` have a folder for each function; the configurations that other tests read
//! are seeds too. How the fuzzers run is told in `proxy/fuzz/Cargo.toml`.

#[expect(clippy::panic, reason = "a target panics on what is wrong")]
#[expect(unreachable_pub, reason = "public for the fuzzers, which include this folder in another crate")]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};

/// A function that panics if its input shows a fault.
type Target = fn(&[u8]);

/// The folders beside `fuzz` that hold seeds of a target.
const TARGETS: [(&str, Target, &[&str]); 8] = [
    ("config_yaml", targets::config_yaml, &["examples", "tests/configs/accepted", "tests/configs/refused"]),
    ("header_values", targets::header_values, &[]),
    ("http1_chunks", targets::http1_chunks, &[]),
    ("http1_requests", targets::http1_requests, &[]),
    ("http1_responses", targets::http1_responses, &[]),
    ("http2_client", targets::http2_client, &[]),
    ("http2_server", targets::http2_server, &[]),
    ("log_format", targets::log_format, &[]),
];

fn main() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut trials = Vec::new();
    for (name, target, folders) in TARGETS {
        let own = [format!("fuzz/seeds/{name}"), format!("fuzz/crashes/{name}")];
        let folders = own.iter().map(String::as_str).chain(folders.iter().copied());
        let inputs: Vec<PathBuf> = folders.flat_map(|folder| inputs(&package.join(folder))).collect();
        assert!(!inputs.is_empty(), "{name} has no seeds");
        trials.extend(inputs.into_iter().map(|input| trial(package, name, target, input)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(package: &Path, name: &str, target: Target, input: PathBuf) -> Trial {
    let shown = input.strip_prefix(package).unwrap_or(&input).display();
    Trial::test(format!("{name} {shown}"), move || {
        target(&read(&input));
        Ok(())
    })
}

/// The files in `folder`, in the order of their names; none if there is no such folder.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder can be listed to its end").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

#[expect(clippy::disallowed_methods, reason = "the inputs of this test are files")]
fn read(file: &Path) -> Vec<u8> {
    fs::read(file).expect("an input can be read")
}
