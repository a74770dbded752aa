//! HTTP on the wire, in both directions.
//!
//! Beyond this folder no module handles bytes, frames or the h2 crate: a connection hands out [`RequestHead`]s or
//! [`ResponseHead`]s, each with a [`Body`] to read, and takes the other half through a [`Writer`]. A tunnel
//! is nothing special here: a body and a writer that have no length.
//!
//! Nothing in this folder spawns a task or sets a timer, except the one task that drives an upstream HTTP/2
//! connection.

pub mod body;
pub mod buffer;
mod copied;
mod frame;
pub(crate) mod grpc;
pub mod head;
pub mod http1;
pub mod http2;
mod informational_sender;
mod lingering;
pub(crate) mod matching;
pub(crate) mod names;
pub(crate) mod route_matching;
mod spelling;
mod violation;
mod wire_bytes;

pub use body::{Body, Writer};
pub use copied::{CopiedBody, Copier, copied};
pub use frame::{ExchangeError, Frame, ResetReason};
pub use head::{Headers, RequestHead, ResponseHead};
pub use informational_sender::InformationalSender;
pub use violation::Violation;
pub use wire_bytes::{Count, Counted, WireBytes};

/// What follows a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Payload {
    /// Nothing: the message ends with its head.
    None,
    /// Bytes without framing until the connection ends: an accepted upgrade or CONNECT.
    Raw,
    /// A body: of the head's content-length if it has one, else of unknown length.
    Some,
}
