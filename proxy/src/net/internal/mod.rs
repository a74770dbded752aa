//! Internal listeners: connections that never leave their worker.
//!
//! A connection is made by name, on the worker that opens it, and is served by the same worker: it is there at once, and
//! does not pass through the system. [`InternalNet`] is a [`Net`] that connects by name, and uses another one for all else.

mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ::tokio::sync::mpsc;

use super::{Accept, Address, Conn, ConnectOptions, InternalAddress, ListenOptions, LocalBoxFuture, Net, ResolveError};
use crate::config::filter_state::FilterState;
use crate::config::metadata::Metadata;
use crate::config::proxy_header::Tlv;

/// Connections to one listener that it has not taken yet. It takes them at its next turn, so few ever wait.
const BACKLOG_MAX: usize = 1024;

/// What the client's end of a connection is called.
const CLIENT: &str = "internal_client_address";

/// What a connection brings along: to an internal listener from within, or by its PROXY header.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Metadata: of the endpoint and of the cluster, and of TLVs.
    pub metadata: Metadata,
    /// Objects that filters have left.
    pub state: Option<Arc<FilterState>>,
    /// TLVs that headers to upstreams may repeat; `None` if it has brought no PROXY header.
    pub tlvs: Option<Vec<Tlv>>,
}

/// A network with the internal listeners of one worker.
pub struct InternalNet {
    outside: Rc<dyn Net>,
    listeners: Rc<Listeners>,
}

/// The internal listeners of a worker, by name.
#[derive(Default)]
struct Listeners {
    by_name: RefCell<BTreeMap<String, Registered>>,
    /// The number of the next connection, unique in its worker.
    next: Cell<u64>,
    /// Bytes that may wait in each direction of a new connection.
    buffer_bytes: Cell<usize>,
}

struct Registered {
    id: u64,
    conns: mpsc::Sender<Conn>,
}

impl InternalNet {
    /// No internal listeners yet; everything else is `outside`'s.
    #[must_use]
    pub fn new(outside: Rc<dyn Net>) -> Self {
        Self { outside, listeners: Rc::default() }
    }

    /// `buffer_size_kb`: in each direction of a new connection so many bytes may wait.
    pub fn set_buffer_bytes(&self, bytes: usize) {
        self.listeners.buffer_bytes.set(bytes);
    }
}

impl Listeners {
    fn listen(this: &Rc<Self>, at: &InternalAddress) -> Listening {
        let (conns, arriving) = mpsc::channel(BACKLOG_MAX);
        let id = this.next.replace(this.next.get() + 1);
        // A listener of the same name that drains takes no more.
        this.by_name.borrow_mut().insert(at.name.clone(), Registered { id, conns });
        Listening { of: Rc::downgrade(this), id, local: Address::Internal(at.clone()), arriving }
    }

    fn connect(&self, to: &InternalAddress, how: &ConnectOptions) -> io::Result<Conn> {
        // The system's error for an invalid address, which is Envoy's for a name without a listener.
        let unknown = || io::Error::from_raw_os_error(libc::EINVAL);
        let by_name = self.by_name.borrow();
        let listener = by_name.get(&to.name).ok_or_else(unknown)?;
        let (client, server) = stream::pair(self.buffer_bytes.get());
        let here = Address::Internal(CLIENT.into());
        let there = Address::Internal(to.clone());
        let mut accepted = Conn::new(Box::new(server), there.clone(), here.clone());
        accepted.passed = how.passed.clone();
        listener.conns.try_send(accepted).map_err(|_| unknown())?;
        Ok(Conn::new(Box::new(client), here, there))
    }
}

impl Net for InternalNet {
    fn listen(&self, at: &Address, how: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        match at {
            Address::Internal(at) => Ok(Box::new(Listeners::listen(&self.listeners, at))),
            Address::Pipe(_) | Address::Socket(_) => self.outside.listen(at, how),
        }
    }

    fn connect<'a>(&'a self, to: &'a Address, how: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        match to {
            Address::Internal(to) => Box::pin(std::future::ready(self.listeners.connect(to, how))),
            Address::Pipe(_) | Address::Socket(_) => self.outside.connect(to, how),
        }
    }

    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        self.outside.resolve(name)
    }

    fn own_address(&self) -> Option<IpAddr> {
        self.outside.own_address()
    }

    fn host_name(&self) -> Option<String> {
        self.outside.host_name()
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.outside.environment(name)
    }
}

/// An internal listener. Dropped, its name is free.
struct Listening {
    of: Weak<Listeners>,
    id: u64,
    local: Address,
    arriving: mpsc::Receiver<Conn>,
}

impl Accept for Listening {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            match self.arriving.recv().await {
                Some(conn) => Ok(conn),
                // Another listener has taken the name.
                None => std::future::pending().await,
            }
        })
    }

    fn admit_no_more(&mut self) -> io::Result<()> {
        self.arriving.close();
        Ok(())
    }

    fn local(&self) -> &Address {
        &self.local
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (Some(listeners), Address::Internal(at)) = (self.of.upgrade(), &self.local) else { return };
        let mut by_name = listeners.by_name.borrow_mut();
        if by_name.get(&at.name).is_some_and(|registered| registered.id == self.id) {
            by_name.remove(&at.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use ::tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Nothing;

    impl Net for Nothing {
        fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<Box<dyn Accept>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn connect<'a>(&'a self, _: &'a Address, _: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
            Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
        }

        fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
            Box::pin(std::future::ready(Err(ResolveError::NoAddress)))
        }
    }

    #[::tokio::test]
    async fn connections_meet_by_name_for_as_long_as_the_listener_is_there() {
        let net = InternalNet::new(Rc::new(Nothing));
        net.set_buffer_bytes(1024);
        let (at, how) = (Address::Internal("a".into()), ListenOptions::default());
        let to = ConnectOptions::default();
        assert!(net.connect(&at, &to).await.is_err());
        let mut listening = net.listen(&at, &how).unwrap();
        let endpoint = Address::Internal(InternalAddress { name: "a".into(), endpoint_id: "7".into() });
        let mut client = net.connect(&endpoint, &to).await.unwrap();
        let mut server = listening.accept().await.unwrap();
        assert_eq!(
            (client.local.to_string(), client.peer.to_string()),
            ("envoy://internal_client_address/".into(), "envoy://a/7".into())
        );
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"hello");
        let other = net.listen(&at, &how).unwrap();
        drop(listening);
        assert!(net.connect(&at, &to).await.is_ok(), "the newer one has the name");
        drop(other);
        assert!(net.connect(&at, &to).await.is_err());
        assert!(net.connect(&Address::Socket(([127, 0, 0, 1], 1).into()), &to).await.is_err());
    }

    #[::tokio::test]
    async fn the_backlog_is_bounded() {
        let net = InternalNet::new(Rc::new(Nothing));
        net.set_buffer_bytes(1024);
        let at = Address::Internal("a".into());
        let _listening = net.listen(&at, &ListenOptions::default()).unwrap();
        for nth in 0..=BACKLOG_MAX {
            assert_eq!(net.connect(&at, &ConnectOptions::default()).await.is_ok(), nth < BACKLOG_MAX);
        }
    }
}
