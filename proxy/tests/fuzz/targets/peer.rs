//! The other end of a connection: it sends pieces of bytes, one for each read, then FIN; and it keeps what it gets.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use finwait::net::{Address, Conn, Io, Peek};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the peer does once it has sent everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    Fin,
    Silence,
}

/// What has crossed the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    received: Vec<u8>,
    sent_bytes: usize,
    is_drained: bool,
}

impl Traffic {
    /// What the peer has received.
    pub(super) fn received(&self) -> Vec<u8> {
        self.0.lock().expect("one thread").received.clone()
    }

    /// How much of what the peer sends has been read. Bytes.
    pub(super) fn sent_bytes(&self) -> usize {
        self.0.lock().expect("one thread").sent_bytes
    }

    /// Was a read refused because everything has been sent?
    pub(super) fn is_drained(&self) -> bool {
        self.0.lock().expect("one thread").is_drained
    }
}

/// Reads that find nothing before FIN: h2 drops requests that it has not handed out by then.
const PAUSES_BEFORE_FIN: usize = 32;

/// A connection to a peer that sends `pieces`, with a pause before each, and then does `then`.
pub(super) fn connect(pieces: &[&[u8]], then: Then) -> (Conn, Traffic) {
    let traffic = Traffic::default();
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let peer = Peer { pieces, pauses: 1, then, traffic: traffic.clone() };
    let at = Address::Internal("peer".into());
    (Conn::new(Box::new(peer), at.clone(), at), traffic)
}

struct Peer {
    pieces: VecDeque<Vec<u8>>,
    /// So many reads find nothing before the next piece, so that the reader acts on what it has.
    pauses: usize,
    then: Then,
    traffic: Traffic,
}

impl Io for Peer {
    fn abort_on_drop(&mut self) {}

    fn peek(&self) -> Peek {
        match (self.pieces.front(), self.then) {
            (Some(_), _) => Peek::Bytes,
            (None, Then::Fin) => Peek::Closed,
            (None, Then::Silence) => Peek::Open,
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.pauses > 0 {
            self.pauses -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else {
            self.traffic.0.lock().expect("one thread").is_drained = true;
            return match self.then {
                Then::Fin => Poll::Ready(Ok(())),
                Then::Silence => Poll::Pending,
            };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        self.traffic.0.lock().expect("one thread").sent_bytes += piece.len();
        if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
        self.pauses = if self.pieces.is_empty() { PAUSES_BEFORE_FIN } else { 1 };
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.traffic.0.lock().expect("one thread").received.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls `future` to its end.
///
/// # Panics
/// If it does not end: whoever waits for a peer that has closed waits in vain.
pub(super) fn finish<F: Future>(future: F) -> F::Output {
    const POLLS_MAX: usize = 100_000; // a read and a pause for each byte of an input
    let (mut future, mut cx) = (pin!(future), Context::from_waker(Waker::noop()));
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("it waits although the peer has closed")
}
