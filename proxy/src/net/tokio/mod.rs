//! The production form of the seam: real sockets, the system clock, a generator seeded by the system,
//! log files. The only folder that names `tokio::net`.

mod log_batch;
mod log_queue;
mod logs;
mod options;
mod pipes;

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::socket_option::{SocketOption, SocketState};

use super::{
    Accept, Address, BindError, Binding, Clock, Conn, ConnectOptions, Io, ListenOptions, LocalBoxFuture, LogTarget,
    Memory, Net, Outside, Peek, Random, ResolveError, TcpKeepalive, TimeZone,
};

pub use logs::{Diagnostics, LOG_FLUSH_INTERVAL, LogFiles};

// These two are the types the rest of the crate must not name.
#[expect(clippy::disallowed_types, reason = "this file is the seam's production form")]
type TcpStream = ::tokio::net::TcpStream;
#[expect(clippy::disallowed_types, reason = "this file is the seam's production form")]
type TcpListener = ::tokio::net::TcpListener;

/// The real world, for one worker.
#[must_use]
pub fn outside(logs: &Arc<LogFiles>) -> Outside {
    Outside {
        net: Rc::new(Sockets),
        clock: Rc::new(SystemClock),
        random: Rc::new(SplitMix::from_system()),
        logs: Rc::new(logs::WorkerLogs::new(logs)),
        ends: Rc::default(),
        numbered: Rc::default(),
    }
}

/// Opens a log file as it will be opened for writing, and closes it again.
///
/// # Errors
/// The error of the system: no such directory, permission denied.
pub fn probe_log(path: &str) -> io::Result<()> {
    logs::open_file(&LogTarget::File(path.to_owned())).map(drop)
}

/// Binds an address without sharing it and closes it again: whether it is free, and which port is chosen for port 0.
///
/// # Errors
/// The error of the system: address in use, permission denied, address not available.
pub fn probe(binding: &Binding) -> io::Result<Address> {
    match &binding.at {
        at @ Address::Internal(_) => Ok(at.clone()), // each worker has its own
        at @ Address::Pipe(pipe) => pipes::check_free(pipe).map(|()| at.clone()),
        Address::Socket(at) => {
            let local = listening_socket(*at, &ListenOptions::default().of(binding))?.local_addr()?.as_socket();
            local.map(Address::Socket).ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "not an IP address"))
        }
    }
}

fn internal_has_no_socket() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "an internal listener has no socket")
}

fn listening_socket(at: SocketAddr, how: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(how.reuse_port)?;
    if at.is_ipv6() {
        socket.set_only_v6(how.ipv6_only)?;
    }
    socket.set_nonblocking(true)?;
    options::set(&socket, &how.options, SocketState::Prebind)?;
    socket.bind(&at.into())?;
    options::set(&socket, &how.options, SocketState::Bound)?;
    socket.listen(i32::try_from(how.backlog).unwrap_or(i32::MAX))?;
    options::set(&socket, &how.options, SocketState::Listening)?;
    Ok(socket)
}

struct Sockets;

impl Net for Sockets {
    fn listen(&self, at: &Address, how: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        let at = match at {
            Address::Internal(_) => return Err(internal_has_no_socket()),
            Address::Pipe(pipe) => return pipes::listen(pipe, how),
            Address::Socket(at) => at,
        };
        let listener = TcpListener::from_std(listening_socket(*at, how)?.into())?;
        let local = Address::Socket(listener.local_addr()?);
        Ok(Box::new(Listening { listener, local, spare: Spare::default() }))
    }

    fn connect<'a>(&'a self, to: &'a Address, how: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let to = match to {
                Address::Internal(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "no internal listener of that name"));
                }
                Address::Pipe(pipe) => return pipes::connect(pipe).await,
                Address::Socket(to) => to,
            };
            let stream = match (how.from, &*how.options) {
                (None, []) => TcpStream::connect(to).await?,
                (from, options) => connect_from(from, options, *to).await?,
            };
            if let Some(keepalive) = how.keepalive {
                SockRef::from(&stream).set_tcp_keepalive(&socket_keepalive(keepalive))?;
            }
            conn(stream)
        })
    }

    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        if let Ok(address) = name.parse() {
            return Box::pin(std::future::ready(Ok(vec![address])));
        }
        let name = name.to_owned();
        Box::pin(async move {
            #[expect(clippy::disallowed_methods, reason = "this is the seam; the system's resolver blocks")]
            let looked_up = ::tokio::task::spawn_blocking(move || system_addresses(&name));
            looked_up.await.map_err(io::Error::from)?
        })
    }

    fn own_address(&self) -> Option<IpAddr> {
        // To "connect" a datagram socket sends nothing: the system only looks up which of its addresses it would use.
        // TEST-NET-2 (RFC 5737) belongs to no host, so its route is the default route.
        let elsewhere = SocketAddr::from(([198, 51, 100, 1], 9));
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).ok()?;
        socket.connect(&elsewhere.into()).ok()?;
        let own = socket.local_addr().ok()?.as_socket()?.ip();
        (!own.is_loopback()).then_some(own)
    }

    fn host_name(&self) -> Option<String> {
        // As in Envoy, it is read once.
        static NAME: OnceLock<Option<String>> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "a file of the system, which does not block")]
        let read = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim_end().to_owned());
        NAME.get_or_init(read).clone()
    }

    fn environment(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "a log may show a variable of the environment")]
        let value = std::env::var(name);
        value.ok()
    }
}

/// The memory of this process now, read from /proc/self/status; zeros where there is none.
#[must_use]
pub fn memory() -> Memory {
    #[expect(clippy::disallowed_methods, reason = "a file of the system, which does not block")]
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or_default().saturating_mul(1024)
    };
    Memory { anonymous: bytes("RssAnon"), resident: bytes("VmRSS") }
}

/// The addresses of `name` by the system's resolver. Blocks for as long as it takes.
fn system_addresses(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    use dns_lookup::LookupErrorKind::{NoData, NoName};
    // One socket type, or each address comes once for each type.
    let hints = dns_lookup::AddrInfoHints { socktype: dns_lookup::SockType::Stream.into(), ..Default::default() };
    let found = match dns_lookup::getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), NoData | NoName) => return Err(ResolveError::NoAddress),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let addresses: Vec<IpAddr> = found.map(|one| one.map(|one| one.sockaddr.ip())).collect::<io::Result<_>>()?;
    if addresses.is_empty() { Err(ResolveError::NoAddress) } else { Ok(addresses) }
}

fn socket_keepalive(how: TcpKeepalive) -> socket2::TcpKeepalive {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = how.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = how.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = how.probes {
        keepalive = keepalive.with_retries(probes);
    }
    keepalive
}

async fn connect_from(from: Option<SocketAddr>, options: &[SocketOption], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    options::set(&socket, options, SocketState::Prebind).map_err(BindError::Options)?;
    if let Some(from) = from {
        socket.bind(&from.into()).map_err(|error| BindError::Address { from, error })?;
    }
    ::tokio::net::TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// For a listening socket: it drops every segment with SYN and without ACK, which is the first of a handshake, and lets
/// the last one pass. The connections that it accepts inherit the filter, and never receive such a segment.
#[cfg(target_os = "linux")]
const WITHOUT_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13), // load the byte with the flags: a filter of TCP begins at its header
    SockFilter::new(0x54, 0, 0, 0x12), // keep SYN and ACK of them
    SockFilter::new(0x15, 0, 1, 0x02), // SYN alone?
    SockFilter::new(0x06, 0, 0, 0),  // then none of the segment,
    SockFilter::new(0x06, 0, 0, u32::MAX), // else all
];

struct Listening {
    listener: TcpListener,
    local: Address,
    spare: Spare,
}

/// A descriptor that is closed for a connection that needs it: a second one of the listening socket.
#[derive(Default)]
struct Spare(Option<Socket>);

impl Spare {
    fn keep(&mut self, of: &impl AsFd) {
        if self.0.is_none() {
            self.0 = SockRef::from(of).try_clone().ok();
        }
    }

    /// Accepts; where the process has no descriptor left, once more with the one that was kept back. Other threads may take it
    /// first; then this is tried again with the next one.
    async fn accept<T>(&mut self, accept: impl AsyncFn() -> io::Result<T>) -> io::Result<T> {
        match accept().await {
            Err(error) if self.frees_descriptor(&error) => accept().await,
            accepted => accepted,
        }
    }

    /// Closes the spare descriptor if `error` is that the process, or the system, has none left.
    fn frees_descriptor(&mut self, error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && self.0.take().is_some()
    }
}

impl Accept for Listening {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (stream, _) = self.spare.accept(async || self.listener.accept().await).await?;
            // Whatever the system's number for it: that one socket cannot be set up has no bearing on the next.
            conn(stream).map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))
        })
    }

    #[cfg(target_os = "linux")]
    fn admit_no_more(&mut self) -> io::Result<()> {
        SockRef::from(&self.listener).attach_filter(&WITHOUT_SYN)
    }

    fn keep_spare(&mut self) {
        self.spare.keep(&self.listener);
    }

    fn local(&self) -> &Address {
        &self.local
    }
}

fn conn(stream: TcpStream) -> io::Result<Conn> {
    stream.set_nodelay(true)?;
    let (local, peer) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
    Ok(Conn::new(Box::new(Stream(stream)), local, peer))
}

/// An address of IPv4 that a socket of IPv6 maps into its own (RFC 4291 2.5.5.2) is that address.
fn canonical(at: SocketAddr) -> Address {
    match at.ip().to_canonical() {
        ip if ip == at.ip() => Address::Socket(at), // with its scope
        ip => Address::Socket(SocketAddr::new(ip, at.port())),
    }
}

/// A socket of the system, TCP or Unix.
struct Stream<S>(S);

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin> Io for Stream<S> {
    fn abort_on_drop(&mut self) {
        // If the option cannot be set, or has no effect as on a Unix domain socket, the close is an ordinary one: less
        // abrupt, still a close.
        drop(SockRef::from(&self.0).set_linger(Some(Duration::ZERO)));
    }

    fn peek(&self) -> Peek {
        // Not tokio's own peek, which relies on its last readiness and does no system call.
        match SockRef::from(&self.0).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Peek::Closed,
            Ok(_) => Peek::Bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Peek::Open,
            Err(_) => Peek::Reset,
        }
    }

    #[cfg(target_os = "linux")]
    fn original_destination(&self) -> Option<SocketAddr> {
        let socket = SockRef::from(&self.0);
        // A socket of IPv6 has connections over IPv4, too, and either call fails for those of the other family.
        let found = socket.original_dst_v4().or_else(|_| socket.original_dst_v6()).ok()?.as_socket()?;
        Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the kernel flushes by itself
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        wall_time()
    }

    /// That of TZ, or else of the system; one that is not known is UTC, as in Envoy.
    #[expect(clippy::disallowed_methods, reason = "this is where the time zone enters")]
    fn zone(&self) -> TimeZone {
        let name = std::env::var("TZ").unwrap_or_else(|_| ":localtime".to_owned());
        let path = match name.strip_prefix(':').unwrap_or(&name) {
            "localtime" => std::env::var("LOCALTIME").unwrap_or_else(|_| "/etc/localtime".to_owned()),
            path if path.starts_with('/') => path.to_owned(),
            name => {
                let folder = std::env::var("TZDIR").unwrap_or_else(|_| "/usr/share/zoneinfo".to_owned());
                format!("{folder}/{name}")
            }
        };
        std::fs::read(path).ok().and_then(|file| TimeZone::read(&file)).unwrap_or_default()
    }
}

/// The time of the system's clock, for what has no [`Outside`]: the process log, and the version of a configuration.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where wall time enters")]
pub fn wall_time() -> SystemTime {
    SystemTime::now()
}

/// Steele, Lea and Flood's SplitMix64: small, fast, and good enough for balancing and jitter.
struct SplitMix(Cell<u64>);

impl SplitMix {
    fn from_system() -> Self {
        // RandomState is the standard library's only door to the system's entropy.
        Self(Cell::new(RandomState::new().build_hasher().finish()))
    }
}

impl Random for SplitMix {
    fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[::tokio::test]
    async fn a_connection_comes_from_its_source_address_or_does_not_begin() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Address::Socket(listener.local_addr().unwrap());
        let connect = async |from: &str| {
            let how = ConnectOptions { from: Some(SocketAddr::new(from.parse().unwrap(), 0)), ..Default::default() };
            Sockets.connect(&to, &how).await
        };
        let conn = connect("127.0.0.5").await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 5]));
        assert_eq!(conn.local, Address::Socket(peer));
        // TEST-NET-1 (RFC 5737) belongs to no host; a socket has one family.
        for from in ["192.0.2.1", "::1"] {
            let error = connect(from).await.unwrap_err();
            let bind = error.get_ref().and_then(|inner| inner.downcast_ref::<BindError>());
            let is_of =
                |bind: &BindError| matches!(bind, BindError::Address { from: at, .. } if at.ip().to_string() == from);
            assert!(bind.is_some_and(is_of), "{error}");
        }
    }
}
