//! Clients of the admin interface. The neighbours' probes of `/ready` meet them there.

use std::io;
use std::time::Instant;

use super::{ATTACK, Attack, Target, Toll, pause};
use crate::peer::Peer;

const BODY_BYTES: usize = 300_000;
const FIELD_BYTES: usize = 200_000;
const UNREAD_CLIENTS: usize = 30;
const UNREAD_REQUESTS: usize = 200;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "unfinished_admin_requests_64",
        about: "64 admin requests that stop in their first line",
        run: |target| hold(target, 64),
        ..Attack::DEFAULT
    },
    Attack {
        name: "unfinished_admin_requests_1000",
        about: "1,000 admin requests that stop in their first line",
        run: |target| hold(target, 1_000),
        ..Attack::DEFAULT
    },
    Attack {
        name: "large_admin_requests",
        about: "admin requests with bodies of 300 KB and heads of 200 KB; each gets a response that can be read",
        run: send_large,
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_admin_responses",
        about: "30 admin clients with 200 requests of /stats?format=prometheus each, that read nothing",
        run: leave_unread,
        ..Attack::DEFAULT
    },
];

fn hold(target: &Target, count: usize) -> Toll {
    let until = Instant::now() + ATTACK;
    let mut peers: Vec<Peer> = (0..count).filter_map(|_| Peer::connect(target.admin).ok()).collect();
    peers.retain_mut(|peer| peer.offer(b"GET /re").is_ok());
    pause(until, ATTACK);
    peers.retain_mut(|peer| peer.offer(b"").is_ok());
    Toll {
        told: format!("{} of {count} connections still open at its end", peers.len()),
        held: count,
        ..Toll::default()
    }
}

fn send_large(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let body = vec![b'x'; BODY_BYTES];
    let chunk = [format!("{BODY_BYTES:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let head = |method: &str, more: &str| {
        format!("{method} /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n").into_bytes()
    };
    let inputs = [
        ("body with a length", [head("POST", &format!("content-length: {BODY_BYTES}\r\n")), body.clone()].concat()),
        ("chunked body", [head("POST", "transfer-encoding: chunked\r\n"), chunk].concat()),
        ("body of a GET", [head("GET", &format!("content-length: {BODY_BYTES}\r\n")), body].concat()),
        ("head", head("GET", &format!("x: {}\r\n", "y".repeat(FIELD_BYTES)))),
    ];
    let (mut sent, mut statuses, mut faults) = (0, Vec::new(), Vec::new());
    for (name, input) in inputs.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        sent += 1;
        match send_one(target, input, until) {
            Ok(status) if statuses.contains(&(*name, status.clone())) => {}
            Ok(status) => statuses.push((name, status)),
            Err(error) if Instant::now() < until => faults.push(format!("{name}: {error}")),
            Err(_) => {}
        }
    }
    let lost = faults.len();
    faults.truncate(1);
    let faults =
        faults.into_iter().map(|first| format!("{lost} of {sent} got no response, the first {first}")).collect();
    Toll { told: format!("{sent} requests: {statuses:?}"), held: 0, faults }
}

/// Sends all of it, and only then reads, to the end of the connection: a client that meets a reset on its way has lost
/// its response, or may have.
fn send_one(target: &Target, input: &[u8], until: Instant) -> io::Result<String> {
    let mut peer = Peer::connect(target.admin)?;
    peer.send_unread(input, until)?;
    let mut got = Vec::new();
    peer.read_to_end(&mut got)?;
    Ok(String::from_utf8_lossy(got.get(9..12).unwrap_or_default()).into_owned())
}

fn leave_unread(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let requests = b"GET /stats?format=prometheus HTTP/1.1\r\nhost: a\r\n\r\n".repeat(UNREAD_REQUESTS);
    let mut peers: Vec<Peer> = (0..UNREAD_CLIENTS).filter_map(|_| Peer::connect_narrow(target.admin).ok()).collect();
    peers.retain_mut(|peer| peer.write_some(&requests).is_ok());
    pause(until, ATTACK);
    Toll { told: format!("{} clients", peers.len()), ..Toll::default() }
}
