//! How long a list of fields may be (RFC 9113 10.5.1), and which of the two limits it is over.

use super::table::ENTRY_BYTES;
use crate::codec::Violation;

/// How long a list of fields may be, as Envoy counts them.
#[derive(Clone, Copy, Debug)]
pub struct ListLimit {
    /// Bytes of names and values.
    pub bytes: usize,
    /// Fields, pseudo-header fields included.
    pub fields: usize,
}

impl ListLimit {
    /// What HPACK counts for a list within the limit (RFC 7541 4.1).
    pub(in crate::codec::http2) fn hpack_bytes(self) -> u32 {
        let bytes = self.bytes.saturating_add(self.fields.saturating_add(1).saturating_mul(ENTRY_BYTES));
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// What a request's head had too much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadLimit {
    /// Bytes in names and values.
    #[error("bytes")]
    Bytes,
    /// Number of fields.
    #[error("fields")]
    Fields,
}

impl HeadLimit {
    /// A head over this limit, as a violation.
    #[must_use]
    pub fn violation(self) -> Violation {
        match self {
            Self::Bytes => Violation::HeaderListTooLarge,
            Self::Fields => Violation::TooManyHeaders,
        }
    }
}
