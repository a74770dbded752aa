//! A listening socket and its backlog.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::SocketId;
use super::readiness::KnownReadiness;

/// Connections that Linux keeps half open for a listener at least, however small its backlog.
const HALF_OPEN_MIN: usize = 8;

/// A bound, listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) at: SocketAddr,
    pub(super) reuse_port: bool,
    /// Established connections that have not been accepted, oldest first.
    pub(super) ready: VecDeque<SocketId>,
    /// Connections whose handshake is not done.
    pub(super) half_open: usize,
    pub(super) readiness: KnownReadiness,
    backlog: usize,
}

impl Listener {
    pub(super) fn new(at: SocketAddr, backlog: u32, reuse_port: bool) -> Self {
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        Self { at, reuse_port, ready: VecDeque::new(), half_open: 0, readiness: KnownReadiness::default(), backlog }
    }

    /// Whether the handshake of one more connection may end. Linux compares with "greater than", so that one
    /// more than the backlog fits.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() <= self.backlog
    }

    /// Whether a SYN gets a SYN-ACK; otherwise it is dropped, and its sender tries again.
    pub(super) fn accepts_syn(&self) -> bool {
        self.has_room() && self.half_open < self.backlog.max(HALF_OPEN_MIN)
    }

    /// Whether it serves connections to `to`.
    pub(super) fn serves(&self, to: SocketAddr) -> bool {
        let any = self.at.ip().is_unspecified() && (self.at.is_ipv6() || to.is_ipv4());
        self.at.port() == to.port() && (any || self.at.ip() == to.ip())
    }

    /// Whether another listener at `at` would take connections from this one.
    pub(super) fn conflicts(&self, at: SocketAddr, reuse_port: bool) -> bool {
        let overlap = self.at.ip() == at.ip() || self.at.ip().is_unspecified() || at.ip().is_unspecified();
        self.at.port() == at.port() && overlap && !(self.reuse_port && reuse_port)
    }
}
