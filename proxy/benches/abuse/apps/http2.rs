//! The application over HTTP/2, frame by frame, so that it can be slow, late and wrong. A thread for each connection.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WHOLE,
    WINDOW_DEFAULT, WINDOW_UPDATE, field, frame, has_path, number, take_frame,
};

/// `/late` is answered after that long: its cancellation and its response cross.
const LATE: Duration = Duration::from_millis(250);
/// Between two bytes of `/steady`.
pub(crate) const STEADY_PACE: Duration = Duration::from_millis(20);
/// The longest wait for the other end before what is due is sent.
const TICK: Duration = Duration::from_millis(2);
/// One frame of `/small`.
const SMALL: [u8; 50] = [b'm'; 50];
/// Frames of `/small` in one write.
const SMALL_BATCH: usize = 100;
/// No table, so that a field can be read without what came before; and as many streams as anyone wants.
const SETTINGS_PAYLOAD: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 3, 0, 1, 0, 0];
const STATUS_200: &[u8] = b"\x88";

/// What it has seen since it started.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    /// Requests that are answered with a malformed head.
    pub(crate) malformed: AtomicUsize,
}

/// How one request is answered.
enum Script {
    /// HEADERS, and DATA without an end.
    Late {
        due: Instant,
    },
    Page,
    /// DATA with nothing between DATA with something.
    Empty,
    /// Small frames for as long as the windows allow.
    Small,
    /// A byte at a time, in a response that does not end.
    Steady {
        due: Instant,
    },
}

struct Stream {
    window: i64,
    script: Script,
}

struct Connection {
    stream: TcpStream,
    seen: Arc<Seen>,
    window: i64,
    /// Of streams to come (SETTINGS_INITIAL_WINDOW_SIZE).
    stream_window: i64,
    streams: BTreeMap<u32, Stream>,
}

/// Serves until the process ends.
pub(crate) fn start() -> io::Result<(SocketAddr, Arc<Seen>)> {
    let (listener, at) = super::listen()?;
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&counted);
            seen.connections.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || Connection::serve(stream, seen));
        }
    });
    Ok((at, seen))
}

impl Connection {
    fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.read_exact(&mut [0; PREFACE.len()])?;
        stream.write_all(&frame(SETTINGS, 0, 0, &SETTINGS_PAYLOAD))?;
        stream.set_read_timeout(Some(TICK))?;
        let (window, stream_window) = (WINDOW_DEFAULT, WINDOW_DEFAULT);
        let mut connection = Self { stream, seen, window, stream_window, streams: BTreeMap::new() };
        let (mut unread, mut bytes) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match connection.stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => unread.extend_from_slice(&bytes[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
            let mut out = Vec::new();
            while let Some(came) = take_frame(&mut unread) {
                connection.take(came, &mut out);
            }
            connection.proceed(&mut out);
            connection.stream.write_all(&out)?;
        }
    }

    fn take(&mut self, came: Frame, out: &mut Vec<u8>) {
        match came.kind {
            SETTINGS if came.flags & ACK == 0 => {
                for setting in came.payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
                    let window = i64::from(number(&setting[2..]));
                    self.streams.values_mut().for_each(|stream| stream.window += window - self.stream_window);
                    self.stream_window = window;
                }
                out.extend(frame(SETTINGS, ACK, 0, &[]));
            }
            PING if came.flags & ACK == 0 => out.extend(frame(PING, ACK, 0, &came.payload)),
            WINDOW_UPDATE if came.stream == 0 => self.window += i64::from(number(&came.payload)),
            WINDOW_UPDATE => {
                if let Some(stream) = self.streams.get_mut(&came.stream) {
                    stream.window += i64::from(number(&came.payload));
                }
            }
            // A late response is sent although the request is cancelled, as by an application that has not seen it.
            RST_STREAM => {
                let crosses = |stream: &Stream| matches!(stream.script, Script::Late { .. });
                if !self.streams.get(&came.stream).is_some_and(crosses) {
                    self.streams.remove(&came.stream);
                }
            }
            DATA if !came.payload.is_empty() => {
                let read = u32::try_from(came.payload.len()).unwrap_or_default().to_be_bytes();
                out.extend(frame(WINDOW_UPDATE, 0, 0, &read));
                out.extend(frame(WINDOW_UPDATE, 0, came.stream, &read));
            }
            HEADERS => self.begin(came.stream, &came.payload, out),
            _ => {}
        }
    }

    fn begin(&mut self, stream: u32, block: &[u8], out: &mut Vec<u8>) {
        let now = Instant::now();
        let script = if has_path(block, "/late") {
            Script::Late { due: now + LATE }
        } else if has_path(block, "/small") {
            Script::Small
        } else if has_path(block, "/steady") {
            Script::Steady { due: now }
        } else if has_path(block, "/empty") {
            Script::Empty
        } else if has_path(block, "/malformed") {
            let number = self.seen.malformed.fetch_add(1, Ordering::Relaxed);
            out.extend(malformed(stream, number));
            return;
        } else {
            Script::Page
        };
        if matches!(script, Script::Small | Script::Steady { .. }) {
            out.extend(frame(HEADERS, END_HEADERS, stream, STATUS_200));
        }
        self.streams.insert(stream, Stream { window: self.stream_window, script });
    }

    /// Sends what is due and fits into the windows.
    fn proceed(&mut self, out: &mut Vec<u8>) {
        let now = Instant::now();
        let window = &mut self.window;
        self.streams.retain(|number, stream| match &mut stream.script {
            Script::Late { due } if *due > now => true,
            Script::Late { .. } => {
                out.extend(frame(HEADERS, END_HEADERS, *number, STATUS_200));
                out.extend(frame(DATA, 0, *number, b"late"));
                *window -= 4;
                false
            }
            Script::Page | Script::Empty if *window < 5 || stream.window < 5 => true,
            Script::Page => {
                out.extend(frame(HEADERS, END_HEADERS, *number, STATUS_200));
                out.extend(frame(DATA, END_STREAM, *number, b"hello"));
                *window -= 5;
                false
            }
            Script::Empty => {
                out.extend(frame(HEADERS, END_HEADERS, *number, STATUS_200));
                out.extend(frame(DATA, 0, *number, b"he"));
                out.extend(frame(DATA, 0, *number, b""));
                out.extend(frame(DATA, END_STREAM, *number, b"llo"));
                *window -= 5;
                false
            }
            Script::Small => {
                let len = i64::try_from(SMALL.len()).unwrap_or_default();
                for _ in 0..SMALL_BATCH {
                    if (*window).min(stream.window) >= len {
                        out.extend(frame(DATA, 0, *number, &SMALL));
                        *window -= len;
                        stream.window -= len;
                    }
                }
                true
            }
            Script::Steady { due } => {
                if *due <= now && (*window).min(stream.window) > 0 {
                    out.extend(frame(DATA, 0, *number, b"s"));
                    *window -= 1;
                    stream.window -= 1;
                    *due += STEADY_PACE;
                }
                true
            }
        });
    }
}

/// A response that is no response, each in its way (RFC 9113 8.1.1 and 8.2).
fn malformed(stream: u32, number: usize) -> Vec<u8> {
    let ok = |fields: &[u8]| [STATUS_200, fields].concat();
    let blocks = [
        ok(&field(b"x", b"a\r\ninjected: 1")),
        ok(&field(b"X-Upper", b"a")),
        ok(&field(b"connection", b"close")),
        ok(&field(b"x y", b"a")),
        ok(&field(b":path", b"/")),
        ok(&field(b":status", b"200")),
        ok(&[field(b"content-length", b"1"), field(b"content-length", b"2")].concat()),
        field(b"x", b"a"),
        field(b":status", b"abc"),
        [field(b"x", b"a"), STATUS_200.to_vec()].concat(),
    ];
    let block = &blocks[number % blocks.len()];
    // Every other one in two frames, since a check of one frame would let it through.
    if number.is_multiple_of(2) {
        return [frame(HEADERS, WHOLE, stream, block)].concat();
    }
    let (first, second) = block.split_at(block.len() / 2);
    [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, second)].concat()
}
