//! Two ends of a byte stream within one worker: a queue for each direction, of so many bytes and no more.
//!
//! A writer that has filled its queue waits until the reader has taken half of it. FIN, an abortive close, and an end that is gone
//! are seen by the other end as with TCP: what was written before FIN is read before it, what was written before RST is lost.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use bytes::{Buf, BytesMut};

use crate::net::{Io, Peek};

/// Two ends of a stream, with room for `buffer_bytes` in each direction.
pub(super) fn pair(buffer_bytes: usize) -> (End, End) {
    let direction = || Direction { buffer_bytes: buffer_bytes.max(1), ..Direction::default() };
    let [there, back] = [direction(), direction()].map(|direction| Arc::new(Mutex::new(direction)));
    let (first, second) = (Arc::clone(&there), Arc::clone(&back));
    (End::new(there, back), End::new(second, first))
}

/// One end. The locks are there because a connection must be `Send`: both ends belong to one worker, so nothing is ever contended.
pub(super) struct End {
    out: Arc<Mutex<Direction>>,
    into: Arc<Mutex<Direction>>,
    close: Close,
}

/// How an end closes its direction when it is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Close {
    Abort,
    Fin,
}

/// Bytes on their way from one end to the other.
#[derive(Debug, Default)]
struct Direction {
    /// At most `buffer_bytes`.
    queue: BytesMut,
    buffer_bytes: usize,
    written: Written,
    read: Read,
    /// The queue was full, and more than half of it is still there.
    is_full: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The writing end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Written {
    #[default]
    Open,
    /// It has written its last.
    Fin,
    /// It broke off.
    Reset,
}

/// The reading end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Read {
    #[default]
    Open,
    Gone,
}

impl End {
    fn new(out: Arc<Mutex<Direction>>, into: Arc<Mutex<Direction>>) -> Self {
        Self { out, into, close: Close::Fin }
    }
}

/// Nothing here panics while it holds the lock.
fn lock(direction: &Mutex<Direction>) -> MutexGuard<'_, Direction> {
    direction.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Direction {
    fn end(&mut self, how: Written) {
        if self.written == Written::Open {
            self.written = how;
        }
        if how == Written::Reset {
            (self.written, self.queue) = (how, BytesMut::new());
        }
        wake(&mut self.reader);
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.queue.len().min(buf.remaining());
        if let Some(taken) = self.queue.get(..count) {
            buf.put_slice(taken);
        }
        self.queue.advance(count);
        if self.queue.is_empty() {
            self.queue = BytesMut::new(); // a stream that is silent keeps no memory
        }
        if self.is_full && self.queue.len() <= self.buffer_bytes / 2 {
            self.is_full = false;
            wake(&mut self.writer);
        }
    }
}

impl Io for End {
    fn abort_on_drop(&mut self) {
        self.close = Close::Abort;
    }

    fn peer_is_gone(&self) -> bool {
        let out = lock(&self.out);
        out.read == Read::Gone && out.written == Written::Open
    }

    fn peek(&self) -> Peek {
        let into = lock(&self.into);
        match into.written {
            Written::Reset => Peek::Reset,
            _ if !into.queue.is_empty() => Peek::Bytes,
            Written::Fin => Peek::Closed,
            Written::Open => Peek::Open,
        }
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut into = lock(&self.into);
        match into.written {
            Written::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ if !into.queue.is_empty() => into.take(buf),
            Written::Fin => {}
            Written::Open => {
                into.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut out = lock(&self.out);
        if out.read == Read::Gone || out.written != Written::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = out.buffer_bytes.saturating_sub(out.queue.len());
        if out.is_full || room == 0 {
            (out.is_full, out.writer) = (true, Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let written = buf.get(..room).unwrap_or(buf);
        out.queue.extend_from_slice(written);
        wake(&mut out.reader);
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.out).end(Written::Fin);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let how = match self.close {
            Close::Abort => Written::Reset,
            Close::Fin => Written::Fin,
        };
        lock(&self.out).end(how);
        let mut into = lock(&self.into);
        (into.read, into.queue) = (Read::Gone, BytesMut::new());
        wake(&mut into.writer);
    }
}

#[cfg(test)]
mod tests {
    use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
    use futures_util::FutureExt;

    use super::*;

    #[::tokio::test]
    async fn a_full_queue_stops_its_writer_until_half_of_it_is_taken() {
        let (mut writer, mut reader) = pair(10);
        assert_eq!(writer.write(b"0123456789ab").await.unwrap(), 10);
        assert!(writer.write(b"x").now_or_never().is_none());
        let mut four = [0; 4];
        reader.read_exact(&mut four).await.unwrap();
        assert!(writer.write(b"x").now_or_never().is_none(), "more than half is there");
        reader.read_exact(&mut four).await.unwrap();
        assert_eq!(writer.write(b"abcdefghijk").now_or_never().unwrap().unwrap(), 8);
        assert_eq!(lock(&reader.into).queue.len(), 10, "memory is bounded");
    }

    #[::tokio::test]
    async fn each_half_ends_on_its_own() {
        let (mut one, mut two) = pair(100);
        one.write_all(b"last").await.unwrap();
        one.shutdown().await.unwrap();
        assert_eq!(two.peek(), Peek::Bytes);
        let mut got = Vec::new();
        two.read_to_end(&mut got).await.unwrap();
        assert_eq!((&got[..], two.peek()), (&b"last"[..], Peek::Closed));
        assert!(one.write(b"x").await.is_err());
        assert!(!one.peer_is_gone() && !two.peer_is_gone(), "each has closed no more than its own half");
        two.write_all(b"still").await.unwrap();
        drop(two);
        got.clear();
        one.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"still");
    }

    #[::tokio::test]
    async fn an_end_that_is_gone_has_closed_both_halves() {
        let (mut one, two) = pair(100);
        drop(two);
        assert_eq!((one.peek(), one.peer_is_gone()), (Peek::Closed, true));
        one.shutdown().await.unwrap();
        assert!(!one.peer_is_gone(), "nothing was to be sent any more");
    }

    #[::tokio::test]
    async fn an_abort_is_a_reset_and_loses_what_waits() {
        let (mut one, mut two) = pair(100);
        one.write_all(b"lost").await.unwrap();
        one.abort_on_drop();
        drop(one);
        assert_eq!(two.peek(), Peek::Reset);
        assert_eq!(two.read(&mut [0; 4]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(two.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
