//! Determinism: one seed, one trace, byte for byte. Every run of every scenario twice in this process and once in another;
//! explored seeds in two other processes; and a world with a leak, to show that the comparison would notice one.
//!
//! `FINWAIT_SEEDS` says with how many seeds each of a few scenarios is explored, and with a hundredth of that all others.
//! 1,000 take minutes without optimisation. `FINWAIT_EXPLORED=all` explores all of them with that many.

#![expect(clippy::print_stdout, reason = "the other process speaks by its output")]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use finwait::net::{Address, ConnectOptions, ListenOptions};
use finwait_sim::scenario::{Family, Library, Scenario};
use finwait_sim::world::{Settings, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Seeds with which each of [`EXPLORED`] is explored, unless `FINWAIT_SEEDS` says otherwise.
const SEEDS: u64 = 15;

/// Of the seeds that a file asks for, so many are compared, unless `FINWAIT_SEEDS` asks for more. What a seed leaves to
/// chance, the next one does too.
const SEEDS_OF_A_FILE_MAX: u64 = 5;

/// A retry with back-off, a race for a connection, loss, WebSockets over three hops: what draws on chance and time.
const EXPLORED: [&str; 4] = [
    "scenarios/keepalive/a-post-just-after-the-apps-fin-gets-a-fresh-connection.yaml",
    "scenarios/links/a-lossy-link-adds-delay-and-loses-no-data.yaml",
    "scenarios/retries/a-503-is-retried.yaml",
    "scenarios/upgrades/two-websockets-share-one-http2-connection.yaml",
];

#[test]
fn every_run_gives_the_same_bytes() {
    let library = Library::Disk(repository());
    let mut program = Command::new(env::current_exe().expect("a running test has a path"));
    program.env(OTHER, "1").args(["--exact", "runs_of_the_other_process", "--nocapture"]);
    let mut other = lines_of(&mut program).filter_map(|line| Some(line.strip_prefix(OF_A_TRACE)?.to_owned()));
    for run in runs(&library) {
        let first = run.trace();
        assert_eq!(difference(first.lines(), run.trace().lines()), None, "{}, again in this process", run.heading);
        assert_eq!(other.next().as_ref(), Some(&run.heading), "the other process plays the same runs");
        let there: Vec<String> = other.by_ref().take(first.lines().count()).collect();
        let different = difference(first.lines(), there.iter().map(String::as_str));
        assert_eq!(different, None, "{}, in another process", run.heading);
    }
    assert_eq!(other.next().as_deref(), Some(END), "no trace goes on there");
}

/// Tells the copy of this program that [`every_run_gives_the_same_bytes`] starts to print its traces.
const OTHER: &str = "FINWAIT_TEST_OTHER";
/// Begins every line of theirs: the test harness has lines of its own, at any moment of a slow test.
const OF_A_TRACE: &str = "| ";
/// What it prints behind them.
const END: &str = "the traces end";

/// Alone it sees that no run is left out of the comparison, or is in it twice.
#[test]
fn runs_of_the_other_process() {
    let library = Library::Disk(repository());
    if env::var_os(OTHER).is_some() {
        println!(); // the test harness may have begun a line
        for run in runs(&library) {
            let text = [run.heading.clone(), run.trace()].join("\n");
            text.lines().for_each(|line| println!("{OF_A_TRACE}{line}"));
        }
        println!("{OF_A_TRACE}{END}");
        return;
    }
    let headings: Vec<String> = runs(&library).map(|run| run.heading).collect();
    for file in library.scenarios().unwrap() {
        let asked = Family::load(&library, &file).unwrap();
        let expected = asked.runs.len() * usize::try_from(u64::from(asked.seeds).min(seeds_of_a_file_max())).unwrap();
        let of_file = headings.iter().filter(|heading| heading.split(' ').next() == Some(&*file)).count();
        assert_eq!(of_file, expected, "{file}");
    }
    let mut distinct = headings.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), headings.len());
}

/// One run of a file: a value of its sweep, one of its variants, an order, a seed.
struct Run {
    heading: String,
    scenario: Rc<Scenario>,
    seed: u64,
}

impl Run {
    fn trace(&self) -> String {
        let played = self.scenario.play(Some(self.seed)).expect("shipped configurations are accepted");
        let text = played.trace.to_text();
        assert!(!text.is_empty() && text.ends_with('\n'), "{}", self.heading);
        text
    }
}

/// All there are.
fn runs(library: &Library) -> impl Iterator<Item = Run> {
    let files = library.scenarios().expect("the repository has scenarios");
    assert!(!files.is_empty());
    files.into_iter().flat_map(|file| {
        let Family { runs, seeds, .. } = Family::load(library, &file).expect("shipped scenarios load");
        let seeds = u64::from(seeds).min(seeds_of_a_file_max());
        runs.into_iter().flat_map(move |scenario| {
            let (scenario, file) = (Rc::new(scenario), file.clone());
            (scenario.seed..).take(usize::try_from(seeds).unwrap_or(usize::MAX)).map(move |seed| Run {
                heading: format!("{file} {} seed {seed}", scenario.label),
                scenario: Rc::clone(&scenario),
                seed,
            })
        })
    })
}

fn seeds_of_a_file_max() -> u64 {
    requested_seeds().unwrap_or(SEEDS_OF_A_FILE_MAX)
}

fn requested_seeds() -> Option<u64> {
    env::var("FINWAIT_SEEDS").ok().map(|seeds| seeds.parse().expect("FINWAIT_SEEDS is a number"))
}

#[test]
fn explored_seeds_give_the_same_bytes_in_two_processes() {
    let library = Library::Disk(repository());
    let seeds = requested_seeds().unwrap_or(SEEDS);
    let is_thorough = env::var("FINWAIT_EXPLORED").is_ok_and(|which| which == "all");
    for file in library.scenarios().unwrap() {
        let seeds = if is_thorough || EXPLORED.contains(&file.as_str()) { seeds } else { seeds / 100 };
        if seeds == 0 {
            continue;
        }
        let explore = || {
            let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
            lines_of(program.args(["explore", "--trace", "--seeds", &seeds.to_string(), &file]))
        };
        // Both at once: the second waits for the first where this reads the first, and the other way round.
        let mut headings = 0;
        let (first, second) = (explore(), explore());
        let first = first.inspect(|line| headings += u64::from(line.starts_with("TRACE ")));
        assert_eq!(difference(first, second), None, "{file}, explored in another process");
        let runs = Family::load(&library, &file).unwrap().runs.len() as u64;
        assert_eq!(headings, seeds * runs, "{file}: a trace for every seed of every run");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What another process prints, line by line as it comes.
fn lines_of(program: &mut Command) -> impl Iterator<Item = String> + use<> {
    let started = program.current_dir(repository()).stdout(Stdio::piped()).spawn();
    let output = started.expect("the program starts").stdout.expect("it was asked for");
    BufReader::new(output).lines().map(|line| line.expect("a trace is text"))
}

/// The first line that is not the same in both.
fn difference<Line: AsRef<str>>(
    first: impl IntoIterator<Item = Line>,
    second: impl IntoIterator<Item = Line>,
) -> Option<(Option<String>, Option<String>)> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return None,
            (Some(one), Some(other)) if one.as_ref() == other.as_ref() => {}
            (one, other) => return Some((one.map(|it| it.as_ref().into()), other.map(|it| it.as_ref().into()))),
        }
    }
}

/// Names the leak to the copies of this program that [`a_leak_would_be_detected`] starts.
const LEAK: &str = "FINWAIT_TEST_LEAK";

#[test]
fn a_leak_would_be_detected() {
    let traced = |leak: &str| {
        let mut program = Command::new(env::current_exe().expect("a running test has a path"));
        let output = program.env(LEAK, leak).args(["--exact", "leaking_world", "--nocapture"]).output();
        String::from_utf8(output.expect("the test program starts").stdout).expect("a trace is text")
    };
    let without = [traced("none"), traced("none")].map(|text| packets(&text));
    assert!(without[0].len() > 40, "the world says something: {without:?}");
    assert_eq!(difference(&without[0], &without[1]), None);
    let with = [traced("hash order"), traced("hash order")].map(|text| packets(&text));
    assert_eq!(with[0].len(), with[1].len(), "the same packets, in another order");
    assert_ne!(difference(&with[0], &with[1]), None, "a leak that nobody notices");
}

/// The trace among what the test harness prints, which contains times.
fn packets(output: &str) -> Vec<String> {
    output.lines().filter(|line| line.contains(" sends ")).map(str::to_owned).collect()
}

/// A world in which a client sends words in an order that the environment decides. Alone it shows nothing: it is what
/// [`a_leak_would_be_detected`] starts twice.
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
