//! finwait's view of the outside, for one simulated host: its kernel's sockets, names of simulated hosts, a
//! wall clock that follows virtual time, chance out of the seed, log lines into the trace.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use finwait::net::{
    Accept, Address, BindError, Clock, Conn, ConnectOptions, Io, ListenOptions, LocalBoxFuture, LogTarget, LogWriter,
    Logs, Net, Outside, Peek, Random, ResolveError,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Found, Lookup, WorldShared};
use crate::chance::Chance;
use crate::clock::EPOCH;
use crate::course::PartsPerMillion;
use crate::kernel::{Kernel, SocketId};
use crate::segment::Segment;
use crate::trace::{Event, HostId, accounts};

/// Virtual time since the beginning of the run, where every kernel can read it.
#[derive(Default)]
pub(super) struct WorldTime(AtomicU64);

impl WorldTime {
    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed); // 584 years
    }
}

/// One host's kernel. The lock and the atomics are there because a connection must be `Send`; a run has one thread, so
/// nothing is ever contended.
#[derive(Clone)]
pub(super) struct SharedKernel(Arc<Guarded>);

struct Guarded {
    kernel: Mutex<Kernel>,
    time: Arc<WorldTime>,
    /// Whether a task has used it since the scheduler last checked. At an instant few of the hosts do anything, and to poll
    /// all the others was a quarter of what a run cost.
    used: AtomicBool,
    /// The same, since the scheduler collected what it sent.
    sending: AtomicBool,
}

impl SharedKernel {
    pub(super) fn new(kernel: Kernel, time: &Arc<WorldTime>) -> Self {
        let (used, sending) = (AtomicBool::new(true), AtomicBool::new(true));
        Self(Arc::new(Guarded { kernel: Mutex::new(kernel), time: Arc::clone(time), used, sending }))
    }

    /// To use it, now.
    pub(super) fn lock(&self) -> MutexGuard<'_, Kernel> {
        self.0.used.store(true, Ordering::Relaxed);
        self.0.sending.store(true, Ordering::Relaxed);
        let mut kernel = self.look();
        kernel.set_time(self.0.time.get());
        kernel
    }

    /// To look at it and leave it as it is.
    pub(super) fn look(&self) -> MutexGuard<'_, Kernel> {
        self.0.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was used since this was last called.
    pub(super) fn was_used(&self) -> bool {
        self.0.used.swap(false, Ordering::Relaxed)
    }

    /// What it sent.
    pub(super) fn collect(&self) -> Vec<(u64, Segment)> {
        if !self.0.sending.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let sent = self.lock().collect();
        self.0.sending.store(false, Ordering::Relaxed);
        sent
    }
}

/// The outside of `host`. It holds the world weakly: a task may keep it past the world's end.
pub(super) fn outside(host: HostId, kernel: &SharedKernel, chance: Chance, shared: &Rc<WorldShared>) -> Outside {
    let net = Rc::new(Sockets { host, kernel: kernel.clone(), world: Rc::downgrade(shared) });
    outside_with(net, host, chance, shared)
}

/// The outside of `host` with another network.
pub(super) fn outside_with(net: Rc<dyn Net>, host: HostId, chance: Chance, shared: &Rc<WorldShared>) -> Outside {
    let world = Rc::downgrade(shared);
    Outside {
        net,
        clock: Rc::new(WorldClock::new(host, shared)),
        random: Rc::new(HostRandom(RefCell::new(chance))),
        logs: Rc::new(TraceLogs { host, world }),
        ends: Rc::default(),
        numbered: Rc::default(),
    }
}

struct Sockets {
    host: HostId,
    kernel: SharedKernel,
    world: Weak<WorldShared>,
}

impl Net for Sockets {
    fn host_name(&self) -> Option<String> {
        Some(self.world.upgrade()?.trace.lock().host(self.host).to_owned())
    }

    fn listen(&self, at: &Address, how: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        if let Address::Pipe(_) = at {
            return Ok(Box::new(Unvisited(at.clone())));
        }
        let at = socket_address(at)?;
        let (id, at) = self.kernel.lock().listen(at, how)?;
        Ok(Box::new(Listening { kernel: self.kernel.clone(), id, local: Address::Socket(at) }))
    }

    fn connect<'a>(&'a self, to: &'a Address, how: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let to = reachable(socket_address(to)?);
            let (id, local) = self.kernel.lock().connect(how.from, to).map_err(|error| match how.from {
                Some(from) => BindError::Address { from, error }.into(),
                None => error,
            })?;
            if let Some(keepalive) = how.keepalive {
                self.kernel.lock().keep_alive(id, keepalive);
            }
            // Closes the socket if this future is dropped, or the connection fails.
            let tcp = Tcp { kernel: self.kernel.clone(), id };
            poll_fn(|cx| tcp.kernel.lock().poll_connected(id, cx)).await?;
            Ok(Conn::new(Box::new(tcp), Address::Socket(local), Address::Socket(to)))
        })
    }

    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(respond(&self.world, name))
    }
}

/// What the name server responds, when it does.
pub(super) async fn respond(world: &Weak<WorldShared>, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let after = world.upgrade().and_then(|world| world.late_names.borrow().get(name).copied());
    if let Some(after) = after {
        tokio::time::sleep(after).await;
    }
    resolve(world, name)
}

fn resolve(world: &Weak<WorldShared>, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    if name == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let Some(world) = world.upgrade() else { return Err(ResolveError::NoAddress) };
    let answer = if world.failing_names.borrow().contains(name) {
        Err(ResolveError::Unavailable(io::Error::other("the name server failed (SERVFAIL)")))
    } else {
        let addresses = world.names.borrow().get(name).cloned();
        addresses.filter(|addresses| !addresses.is_empty()).ok_or(ResolveError::NoAddress)
    };
    let found = match &answer {
        Ok(_) => Found::Addresses,
        Err(ResolveError::NoAddress) => Found::Nothing,
        Err(ResolveError::Unavailable(_)) => Found::ServerFailed,
    };
    let mut lookups = world.lookups.borrow_mut();
    // What is resolved again and again is of interest where the answer changes.
    if lookups.iter().rev().find(|it| it.name == name).is_none_or(|before| before.found != found) {
        lookups.push(Lookup { at: world.now.get(), name: name.into(), found });
    }
    answer
}

/// Where a connection to an address goes: one to 0.0.0.0 stays on its machine, as in Linux.
fn reachable(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(at) if at.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => to,
    }
}

pub(super) fn socket_address(at: &Address) -> io::Result<SocketAddr> {
    match at {
        Address::Socket(at) => Ok(*at),
        Address::Internal(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "no internal listener of that name")),
        // Configurations with listeners or endpoints on pipes are refused before they run.
        Address::Pipe(_) => Err(io::ErrorKind::NotFound.into()),
    }
}

/// A listener on a pipe: only processes of the same host could connect to it, and a simulated host has no other.
pub(super) struct Unvisited(pub(super) Address);

impl Accept for Unvisited {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(std::future::pending())
    }

    fn local(&self) -> &Address {
        &self.0
    }
}

struct Listening {
    kernel: SharedKernel,
    id: SocketId,
    local: Address,
}

impl Accept for Listening {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let accepted = poll_fn(|cx| self.kernel.lock().poll_accept(self.id, cx)).await?;
            let tcp = Tcp { kernel: self.kernel.clone(), id: accepted.id };
            Ok(Conn::new(Box::new(tcp), Address::Socket(accepted.local), Address::Socket(accepted.peer)))
        })
    }

    fn local(&self) -> &Address {
        &self.local
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.kernel.lock().close_listener(self.id);
    }
}

/// A handle to a socket. It has its kernel, so that it may be dropped anywhere.
struct Tcp {
    kernel: SharedKernel,
    id: SocketId,
}

impl Io for Tcp {
    fn abort_on_drop(&mut self) {
        self.kernel.lock().linger_zero(self.id);
    }

    fn peek(&self) -> Peek {
        self.kernel.lock().peek(self.id)
    }

    fn original_destination(&self) -> Option<SocketAddr> {
        self.kernel.lock().original_destination(self.id)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.kernel.lock().poll_read(self.id, cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.kernel.lock().poll_write(self.id, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.kernel.lock().poll_write(self.id, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // a kernel sends by itself
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.kernel.lock().shutdown(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.kernel.lock().close(self.id);
    }
}

/// How a host's wall clock differs from the world's.
#[derive(Clone, Copy, Default)]
pub(super) struct WallClock {
    /// Nanoseconds by which it was set ahead.
    pub(super) ahead: i128,
    pub(super) slow: PartsPerMillion,
}

impl WallClock {
    /// What it shows at `now`, as time since 1970; nothing before that can be shown.
    fn shows(self, now: Duration) -> Duration {
        let now = EPOCH + now.saturating_sub(self.slow.of(now));
        let by = Duration::from_nanos(u64::try_from(self.ahead.unsigned_abs()).unwrap_or(u64::MAX));
        if self.ahead < 0 { now.saturating_sub(by) } else { now.saturating_add(by) }
    }
}

pub(super) struct WorldClock {
    host: HostId,
    world: Weak<WorldShared>,
}

impl WorldClock {
    pub(super) fn new(host: HostId, shared: &Rc<WorldShared>) -> Self {
        Self { host, world: Rc::downgrade(shared) }
    }
}

impl Clock for WorldClock {
    fn wall(&self) -> SystemTime {
        let Some(world) = self.world.upgrade() else { return UNIX_EPOCH + EPOCH };
        let clock = world.clocks.borrow().get(&self.host).copied().unwrap_or_default();
        UNIX_EPOCH.checked_add(clock.shows(world.now.get())).unwrap_or(UNIX_EPOCH)
    }
}

struct HostRandom(RefCell<Chance>);

impl Random for HostRandom {
    fn next_u64(&self) -> u64 {
        self.0.borrow_mut().next_u64()
    }
}

struct TraceLogs {
    host: HostId,
    world: Weak<WorldShared>,
}

impl Logs for TraceLogs {
    fn open(&self, target: &LogTarget) -> io::Result<Rc<dyn LogWriter>> {
        let target = match target {
            LogTarget::File(path) if path == accounts::PATH => {
                return Ok(Rc::new(Accounts { host: self.host, world: Weak::clone(&self.world) }));
            }
            LogTarget::File(path) => path.clone(),
            LogTarget::Stderr => "stderr".into(),
            LogTarget::Stdout => "stdout".into(),
        };
        Ok(Rc::new(TraceLog { host: self.host, target, world: Weak::clone(&self.world) }))
    }
}

struct TraceLog {
    host: HostId,
    target: String,
    world: Weak<WorldShared>,
}

impl LogWriter for TraceLog {
    fn write_line(&self, line: &[u8]) {
        let Some(world) = self.world.upgrade() else { return };
        let line = String::from_utf8_lossy(line).trim_end_matches('\n').to_owned();
        let event = Event::Log { host: self.host, target: self.target.clone(), line };
        world.trace.lock().push(world.now.get(), event);
    }
}

/// Where a proxy's accounts go.
struct Accounts {
    host: HostId,
    world: Weak<WorldShared>,
}

impl LogWriter for Accounts {
    fn write_line(&self, line: &[u8]) {
        let Some(world) = self.world.upgrade() else { return };
        let line = String::from_utf8_lossy(line).into_owned();
        world.trace.lock().push(world.now.get(), Event::Account { host: self.host, line });
    }
}
