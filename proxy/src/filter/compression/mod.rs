//! `envoy.filters.http.compressor` and `envoy.filters.http.decompressor`: bodies into a coding and back.
//!
//! A body passes a [`Recoder`], which works on it in small steps: neither a long body nor one that becomes very long
//! holds the event loop.

mod choice;
mod compressor;
mod decode;
mod decompressor;
mod encode;
mod recoder;
mod status;

use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};

use super::Piece;
use super::piece::Direction;
use crate::codec::Headers;
use crate::config::compression::Compressed;
use crate::stats::RecodingStats;
pub(super) use compressor::{Compression, Encodings};
pub(super) use decompressor::Decompression;
pub(super) use recoder::Recoder;

/// The bodies of a stream that a filter recodes.
#[derive(Default)]
pub(super) struct Recoders {
    request: Option<Box<Recoder>>,
    response: Option<Box<Recoder>>,
}

impl Recoders {
    pub(super) fn of(&mut self, direction: Direction) -> Option<&mut Recoder> {
        match direction {
            Direction::Request => self.request.as_deref_mut(),
            Direction::Response => self.response.as_deref_mut(),
        }
    }

    /// Keeps a piece of a body that is recoded; any other stays as it is.
    pub(super) fn keep(&mut self, direction: Direction, piece: &mut Piece) {
        if let Some(recoder) = self.of(direction) {
            recoder.keep(std::mem::take(piece));
        }
    }
}

/// Lists of tokens in all lines of a header, without blanks around them.
fn tokens<'h, 'n>(headers: &'h Headers, name: &'n HeaderName) -> impl Iterator<Item = &'h str> + use<'h, 'n> {
    let lines = headers.iter().filter(move |(other, _)| *other == name);
    lines.filter_map(|(_, value)| value.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

/// Has the body to stay as it is (RFC 9111 5.2.2.6)?
fn forbids_transform(headers: &Headers) -> bool {
    tokens(headers, &CACHE_CONTROL).any(|directive| directive.eq_ignore_ascii_case("no-transform"))
}

/// The media type, in lower case and without parameters.
fn media_type(headers: &Headers) -> Option<String> {
    let value = headers.get(&CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Is a body long enough, as far as its head tells?
fn is_long(options: &Compressed, headers: &Headers, stats: &RecodingStats) -> bool {
    let Some(length) = headers.get(&CONTENT_LENGTH) else { return true };
    let length: Option<u64> = length.to_str().ok().and_then(|length| length.parse().ok());
    let is_long = length.is_some_and(|length| length >= options.bytes_min);
    if !is_long && let Some(too_small) = &stats.content_length_too_small {
        too_small.inc();
    }
    is_long
}

fn takes(options: &Compressed, media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| options.types.contains(media_type))
}
