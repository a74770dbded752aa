//! A listening socket and its backlog.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use finwait::net::ListenOptions;

use super::SocketId;
use super::readiness::KnownReadiness;
use crate::fnv::fnv1a;

/// Connections that Linux keeps half open for a listener at least, however small its backlog.
const HALF_OPEN_MIN: usize = 8;

/// A bound, listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) at: SocketAddr,
    /// What it was opened with.
    how: ListenOptions,
    /// Established connections that have not been accepted, oldest first.
    pub(super) ready: VecDeque<SocketId>,
    /// Connections whose handshake is not done.
    pub(super) half_open: usize,
    pub(super) readiness: KnownReadiness,
}

impl Listener {
    pub(super) fn new(at: SocketAddr, how: &ListenOptions) -> Self {
        Self { at, how: how.clone(), ready: VecDeque::new(), half_open: 0, readiness: KnownReadiness::default() }
    }

    fn backlog(&self) -> usize {
        usize::try_from(self.how.backlog).unwrap_or(usize::MAX)
    }

    /// Whether the handshake of one more connection may end. Linux compares with "greater than", so that one
    /// more than the backlog fits.
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() <= self.backlog()
    }

    /// Whether a SYN gets a SYN-ACK; otherwise it is dropped, and its sender tries again.
    pub(super) fn accepts_syn(&self) -> bool {
        self.has_room() && self.half_open < self.backlog().max(HALF_OPEN_MIN)
    }

    /// Whether it serves connections to `to`.
    pub(super) fn serves(&self, to: SocketAddr) -> bool {
        let any = self.at.ip().is_unspecified() && takes_family(self.at, &self.how, to);
        self.at.port() == to.port() && (any || self.at.ip() == to.ip())
    }

    /// Whether another listener at `at` would take connections from this one.
    pub(super) fn conflicts(&self, at: SocketAddr, how: &ListenOptions) -> bool {
        let overlap = self.at.ip() == at.ip()
            || (self.at.ip().is_unspecified() && takes_family(self.at, &self.how, at))
            || (at.ip().is_unspecified() && takes_family(at, how, self.at));
        self.at.port() == at.port() && overlap && !(self.how.reuse_port && how.reuse_port)
    }
}

/// Whether a socket that listens on every address takes connections of the family of `to`: one of IPv6 takes IPv4 too, unless
/// IPV6_V6ONLY is set.
fn takes_family(at: SocketAddr, how: &ListenOptions, to: SocketAddr) -> bool {
    at.is_ipv4() == to.is_ipv4() || (at.is_ipv6() && !how.ipv6_only)
}

/// Which of `listeners` that share a port gets the connection: by a hash of its addresses that begins with `key`.
pub(super) fn share_of(key: u64, from: SocketAddr, to: SocketAddr, listeners: usize) -> usize {
    let octets = |at: SocketAddr| {
        let ip = match at.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        ip.octets().into_iter().chain(at.port().to_be_bytes())
    };
    let bytes = key.to_be_bytes().into_iter().chain(octets(from)).chain(octets(to));
    usize::try_from(fnv1a(bytes) >> 32).ok().and_then(|hash| hash.checked_rem(listeners)).unwrap_or_default()
}
