//! SIGTERM to a process with many tunnels and steady requests: does a request fail, and when do the tunnels end?
//!
//! `tests/sigterm` asserts the same in small.
//!
//!     cargo bench -p finwait --bench sigterm [-- TUNNELS DRAIN_SECONDS]

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/sigterm/run.rs"]
mod run;

use std::time::Duration;

use run::{Plan, Report, run};

const TUNNELS: usize = 1_000;
const DRAIN_SECONDS: u64 = 10;
const REQUESTS_PER_SECOND: u32 = 50;
/// Two seconds of them.
const REQUESTS_BEFORE: usize = 100;
/// Rows of the histogram for the whole drain.
const ROWS: u32 = 20;
/// The longest bar.
const BAR_MAX: usize = 60;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |at: usize| arguments.get(at).map(|given| given.parse::<u64>().expect("a number"));
    let tunnels = number(0).map_or(TUNNELS, |tunnels| usize::try_from(tunnels).expect("tunnels fit in memory"));
    let drain = Duration::from_secs(number(1).unwrap_or(DRAIN_SECONDS));
    let plan = Plan { tunnels, drain, requests_per_second: REQUESTS_PER_SECOND, requests_before: REQUESTS_BEFORE };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print(&plan, &runtime.block_on(run(&plan))?);
    Ok(())
}

fn print(plan: &Plan, report: &Report) {
    let Report { exit, exited_after, requests_before, requests_after, answered_in_drain, failures, .. } = report;
    println!(
        "SIGTERM with {} tunnels, {REQUESTS_PER_SECOND} requests/s, --drain-time-s {}",
        plan.tunnels,
        plan.drain.as_secs()
    );
    println!("  {exit}, {:.2} s after the signal", exited_after.as_secs_f64());
    println!(
        "  requests: {requests_before} before the signal, {requests_after} after it, {answered_in_drain} of these"
    );
    println!("            answered by the process that ends, the others by its successor; {} failed", failures.len());
    println!("            {} connections were reset before they were accepted", report.reset_at_the_door);
    failures.iter().for_each(|failure| println!("            {failure}"));
    println!(
        "  tunnels:  {} ended with FIN, {} with RST",
        report.tunnel_ends.len() - report.tunnels_reset,
        report.tunnels_reset
    );
    let row = plan.drain / ROWS;
    let last = report.tunnel_ends.iter().max().copied().unwrap_or_default();
    let mut from = Duration::ZERO;
    while from <= last {
        let count = report.tunnel_ends.iter().filter(|at| (from..from + row).contains(at)).count();
        let bar = "#".repeat((count * BAR_MAX).div_ceil(plan.tunnels.max(1)));
        println!("  {:>6.2} s  {count:>5}  {bar}", from.as_secs_f64());
        from += row;
    }
}
