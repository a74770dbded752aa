//! Why the socket of a connection to an endpoint cannot be made.

use std::io;
use std::net::SocketAddr;

/// The socket of a connection cannot be made as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It cannot come from where it is to come from.
    #[error("cannot bind to {from}: {error}")]
    Address {
        /// [`ConnectOptions::from`](super::ConnectOptions::from)
        from: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// An option cannot be set.
    #[error("{0}")]
    Options(io::Error),
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        let kind = match &error {
            BindError::Address { error, .. } | BindError::Options(error) => error.kind(),
        };
        Self::new(kind, error)
    }
}
