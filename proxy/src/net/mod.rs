//! The seam: the only way to the outside world.
//!
//! The data plane reaches the network, the wall clock, chance and log files through these traits alone. [`tokio`] holds their
//! production form; the simulator holds another. Elapsed time is always `tokio::time`, which the simulator pauses. The traits are
//! object-safe, so no type parameter runs through the code. A worker owns one [`Outside`] and is `!Send`; only [`Conn`] is `Send`.

pub mod accept;
mod bind_error;
mod internal;
mod pace;
pub mod proxy_header;
pub mod proxy_protocol;
mod random;
mod rewound;
pub(crate) mod socket_ends;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time_zone;
pub mod tls;
pub mod tokio;
mod traffic;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::task::coop;

pub use crate::config::address::{Address, Binding, InternalAddress, Pipe};
use crate::config::filter_state::FilterState;
use crate::config::socket_option::SocketOption;
use crate::stats::{ByteStats, Meter, Registry};
pub use bind_error::BindError;
pub use internal::{InternalNet, Passed};
pub use pace::{Pace, PaceTicket};
pub use random::Random;
pub use socket_ends::SocketEnds;
pub use time_zone::TimeZone;
pub use tls::{Fingerprints, TlsSession};
pub(crate) use traffic::Traffic;

/// A future that stays on its worker.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Everything a worker may use of the world outside it.
#[derive(Clone)]
pub struct Outside {
    /// Connections in and out, and names.
    pub net: Rc<dyn Net>,
    /// Wall time, for logs and `date` only.
    pub clock: Rc<dyn Clock>,
    /// Chance: balancing, jitter, request ids.
    pub random: Rc<dyn Random>,
    /// Where access-log lines go.
    pub logs: Rc<dyn Logs>,
    /// How fast connections of clients, and requests whose client has gone, are brought to their end.
    pub ends: Rc<Pace>,
    /// How many connections to endpoints have a number, for logs.
    pub numbered: Rc<Cell<u64>>,
}

/// Listens, connects and resolves names.
pub trait Net {
    /// Binds and listens.
    ///
    /// # Errors
    /// The operating system's: address in use, permission denied, address not available.
    fn listen(&self, at: &Address, how: &ListenOptions) -> io::Result<Box<dyn Accept>>;

    /// Opens a connection. Has no timeout of its own: the caller drops the future when it has waited enough.
    fn connect<'a>(&'a self, to: &'a Address, how: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>>;

    /// The addresses of a host name, in the resolver's order; at least one.
    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;

    /// The address that other hosts have for this one, where a peer on loopback is to differ from theirs.
    fn own_address(&self) -> Option<IpAddr> {
        None
    }

    /// What this host is called, for logs.
    fn host_name(&self) -> Option<String> {
        None
    }

    /// The value of a variable of the process's environment, for logs.
    fn environment(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Why a name has no addresses now.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name server responded: there is no such name (NXDOMAIN), or it has no address.
    #[error("the name does not exist or has no address")]
    NoAddress,
    /// Nothing is known: the name server failed (SERVFAIL, REFUSED) or did not respond, or the system has no means to
    /// query it.
    #[error(transparent)]
    Unavailable(#[from] io::Error),
}

/// The memory of the process, from the system. Bytes; 0 where the system does not report it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Pages in memory that belong to no file: heap and stacks, what the allocator keeps for later among them. The
    /// allocator itself does not report how much of it is in use.
    pub anonymous: u64,
    /// All pages in memory, the program's own code among them.
    pub resident: u64,
}

/// A bound, listening socket. Dropping it stops accepting.
pub trait Accept {
    /// The next connection.
    ///
    /// # Cancellation
    /// Safe to drop: a connection that was not returned stays in the backlog.
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>>;

    /// Lets no further handshake begin; those under way go on, to [`Self::accept`]. A client that connects gets no reply and
    /// knocks again a second later (RFC 6298 2.1), when this socket is gone and another may be in its place.
    ///
    /// # Errors
    /// This network cannot: handshakes go on until the socket is dropped.
    fn admit_no_more(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Keeps a descriptor back, with which [`Self::accept`] takes one connection in when the process has no other left.
    /// To be called again whenever a connection has closed; without effect while the descriptor is there.
    fn keep_spare(&mut self) {}

    /// The address it is bound to, with the port the system chose if port 0 was requested.
    fn local(&self) -> &Address;
}

/// Wall time. For logs and the `date` header only: durations are measured with `tokio::time::Instant`.
pub trait Clock {
    /// The wall-clock time.
    fn wall(&self) -> SystemTime;

    /// The time zone of the process, for local times in logs. It is looked for each time.
    fn zone(&self) -> TimeZone {
        TimeZone::default()
    }
}

/// Opens log files.
pub trait Logs {
    /// A writer that appends to `target`; one target opened twice is one stream of whole lines.
    ///
    /// # Errors
    /// The file cannot be created or opened for appending.
    fn open(&self, target: &LogTarget) -> io::Result<Rc<dyn LogWriter>>;

    /// Opens every log file again by its path, as log rotation wants after it has moved one away. Returns at once; lines
    /// that have not been written yet go to the new file. A file that cannot be opened goes on in the old one.
    fn reopen(&self) {}

    /// Adds to `registry` what is counted about the logs of the process.
    fn register_stats(&self, _registry: &Registry) {}
}

/// Appends whole lines. Never blocks the worker on a disk.
pub trait LogWriter {
    /// Queues `line`, which carries its own line end. A log whose file or reader does not keep up loses lines, and counts
    /// them.
    fn write_line(&self, line: &[u8]);
}

/// Where log lines go.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogTarget {
    /// A file, appended to.
    File(String),
    /// The process's standard error.
    Stderr,
    /// The process's standard output.
    Stdout,
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections the kernel completes before `accept` is called.
    pub backlog: u32,
    /// Let every worker bind the same address (SO_REUSEPORT).
    pub reuse_port: bool,
    /// A socket of IPv6 takes no connections over IPv4 (IPV6_V6ONLY).
    pub ipv6_only: bool,
    /// What else is set on the socket.
    pub options: Arc<[SocketOption]>,
}

impl ListenOptions {
    /// The same for this binding.
    #[must_use]
    pub fn of(&self, binding: &Binding) -> Self {
        Self { ipv6_only: !binding.takes_ipv4, options: Arc::clone(&binding.options), ..self.clone() }
    }

    /// The kernel caps it at net.core.somaxconn, 4096 on current systems; a burst of reconnecting clients after a
    /// restart is what fills it.
    pub const BACKLOG: u32 = 4096;
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: Self::BACKLOG, reuse_port: false, ipv6_only: false, options: Arc::default() }
    }
}

/// How to connect. TCP_NODELAY is always set: a proxy writes whole messages.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// What the accepted end of a connection to an internal listener gets with it.
    pub passed: Option<Arc<Passed>>,
    /// Bind here first.
    pub from: Option<SocketAddr>,
    /// Let the kernel probe a silent peer (SO_KEEPALIVE).
    pub keepalive: Option<TcpKeepalive>,
    /// What else is set on the socket before it connects.
    pub options: Arc<[SocketOption]>,
}

/// How a kernel probes a silent peer. A field that is `None` is the system's own choice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpKeepalive {
    /// So many probes without a response end the connection.
    pub probes: Option<u32>,
    /// From the last segment to the first probe; whole seconds.
    pub time: Option<Duration>,
    /// From one probe to the next; whole seconds.
    pub interval: Option<Duration>,
}

/// What a [`Conn`] is made of.
pub trait Io: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming drop an abortive close: RST instead of FIN, queued bytes lost.
    fn abort_on_drop(&mut self);

    /// Polls what a read would find, without reading, and without trusting earlier events: a FIN may have come since.
    fn peek(&self) -> Peek;

    /// Whether the other end is gone while this one could still send: known of streams within the process alone.
    fn peer_is_gone(&self) -> bool {
        false
    }

    /// Where the connection was to go before the system sent it here (SO_ORIGINAL_DST); `None` if nothing is known of that.
    fn original_destination(&self) -> Option<SocketAddr> {
        None
    }
}

/// What a read would find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peek {
    /// At least one byte.
    Bytes,
    /// FIN, and nothing before it.
    Closed,
    /// A read would wait.
    Open,
    /// RST, or another error.
    Reset,
}

/// One transport connection: a TCP or Unix domain socket, an internal listener's pipe or a simulated socket.
pub struct Conn {
    io: Box<dyn Io + Send>,
    meter: Option<Meter>,
    traffic: Option<Arc<Traffic>>,
    /// Its number among the worker's connections to endpoints; 0 of any other.
    pub number: u64,
    /// What TLS has agreed upon; `None` is clear text.
    pub tls: Option<Arc<TlsSession>>,
    /// The ends of the socket, where a PROXY header has named others.
    pub direct: Option<Box<SocketEnds>>,
    /// What its other end, which is within the process, has passed on.
    pub passed: Option<Arc<Passed>>,
    /// What filters share with the upstream that it leads to.
    pub shared: Option<Arc<FilterState>>,
    /// The server that the client names in its ClientHello, where `tls_inspector` has read it.
    pub requested_server_name: Option<Box<str>>,
    /// Those of the client, where `tls_inspector` makes them.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// The name of the filter chain that has taken it, where its listener has logs.
    pub filter_chain: Option<Arc<str>>,
    /// The local address.
    pub local: Address,
    /// The other end.
    pub peer: Address,
}

/// The facts of a connection to an endpoint, for logs.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// The local address.
    pub local: Address,
    /// The address that it is to.
    pub peer: Address,
    /// Its number among the worker's connections to endpoints.
    pub number: u64,
    /// What filters share with it.
    pub state: Option<Arc<FilterState>>,
    /// What TLS has agreed upon; `None` is clear text.
    pub tls: Option<Arc<TlsSession>>,
}

impl Conn {
    /// Its facts for logs.
    pub(crate) fn info(&self) -> ConnInfo {
        let (state, tls) = (self.shared.clone(), self.tls.clone());
        ConnInfo { local: self.local.clone(), peer: self.peer.clone(), number: self.number, state, tls }
    }

    /// Wraps an open connection.
    #[must_use]
    pub fn new(io: Box<dyn Io + Send>, local: Address, peer: Address) -> Self {
        Self {
            io,
            meter: None,
            traffic: None,
            number: 0,
            tls: None,
            direct: None,
            passed: None,
            shared: None,
            requested_server_name: None,
            fingerprints: None,
            filter_chain: None,
            local,
            peer,
        }
    }

    /// Has ALPN led to HTTP/2 (RFC 9113 3.2)?
    pub(crate) fn has_agreed_upon_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2"))
    }

    /// Counts its bytes from here on.
    pub(crate) fn count_bytes(&mut self, stats: &ByteStats) {
        self.meter = Some(stats.meter());
    }

    /// Counts its bytes from here on, for a line of a log.
    pub(crate) fn count_traffic(&mut self) -> Arc<Traffic> {
        Arc::clone(self.traffic.get_or_insert_default())
    }

    /// The socket took no more, and besides what was written last so many bytes wait for it.
    pub(crate) fn note_waiting(&mut self, bytes: usize) {
        if let Some(meter) = &mut self.meter {
            meter.note_waiting(bytes);
        }
    }

    /// What a read would find at this moment.
    #[must_use]
    pub fn peek(&self) -> Peek {
        self.io.peek()
    }

    /// Whether the other end is gone, as far as that can be known.
    #[must_use]
    pub fn peer_is_gone(&self) -> bool {
        self.io.peer_is_gone()
    }

    /// Drops the connection with RST instead of FIN. Bytes that were written but not sent are lost.
    pub fn abort(mut self) {
        self.abort_on_drop();
    }

    /// Makes the coming drop an [`Self::abort`].
    pub fn abort_on_drop(&mut self) {
        self.io.abort_on_drop();
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conn({} -> {})", self.local, self.peer)
    }
}

/// Bytes that count as one step of a task's turn. The runtime gives a turn 128 steps, so a task whose connections are always
/// ready moves at most 512 KiB in and out before its neighbours have theirs: a few hundred microseconds of copying.
const STEP_BYTES: usize = 4 * 1024;

/// Carries `io` out within the turn of the task. What it moved, as `moved` counts, is charged to the turn.
fn poll_within_turn<T>(
    cx: &mut Context<'_>,
    io: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    moved: impl FnOnce(&T) -> usize,
) -> Poll<io::Result<T>> {
    let step = ready!(coop::poll_proceed(cx));
    let done = ready!(io(cx));
    step.made_progress();
    // The first step is paid. Where none is left the next call ends the turn.
    for _ in 0..done.as_ref().map_or(0, moved) / STEP_BYTES {
        if !coop::has_budget_remaining() {
            break;
        }
        if let Poll::Ready(step) = coop::poll_proceed(cx) {
            step.made_progress();
        }
    }
    Poll::Ready(done)
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (Self { io, meter, traffic, .. }, before) = (self.get_mut(), buf.filled().len());
        let read = |cx: &mut Context<'_>| {
            ready!(Pin::new(io).poll_read(cx, buf))?;
            let bytes = buf.filled().len().saturating_sub(before);
            if let Some(meter) = meter {
                meter.note_read(bytes);
            }
            if let Some(traffic) = traffic {
                traffic.note_read(bytes);
            }
            Poll::Ready(Ok(bytes))
        };
        poll_within_turn(cx, read, |bytes| *bytes).map_ok(drop)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, meter, traffic, .. } = self.get_mut();
        let write = |cx: &mut Context<'_>| {
            let written = Pin::new(io).poll_write(cx, buf);
            if let Some(meter) = meter {
                meter.note_write(buf.len(), &written);
            }
            if let Some(traffic) = traffic {
                traffic.note_write(&written);
            }
            written
        };
        poll_within_turn(cx, write, |bytes| *bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, meter, traffic, .. } = self.get_mut();
        let write = |cx: &mut Context<'_>| {
            let written = Pin::new(io).poll_write_vectored(cx, bufs);
            if let Some(meter) = meter {
                meter.note_write(bufs.iter().map(|buf| buf.len()).sum(), &written);
            }
            if let Some(traffic) = traffic {
                traffic.note_write(&written);
            }
            written
        };
        poll_within_turn(cx, write, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
