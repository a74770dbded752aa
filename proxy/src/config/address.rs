//! Addresses: where something listens, and where it is to be found.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::socket_option::SocketOption;

/// Where something listens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// A listener inside this process.
    Internal(InternalAddress),
    /// A Unix domain socket of this machine.
    Pipe(Pipe),
    /// TCP over IPv4 or IPv6.
    Socket(SocketAddr),
}

/// Where a socket listens, and for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// Where.
    pub at: Address,
    /// `ipv4_compat`: a socket of IPv6 takes connections over IPv4, too.
    pub takes_ipv4: bool,
    /// What is set on its socket.
    pub options: Arc<[SocketOption]>,
}

impl From<Address> for Binding {
    fn from(at: Address) -> Self {
        Self { at, takes_ipv4: false, options: Arc::default() }
    }
}

/// A listener inside this process, by its name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InternalAddress {
    /// `server_listener_name`
    pub name: String,
    /// `endpoint_id`: tells endpoints apart that the same listener serves. Of a listener it is empty.
    pub endpoint_id: String,
}

impl<N: Into<String>> From<N> for InternalAddress {
    fn from(name: N) -> Self {
        Self { name: name.into(), endpoint_id: String::new() }
    }
}

/// The version of a PROXY protocol header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// A Unix domain socket, by its path in the file system; a name that begins with `@` is one of the abstract namespace, which
/// has no files. The end of a connection that was never bound has no path.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pipe {
    /// The path or the name, as configured.
    pub path: String,
    /// The permissions of the file that a listener makes; `None` leaves them to the system.
    pub mode: Option<u32>,
}

impl Pipe {
    /// The longest path, in bytes: what `sun_path` holds (unix(7)), without the NUL at its end.
    pub const PATH_BYTES_MAX: usize = 107;

    /// By its path.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), mode: None }
    }

    /// The name in the abstract namespace, if it is there.
    #[must_use]
    pub fn abstract_name(&self) -> Option<&str> {
        self.path.strip_prefix('@')
    }
}

impl Address {
    /// The IP address, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|at| at.ip())
    }

    /// The IP address and the port, if there are any.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Internal(_) | Self::Pipe(_) => None,
            Self::Socket(at) => Some(*at),
        }
    }

    /// The port, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.socket().map(|at| at.port())
    }

    /// Does it leave the port to the system, so that two listeners may both have it?
    #[must_use]
    pub fn has_any_port(&self) -> bool {
        self.port() == Some(0)
    }
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Self::Socket(at)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal(InternalAddress { name, endpoint_id }) => write!(f, "envoy://{name}/{endpoint_id}"),
            Self::Pipe(pipe) => f.write_str(&pipe.path),
            Self::Socket(at) => write!(f, "{at}"),
        }
    }
}
