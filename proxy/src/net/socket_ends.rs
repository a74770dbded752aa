//! The ends of a connection, and those of the socket that it comes over, which differ behind a PROXY header.

use super::{Address, Conn};
use crate::config::filter_chain::Ends;

/// The ends of a socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketEnds {
    /// Ours.
    pub local: Address,
    /// The other.
    pub peer: Address,
}

impl Conn {
    /// Its ends, as a filter chain's match uses them.
    pub(crate) fn ends(&self) -> Ends {
        ends(&self.local, &self.peer, self.direct.as_deref())
    }

    /// Makes the address its local one that it was made for, if the system has sent it here from another.
    pub(crate) fn restore_destination(&mut self) {
        let Some(original) = self.io.original_destination().map(Address::Socket) else { return };
        if original != self.local {
            self.stands_for(self.peer.clone(), original);
        }
    }

    /// Makes these its ends, those of a PROXY header; the socket's are kept as `direct`.
    pub(crate) fn stands_for(&mut self, client: Address, server: Address) {
        let ends = SocketEnds {
            local: std::mem::replace(&mut self.local, server),
            peer: std::mem::replace(&mut self.peer, client),
        };
        self.direct = Some(Box::new(ends));
    }
}

/// The ends of a connection; `direct` has those of its socket where they differ.
pub(crate) fn ends(local: &Address, peer: &Address, direct: Option<&SocketEnds>) -> Ends {
    let direct_peer = direct.map_or(peer, |ends| &ends.peer);
    Ends { local: local.socket(), peer: peer.socket(), direct_peer: direct_peer.socket() }
}
