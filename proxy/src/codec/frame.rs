//! One piece of a body, and the reasons for which there is none.

use bytes::Bytes;

use super::{Headers, Violation};

/// One piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Payload; never empty.
    Data(Bytes),
    /// The end, with trailers.
    Trailers(Headers),
}

/// Why an exchange, or one half of it, broke off.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// The peer closed the connection where more was due.
    #[error("connection closed by the peer")]
    Closed,
    /// The peer's system sent RST, or the connection is gone for another reason.
    #[error("connection reset")]
    ConnectionReset,
    /// What came is not HTTP.
    #[error("{0}")]
    Malformed(Violation),
    /// The peer sent a header section over a limit of ours, for which we have reset the stream.
    #[error("{0}")]
    OverLimit(Violation),
    /// The peer sent RST_STREAM.
    #[error("stream reset by the peer: {0:?}")]
    StreamReset(ResetReason),
}

/// RST_STREAM error codes that mean something to a proxy (RFC 9113 7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetReason {
    /// CANCEL
    Cancel,
    /// CONNECT_ERROR
    ConnectError,
    /// INTERNAL_ERROR
    InternalError,
    /// NO_ERROR
    NoError,
    /// Any other code.
    Other(u32),
    /// PROTOCOL_ERROR
    ProtocolError,
    /// REFUSED_STREAM: not processed, safe to send again.
    RefusedStream,
}
