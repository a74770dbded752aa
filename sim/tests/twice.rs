//! Determinism: one seed, one trace, byte for byte. Every scenario twice in this process and once in another; explored seeds in
//! two other processes; and a world with a leak, to show that the comparison would notice one.
//!
//! `FINWAIT_SEEDS` says how many seeds are explored, divided among a few scenarios; 1,000 take minutes without optimisation.

#![expect(clippy::print_stdout, reason = "the other process speaks by its output")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use finwait::net::{Address, ConnectOptions, ListenOptions};
use finwait_sim::scenario::{Library, Scenario};
use finwait_sim::world::{Settings, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Explored seeds in all, unless `FINWAIT_SEEDS` says otherwise.
const SEEDS: u64 = 60;

/// A retry with back-off, a race for a connection, loss, WebSockets over three hops: what draws on chance and time.
const EXPLORED: [&str; 4] = [
    "scenarios/keepalive/a-post-just-behind-the-apps-fin-gets-a-fresh-connection.yaml",
    "scenarios/links/a-lossy-link-costs-time-and-nothing-else.yaml",
    "scenarios/retries/a-503-is-asked-again.yaml",
    "scenarios/upgrades/two-websockets-share-one-http2-connection.yaml",
];

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let library = Library::Disk(repository());
    let files = library.scenarios().unwrap();
    assert!(!files.is_empty());
    for file in files {
        let first = trace(&library, &file);
        assert!(!first.is_empty(), "{file}");
        assert_same(&first, &trace(&library, &file), &file, "again in this process");
        assert_same(&first, &trace_of_another_process(&["run", "--trace", &file]), &file, "in another process");
    }
}

#[test]
fn explored_seeds_give_the_same_bytes_in_two_processes() {
    let seeds = env::var("FINWAIT_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("FINWAIT_SEEDS is a number"));
    let each = seeds.div_ceil(EXPLORED.len() as u64);
    for file in EXPLORED {
        let explore = || trace_of_another_process(&["explore", "--trace", "--seeds", &each.to_string(), file]);
        let first = explore();
        let headings = first.lines().filter(|line| line.starts_with("seed ")).count();
        assert_eq!(headings as u64, each, "{file}: a trace for every seed");
        assert_same(&first, &explore(), file, "explored in another process");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn trace(library: &Library, file: &str) -> String {
    let scenario = Scenario::load(library, file).expect("shipped scenarios load");
    scenario.play(None).expect("shipped configurations are accepted").trace.to_text()
}

fn trace_of_another_process(arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
    let output = program.current_dir(repository()).args(arguments).output().expect("the program starts");
    String::from_utf8(output.stdout).expect("a trace is text")
}

#[track_caller]
fn assert_same(first: &str, second: &str, file: &str, when: &str) {
    assert_eq!(difference(first, second), None, "{file}, {when}: the first difference");
}

/// The first line that is not the same in both.
fn difference<'a>(first: &'a str, second: &'a str) -> Option<(&'a str, &'a str)> {
    let different = first.lines().zip(second.lines()).find(|(one, other)| one != other);
    let longer = || (first.len() != second.len()).then_some(("one trace ends here", "and the other does not"));
    different.or_else(longer)
}

/// Names the leak to the copies of this program that [`a_leak_would_be_noticed`] starts.
const LEAK: &str = "FINWAIT_TEST_LEAK";

#[test]
fn a_leak_would_be_noticed() {
    let traced = |leak: &str| {
        let mut program = Command::new(env::current_exe().expect("a running test has a path"));
        let output = program.env(LEAK, leak).args(["--exact", "leaking_world", "--nocapture"]).output();
        String::from_utf8(output.expect("the test program starts").stdout).expect("a trace is text")
    };
    let without = [traced("none"), traced("none")].map(|text| packets(&text));
    assert!(without[0].len() > 40, "the world says something: {without:?}");
    assert_eq!(difference(&without[0].join("\n"), &without[1].join("\n")), None);
    let with = [traced("hash order"), traced("hash order")].map(|text| packets(&text));
    assert_eq!(with[0].len(), with[1].len(), "the same packets, in another order");
    assert_ne!(difference(&with[0].join("\n"), &with[1].join("\n")), None, "a leak that nobody notices");
}

/// The trace among what the test harness prints, which contains times.
fn packets(output: &str) -> Vec<String> {
    output.lines().filter(|line| line.contains(" sends ")).map(str::to_owned).collect()
}

/// A world in which a client sends words in an order that the environment decides. Alone it shows nothing: it is what
/// [`a_leak_would_be_noticed`] starts twice.
#[test]
fn leaking_world() {
    let words = words(&env::var(LEAK).unwrap_or_default());
    assert_eq!(words.len(), 20);
    let mut world = World::new(Settings { seed: 7, ..Settings::default() });
    let (client, server) = (world.host("client", &[]), world.host("server", &[]));
    world.spawn(server, |outside| async move {
        let at = Address::Socket("0.0.0.0:80".parse().unwrap());
        let mut listener = outside.net.listen(&at, &ListenOptions::default()).unwrap();
        let mut conn = listener.accept().await.unwrap();
        let mut space = [0; 64];
        while matches!(conn.read(&mut space).await, Ok(1..)) {}
    });
    world.spawn_main(client, |outside| async move {
        let to = Address::Socket("10.0.0.2:80".parse().unwrap());
        let mut conn = outside.net.connect(&to, &ConnectOptions::default()).await.unwrap();
        for word in words {
            conn.write_all(word.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let run = world.run(Duration::from_secs(60));
    println!("{}", run.trace.to_text());
}

/// Twenty words; in the order of a hash table with the system's randomness, which differs from process to process, if `leak`
/// says so.
#[expect(clippy::disallowed_types, clippy::iter_over_hash_type, reason = "this is the leak that must be noticed")]
fn words(leak: &str) -> Vec<String> {
    let words = (0..20).map(|number| format!("word {number:02}"));
    if leak == "hash order" {
        let mut leaked = Vec::new();
        for word in words.collect::<std::collections::HashSet<_>>() {
            leaked.push(word);
        }
        return leaked;
    }
    words.collect()
}
