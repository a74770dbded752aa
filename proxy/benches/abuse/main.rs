//! Clients and applications that mean harm, and machines at their end: what do they cost a proxy in memory, and its
//! other clients in time?
//!
//! Each attack meets a fresh process. Before and during it, neighbours send requests at a steady pace; their latency
//! and failures, and the memory and descriptors of the process are what is told. Everything is on this machine, bounded
//! in number and time. The proxy has a processor to itself where there are several, as a worker has in production: what the
//! attack, the neighbours and the applications do with the others is not taken for its doing. finwait has limits, and the benchmark fails where it breaks one: exit status 1.
//!
//!     cargo bench -p finwait --bench abuse [-- PROXY... ATTACK...]      finwait and Envoy, and every attack, if none is named
//!
//! FINWAIT_BEFORE names another binary of finwait, an earlier build; as the proxy `finwait before` it takes part. FINWAIT
//! names one to use in place of the one that is built with the benchmark.

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files and the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod apps;
mod attacks;
#[path = "../rivals/client.rs"]
mod client;
mod cold;
#[path = "../rivals/cpu.rs"]
mod cpu;
mod frame;
mod measure;
mod neighbours;
mod peer;
mod processors;
#[path = "../rivals/mod.rs"]
mod rivals;
mod shared;
#[path = "../rivals/watched.rs"]
mod watched;

use std::fs;
use std::process::ExitCode;

use attacks::Attack;
use measure::{Apps, HEADINGS, suffer};
use rivals::Kind;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let attacks: Vec<&Attack> = selected(Attack::all(), |attack| attack.name, &names);
    let with_before = std::env::var_os("FINWAIT_BEFORE").is_some();
    let mut kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| names.iter().any(|name| name == kind.name())).collect();
    if kinds.is_empty() {
        kinds = vec![Kind::Finwait, Kind::Envoy];
        kinds.extend(with_before.then_some(Kind::FinwaitBefore));
    }
    let known = |name: &&String| {
        Kind::ALL.iter().any(|kind| kind.name() == *name) || Attack::all().any(|attack| attack.name == *name)
    };
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = Attack::all().map(|attack| attack.name).collect();
        eprintln!("{unknown:?} names neither a proxy nor an attack; the attacks are {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let dir = std::env::temp_dir().join(format!("finwait-abuse-{}", std::process::id()));
    let processor = processors::divide();
    let apps = Apps::start().expect("free ports");
    attacks.iter().for_each(|attack| println!("{}: {}", attack.name, attack.about));
    println!("\n{HEADINGS}");
    let mut recovering = Vec::new();
    for attack in attacks {
        for kind in &kinds {
            recovering.extend(suffer(*kind, attack, &apps, &dir, processor));
        }
    }
    let breaches: Vec<String> =
        recovering.into_iter().flat_map(|row| row.join().expect("it only waits and prints")).collect();
    drop(fs::remove_dir_all(dir));
    breaches.iter().for_each(|breach| println!("limit broken: {breach}"));
    if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Those that are named, or all if none is.
fn selected<T: Copy>(all: impl Iterator<Item = T>, name: impl Fn(T) -> &'static str, names: &[String]) -> Vec<T> {
    let all: Vec<T> = all.collect();
    let named: Vec<T> = all.iter().copied().filter(|one| names.iter().any(|given| given == name(*one))).collect();
    if named.is_empty() { all } else { named }
}
