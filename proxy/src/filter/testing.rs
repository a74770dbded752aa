//! Formats without a request, for the tests of filters.

use crate::config::log_format::{Format, Piece};

/// The literal text of `format`; operators are empty.
pub(super) fn literal(format: &Format) -> Vec<u8> {
    let text = format.0.iter().map(|piece| match piece {
        Piece::Literal(text) => text.as_str(),
        Piece::Operator(..) => "",
    });
    text.collect::<String>().into_bytes()
}
