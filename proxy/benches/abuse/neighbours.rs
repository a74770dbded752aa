//! The neighbours: clients that do nothing wrong. Each sends requests at a steady pace and notes how long the response
//! took. Two more send the same straight to the application, over a kept connection and over new ones: what they wait is the
//! machine's doing, and the application's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::apps::http2::STEADY_PACE;
use crate::client::{connect, read_head};
use crate::frame::{HEADERS, WHOLE, frame, get};
use crate::shared::{Outcome, ServerShared};

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Failures whose text is kept.
const FAILURES_TOLD: usize = 3;

/// How a neighbour reaches the application.
#[derive(Clone)]
pub(crate) enum Way {
    /// Over a connection that it keeps.
    Kept,
    /// Over a new connection for each request.
    Fresh,
    /// As a stream of a connection that the attack shares.
    ServerShared(Arc<ServerShared>),
    /// As one response that goes on, whose bytes come every [`STEADY_PACE`].
    Steady,
    /// `GET /ready` of the admin interface, over a new connection each.
    Probe,
}

pub(crate) struct Neighbours {
    notes: Arc<Notes>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Notes {
    latencies: Mutex<Vec<Latency>>,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// How long responses took, in order.
pub(crate) struct Latencies(Vec<Latency>);

/// How long a response took, and when it was there.
#[derive(Clone, Copy)]
struct Latency {
    took: Duration,
    at: Instant,
}

impl Neighbours {
    /// `ways` with the address that each goes to.
    pub(crate) fn start(ways: &[(Way, SocketAddr)]) -> Self {
        let notes = Arc::new(Notes::default());
        let client = |(way, at): &(Way, SocketAddr)| {
            let (notes, way, at) = (Arc::clone(&notes), way.clone(), *at);
            thread::spawn(move || match way {
                Way::Steady => follow(at, &notes),
                Way::Fresh | Way::Kept | Way::Probe | Way::ServerShared(_) => send_requests(&way, at, &notes),
            })
        };
        let threads = ways.iter().map(client).collect();
        Self { notes, threads }
    }

    /// As many as there are by default.
    pub(crate) fn several(way: &Way, at: SocketAddr) -> Vec<(Way, SocketAddr)> {
        vec![(way.clone(), at); CLIENTS]
    }

    /// Since the last call, in responses that have come.
    pub(crate) fn latencies(&self) -> Latencies {
        let mut latencies = std::mem::take(&mut *self.notes.latencies.lock().expect("no panic holds it"));
        latencies.sort_by_key(|latency| latency.took);
        Latencies(latencies)
    }

    /// Waits for the last responses. How long all took since the last call, how many requests failed, and how the first
    /// of them did.
    pub(crate) fn stop(mut self) -> (Latencies, usize, Vec<String>) {
        self.notes.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("a client only counts failures"));
        let mut failures = std::mem::take(&mut *self.notes.failures.lock().expect("no panic holds it"));
        let count = failures.len();
        failures.truncate(FAILURES_TOLD);
        (self.latencies(), count, failures)
    }
}

impl Latencies {
    pub(crate) fn at(&self, percent: usize) -> Duration {
        self.0.get(self.0.len().saturating_sub(1) * percent / 100).map_or(Duration::ZERO, |latency| latency.took)
    }

    pub(crate) fn max(&self) -> Duration {
        self.at(100)
    }

    /// How long after `begun` the response that took longest was there.
    pub(crate) fn max_after(&self, begun: Instant) -> Duration {
        self.0.last().map_or(Duration::ZERO, |latency| latency.at.saturating_duration_since(begun))
    }
}

impl Notes {
    fn note(&self, outcome: io::Result<Duration>, way: &str) {
        match outcome {
            Ok(took) => self.latencies.lock().expect("no panic holds it").push(Latency { took, at: Instant::now() }),
            Err(error) => self.failures.lock().expect("no panic holds it").push(format!("{way}: {error}")),
        }
    }
}

fn send_requests(way: &Way, at: SocketAddr, notes: &Notes) {
    let mut connection = None;
    while !notes.is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let (outcome, name) = match way {
            Way::ServerShared(shared) => (request_shared(shared), "shared connection"),
            Way::Probe => (request(&mut None, at, "/ready"), "/ready"),
            Way::Fresh => (request(&mut None, at, "/"), "new connection"),
            Way::Kept | Way::Steady => (request(&mut connection, at, "/"), "kept connection"),
        };
        notes.note(outcome.map(|()| begun.elapsed()), name);
        thread::sleep(PAUSE);
    }
}

fn request_shared(shared: &ServerShared) -> io::Result<()> {
    match shared.request(|stream| frame(HEADERS, WHOLE, stream, &get(b"/")))? {
        Outcome::Ok => Ok(()),
        Outcome::Refused => Err(io::Error::other("refused")),
    }
}

fn request(connection: &mut Option<BufReader<TcpStream>>, at: SocketAddr, path: &str) -> io::Result<()> {
    let mut reader = match connection.take() {
        Some(reader) => reader,
        None => connect(at)?,
    };
    reader.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nhost: neighbour\r\n\r\n").as_bytes())?;
    if read_head(&mut reader)?.contains("transfer-encoding: chunked") {
        while read_chunk(&mut reader)? > 0 {}
    } else {
        reader.read_exact(&mut [0; 5])?; // "hello" or "LIVE\n"
    }
    *connection = Some(reader);
    Ok(())
}

/// Follows a response that goes on: what it notes is how much later than its pace each byte comes.
fn follow(at: SocketAddr, notes: &Notes) {
    while !notes.is_over.load(Ordering::Relaxed) {
        if let Err(error) = follow_one(at, notes) {
            notes.note(Err(error), "response that goes on");
        }
        thread::sleep(PAUSE);
    }
}

/// Until this is over; an error if the response ends first.
fn follow_one(at: SocketAddr, notes: &Notes) -> io::Result<()> {
    let mut reader = connect(at)?;
    reader.get_mut().write_all(b"GET /steady HTTP/1.1\r\nhost: neighbour\r\n\r\n")?;
    read_head(&mut reader)?;
    while !notes.is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if read_chunk(&mut reader)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        notes.note(Ok(begun.elapsed().saturating_sub(STEADY_PACE)), "");
    }
    Ok(())
}

/// Reads a chunk; its length, 0 for the last.
fn read_chunk(reader: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let len = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
    io::copy(&mut reader.by_ref().take(len as u64 + 2), &mut io::sink())?;
    Ok(len)
}
