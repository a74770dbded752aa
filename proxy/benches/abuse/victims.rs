//! The other clients: each asks at a steady pace over a connection of its own and notes how long the answer took.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// An answer that takes longer is a failure.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Victims {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    latencies: Mutex<Vec<Duration>>,
    failed: AtomicUsize,
    is_over: AtomicBool,
}

/// How long answers took, in order.
pub(crate) struct Latencies(Vec<Duration>);

impl Victims {
    pub(crate) fn start(at: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || ask_on(at, &shared))
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { shared, threads }
    }

    /// Since the last call.
    pub(crate) fn latencies(&self) -> Latencies {
        let mut latencies = std::mem::take(&mut *self.shared.latencies.lock().expect("no panic holds it"));
        latencies.sort();
        Latencies(latencies)
    }

    /// How many requests failed?
    pub(crate) fn stop(self) -> usize {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client only counts failures"));
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Latencies {
    pub(crate) fn told(&self) -> String {
        let at = |percent: usize| {
            let latency = self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
            format!("{:.1}", latency.as_secs_f64() * 1000.0)
        };
        [50, 99, 100].map(at).join(", ")
    }
}

fn ask_on(at: SocketAddr, shared: &Shared) {
    let mut connection = None;
    while !shared.is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match ask(&mut connection, at) {
            Ok(()) => shared.latencies.lock().expect("no panic holds it").push(begun.elapsed()),
            Err(_) => drop(shared.failed.fetch_add(1, Ordering::Relaxed)),
        }
        thread::sleep(PAUSE);
    }
}

fn ask(connection: &mut Option<BufReader<TcpStream>>, at: SocketAddr) -> io::Result<()> {
    let mut reader = match connection.take() {
        Some(reader) => reader,
        None => {
            let stream = TcpStream::connect(at)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            BufReader::new(stream)
        }
    };
    reader.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: victim\r\n\r\n")?;
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head += &line;
    }
    reader.read_exact(&mut [0; 5])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head));
    }
    *connection = Some(reader);
    Ok(())
}
