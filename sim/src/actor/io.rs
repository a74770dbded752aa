//! A [`Conn`] as hyper wants to see it, which also remembers how the peer ended it and what has left for good; and bodies
//! that may be sent slowly.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use finwait::net::{Conn, LocalBoxFuture};
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::scenario::{Ending, Rate};

/// One read's worth.
const READ_BYTES_MAX: usize = 16 * 1024;

pub(super) struct HyperIo {
    /// Empty when it has been given back.
    conn: Rc<RefCell<Option<Conn>>>,
    peer_ended: Rc<Cell<Option<Ending>>>,
    rate: Rc<Cell<Option<Rate>>>,
    /// A slow reader reads nothing before this has passed.
    pause: Option<Pin<Box<Sleep>>>,
    progress: Rc<Progress>,
}

/// The connection below hyper, within reach of the script as long as hyper has it.
#[derive(Clone)]
pub(super) struct HyperConn(Weak<RefCell<Option<Conn>>>);

impl HyperConn {
    /// Whether hyper still has it.
    pub(super) fn is_in_use(&self) -> bool {
        self.0.upgrade().is_some_and(|conn| conn.borrow().is_some())
    }

    /// Sends FIN, behind hyper's back: it goes on reading, and fails when it writes.
    ///
    /// # Errors
    /// The connection does not take it, or is no longer here.
    pub(super) fn half_close(&self) -> io::Result<()> {
        let shared = self.0.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let mut conn = shared.borrow_mut();
        let conn = conn.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // A simulated kernel takes a FIN at once.
        match Pin::new(conn).poll_shutdown(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// How many bodies of a connection have been handed to hyper in full, and how many of them have left.
pub(super) struct Progress {
    handed_over: Cell<usize>,
    flushed: Cell<usize>,
    since: Cell<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { handed_over: Cell::new(0), flushed: Cell::new(0), since: Cell::new(Instant::now()) }
    }

    /// How many bodies the kernel has, to the last byte.
    pub(super) fn flushed(&self) -> usize {
        self.flushed.get()
    }

    /// Since when there are so many.
    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    fn flush(&self) {
        if self.flushed.replace(self.handed_over.get()) < self.handed_over.get() {
            self.since.set(Instant::now());
        }
    }
}

impl HyperIo {
    /// Wraps a connection.
    pub(super) fn new(conn: Conn) -> Self {
        Self {
            conn: Rc::new(RefCell::new(Some(conn))),
            peer_ended: Rc::default(),
            rate: Rc::default(),
            pause: None,
            progress: Rc::new(Progress::new()),
        }
    }

    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut Conn>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.conn.borrow_mut().as_mut() {
            Some(conn) => poll(Pin::new(conn)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The connection, when hyper has given this back.
    ///
    /// # Errors
    /// It was taken before.
    pub(super) fn into_conn(self) -> io::Result<Conn> {
        self.conn.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(super) fn hyper_conn(&self) -> HyperConn {
        HyperConn(Rc::downgrade(&self.conn))
    }

    /// Filled when the peer ends the connection.
    pub(super) fn peer_ended(&self) -> Rc<Cell<Option<Ending>>> {
        Rc::clone(&self.peer_ended)
    }

    /// How fast it is read, which may be changed at any time; as fast as it comes if empty.
    pub(super) fn rate(&self) -> Rc<Cell<Option<Rate>>> {
        Rc::clone(&self.rate)
    }

    /// What has left of the bodies that report to it.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl Read for HyperIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let mut space = [0; READ_BYTES_MAX];
        let wanted = into.remaining().min(READ_BYTES_MAX);
        let mut buffer = ReadBuf::new(space.get_mut(..wanted).unwrap_or_default());
        let result = ready!(this.poll(|conn| conn.poll_read(cx, &mut buffer)));
        match &result {
            Ok(()) if buffer.filled().is_empty() && wanted > 0 => this.peer_ended.set(Some(Ending::Fin)),
            Ok(()) => {
                into.put_slice(buffer.filled());
                this.pause = this.rate.get().map(|rate| Box::pin(sleep(rate.time_for(buffer.filled().len()))));
            }
            Err(_) => this.peer_ended.set(Some(Ending::Rst)),
        }
        Poll::Ready(result)
    }
}

impl Write for HyperIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|conn| conn.poll_write(cx, bytes))
    }

    /// hyper flushes when it has written everything it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll(|conn| conn.poll_flush(cx)))?;
        self.progress.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|conn| conn.poll_shutdown(cx))
    }
}

/// The step in which a slow sender sends.
pub(super) const SEND_BYTES_MAX: usize = 1024;

/// A body that is there as a whole, and may be sent slowly.
pub(super) struct Sending {
    rest: Bytes,
    /// Nothing is sent before this has ended.
    held: Option<LocalBoxFuture<'static, ()>>,
    rate: Option<Rate>,
    pause: Option<Pin<Box<Sleep>>>,
    _counted: Option<Counted>,
}

/// Counts a body as handed over when it is dropped: hyper drops it when it has all of it, or needs none.
struct Counted(Rc<Progress>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.handed_over.set(self.0.handed_over.get() + 1);
    }
}

impl Sending {
    pub(super) fn new(body: Vec<u8>, rate: Option<Rate>) -> Self {
        Self { rest: body.into(), held: None, rate, pause: None, _counted: None }
    }

    /// Sends nothing before `held` has ended.
    pub(super) fn after(self, held: LocalBoxFuture<'static, ()>) -> Self {
        Self { held: Some(held), ..self }
    }

    /// Has `progress` count it.
    pub(super) fn counted(self, progress: &Rc<Progress>) -> Self {
        Self { _counted: Some(Counted(Rc::clone(progress))), ..self }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(held) = &mut this.held {
            ready!(held.as_mut().poll(cx));
            this.held = None;
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let Some(rate) = this.rate else { return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest))))) };
        let piece = this.rest.split_to(this.rest.len().min(SEND_BYTES_MAX));
        this.pause = Some(Box::pin(sleep(rate.time_for(piece.len()))));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
