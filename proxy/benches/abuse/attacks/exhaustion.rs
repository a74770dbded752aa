//! A resource of the machine that has come to its end: descriptors, a disk, a log's reader.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{ATTACK, Attack, Limits, NeighbourConnections, Target, Toll, pause, together};
use crate::peer::Peer;

/// Enough to start with, and less than the attack takes.
const DESCRIPTORS: u32 = 100;
const CONNECTIONS: usize = 200;
/// How soon new connections are served once there are descriptors again.
const RECOVERY_MAX: Duration = Duration::from_secs(2);
const RECOVERY_POLL: Duration = Duration::from_millis(50);
const CLIENTS: usize = 2;
/// Makes a line of the log long, so that a pipe is soon full.
const LONG_PATH_BYTES: usize = 8_000;
const STDOUT: &str = "{ name: envoy.access_loggers.stdout, typed_config: \
                      { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog } }";
const FULL_DISK: &str = "{ name: envoy.access_loggers.file, typed_config: \
                         { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
                         path: /dev/full } }";

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "no_descriptors_left",
        about: "200 connections to a process that may open 100 descriptors, and an admin client that waits",
        neighbours: NeighbourConnections::Kept,
        // One connection to the application, opened before: a request needs no new descriptor.
        connections_max: Some(1),
        descriptors_max: Some(DESCRIPTORS),
        limits: Limits { cpu_share: 0.5, ..Limits::DEFAULT },
        run: take_descriptors,
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_stdout_log",
        about: "requests with paths of 8,000 bytes, logged to a standard output that is not read",
        log: Some(STDOUT),
        run: send_long_paths,
        ..Attack::DEFAULT
    },
    Attack {
        name: "log_on_full_disk",
        about: "the same, logged to /dev/full",
        log: Some(FULL_DISK),
        run: send_long_paths,
        ..Attack::DEFAULT
    },
];

fn take_descriptors(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let peers: Vec<Peer> = (0..CONNECTIONS).filter_map(|_| Peer::connect(target.at).ok()).collect();
    let mut waiting = Peer::connect(target.admin);
    let asked = waiting.as_mut().map(|peer| peer.offer(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n"));
    drop(asked); // the backlog takes it
    pause(until, ATTACK);
    let opened = peers.len();
    drop((peers, waiting));
    let recovery = Instant::now() + RECOVERY_MAX;
    let mut faults = Vec::new();
    while let Err(error) = request_new(target) {
        if Instant::now() >= recovery {
            faults.push(format!("no new connection is served {RECOVERY_MAX:?} after its end: {error}"));
            break;
        }
        thread::sleep(RECOVERY_POLL);
    }
    Toll { told: format!("{opened} connections"), held: 0, faults }
}

fn request_new(target: &Target) -> io::Result<()> {
    let mut peer = Peer::connect(target.at)?;
    peer.offer(b"GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    peer.wait_for(|got| got.starts_with(b"HTTP/1.1 200 ")).map(drop)
}

fn send_long_paths(target: &Target) -> Toll {
    let request = format!("GET /{} HTTP/1.1\r\nhost: bench\r\n\r\n", "p".repeat(LONG_PATH_BYTES));
    let answered = together(CLIENTS, |until| {
        let mut answered = 0;
        while Instant::now() < until {
            let Ok(mut peer) = Peer::connect(target.at) else { continue };
            while Instant::now() < until
                && peer.send(request.as_bytes(), until).is_ok()
                && peer.wait_for(|got| got.ends_with(b"hello")).is_ok()
            {
                answered += 1;
            }
        }
        answered
    });
    Toll { told: format!("{answered} requests"), ..Toll::default() }
}
