//! One stream's fault, on a connection that others share.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::{ATTACK, Attack, NeighbourConnections, Target, Toll, Upstream, pause, together};
use crate::frame::{
    CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, RST_STREAM, STREAM_MAX, WHOLE, WINDOW_UPDATE, field,
    frame, get, post,
};
use crate::peer::Peer;
use crate::shared::Outcome;

/// Cancelled together, and how long their requests are under way then: less than the application takes.
const CANCELLED: u32 = 50;
const CANCEL_AFTER: Duration = Duration::from_millis(80);
const CANCEL_PAUSE: Duration = Duration::from_millis(20);
/// Clients that do not read what they get.
const SLOW_READERS: usize = 4;
/// DATA that is sent after a response has ended.
const LATE_FRAMES: usize = 10;
/// Threads that send a request after the other.
const CLIENTS: usize = 2;
/// Requests with an empty DATA frame are sent at that pace, so that their number and not their rate is the matter.
const EMPTY_DATA_PAUSE: Duration = Duration::from_millis(1);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "responses_crossing_cancels",
        about: "HTTP/2 requests cancelled after 80 ms whose responses come all the same, on a shared upstream connection",
        upstream: Upstream::Http2,
        run: cancel,
        ..Attack::DEFAULT
    },
    Attack {
        name: "empty_data_in_responses",
        about: "responses with an empty DATA frame in their middle, on a shared upstream connection",
        upstream: Upstream::Http2,
        run: |target| request_each(target, "/empty", "200"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "empty_data_in_requests",
        about: "requests with empty DATA frames in their middle, on a connection that others share",
        neighbours: NeighbourConnections::Attacked,
        run: send_empty_data,
        ..Attack::DEFAULT
    },
    Attack {
        name: "uploads_crossing_early_responses",
        about: "DATA for streams whose response has ended early, on an HTTP/2 connection that others share",
        neighbours: NeighbourConnections::Attacked,
        run: send_after_response,
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_small_messages",
        about: "4 clients that do not read responses of 50-byte DATA frames, on a shared upstream connection",
        upstream: Upstream::Http2,
        run: leave_unread,
        ..Attack::DEFAULT
    },
    Attack {
        name: "malformed_responses",
        about: "malformed HTTP/2 responses, on a shared upstream connection",
        upstream: Upstream::Http2,
        run: receive_malformed,
        ..Attack::DEFAULT
    },
    Attack {
        name: "malformed_requests",
        about: "paths with each byte and other malformed heads, on an HTTP/2 connection that others share",
        neighbours: NeighbourConnections::Attacked,
        run: send_malformed,
        ..Attack::DEFAULT
    },
    Attack {
        name: "stream_errors",
        about: "frames that are errors of their stream, on an HTTP/2 connection that others share",
        neighbours: NeighbourConnections::Attacked,
        run: send_stream_errors,
        ..Attack::DEFAULT
    },
];

fn cancel(target: &Target) -> Toll {
    let cancelled = together(CLIENTS, |until| {
        let mut cancelled = 0;
        while Instant::now() < until {
            let Ok(mut peer) = Peer::http2(target.at, &[]) else { continue };
            for first in (1..STREAM_MAX).step_by(2 * CANCELLED as usize).take(8) {
                let streams = || (0..CANCELLED).map(|number| first + 2 * number);
                let requests: Vec<u8> =
                    streams().flat_map(|stream| frame(HEADERS, WHOLE, stream, &get(b"/late"))).collect();
                let resets: Vec<u8> =
                    streams().flat_map(|stream| frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())).collect();
                let sent = peer.send(&requests, until);
                pause(until, CANCEL_AFTER);
                if sent.and_then(|()| peer.send(&resets, until)).is_err() {
                    break;
                }
                cancelled += CANCELLED as usize;
                pause(until, CANCEL_PAUSE);
            }
        }
        cancelled
    });
    let connections = target.seen.connections.load(Ordering::Relaxed);
    Toll { told: format!("{cancelled} cancelled; {connections} upstream connections so far"), ..Toll::default() }
}

/// Requests one after the other over HTTP/1; a response with another status is a fault.
fn request_each(target: &Target, path: &str, status: &str) -> Toll {
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    let awaited = format!("HTTP/1.1 {status} ");
    let counts = |until| {
        let (mut sent, mut others) = (0, Vec::new());
        while Instant::now() < until {
            sent += 1;
            match request_one(target, request.as_bytes()) {
                Ok(response) if response.starts_with(awaited.as_bytes()) => {}
                Ok(response) => others.push(String::from_utf8_lossy(&response).lines().next().unwrap_or("").to_owned()),
                Err(error) => others.push(error.to_string()),
            }
        }
        (sent, others)
    };
    let until = Instant::now() + ATTACK;
    let results: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| counts(until))).collect();
        clients.into_iter().map(|client| client.join().expect("it only counts")).collect()
    });
    let sent: usize = results.iter().map(|(sent, _)| sent).sum();
    let others: Vec<&String> = results.iter().flat_map(|(_, others)| others).collect();
    let faults = others.first().map(|first| format!("{} of {sent} not {status}, the first {first:?}", others.len()));
    Toll { told: format!("{sent} requests"), held: sent, faults: faults.into_iter().collect() }
}

fn request_one(target: &Target, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut peer = Peer::connect(target.at)?;
    peer.offer(request)?;
    peer.wait_for(|got| got.windows(4).any(|end| end == b"\r\n\r\n"))
}

fn send_empty_data(target: &Target) -> Toll {
    let write = |stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &post(b"/"));
        let data = [frame(DATA, 0, stream, b"a"), frame(DATA, 0, stream, b""), frame(DATA, END_STREAM, stream, b"b")];
        [head, data.concat()].concat()
    };
    let until = Instant::now() + ATTACK;
    let (mut sent, mut lost) = (0, 0);
    while Instant::now() < until {
        sent += 1;
        lost += usize::from(!matches!(target.shared.request(write), Ok(Outcome::Ok)));
        pause(until, EMPTY_DATA_PAUSE);
    }
    let faults = (lost > 0).then(|| format!("{lost} of {sent} requests failed")).into_iter().collect();
    Toll { told: format!("{sent} requests"), held: 0, faults }
}

fn send_after_response(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let (mut sent, mut lost) = (0, 0);
    while Instant::now() < until {
        let mut number = 0;
        let write = |stream| {
            number = stream;
            [frame(HEADERS, END_HEADERS, stream, &post(b"/early")), frame(DATA, 0, stream, b"a")].concat()
        };
        sent += 1;
        lost += usize::from(target.shared.request(write).is_err());
        // Whatever the response was, the client has not heard of it yet.
        let late = frame(DATA, 0, number, b"late").repeat(LATE_FRAMES);
        lost += usize::from(target.shared.send(&late).is_err());
    }
    let faults = (lost > 0).then(|| format!("{lost} of {sent} requests met a lost connection")).into_iter().collect();
    Toll { told: format!("{sent} requests"), held: 0, faults }
}

fn leave_unread(target: &Target) -> Toll {
    let until = Instant::now() + ATTACK;
    let request = b"GET /small HTTP/1.1\r\nhost: bench\r\n\r\n";
    let readers: Vec<Peer> = (0..SLOW_READERS)
        .filter_map(|_| {
            let mut peer = Peer::connect_narrow(target.at).ok()?;
            peer.send_unread(request, until).ok()?;
            Some(peer)
        })
        .collect();
    pause(until, ATTACK);
    let connections = target.seen.connections.load(Ordering::Relaxed);
    Toll { told: format!("{} clients; {connections} upstream connections so far", readers.len()), ..Toll::default() }
}

fn receive_malformed(target: &Target) -> Toll {
    let before = target.seen.malformed.load(Ordering::Relaxed);
    let mut toll = request_each(target, "/malformed", "502");
    let seen = target.seen.malformed.load(Ordering::Relaxed) - before;
    if seen > toll.held {
        toll.faults.push(format!("{} requests were sent again", seen - toll.held));
    }
    Toll { held: 0, ..toll }
}

fn send_malformed(target: &Target) -> Toll {
    let heads = malformed_heads();
    send_wrong(target, &|stream, number| frame(HEADERS, WHOLE, stream, &heads[number % heads.len()]))
}

/// Heads that a proxy refuses, or forwards where it thinks that they are right: RFC 9113 8.1.1, 8.2 and 8.3.
fn malformed_heads() -> Vec<Vec<u8>> {
    let paths = (0x21..=0xff_u8).map(|byte| get(&[b'/', b'a', byte, b'b']));
    let with = |name: &[u8], value: &[u8]| [get(b"/"), field(name, value)].concat();
    let others = [
        get(b""),
        get(b"*"),
        get(b"no-slash"),
        get(b"/a b"),
        get(b"/a\r\nx: y"),
        get(b"/a\0"),
        with(b"X-Upper", b"a"),
        with(b"connection", b"close"),
        with(b"transfer-encoding", b"chunked"),
        with(b"te", b"gzip"),
        with(b"upgrade", b"websocket"),
        with(b"x y", b"a"),
        with(b"x", b"a\r\ny: z"),
        with(b"x", b"a\0b"),
        with(b"x", b" a "),
        with(b"", b"a"),
        with(b"x", b"\xff\xfe"),
        with(b":path", b"/again"),
        with(b":unknown", b"a"),
        with(b":status", b"200"),
        with(b"host", b"other"),
        with(b"content-length", b"5"),
        with(b"content-length", b"-1"),
        field(b":method", b"GET"),
        [field(b":method", b"G T"), field(b":scheme", b"http"), field(b":path", b"/")].concat(),
        [field(b":method", b"GET"), field(b":path", b"/"), field(b":authority", b"a")].concat(),
        [field(b":method", b"GET"), field(b":scheme", b"h t"), field(b":path", b"/")].concat(),
        [field(b":method", b"CONNECT"), field(b":path", b"/")].concat(),
        [get(b"/"), field(b":protocol", b"websocket")].concat(),
        [field(b"x", b"a"), get(b"/")].concat(),
        [&[0x82, 0x86, 0x84][..], &field(b":authority", b"u@a")].concat(),
        [&[0x82, 0x86, 0x84][..], &field(b":authority", b"a b")].concat(),
    ];
    paths.chain(others).collect()
}

fn send_stream_errors(target: &Target) -> Toll {
    send_wrong(target, &|stream, number| {
        let head = frame(HEADERS, END_HEADERS, stream, &post(b"/"));
        let with_length = frame(HEADERS, END_HEADERS, stream, &[post(b"/"), field(b"content-length", b"1")].concat());
        let window = |by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
        let end = frame(DATA, END_STREAM, stream, b"");
        match number % 6 {
            // A body that is longer or shorter than its content-length (8.1.1).
            0 => [with_length, frame(DATA, END_STREAM, stream, b"too long")].concat(),
            1 => [with_length, end].concat(),
            // A window beyond 2^31 - 1, and one that grows by nothing (6.9 and 6.9.1).
            2 => [head, window(STREAM_MAX), window(STREAM_MAX), end].concat(),
            3 => [head, window(0), end].concat(),
            // A stream that depends on itself (5.3.1 of RFC 7540).
            4 => [head, frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[16]].concat()), end].concat(),
            // Trailers with a pseudo-header field (8.1).
            _ => [head, frame(HEADERS, WHOLE, stream, &field(b":path", b"/"))].concat(),
        }
    })
}

/// Wrong requests one after the other on the shared connection. Each is answered or reset, and the connection stays.
fn send_wrong(target: &Target, write: &dyn Fn(u32, usize) -> Vec<u8>) -> Toll {
    let until = Instant::now() + ATTACK;
    let opened = target.shared.opened.load(Ordering::Relaxed);
    let (mut sent, mut without) = (0, Vec::new());
    while Instant::now() < until {
        if target.shared.request(|stream| write(stream, sent)).is_err() {
            without.push(sent);
        }
        sent += 1;
        pause(until, EMPTY_DATA_PAUSE);
    }
    let ended = target.shared.opened.load(Ordering::Relaxed).saturating_sub(opened);
    let mut faults = Vec::new();
    if ended > 0 {
        let first: Vec<&usize> = without.iter().take(12).collect();
        faults.push(format!("the connection ended {ended} times, at inputs {first:?} of {sent}"));
    }
    Toll { told: format!("{sent} requests"), held: 0, faults }
}
