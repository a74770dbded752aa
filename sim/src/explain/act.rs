//! Acts that end a connection or a stream.

use std::time::Duration;

use crate::trace::HostId;
use crate::trace::conversation::Moment;
use crate::trace::wire::Tls;

/// Something that ends a connection or a stream.
pub(super) struct Act {
    /// Index of its conversation.
    pub(super) connection: usize,
    pub(super) by: HostId,
    pub(super) kind: ActKind,
    pub(super) sent: Moment,
    pub(super) arrived: Option<Duration>,
}

/// How something ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ActKind {
    /// A fatal alert of TLS.
    Alert {
        name: String,
    },
    /// The alert by which an end of TLS says that it sends nothing more.
    CloseNotify {
        /// Whether it sent FIN at the same time.
        with_fin: bool,
    },
    Fin,
    GoAway {
        last: u32,
        code: String,
    },
    Reset {
        stream: u32,
        code: String,
    },
    Rst,
}

impl ActKind {
    /// What a message of TLS ends; nothing if it is no alert.
    pub(super) fn of_tls(message: &Tls) -> Option<Self> {
        match message {
            Tls::Alert { fatal: true, name } => Some(Self::Alert { name: name.clone() }),
            Tls::Alert { fatal: false, name } => {
                (name == "close_notify").then_some(Self::CloseNotify { with_fin: false })
            }
            Tls::Certificate { .. } | Tls::ClientHello { .. } | Tls::ServerHello { .. } => None,
        }
    }
}
