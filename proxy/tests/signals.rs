//! Every signal, sent to a process under load: no request fails, and the process goes on or ends as it should.

#![expect(clippy::unwrap_used, reason = "a test ends where a step fails")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/client.rs"]
mod client;
#[path = "support/process.rs"]
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bootstrap::Bootstrap;
use client::{Load, answering};
use process::Finwait;

const CLIENTS: usize = 4;
/// Requests that end after a signal until the next step.
const REQUESTS: usize = 200;
/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);

fn start(listeners_after: &str) -> (Finwait, SocketAddr) {
    let yaml = answering(&Bootstrap::default().yaml());
    let arguments = ["--config-yaml", &yaml, "--concurrency", "2", "--drain-listeners-after", listeners_after];
    let mut finwait = Finwait::start(Path::new("."), &arguments).unwrap();
    let at = finwait.until("listening on ").unwrap().parse().unwrap();
    (finwait, at)
}

#[test]
fn signals_that_do_not_end_the_process_fail_no_request() {
    let (finwait, at) = start("0s");
    let load = Load::start(at, CLIENTS, "/");
    let signals =
        ["HUP", "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "WINCH", "URG", "CHLD", "CONT"];
    for signal in signals {
        load.wait_for(REQUESTS);
        finwait.signal(signal).unwrap();
        load.wait_for(REQUESTS);
        assert_eq!(load.failures(), Vec::<String>::new(), "SIG{signal}");
    }
    load.stop();
    finwait.signal("INT").unwrap();
    let (status, said) = finwait.end(STEP_MAX).unwrap();
    assert!(status.success(), "{status}\n{said}");
    for words in ["the configuration is the one in force", "SIGUSR1: opening log files again", "SIGUSR2: ignored"] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}

#[test]
fn clients_that_connect_within_the_grace_period_are_not_refused_and_a_second_signal_ends_it() {
    for signal in ["TERM", "QUIT"] {
        let (mut finwait, at) = start("600s");
        let load = Load::start(at, CLIENTS, "/");
        load.wait_for(REQUESTS);
        finwait.signal(signal).unwrap();
        finwait.until("draining; listeners close in 600s").unwrap();
        load.wait_for(10 * REQUESTS);
        assert_eq!(load.failures(), Vec::<String>::new(), "SIG{signal}");
        load.stop();
        finwait.signal("TERM").unwrap();
        let (status, said) = finwait.end(STEP_MAX).unwrap();
        assert!(status.success() && said.contains("SIGTERM again: what is left is cut"), "{status}\n{said}");
    }
}
