//! What a WebSocket may carry arrives unchanged with every seed, in clear text and over TLS: the frames of the two scenarios that are
//! named for them, and frames of 16 MiB, which take too long for a scenario that each test of scenarios plays.
//!
//! `FINWAIT_SEEDS` says with how many seeds each is played. 1,000 are for a build with optimisation:
//! `FINWAIT_SEEDS=1000 cargo test --release -p finwait-sim --test large_frames`.

use std::env;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use finwait_sim::explore::{Shard, explore};
use finwait_sim::scenario::{Family, Library};

/// One in clear text and one over TLS, and with how many seeds each is played unless `FINWAIT_SEEDS` says otherwise. 16 MiB there and
/// back take half a minute without optimisation.
const LARGE: ([&str; 2], u64) = (["sim/tests/large_frames/clear-text.yaml", "sim/tests/large_frames/tls.yaml"], 1);
const SMALL: ([&str; 2], u64) = (
    [
        "scenarios/upgrades/websocket-frames-cross-three-hops-as-they-were-sent.yaml",
        "scenarios/tls/websocket-frames-cross-three-hops-over-tls-as-they-were-sent.yaml",
    ],
    5,
);

#[test]
fn frames_of_16_mib_arrive_unchanged_with_every_seed() {
    play(LARGE);
}

#[test]
fn fragments_pings_and_close_codes_arrive_unchanged_with_every_seed() {
    play(SMALL);
}

/// Plays each run of the files with these seeds: none fails an expectation, and no message is another than the one that was sent.
fn play((files, seeds): ([&str; 2], u64)) {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let requested = env::var("FINWAIT_SEEDS").map(|seeds| seeds.parse().expect("FINWAIT_SEEDS is a number"));
    let seeds = Shard::WHOLE.seeds(requested.unwrap_or(seeds));
    let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    for file in files {
        for scenario in Family::load(&library, file).expect("the file is a scenario").runs {
            let table = explore(&scenario, &seeds, jobs, &AtomicBool::new(false), |_| {}).expect("it can be played");
            let failures: Vec<_> = table.failures().into_iter().map(|(outcome, row)| (outcome, &row.seeds)).collect();
            assert!(failures.is_empty(), "{file} {}: {failures:?}", scenario.label);
            assert_eq!(usize::try_from(table.runs()), Ok(seeds.len()), "{file} {}", scenario.label);
        }
    }
}
