//! SIGTERM, to a real process: what was begun is finished, tunnels end spread over the second half of the drain, and
//! the exit code is 0. `benches/sigterm.rs` does the same on a larger scale and prints the figures.

mod run;

use std::time::Duration;

use run::{Plan, run};

const DRAIN: Duration = Duration::from_secs(1);
const TUNNELS: usize = 50;

#[tokio::test]
async fn a_process_that_gets_sigterm_fails_no_request() {
    let plan = Plan { tunnels: TUNNELS, drain: DRAIN, requests_per_second: 200, requests_before: 50 };
    let report = run(&plan).await.expect("the run is carried out");
    assert!(report.exit.success(), "{} after {:?}", report.exit, report.exited_after);
    assert_eq!(report.failures, Vec::<String>::new());
    // A listener lets no handshake begin before it takes in the last ones and closes (Linux only).
    assert_eq!(report.reset_at_the_door, 0, "connections were reset in the backlog");
    assert_eq!(report.requests_before, plan.requests_before);
    assert!(
        report.answered_in_drain > 0,
        "of {} requests after the signal none was still served",
        report.requests_after
    );
    // drain.rs: tunnels are spared for the first half.
    assert_eq!(report.tunnel_ends.len(), TUNNELS);
    assert_eq!(report.tunnels_reset, 0);
    let (first, last) = (report.tunnel_ends.iter().min(), report.tunnel_ends.iter().max());
    let (first, last) = first.zip(last).expect("there are tunnels");
    assert!(*first >= DRAIN / 2, "a tunnel ended {first:?} after the signal");
    assert!(*last - *first >= DRAIN / 20, "all tunnels ended at {first:?}, and their clients will come back together");
}
