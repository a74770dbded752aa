//! Clients that mean harm: what do they cost a proxy in memory, and its other clients in time?
//!
//! Each attack meets a fresh process. Before and during it, other clients ask at a steady pace over connections of
//! their own; their latency and the memory of the process are what is told. Everything is on this machine, bounded in
//! number and time.
//!
//!     cargo bench -p finwait --bench abuse [-- PROXY...]      finwait and Envoy, if none is named

#![expect(clippy::disallowed_types, reason = "a benchmark works on real sockets, and measures real time")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads files and the environment, and waits")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod app;
mod attacks;
#[path = "../rivals/mod.rs"]
mod rivals;
mod victims;
#[path = "../rivals/watched.rs"]
mod watched;

use std::fs;
use std::thread;
use std::time::Duration;

use attacks::{Attack, Toll};
use rivals::Kind;
use victims::Victims;
use watched::{MIB, Memory, Watched};

/// How long the other clients are watched before.
const CALM: Duration = Duration::from_secs(3);
/// How long an attack's connections have been gone when the memory is read for the last time.
const RECOVERY: Duration = Duration::from_secs(3);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

fn main() {
    let mut names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if names.is_empty() {
        names = [Kind::Finwait, Kind::Envoy].map(|kind| kind.name().to_owned()).to_vec();
    }
    let dir = std::env::temp_dir().join(format!("finwait-abuse-{}", std::process::id()));
    let app = app::start().expect("a free port");
    for attack in Attack::ALL {
        println!("\n{}", attack.about());
        println!(
            "{:>22}  {:>44}  {:>24}  {:>24}  the attack",
            "", "MiB before, half, peak, after", "calm ms: p50, p99, max", "then ms: p50, p99, max"
        );
        for kind in Kind::ALL.into_iter().filter(|kind| names.iter().any(|name| name == kind.name())) {
            match Watched::start(kind, &dir, app) {
                None => println!("{:>22}  not installed, left out", kind.name()),
                Some(rival) => suffer(&rival, attack),
            }
        }
    }
    drop(fs::remove_dir_all(dir));
}

/// One attack on one process.
fn suffer(rival: &Watched, attack: Attack) {
    let victims = Victims::start(rival.process.at);
    thread::sleep(CALM);
    let before = rival.memory();
    let calm = victims.latencies();
    let (toll, samples) = thread::scope(|scope| {
        let attacking = scope.spawn(|| attack.run(rival.process.at));
        let mut samples = Vec::new();
        while !attacking.is_finished() {
            samples.push(rival.memory().now_bytes);
            thread::sleep(SAMPLE_INTERVAL);
        }
        (attacking.join().expect("an attack only gives up connections"), samples)
    });
    let during = victims.latencies();
    let failed = victims.stop();
    thread::sleep(RECOVERY);
    let [left] = rival.stats(["http.web.downstream_cx_active"]);
    let memory = memory_told(rival, &toll, &[before, rival.memory()], &samples);
    println!(
        "{:>22}  {memory:>44}  {:>24}  {:>24}  {}; {failed} requests of others failed, {left} connections left",
        rival.kind.name(),
        calm.told(),
        during.told(),
        toll.told
    );
}

fn memory_told(rival: &Watched, toll: &Toll, [before, after]: &[Memory; 2], samples: &[u64]) -> String {
    let peak = rival.memory().peak_bytes;
    // As much as the peak means bounded; half of it means that it grows for as long as the attack goes on.
    let half = samples.get(samples.len() / 2).copied().unwrap_or(before.now_bytes);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB);
    let all = [before.now_bytes, half, peak, after.now_bytes].map(mib).join(", ");
    if toll.held == 0 {
        return all;
    }
    let each = peak.saturating_sub(before.now_bytes) as f64 / 1024.0 / toll.held as f64;
    format!("{all} ({each:.1} KiB each)")
}
