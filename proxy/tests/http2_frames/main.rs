//! Frames by hand over real sockets: what a client may and may not do in HTTP/2, section by section of RFC 9113 and
//! RFC 7541, and what it gets for it. What h2spec asks of a server is all here, one test for each of its cases.
//!
//! One proxy serves all cases, each over a connection of its own, with an application behind it that speaks HTTP/1.

#![expect(clippy::disallowed_types, reason = "a client that sends wrong frames needs the socket itself")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whoever waits for one thing lets every other pass")]

mod app;
#[path = "../support/bootstrap.rs"]
mod bootstrap;
mod connection;
mod fields;
mod frame;
mod frames;
mod messages;
mod peer;
#[path = "../support/proxy.rs"]
mod proxy;
mod requests;
mod streams;

use std::net::SocketAddr;

use libtest_mimic::{Arguments, Failed, Trial};

use bootstrap::Bootstrap;
use peer::{Expect, Peer};
use proxy::Proxy;

/// The proxy's SETTINGS_MAX_CONCURRENT_STREAMS.
const STREAMS_MAX: u32 = 100;

/// Whatever the number of cores: a case mostly waits, some of them for `delayed_close_timeout`.
const CASES_AT_ONCE: usize = 16;

/// One thing that a client does, and what has to come of it.
struct Case {
    /// Of RFC 9113; of RFC 7541 with `HPACK` before it.
    section: &'static str,
    name: &'static str,
    begin: Begin,
    steps: Vec<Step>,
}

/// How a case's connection begins.
#[derive(Clone, Copy)]
enum Begin {
    /// With nothing.
    Bare,
    /// With preface and SETTINGS, acknowledged.
    Shaken,
}

enum Step {
    /// These bytes in one write.
    Send(Vec<u8>),
    Await(Expect),
}

/// Frames after the handshake, and what has to come of them.
fn case<const N: usize>(section: &'static str, name: &'static str, sent: [Vec<u8>; N], expected: Expect) -> Case {
    steps(section, name, vec![Step::Send(sent.concat()), Step::Await(expected)])
}

/// More than one exchange after the handshake.
fn steps(section: &'static str, name: &'static str, steps: Vec<Step>) -> Case {
    Case { section, name, begin: Begin::Shaken, steps }
}

/// Bytes on a fresh connection.
fn bare(section: &'static str, name: &'static str, sent: Vec<u8>, expected: Expect) -> Case {
    Case { section, name, begin: Begin::Bare, steps: vec![Step::Send(sent), Step::Await(expected)] }
}

/// Where the proxy does otherwise than the RFC says: the case, what comes instead, and why.
const DIFFERENCES: &[(&str, Expect, &str)] =
    &[("6.9.1 the connection's window grows past its limit at once", Expect::Closed, FLOOD)];
const FLOOD: &str = "two WINDOW_UPDATE before any stream are more than max_inbound_window_update_frames_per_data_frame_sent \
                     allows: a flood, which gets no GOAWAY, in Envoy as here";

fn main() {
    let proxy = start_proxy();
    let at = proxy.at;
    let cases =
        [connection::cases(), streams::cases(), frames::cases(), messages::cases(), fields::cases(), requests::cases()];
    let mut trials: Vec<Trial> = cases
        .into_iter()
        .flatten()
        .map(|case| Trial::test(format!("{} {}", case.section, case.name), move || play(at, case)))
        .collect();
    let names: Vec<String> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    trials.push(Trial::test("each name is given once, and each difference names a case", move || tidy(names)));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(CASES_AT_ONCE);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(proxy.stop());
    conclusion.exit();
}

fn play(at: SocketAddr, case: Case) -> Result<(), Failed> {
    let mut peer = Peer::connect(at)?;
    match case.begin {
        Begin::Bare => {}
        Begin::Shaken => peer.shake_hands()?,
    }
    let name = format!("{} {}", case.section, case.name);
    let difference = DIFFERENCES.iter().find(|(case, ..)| *case == name).map(|(_, instead, _)| instead);
    let last = case.steps.len().saturating_sub(1);
    for (at, step) in case.steps.iter().enumerate() {
        match step {
            Step::Send(bytes) => peer.send(bytes),
            Step::Await(expected) => peer.expect(difference.filter(|_| at == last).unwrap_or(expected))?,
        }
    }
    Ok(())
}

fn tidy(mut names: Vec<String>) -> Result<(), Failed> {
    for (case, _, why) in DIFFERENCES {
        if !names.iter().any(|name| name == case) {
            return Err(format!("no case {case:?}, which would differ because {why}").into());
        }
    }
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two cases are called {:?}", pair[0]).into()),
        None => Ok(()),
    }
}

/// A proxy in front of [`app`]. Its `delayed_close_timeout` is short, because a malformed message is answered with
/// nothing but the end after it.
fn start_proxy() -> Proxy {
    let app = app::start().expect("the application listens").port();
    let streams = format!("http2_protocol_options: {{ max_concurrent_streams: {STREAMS_MAX} }}");
    let manager = ["delayed_close_timeout: 0.1s", &streams];
    Proxy::start(&Bootstrap { app, manager: &manager, ..Bootstrap::default() }.yaml())
}
