//! The system calls of programs: listen, accept, connect, read, write, shutdown, close.
//!
//! Each first consults what the program has been notified of: a call that it has no reason to try is
//! not tried, as under a real event loop.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use finwait::net::{ListenOptions, Peek, TcpKeepalive};
use tokio::io::ReadBuf;

use super::listener::Listener;
use super::readiness::Readiness;
use super::tcp::{Owner, SegmentOutput, State, TcpSocket};
use super::{Kernel, SocketId};

/// Ports that the kernel chooses from: Linux's ip_local_port_range.
pub(super) const PORTS_EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// A connection out of a backlog.
pub(crate) struct Accepted {
    pub(crate) id: SocketId,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Kernel {
    pub(crate) fn listen(&mut self, at: SocketAddr, how: &ListenOptions) -> io::Result<(SocketId, SocketAddr)> {
        if !self.owns(at.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let at = match at.port() {
            0 => SocketAddr::new(at.ip(), self.ephemeral_port(at.ip(), None)?),
            _ => at,
        };
        if self.listeners.values().any(|listener| listener.conflicts(at, how)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.new_id();
        self.listeners.insert(id, Listener::new(at, how));
        Ok((id, at))
    }

    pub(crate) fn poll_accept(&mut self, id: SocketId, cx: &Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(listener) = self.listeners.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        if !listener.readiness.may_try(cx) {
            return Poll::Pending;
        }
        while let Some(ready) = listener.ready.pop_front() {
            let Some(socket) = self.sockets.get_mut(&ready) else { continue };
            if socket.state == State::Closed {
                // Linux accepts a connection that was reset while it waited, and fails the request for its peer's
                // address with ENOTCONN. The seam's production form reports every failure to set up one accepted
                // socket as this kind, so that its cause cannot delay the next accept.
                self.remove(ready);
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            socket.owner = Owner::Application;
            socket.readiness = Readiness::default(); // a driver learns of a socket at the turn after it was accepted
            socket.news = true;
            self.news.push(ready);
            let (local, peer) = (socket.local, socket.peer);
            let local = self.redirected(local).unwrap_or(local);
            return Poll::Ready(Ok(Accepted { id: ready, local, peer }));
        }
        listener.readiness.exhausted();
        let registered = listener.readiness.may_try(cx);
        debug_assert!(!registered, "an exhausted listener waits");
        Poll::Pending
    }

    /// From now on connections for addresses of others reach this port, as by a rule REDIRECT.
    pub(crate) fn redirect(&mut self, to: u16) {
        self.redirect = Some(to);
    }

    /// Where a connection for an address of another host arrives: as in Linux, at the first address of this one.
    pub(super) fn redirected(&self, to: SocketAddr) -> Option<SocketAddr> {
        let port = self.redirect.filter(|_| !self.owns(to.ip()))?;
        self.addresses.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).map(|ip| SocketAddr::new(*ip, port))
    }

    /// SO_ORIGINAL_DST.
    pub(crate) fn original_destination(&self, id: SocketId) -> Option<SocketAddr> {
        let local = self.sockets.get(&id)?.local;
        self.redirected(local).map(|_| local)
    }

    /// Stops listening: connections that were not accepted are reset.
    pub(crate) fn close_listener(&mut self, id: SocketId) {
        self.listeners.remove(&id);
        let orphans = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.owner == Owner::Backlog(id))
            .map(|(id, socket)| (*id, socket.state))
            .collect::<Vec<_>>();
        for (id, state) in orphans {
            if state == State::SynReceived {
                self.remove(id); // its SYN, sent again, meets a closed port
                continue;
            }
            self.with(id, |socket, output| {
                socket.owner = Owner::Orphaned;
                if socket.state != State::Closed {
                    socket.abort(output);
                }
            });
        }
    }

    /// Begins a connection; [`Kernel::poll_connected`] returns how it went.
    pub(crate) fn connect(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> io::Result<(SocketId, SocketAddr)> {
        let ip = match from {
            Some(from) if !from.ip().is_unspecified() => from.ip(),
            Some(_) | None => self.source_for(to.ip())?,
        };
        if !self.owns(ip) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = match from.map_or(0, |from| from.port()) {
            0 => self.ephemeral_port(ip, Some(to))?,
            port => port,
        };
        let local = SocketAddr::new(ip, port);
        if self.by_addresses.contains_key(&(local, to)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let iss = self.initial_sequence();
        let mut output = SegmentOutput { now: self.now, out: &mut self.outbox };
        let socket = TcpSocket::connect(local, to, iss, &mut output);
        Ok((self.insert(socket), local))
    }

    pub(crate) fn poll_connected(&mut self, id: SocketId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        match socket.readiness.write.may_try(cx) {
            true => Poll::Ready(socket.take_error()),
            false => Poll::Pending,
        }
    }

    pub(crate) fn poll_read(&mut self, id: SocketId, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            if !socket.readiness.read.may_try(cx) {
                return Poll::Pending;
            }
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let filled = buf.filled().len();
            let result = self.with(id, |socket, output| fill(socket, buf, output));
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            match result {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => socket.readiness.read.exhausted(),
                Some(Ok(())) => {
                    // A short read has emptied the socket; tokio saves itself the call that would find that.
                    if buf.remaining() > 0 && buf.filled().len() > filled {
                        socket.readiness.read.exhausted();
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Err(gone())),
            }
        }
    }

    /// What a read would find: the truth, whatever the program has been notified of.
    pub(crate) fn peek(&self, id: SocketId) -> Peek {
        self.sockets.get(&id).map_or(Peek::Reset, TcpSocket::peek)
    }

    pub(crate) fn poll_write(
        &mut self,
        id: SocketId,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            if !socket.readiness.write.may_try(cx) {
                return Poll::Pending;
            }
            let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>();
            let result = self.with(id, |socket, output| socket.write(slices, output));
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            match result {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => socket.readiness.write.exhausted(),
                Some(result) => {
                    if result.as_ref().is_ok_and(|written| *written < wanted) {
                        socket.readiness.write.exhausted();
                    }
                    return Poll::Ready(result);
                }
                None => return Poll::Ready(Err(gone())),
            }
        }
    }

    /// Finishes the sending direction.
    pub(crate) fn shutdown(&mut self, id: SocketId) {
        self.with(id, TcpSocket::shutdown);
    }

    /// SO_LINGER with a timeout of zero: the coming close is a reset.
    pub(crate) fn linger_zero(&mut self, id: SocketId) {
        self.with(id, |socket, _| socket.linger_zero = true);
    }

    /// SO_KEEPALIVE.
    pub(crate) fn keep_alive(&mut self, id: SocketId, how: TcpKeepalive) {
        self.with(id, |socket, output| socket.keep_alive(how, output));
    }

    /// The program's handle is gone.
    pub(crate) fn close(&mut self, id: SocketId) {
        self.with(id, TcpSocket::close);
    }

    fn owns(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.addresses.contains(&ip)
    }

    fn source_for(&self, to: IpAddr) -> io::Result<IpAddr> {
        if to.is_loopback() {
            return Ok(match to {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let same_family = self.addresses.iter().find(|ip| ip.is_ipv4() == to.is_ipv4());
        same_family.copied().ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// The next port that is free for connections to `peer`, or for listening.
    fn ephemeral_port(&mut self, ip: IpAddr, peer: Option<SocketAddr>) -> io::Result<u16> {
        for _ in PORTS_EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == *PORTS_EPHEMERAL.end() { *PORTS_EPHEMERAL.start() } else { port + 1 };
            let at = SocketAddr::new(ip, port);
            let taken = peer.is_some_and(|peer| self.by_addresses.contains_key(&(at, peer)));
            if !taken && !self.listeners.values().any(|listener| listener.conflicts(at, &ListenOptions::default())) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Reads as much as fits and is there; an error only if nothing was read before it.
fn fill(socket: &mut TcpSocket, buf: &mut ReadBuf<'_>, output: &mut SegmentOutput<'_>) -> io::Result<()> {
    let mut bytes = socket.read(buf.remaining(), output)?;
    while !bytes.is_empty() {
        buf.put_slice(&bytes);
        if buf.remaining() == 0 || !socket.truth().has_data {
            break;
        }
        bytes = socket.read(buf.remaining(), output)?;
    }
    Ok(())
}

/// The handle outlived its socket, which only a host without power brings about.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the host has lost power")
}
