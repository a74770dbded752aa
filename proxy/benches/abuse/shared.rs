//! One HTTP/2 connection to the proxy that many clients share, as behind another proxy: the neighbours' requests and
//! the attack's are streams of it. It is opened again once it has ended.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::frame::{
    ACK, DATA, END_STREAM, Frame, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, take_frame,
};

/// A response that takes longer is a failure.
const RESPONSE_MAX: Duration = Duration::from_secs(2);
const STATUS_200: u8 = 0x88;

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// 200, to its end.
    Ok,
    /// Another status, or RST_STREAM.
    Refused,
}

/// The connection that is open at present, if any.
pub(crate) struct ServerShared {
    at: SocketAddr,
    current: Mutex<Option<Arc<Connection>>>,
    /// Connections opened so far.
    pub(crate) opened: AtomicUsize,
}

struct Connection {
    sending: Mutex<Sending>,
    received: Mutex<Received>,
    arrived: Condvar,
}

struct Sending {
    stream: TcpStream,
    /// The next request's stream.
    next: u32,
}

#[derive(Default)]
struct Received {
    /// By stream: whether the status is 200, until the stream has ended.
    begun: BTreeMap<u32, bool>,
    ended: BTreeMap<u32, Outcome>,
    is_over: bool,
}

impl ServerShared {
    pub(crate) fn new(at: SocketAddr) -> Self {
        Self { at, current: Mutex::default(), opened: AtomicUsize::new(0) }
    }

    /// Sends one request, whose frames `write` makes from the stream's number, and waits for its outcome; an error if
    /// the connection ends first.
    pub(crate) fn request(&self, write: impl FnOnce(u32) -> Vec<u8>) -> io::Result<Outcome> {
        let connection = self.connection()?;
        let stream = connection.send(write)?;
        connection.outcome(stream)
    }

    /// Sends frames of streams that have begun.
    pub(crate) fn send(&self, frames: &[u8]) -> io::Result<()> {
        lock(&self.connection()?.sending).stream.write_all(frames)
    }

    fn connection(&self) -> io::Result<Arc<Connection>> {
        let mut current = lock(&self.current);
        if let Some(connection) = current.as_ref().filter(|connection| !lock(&connection.received).is_over) {
            return Ok(Arc::clone(connection));
        }
        let connection = Connection::open(self.at)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

impl Drop for ServerShared {
    fn drop(&mut self) {
        if let Some(connection) = lock(&self.current).take() {
            // Fails if it has ended, and that is what is wanted; it ends the thread that reads.
            drop(lock(&connection.sending).stream.shutdown(std::net::Shutdown::Both));
        }
    }
}

impl Connection {
    fn open(at: SocketAddr) -> io::Result<Arc<Self>> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
        let reading = stream.try_clone()?;
        let sending = Mutex::new(Sending { stream, next: 1 });
        let connection = Arc::new(Self { sending, received: Mutex::default(), arrived: Condvar::new() });
        let reader = Arc::clone(&connection);
        thread::spawn(move || {
            drop(reader.read(reading));
            lock(&reader.received).is_over = true;
            reader.arrived.notify_all();
        });
        Ok(connection)
    }

    fn send(&self, write: impl FnOnce(u32) -> Vec<u8>) -> io::Result<u32> {
        let mut sending = lock(&self.sending);
        let stream = sending.next;
        sending.next += 2;
        sending.stream.write_all(&write(stream))?;
        Ok(stream)
    }

    fn outcome(&self, stream: u32) -> io::Result<Outcome> {
        let waiting = |received: &mut Received| !received.ended.contains_key(&stream) && !received.is_over;
        let received = lock(&self.received);
        let (mut received, _) =
            self.arrived.wait_timeout_while(received, RESPONSE_MAX, waiting).expect("no panic holds it");
        received.ended.remove(&stream).ok_or_else(|| {
            let kind = if received.is_over { ErrorKind::ConnectionAborted } else { ErrorKind::TimedOut };
            kind.into()
        })
    }

    fn read(&self, mut from: TcpStream) -> io::Result<()> {
        let (mut unread, mut bytes) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match from.read(&mut bytes)? {
                0 => return Ok(()),
                len => unread.extend_from_slice(&bytes[..len]),
            }
            let mut out = Vec::new();
            while let Some(came) = take_frame(&mut unread) {
                self.take(&came, &mut out);
            }
            if !out.is_empty() {
                lock(&self.sending).stream.write_all(&out)?;
            }
        }
    }

    fn take(&self, came: &Frame, out: &mut Vec<u8>) {
        let mut received = lock(&self.received);
        match came.kind {
            SETTINGS if came.flags & ACK == 0 => return out.extend(frame(SETTINGS, ACK, 0, &[])),
            PING if came.flags & ACK == 0 => return out.extend(frame(PING, ACK, 0, &came.payload)),
            HEADERS => {
                // What comes before the status are changes of the table's size (RFC 7541 6.3).
                let status = came.payload.iter().find(|byte| *byte & 0xe0 != 0x20);
                received.begun.entry(came.stream).or_insert(status == Some(&STATUS_200));
            }
            DATA if !came.payload.is_empty() => {
                let read = u32::try_from(came.payload.len()).unwrap_or_default().to_be_bytes();
                out.extend(frame(WINDOW_UPDATE, 0, 0, &read));
            }
            RST_STREAM => {
                // RST_STREAM after a complete response says that the rest of a request is not wanted.
                received.ended.entry(came.stream).or_insert(Outcome::Refused);
            }
            _ => {}
        }
        if matches!(came.kind, HEADERS | DATA) && came.flags & END_STREAM != 0 {
            let is_ok = received.begun.remove(&came.stream).unwrap_or(false);
            received.ended.insert(came.stream, if is_ok { Outcome::Ok } else { Outcome::Refused });
        }
        self.arrived.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic holds it")
}
