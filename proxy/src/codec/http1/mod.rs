//! HTTP/1.1 on the wire (RFC 9112), in our own framing over `httparse`.
//!
//! [`ServerConnection`] reads requests and sends responses, [`ClientConnection`] sends requests and reads the
//! responses. Each message has a half that is read, [`Incoming`], and a half that is written, [`Outgoing`].
//! The halves of one connection share its connection and may be polled in any order, but within one task.
//!
//! Strict by construction: where two readings of a message are possible, it is refused, for that is where
//! request smuggling lives. What leaves here is always framed by us, never copied from the other side.
//! Nothing here spawns a task or sets a timer.

mod body;
mod buffered_conn;
mod client;
#[cfg(test)]
mod corpus;
mod framing;
mod informational;
mod options;
mod parse;
mod raw;
mod refusal;
mod request_kind;
mod serialise;
mod server;
#[cfg(test)]
mod testing;
mod trailers;
mod write_queue;

pub use body::{Incoming, Outgoing};
pub use client::{ClientConnection, IdleEnd, RESPONSE_FIELDS_MAX, RESPONSE_HEAD_BYTES_MAX};
pub(super) use informational::INFORMATIONAL_MAX;
pub use options::{ClientOptions, Methods, NameRules, ServerOptions};
pub use raw::RawConnection;
pub use refusal::{HeadError, Refusal};
pub use server::{Close, ServerConnection};
#[cfg(test)]
pub(crate) use testing::sent_and_read;
