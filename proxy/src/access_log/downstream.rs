//! What logs know of a connection of a client, whatever was done on it.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use http::Version;

use super::{Details, ResponseFlag};
use crate::codec::Violation;
use crate::config::filter_chain::Ends;
use crate::config::filter_state::FilterState;
use crate::net::socket_ends::ends;
use crate::net::tls::{Failed, Fingerprints};
use crate::net::{Address, Conn, Passed, SocketEnds, TlsSession};
use crate::token_bucket::BucketSet;

/// What is known of the connection a stream came on.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// `%CONNECTION_ID%`
    pub connection_id: u64,
    /// The local address.
    pub local: Address,
    /// The client: the socket's other end, or what a PROXY header says.
    pub peer: Address,
    /// The ends of the socket, where a PROXY header has named others.
    pub direct: Option<Box<SocketEnds>>,
    /// What TLS has agreed upon; `None` is clear text.
    pub tls: Option<Arc<TlsSession>>,
    /// `%REQUESTED_SERVER_NAME%`: of the ClientHello, if `tls_inspector` has read it.
    pub requested_server_name: Option<Box<str>>,
    /// Those of the client, if `tls_inspector` makes them.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// What its client, which is within the process, has passed on.
    pub passed: Option<Arc<Passed>>,
    /// What network filters have left for logs and filters, and what `passed` had of it.
    pub state: Option<Arc<FilterState>>,
    /// The name of its filter chain, where its listener has logs.
    pub filter_chain: Option<Arc<str>>,
    /// What it speaks, once its client has shown that.
    pub protocol: Cell<Option<Version>>,
    /// Its client has sent what is no message of that protocol.
    pub is_malformed: Cell<bool>,
    /// Why we ended it, once we did.
    pub local_end: Cell<Option<LocalEnd>>,
    /// From which its requests take tokens, where a limit is one for each connection.
    pub buckets: OnceCell<Arc<BucketSet>>,
}

impl Downstream {
    /// A connection that has just been accepted, and whose TLS handshake is over.
    pub(crate) fn of(connection_id: u64, conn: &mut Conn) -> Self {
        let passed = conn.passed.take();
        Self {
            direct: conn.direct.take(),
            tls: conn.tls.clone(),
            requested_server_name: conn.requested_server_name.take(),
            fingerprints: conn.fingerprints.take(),
            state: passed.as_ref().and_then(|passed| passed.state.clone()),
            passed,
            filter_chain: conn.filter_chain.take(),
            ..Self::new(connection_id, conn.local.clone(), conn.peer.clone())
        }
    }

    /// A connection whose TLS handshake has failed.
    pub(crate) fn of_failed(connection_id: u64, failed: Failed) -> Self {
        let Failed { session, local, peer, direct, passed, requested_server_name, fingerprints, filter_chain, .. } =
            failed;
        Self {
            direct,
            tls: Some(session),
            requested_server_name,
            fingerprints,
            state: passed.as_ref().and_then(|passed| passed.state.clone()),
            passed,
            filter_chain,
            ..Self::new(connection_id, local, peer)
        }
    }

    /// Is its local address another than that of its socket: the one that it was made for?
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.direct.as_ref().is_some_and(|direct| direct.local != self.local)
    }

    /// Its ends, as rules know them.
    pub(crate) fn ends(&self) -> Ends {
        ends(&self.local, &self.peer, self.direct.as_deref())
    }

    /// A connection in clear text between these ends.
    #[must_use]
    pub fn new(connection_id: u64, local: Address, peer: Address) -> Self {
        Self {
            connection_id,
            local,
            peer,
            direct: None,
            tls: None,
            requested_server_name: None,
            fingerprints: None,
            passed: None,
            state: None,
            filter_chain: None,
            protocol: Cell::new(None),
            is_malformed: Cell::new(false),
            local_end: Cell::new(None),
            buckets: OnceCell::new(),
        }
    }
}

/// Why we ended a connection while streams were under way on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalEnd {
    /// A drain came to its end, or to that of a tunnel.
    Drained,
    /// The client did not answer a PING.
    PingTimeout,
    /// The client opened streams only to reset them.
    TooManyResets,
}

impl LocalEnd {
    /// What the line of each of those streams says.
    #[must_use]
    pub fn details(self) -> Details {
        match self {
            Self::Drained => Details::DrainEnded,
            Self::PingTimeout => Details::PingTimeout,
            Self::TooManyResets => Violation::TooManyResets.into(),
        }
    }

    /// The response flag of the streams that end with the connection.
    #[must_use]
    pub fn flag(self) -> Option<ResponseFlag> {
        match self {
            Self::Drained | Self::PingTimeout => Some(ResponseFlag::DC),
            Self::TooManyResets => None,
        }
    }
}
