//! The simulated kernel against the real one: every script runs once on loopback sockets of the system this
//! test runs on and once in the simulator, over the same seam, and each step must see the same in both.
//!
//! The scripts follow the rows of the table by which engines were compared when this one was designed:
//! what Linux does when connections are closed, reset, half-closed, refused, blocked or lost.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a script that cannot be played fails its test")]

mod stage;
mod worlds;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use finwait::net::{Address, ConnectOptions, ListenOptions, Outside};
use finwait_sim::kernel::link::Link;
use finwait_sim::world::{Ended, Settings, World};
use proptest::prelude::*;

use stage::Action::*;
use stage::Who::*;
use stage::{Script, Step, at, play};
use worlds::{Settle, in_reality, in_simulation};

/// Both ends exist.
const OPEN: Script = &[(Server, Listen(128), "listens"), (Client, Connect, "connected"), (Server, Accept, "accepted")];

#[test]
fn data_reaches_a_socket_whose_descriptor_is_closed() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Write("one"), "wrote 3"),
            (Client, Write("two"), "BrokenPipe"),
            (Client, Write("three"), "BrokenPipe"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn close_with_unread_data() {
    same(&[
        OPEN,
        &[
            (Client, Write("request"), "wrote 7"),
            (Server, Write("response"), "wrote 8"),
            (Server, Close, "ok"),
            (Client, Read, "response"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
            (Client, Write("more"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn read_after_a_reset_with_data_queued() {
    same(&[
        OPEN,
        &[
            (Server, Write("data"), "wrote 4"),
            (Server, Abort, "ok"),
            (Client, Read, "data"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn read_after_a_fin_and_then_a_reset() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Read, "end"),
            (Client, Write("late"), "wrote 4"),
            (Client, Read, "end"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn data_then_a_fin_then_a_reset() {
    same(&[
        OPEN,
        &[
            (Server, Write("data"), "wrote 4"),
            (Server, Close, "ok"),
            (Client, Write("late"), "wrote 4"),
            (Client, Read, "data"),
            (Client, Read, "end"),
            (Client, Write("later"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn first_write_after_a_reset_without_a_fin() {
    same(&[
        OPEN,
        &[
            (Server, Abort, "ok"),
            (Client, Write("one"), "ConnectionReset"),
            (Client, Write("two"), "BrokenPipe"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn second_shutdown_and_shutdown_after_a_reset() {
    same(&[
        OPEN,
        &[
            (Client, Shutdown, "ok"),
            (Client, Shutdown, "ok"),
            (Client, Write("x"), "BrokenPipe"),
            (Server, Abort, "ok"),
            (Client, Shutdown, "ok"),
            (Client, Read, "ConnectionReset"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn connect_completes_with_the_handshake_not_with_accept() {
    same(&[
        &[(Server, Listen(128), "listens"), (Client, Connect, "connected")],
        &[(Client, Write("early"), "wrote 5"), (Client, Shutdown, "ok")],
        &[(Server, Accept, "accepted"), (Server, Read, "early"), (Server, Read, "end")],
    ]);
}

/// One more than the backlog fits. The SYN that found no room is sent again after a second: the one script
/// that takes that long on the real system.
#[test]
fn backlog_full() {
    same(&[&[
        (Server, Listen(1), "listens"),
        (Client, Connect, "connected"),
        (Client, Connect, "connected"),
        (Client, Connect, "pending"),
        (Server, Accept, "accepted"),
        (Client, Connected, "connected"),
        (Server, Accept, "accepted"),
        (Server, Accept, "accepted"),
    ]]);
}

/// On loopback nobody is silent but a listener whose backlog is full, and giving up takes more than two minutes.
/// So the scripts compare that both wait and say nothing, and the moment of giving up is compared with what the
/// system's own settings promise.
#[test]
fn connect_to_a_silent_host() {
    same(&[&[
        (Server, Listen(0), "listens"),
        (Client, Connect, "connected"),
        (Client, Connect, "pending"),
        (Client, Connect, "pending"),
    ]]);

    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn_main(host, |outside| async move {
        let to = Address::Socket("10.9.9.9:80".parse().unwrap());
        let error = outside.net.connect(&to, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
    let run = world.run(Duration::from_secs(1000));
    assert_eq!(run.ended, Ended::AtRest);
    let setting = |name| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
        text.trim().parse::<u32>().ok()
    };
    // Systems before 6.5 have no linear part; there is nothing to compare with on them.
    if let (Some(doubling), Some(linear)) = (setting("tcp_syn_retries"), setting("tcp_syn_linear_timeouts")) {
        let seconds = u64::from(linear) + (1 << (doubling + 1)) - 1;
        assert_eq!(run.virtual_time.as_secs(), seconds, "retries: {doubling}, and before them linear: {linear}");
    }
}

#[test]
fn connect_to_a_closed_port() {
    same(&[&[(Server, Listen(1), "listens"), (Server, CloseListener, "ok"), (Client, Connect, "ConnectionRefused")]]);
}

/// Loopback loses and reorders nothing: the real script runs on a perfect wire, the simulated one on a bad one,
/// and no end may see the difference.
#[test]
fn lost_and_reordered_segments() {
    const TRANSFER: Script = &[
        (Client, Write("first"), "wrote 5"),
        (Client, Write("second"), "wrote 6"),
        (Client, Shutdown, "ok"),
        (Server, ReadAll(4096), "11 bytes, end"),
        (Server, Write("answer"), "wrote 6"),
        (Server, Close, "ok"),
        (Client, ReadAll(4096), "6 bytes, end"),
    ];
    let open: Script =
        &[(Server, Listen(9), "listens"), (Client, Connected, "connected"), (Server, Accept, "accepted")];
    let expected = expected(&[open, TRANSFER]);
    let script = steps(&[open, TRANSFER]);
    assert_eq!(on_linux(script.clone()), expected);
    for seed in 0..50 {
        let link = Link { loss: 0.2, jitter: Duration::from_millis(20), reorder: true, ..Link::loopback() };
        assert_eq!(simulated(script.clone(), seed, link), expected, "seed {seed}");
    }
}

#[test]
fn write_blocks_on_a_full_window_and_nothing_is_lost() {
    same(&[
        OPEN,
        &[
            (Client, WriteUntilBlocked, "blocked"),
            (Client, Write("x"), "pending"),
            (Client, Close, "ok"),
            (Server, ReadAll(7777), "all bytes, end"),
        ],
    ]);
}

#[test]
fn half_close() {
    same(&[
        OPEN,
        &[
            (Client, Write("request"), "wrote 7"),
            (Client, Shutdown, "ok"),
            (Server, Read, "request"),
            (Server, Read, "end"),
            (Server, Write("response"), "wrote 8"),
            (Client, Read, "response"),
            (Client, Read, "pending"),
            (Server, Close, "ok"),
            (Client, Read, "end"),
        ],
    ]);
}

#[test]
fn a_half_closed_peer_that_closes_resets_the_response() {
    same(&[
        OPEN,
        &[
            (Client, Shutdown, "ok"),
            (Client, Close, "ok"),
            (Server, Read, "end"),
            (Server, Write("answer"), "wrote 6"),
            (Server, Write("answer"), "BrokenPipe"),
        ],
    ]);
}

#[test]
fn a_listener_that_closes_resets_connections_not_accepted() {
    same(&[&[
        (Server, Listen(8), "listens"),
        (Client, Connect, "connected"),
        (Server, CloseListener, "ok"),
        (Client, Read, "ConnectionReset"),
        (Client, Read, "end"),
    ]]);
}

/// Linux hands it over and fails the request for the peer's address (ENOTCONN); the seam reports the connection as aborted.
#[test]
fn a_connection_that_was_reset_in_the_backlog() {
    same(&[&[
        (Server, Listen(8), "listens"),
        (Client, Connect, "connected"),
        (Client, Abort, "ok"),
        (Server, Accept, "ConnectionAborted"),
        (Client, Connect, "connected"),
        (Server, Accept, "accepted"),
    ]]);
}

#[test]
fn linger_zero_sends_a_reset() {
    same(&[OPEN, &[(Client, Abort, "ok"), (Server, Read, "ConnectionReset"), (Server, Write("x"), "BrokenPipe")]]);
}

#[test]
fn an_address_with_connections_in_time_wait_can_be_listened_on() {
    same(&[
        OPEN,
        &[
            (Server, Close, "ok"),
            (Client, Close, "ok"),
            (Server, CloseListener, "ok"),
            (Server, Listen(128), "listens"), // on the port of the first time
            (Client, Connect, "connected"),
            (Server, Accept, "accepted"),
        ],
    ]);
}

/// SO_REUSEPORT, several addresses of one machine, binding before connecting, and a port in TIME_WAIT.
#[test]
fn addresses() {
    let expected = [
        "shares the port",
        "AddrInUse",
        "AddrInUse",
        "AddrNotAvailable",
        "from 127.0.0.1 to 127.0.0.2",
        "from 127.0.0.3 to 127.0.0.1, from the port it asked for",
        "AddrInUse",
        "AddrInUse",
    ];
    assert_eq!(in_reality(|outside, settle| Box::pin(use_addresses(outside, settle))), expected);
    let simulated = in_simulation(0, Link::loopback(), |outside, settle| Box::pin(use_addresses(outside, settle)));
    assert_eq!(simulated, expected);
}

async fn use_addresses(outside: Outside, settle: Settle) -> Vec<String> {
    let net = &outside.net;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let alone = ListenOptions::default();
    let mut seen = Vec::new();
    let mut see = |result: io::Result<String>| seen.push(result.unwrap_or_else(|e| format!("{:?}", e.kind())));

    // 0.0.0.0 first, so that the port is free on every address.
    let port = port(net.listen(&at("0.0.0.0", 0), &alone).unwrap().local());
    let mut first = net.listen(&at("127.0.0.1", port), &shared).unwrap();
    see(net.listen(&at("127.0.0.1", port), &shared).map(|_| "shares the port".into()));
    see(net.listen(&at("127.0.0.1", port), &alone).map(|_| "takes the port".into()));
    see(net.listen(&at("0.0.0.0", port), &alone).map(|_| "takes the port of every address".into()));
    see(net.listen(&at("192.0.2.1", port), &alone).map(|_| "takes a foreign address".into()));

    let mut second = net.listen(&at("127.0.0.2", port), &alone).unwrap();
    let connected = net.connect(&at("127.0.0.2", port), &ConnectOptions::default()).await;
    let accepted = second.accept().await;
    see(accepted.map(|conn| format!("from {} to {}", conn.peer.ip().unwrap(), conn.local.ip().unwrap())));
    drop(connected);

    let from = SocketAddr::new("127.0.0.3".parse().unwrap(), port);
    let from = ConnectOptions { from: Some(from), ..ConnectOptions::default() };
    let conn = net.connect(&at("127.0.0.1", port), &from).await.unwrap();
    let accepted = first.accept().await.unwrap();
    assert_eq!(accepted.peer, at("127.0.0.3", port));
    see(Ok("from 127.0.0.3 to 127.0.0.1, from the port it asked for".into()));
    let again = net.connect(&at("127.0.0.1", port), &from).await;
    see(again.map(|_| "connects twice from one port".into()));
    drop(conn);
    settle().await;
    drop(accepted);
    settle().await;
    let again = net.connect(&at("127.0.0.1", port), &from).await;
    see(again.map(|_| "connects from a port in TIME_WAIT".into()));
    seen
}

fn port(at: &Address) -> u16 {
    match at {
        Address::Internal(_) | Address::Pipe(_) => panic!("{at} has no port"),
        Address::Socket(at) => at.port(),
    }
}

fn same(script: &[Script]) {
    let expected = expected(script);
    assert_eq!(on_linux(steps(script)), expected, "on Linux");
    assert_eq!(simulated(steps(script), 0, Link::loopback()), expected, "in the simulator");
}

fn expected(script: &[Script]) -> Vec<String> {
    let steps = script.iter().flat_map(|part| part.iter());
    steps.map(|(who, action, sees)| format!("{who:?} {action:?}: {sees}")).collect()
}

fn steps(script: &[Script]) -> Vec<Step> {
    script.iter().flat_map(|part| part.iter()).map(|(who, action, _)| (*who, *action)).collect()
}

fn on_linux(script: Vec<Step>) -> Vec<String> {
    in_reality(|outside, settle| Box::pin(play(script, outside, settle)))
}

fn simulated(script: Vec<Step>, seed: u64, loopback: Link) -> Vec<String> {
    in_simulation(seed, loopback, |outside, settle| Box::pin(play(script, outside, settle)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever two programs do to their ends, one after the other: what nobody thought of has no row above.
    #[test]
    fn random_scripts(
        actions in proptest::collection::vec((any::<bool>(), 0..10_usize), 1..12),
    ) {
        let mut script = steps(&[OPEN]);
        let mut closed = [false; 2];
        for (server, number) in actions {
            let who = if server { Server } else { Client };
            let action = [Read, Read, ReadByte, Write("ab"), Write("cd"), Write("e"), Shutdown, Shutdown, Close, Abort][number];
            if closed[usize::from(server)] {
                continue;
            }
            closed[usize::from(server)] = matches!(action, Close | Abort);
            script.push((who, action));
        }
        prop_assert_eq!(simulated(script.clone(), 0, Link::loopback()), on_linux(script));
    }
}
