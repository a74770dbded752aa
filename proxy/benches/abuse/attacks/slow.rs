//! Many connections that do little or nothing.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::{ATTACK, Attack, Limits, MIB, Target, Toll};
use crate::frame::{ACK, HEADERS, SETTINGS, WHOLE, WINDOW_UPDATE, frame, get};
use crate::peer::Peer;

const SLOW_HEADS: usize = 2_000;
const SLOW_BODIES: usize = 1_000;
const NARROW_CONNECTIONS: usize = 50;
const NARROW_STREAMS: u32 = 20;
const IDLE: usize = 10_000;
/// Descriptors that everything but idle connections needs.
const DESCRIPTORS_ELSEWHERE: usize = 1_000;
/// Connections that are closed in one go: the kernel drops packets of all connections on loopback once 1,000 of them wait
/// (net.core.netdev_max_backlog), and sends them again 200 ms later.
const CLOSED_AT_ONCE: usize = 200;
const CLOSE_PAUSE: Duration = Duration::from_millis(1);
/// Between two bytes of one slow client.
const SLOW_PACE: Duration = Duration::from_millis(500);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "slow_heads",
        about: "2,000 HTTP/1 heads without an end, a field every 500 ms",
        run: |target| slowly(target, SLOW_HEADS, b"GET / HTTP/1.1\r\nhost: slow\r\n", b"x-slow: y\r\n"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "slow_bodies",
        about: "1,000 HTTP/1 POSTs, a byte of 1,000,000 every 500 ms",
        run: |target| {
            slowly(target, SLOW_BODIES, b"POST / HTTP/1.1\r\nhost: slow\r\ncontent-length: 1000000\r\n\r\n", b"y")
        },
        ..Attack::DEFAULT
    },
    Attack {
        name: "one_byte_windows",
        about: "50 HTTP/2 connections with 20 responses of 1 MiB each, a byte of window every 500 ms",
        run: narrow,
        ..Attack::DEFAULT
    },
    Attack {
        name: "idle_http1_connections",
        about: "10,000 HTTP/1 connections that stay open after one request each",
        run: |target| idle(target.at, request_http1),
        ..Attack::DEFAULT
    },
    Attack {
        name: "idle_http2_connections",
        about: "10,000 HTTP/2 connections that stay open after one request each",
        // 42 KiB are allocated for each, of which 25 are ever touched: 28 of the 42 are buffers that h2 allocates for every
        // connection and keeps while it is idle (16 to write, 8 to read, 4 to decode fields), for which it has no setting.
        limits: Limits { peak_bytes: 264 * MIB, ..Limits::DEFAULT },
        run: |target| idle(target.at, request_http2),
        ..Attack::DEFAULT
    },
];

/// Opens connections, sends how each begins, and then a little on each in turn.
fn slowly(target: &Target, count: usize, begin: &[u8], more: &[u8]) -> Toll {
    let until = Instant::now() + ATTACK;
    let mut peers: Vec<Peer> = (0..count).filter_map(|_| Peer::connect(target.at).ok()).collect();
    let opened = peers.len();
    peers.retain_mut(|peer| peer.offer(begin).is_ok());
    while Instant::now() < until {
        thread::sleep(SLOW_PACE);
        peers.retain_mut(|peer| peer.offer(more).is_ok());
    }
    let told = format!("{} of {opened} connections still open at its end", peers.len());
    close(peers);
    Toll { told, held: opened, ..Toll::default() }
}

fn narrow(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let streams = || (0..NARROW_STREAMS).map(|number| 1 + 2 * number);
    let window_of_one = [0, 4, 0, 0, 0, 1];
    let mut peers: Vec<Peer> =
        (0..NARROW_CONNECTIONS).filter_map(|_| Peer::http2(target.at, &window_of_one).ok()).collect();
    let requests: Vec<u8> = streams().flat_map(|stream| frame(HEADERS, WHOLE, stream, &get(b"/large"))).collect();
    let one_more: Vec<u8> =
        streams().flat_map(|stream| frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())).collect();
    peers.retain_mut(|peer| peer.offer(&requests).is_ok());
    while Instant::now() < until {
        thread::sleep(SLOW_PACE);
        peers.retain_mut(|peer| peer.offer(&one_more).is_ok());
    }
    let told = format!("{} of {NARROW_CONNECTIONS} connections still open at its end", peers.len());
    Toll { told, held: NARROW_CONNECTIONS * NARROW_STREAMS as usize, ..Toll::default() }
}

fn idle(at: SocketAddr, request: fn(SocketAddr) -> io::Result<Peer>) -> Toll {
    let count = IDLE.min(descriptors_max().saturating_sub(DESCRIPTORS_ELSEWHERE));
    let begun = Instant::now();
    let mut peers: Vec<Peer> = (0..count).filter_map(|_| request(at).ok()).collect();
    let opened = peers.len();
    let took = begun.elapsed();
    thread::sleep(ATTACK);
    peers.retain_mut(|peer| peer.offer(&[]).is_ok());
    let told = format!("{opened} open after {:.1} s, {} of them at its end", took.as_secs_f64(), peers.len());
    close(peers);
    Toll { told, held: opened, ..Toll::default() }
}

/// Closes connections as fast as the kernel passes that on.
fn close(peers: Vec<Peer>) {
    let mut peers = peers.into_iter();
    while peers.len() > 0 {
        peers.by_ref().take(CLOSED_AT_ONCE).for_each(drop);
        thread::sleep(CLOSE_PAUSE);
    }
}

/// What the system lets this process open, and the proxy that it starts.
fn descriptors_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(IDLE)
}

fn request_http1(at: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::connect(at)?;
    peer.offer(b"GET / HTTP/1.1\r\nhost: idle\r\n\r\n")?;
    peer.wait_for(|got| got.ends_with(b"hello"))?;
    Ok(peer)
}

fn request_http2(at: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::http2(at, &[])?;
    peer.offer(&frame(HEADERS, WHOLE, 1, &get(b"/")))?;
    // The response's last frame is DATA with or without the page; the page comes once.
    peer.wait_for(|got| got.windows(5).any(|page| page == b"hello"))?;
    peer.offer(&frame(SETTINGS, ACK, 0, &[]))?;
    Ok(peer)
}
