//! The sockets of a worker's listeners: one for each address. A listener that a new configuration leaves as it was, or that
//! differs in other things than its addresses, keeps its sockets; so does an address that passes from one listener to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use crate::config::{self, ListenerChange};
use crate::drain::Direction;
use crate::listener::ListenerControl;
use crate::net::{Accept, Address, Binding, ListenOptions, Outside};
use crate::snapshot::{self, Addresses, Snapshot};

/// The listeners that run, by name.
#[derive(Default)]
pub(super) struct Listeners(pub(super) BTreeMap<String, Running>);

/// A listener that runs.
pub(super) struct Running {
    pub(super) config: Arc<snapshot::Listener>,
    /// One for each of its addresses, in the configuration's order.
    pub(super) sockets: Vec<ListenerControl>,
}

/// A socket of a listener of the snapshot.
pub(super) enum Socket {
    /// It begins to accept.
    New(Box<dyn Accept>),
    /// It is there already.
    Kept(SocketName),
}

/// A socket that is there: the name that its listener has now, and its position among those of that listener.
pub(super) type SocketName = (String, usize);

impl Listeners {
    /// Where they are bound.
    pub(super) fn addresses(&self) -> Addresses {
        let at = |running: &Running| running.sockets.iter().map(|socket| socket.at().clone()).collect();
        self.0.iter().map(|(name, running)| (name.clone(), at(running))).collect()
    }

    /// Where a socket is bound.
    pub(super) fn bound(&self, socket: &Socket) -> Option<Address> {
        match socket {
            Socket::New(accept) => Some(accept.local().clone()),
            Socket::Kept((name, nth)) => Some(self.0.get(name)?.sockets.get(*nth)?.at().clone()),
        }
    }

    /// All sockets, and no listener any more.
    pub(super) fn take(&mut self) -> BTreeMap<SocketName, ListenerControl> {
        let mut sockets = BTreeMap::new();
        for (name, running) in std::mem::take(&mut self.0) {
            sockets.extend(running.sockets.into_iter().enumerate().map(|(nth, socket)| ((name.clone(), nth), socket)));
        }
        sockets
    }

    /// The socket that its listener leaves and that listens where a new one is to, so that it can stay.
    pub(super) fn left_at(&self, snapshot: &Snapshot, wanted: &Binding) -> Option<SocketName> {
        let leaves = |name: &String| {
            matches!(snapshot.changes.listeners.get(name), Some(ListenerChange::Removed | ListenerChange::Address))
        };
        if wanted.at.has_any_port() {
            return None;
        }
        self.0.iter().filter(|(name, _)| leaves(name)).find_map(|(name, running)| {
            let nth = running.config.config.bindings().position(|binding| binding == wanted)?;
            Some((name.clone(), nth))
        })
    }
}

/// Whose clients it has, for a drain.
pub(super) fn direction(listener: &config::Listener) -> Direction {
    match listener.address() {
        Address::Internal(_) => Direction::Internal,
        _ if listener.is_inbound => Direction::Inbound,
        Address::Pipe(_) | Address::Socket(_) => Direction::Other,
    }
}

/// Begins to listen.
pub(super) fn bind(
    outside: &Outside,
    listener: &config::Listener,
    at: &Address,
    how: &ListenOptions,
) -> Result<Box<dyn Accept>, StartError> {
    outside.net.listen(at, how).map_err(|source| StartError::Listen {
        name: format!("listener '{}'", listener.name),
        address: at.to_string(),
        source,
    })
}
