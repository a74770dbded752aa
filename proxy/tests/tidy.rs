//! The rules of the house that the compiler and clippy do not know, as a test. Each finding names its place and
//! what to do instead.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of a source file that breaks a rule.
struct Finding {
    at: String,
    instead: &'static str,
}

struct Source {
    /// Below the package's `src`, with `/`.
    name: String,
    /// Without the inline tests at its end.
    lines: Vec<String>,
}

/// Stations in the order in which a request visits them. A module names only those after it.
const ORDER: [&str; 10] =
    ["main", "demo", "server", "admin", "listener", "connection_manager", "upstream", "snapshot", "cluster", "codec"];

#[test]
fn config_is_pure() {
    let outside = ["crate::", "tokio::", "hyper::", "h2::"];
    check(|source, line| {
        let breaks = source.name.starts_with("config/")
            && outside.iter().any(|other| line.contains(other))
            && !line.contains("crate::config");
        breaks.then_some("config knows only what the user wrote: pass the value in, or move the code out")
    });
}

#[test]
fn the_world_is_reached_through_the_seam() {
    let doors = ["tokio::net", "tokio::signal", "std::fs", "std::env", "Instant::now()", "SystemTime::now()"];
    check(|source, line| {
        let is_seam = source.name.starts_with("net/tokio/")
            || ["main.rs", "config_file.rs", "signals.rs"].contains(&source.name.as_str());
        let opened = doors.iter().find(|door| line.contains(**door))?;
        let is_virtual_time = *opened == "Instant::now()" && !line.contains("std::time::Instant");
        (!is_seam && !is_virtual_time).then_some("go through net::Outside")
    });
}

#[test]
fn decisions_are_functions_of_their_arguments() {
    let pure =
        ["router/", "cluster/load_balancer.rs", "upstream/retry.rs", "access_log/format.rs", "config/log_format.rs"];
    check(|source, line| {
        let is_pure = pure.iter().any(|part| source.name.starts_with(part));
        let is_async = line.contains("async ") || line.contains(".await");
        (is_pure && is_async).then_some("decide here, wait elsewhere")
    });
}

#[test]
fn wire_libraries_stop_at_the_codec() {
    check(|source, line| {
        let names_one = line.contains("h2::") || line.contains("hyper::") || line.contains("httparse::");
        (names_one && !source.name.starts_with("codec/")).then_some("use the types of codec")
    });
}

#[test]
fn arrows_go_one_way() {
    check(|source, line| {
        let station = source.name.split(['/', '.']).next().unwrap_or_default();
        let from = ORDER.iter().position(|name| *name == station)?;
        let names_earlier = ORDER.iter().take(from).any(|earlier| {
            let path = format!("crate::{earlier}::");
            line.trim_start().starts_with("use ") && line.contains(&path)
        });
        names_earlier.then_some("a module names none that a request visits before it: pass the value down")
    });
}

#[test]
fn the_data_plane_has_no_test_hooks() {
    check(|_, line| line.contains("cfg(sim)").then_some("the simulator runs the shipped code"));
}

#[test]
fn every_select_says_what_comes_first() {
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.lines.iter().enumerate() {
            if !line.contains("select! {") {
                continue;
            }
            let after: Vec<&str> = source.lines.iter().skip(at + 1).take(4).map(|line| line.trim()).collect();
            let biased = after.iter().position(|line| *line == "biased;");
            let says_why = biased.is_some_and(|at| after.iter().take(at).any(|line| line.starts_with("//")));
            if !says_why {
                let instead = "`biased;`, and above it a comment on why the first arm comes first";
                findings.push(Finding { at: format!("src/{}:{}", source.name, at + 1), instead });
            }
        }
    }
    report(findings);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|source| !source.lines.iter().any(|line| line.starts_with("//! ")));
    let instead = "begin with `//!` and what the file is for";
    report(silent.map(|source| Finding { at: format!("src/{}", source.name), instead }).collect());
}

/// Applies a rule to every line of code.
fn check(rule: impl Fn(&Source, &str) -> Option<&'static str>) {
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.lines.iter().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            if let Some(instead) = rule(&source, line) {
                findings.push(Finding { at: format!("src/{}:{}: {}", source.name, at + 1, line.trim()), instead });
            }
        }
    }
    report(findings);
}

fn report(findings: Vec<Finding>) {
    let told: Vec<String> =
        findings.into_iter().map(|finding| format!("{}\n    {}", finding.at, finding.instead)).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "a test reads the sources it checks")]
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for path in rust_files(&root) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let name = path.strip_prefix(&root).expect("it was found below the root").to_string_lossy().replace('\\', "/");
        if name.contains("/tests") || name.contains("corpus") {
            continue;
        }
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::to_owned).collect();
        sources.push(Source { name, lines });
    }
    assert!(sources.len() > 20, "the sources are found");
    sources
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a source folder") {
        let path = entry.expect("a source folder's entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
