//! The rules of the house that the compiler and clippy do not know, as a test over both crates. Each finding names its
//! place and what to do instead.
//!
//! What breaks a rule today stands in [`exceptions`]. The lists shrink.

mod bounds;
mod exceptions;
mod graph;
mod source;

use source::{Crate, Module, Source};

/// Something that breaks a rule.
struct Finding {
    at: String,
    instead: String,
}

/// Both crates: the package's folder, and what its binary calls its library.
const CRATES: [(&str, &str); 2] = [("proxy", "finwait"), ("sim", "finwait_sim")];

/// Lines of the longest file.
const FILE_LINES_MAX: usize = 500;

/// Lines of the longest function.
const FUNCTION_LINES_MAX: usize = 60;

#[test]
fn modules_name_only_those_after_them_in_the_order_of_lib_rs() {
    let mut findings = Vec::new();
    for of in crates() {
        let order = order(&of);
        let graphs = graph::graphs(&of);
        let place = |module: &String| order.iter().position(|has| has == module);
        for (from, named) in &graphs[&Module::new()] {
            for to in named {
                let at = format!("{}: {from} names {to}", of.folder);
                let instead = match (place(from), place(to)) {
                    (Some(from), Some(to)) if from < to => continue,
                    _ if exceptions::BACKWARDS.contains(&(of.folder, from.as_str(), to.as_str())) => continue,
                    (None, _) => format!("add `{from}` to the order in src/lib.rs"),
                    (_, None) => format!("add `{to}` to the order in src/lib.rs"),
                    _ => "pass the value down, or move what both need to a module after both".into(),
                };
                findings.push(Finding { at, instead });
            }
        }
        for (folder, from, to) in exceptions::BACKWARDS.iter().filter(|(folder, ..)| *folder == of.folder) {
            if !graphs[&Module::new()].get(*from).is_some_and(|named| named.contains(*to)) {
                findings.push(gone(format!("{folder}: {from} names {to}")));
            }
        }
    }
    report(findings);
}

/// The order that lib.rs tells: the words in backquotes of the paragraph behind the sentence.
fn order(of: &Crate) -> Vec<String> {
    const SENTENCE: &str = "A module names only modules that stand after it here:";
    let lib = of.sources.iter().find(|source| source.module.is_empty()).expect("a crate has a lib.rs");
    let behind = lib.text.split_once(SENTENCE).expect("lib.rs has the sentence before its order").1;
    let list: String = behind.lines().skip(2).take_while(|line| line.len() > "//!".len()).collect();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn no_modules_of_a_folder_name_each_other_in_a_circle() {
    let mut findings = Vec::new();
    let mut needed = Vec::new();
    for of in crates() {
        for (folder, graph) in graph::graphs(&of) {
            for circle in graph::circles(&graph) {
                let names: Vec<&str> = circle.iter().map(String::as_str).collect();
                let (folder, names) = (folder.join("/"), names.join(" "));
                let known = exceptions::CIRCLES.iter().find(|(has, at, among)| {
                    *has == of.folder
                        && *at == folder
                        && names.split(' ').all(|name| among.split(' ').any(|it| it == name))
                });
                needed.extend(known);
                if known.is_none() {
                    let arrows = circle.iter().map(|from| {
                        format!("{from} names {:?}", graph[from].intersection(&circle).collect::<Vec<_>>())
                    });
                    let at = format!("{}/src/{folder}: {names}", of.folder);
                    let instead = format!("move what both need out of them: {}", arrows.collect::<Vec<_>>().join(", "));
                    findings.push(Finding { at, instead });
                }
            }
        }
    }
    let unneeded = exceptions::CIRCLES.iter().filter(|known| !needed.contains(known) && all_exist(known));
    findings.extend(unneeded.map(|(of, folder, among)| gone(format!("circle in {of}/src/{folder}: {among}"))));
    report(findings);
}

/// Whether all modules of a known circle are there; if not, it has gone with one of them.
fn all_exist((package, folder, among): &(&str, &str, &str)) -> bool {
    let of = crates().find(|of| of.folder == *package).expect("the packages of exceptions are the crates");
    let modules = of.modules();
    let path =
        |name: &str| folder.split('/').chain([name]).filter(|step| !step.is_empty()).map(str::to_owned).collect();
    among.split(' ').all(|name| modules.contains::<Module>(&path(name)))
}

#[test]
fn files_are_short() {
    let sizes = each(|of, source| vec![(format!("{}/{}", of.folder, source.name), source.text.lines().count())]);
    report(above(sizes, FILE_LINES_MAX, exceptions::FILES, "split it by what it is about"));
}

#[test]
fn functions_are_short() {
    let sizes = each(|of, source| {
        let functions = source.functions.iter();
        functions.map(|it| (format!("{}/{} {}", of.folder, source.name, it.name), it.lines)).collect()
    });
    report(above(sizes, FUNCTION_LINES_MAX, exceptions::FUNCTIONS, "let it read as a list of steps, each a function"));
}

/// What is longer than `max`, or than its own exception.
fn above(sizes: Vec<(String, usize)>, max: usize, known: &[(&str, usize)], instead: &str) -> Vec<Finding> {
    let ceiling = |name: &str| known.iter().find(|(has, _)| *has == name).map(|(_, lines)| *lines);
    let mut findings = Vec::new();
    for (name, lines) in &sizes {
        let ceiling = ceiling(name).unwrap_or(max);
        if *lines > ceiling {
            let at = format!("{name} has {lines} lines");
            findings.push(Finding { at, instead: format!("{ceiling} at most: {instead}") });
        }
    }
    findings
}

#[test]
fn every_file_begins_with_its_purpose() {
    let silent = each(|of, source| match source.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec![format!("{}/{}", of.folder, source.name)],
    });
    let instead = "begin with `//!` and what the file is for".to_owned();
    report(silent.into_iter().map(|at| Finding { at, instead: instead.clone() }).collect());
}

#[test]
fn machines_are_not_people() {
    const WORDS: [&str; 6] = ["he", "him", "his", "nobody", "somebody", "whoever"];
    let mut findings = Vec::new();
    for of in crates() {
        for source in &of.sources {
            let lines = source.text.lines().enumerate().skip_while(|(_, line)| line.starts_with("//!"));
            for (at, line) in lines {
                let mut words = line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
                if words.any(|word| WORDS.contains(&word.as_str())) {
                    let at = format!("{}/{}:{}: {}", of.folder, source.name, at + 1, line.trim());
                    findings.push(Finding { at, instead: "name the host, the peer or the caller".into() });
                }
            }
        }
    }
    report(findings);
}

#[test]
fn config_is_pure() {
    let outside = ["crate::", "tokio::", "hyper::", "h2::"];
    check(|source, line| {
        let breaks = source.name.starts_with("src/config/")
            && outside.iter().any(|other| line.contains(other))
            && !line.contains("crate::config");
        breaks.then_some("config knows only what the user wrote: pass the value in, or move the code out")
    });
}

#[test]
fn the_world_is_reached_through_the_seam() {
    let doors = ["tokio::net", "tokio::signal", "std::fs", "std::env", "Instant::now()", "SystemTime::now()"];
    check(|source, line| {
        let is_seam = source.name.starts_with("src/net/tokio/")
            || ["src/main.rs", "src/config_file.rs", "src/signals.rs"].contains(&source.name.as_str())
            // A configuration names files and variables, and is read before there is a worker.
            || source.name == "src/config/interpret/data_source.rs";
        let opened = doors.iter().find(|door| line.contains(**door))?;
        let is_virtual_time = *opened == "Instant::now()" && !line.contains("std::time::Instant");
        (!is_seam && !is_virtual_time).then_some("go through net::Outside")
    });
}

#[test]
fn decisions_are_functions_of_their_arguments() {
    let pure = [
        "src/router/",
        "src/cluster/load_balancer.rs",
        "src/upstream/retry.rs",
        "src/access_log/format.rs",
        "src/config/log_format.rs",
    ];
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
        (names_one && !source.name.starts_with("src/codec/")).then_some("use the types of codec")
    });
}

#[test]
fn the_data_plane_has_no_test_hooks() {
    check(|_, line| line.contains("cfg(sim)").then_some("the simulator runs the shipped code"));
}

#[test]
fn every_select_has_a_comment_on_its_order() {
    let mut findings = Vec::new();
    for source in Crate::read("proxy", "finwait").sources {
        let lines: Vec<&str> = source.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if !line.contains("select! {") {
                continue;
            }
            let after: Vec<&str> = lines.iter().skip(at + 1).take(4).map(|line| line.trim()).collect();
            let biased = after.iter().position(|line| *line == "biased;");
            let says_why = biased.is_some_and(|at| after.iter().take(at).any(|line| line.starts_with("//")));
            if !says_why {
                let instead = "`biased;`, and above it a comment on why the first arm comes first";
                findings.push(Finding { at: format!("{}:{}", source.name, at + 1), instead: instead.into() });
            }
        }
    }
    report(findings);
}

/// Applies a rule to every line of the proxy's code.
fn check(rule: impl Fn(&Source, &str) -> Option<&'static str>) {
    let mut findings = Vec::new();
    for source in Crate::read("proxy", "finwait").sources {
        for (at, line) in source.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            if let Some(instead) = rule(&source, line) {
                let at = format!("{}:{}: {}", source.name, at + 1, line.trim());
                findings.push(Finding { at, instead: instead.into() });
            }
        }
    }
    report(findings);
}

fn crates() -> impl Iterator<Item = Crate> {
    CRATES.into_iter().map(|(folder, name)| Crate::read(folder, name))
}

/// What `look` sees in all files.
fn each<T>(look: impl Fn(&Crate, &Source) -> Vec<T>) -> Vec<T> {
    crates().flat_map(|of| of.sources.iter().flat_map(|source| look(&of, source)).collect::<Vec<_>>()).collect()
}

/// An exception that nothing needs.
fn gone(what: String) -> Finding {
    Finding { at: what, instead: "this is mended: take it out of tests/tidy/exceptions.rs".into() }
}

fn report(findings: Vec<Finding>) {
    let told: Vec<String> =
        findings.into_iter().map(|finding| format!("{}\n    {}", finding.at, finding.instead)).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}
