//! A piece of a body, as filters see it.

use bytes::Bytes;

use crate::codec::Headers;

/// Which body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// Some payload of a message, or its end, or both.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// May be empty.
    pub(crate) data: Bytes,
    pub(crate) end: End,
}

/// Whether a piece is the last.
#[derive(Debug, Default)]
pub(crate) enum End {
    /// More may come.
    #[default]
    Open,
    /// It is, and these trailers follow it.
    Complete(Option<Headers>),
}

impl Piece {
    /// Payload.
    pub(crate) fn data(data: Bytes) -> Self {
        Self { data, end: End::Open }
    }

    /// The end of a message, with its trailers.
    pub(crate) fn end(trailers: Option<Headers>) -> Self {
        Self { data: Bytes::new(), end: End::Complete(trailers) }
    }

    /// Is it the end and nothing else?
    pub(crate) fn is_bare_end(&self) -> bool {
        self.data.is_empty() && matches!(self.end, End::Complete(None))
    }

    /// Is it the last?
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.end, End::Complete(_))
    }
}
