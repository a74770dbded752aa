//! Compressed bytes become bytes, a bounded number at a time: a few bytes can stand for millions.

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::config::compression::Coding;

/// Memory for Brotli, from where all memory is.
type Standard = brotli::enc::StandardAlloc;

/// A body on its way back from a coding.
pub(super) struct Decoder {
    of: Of,
    /// The coding's own end has come: what follows it is no part of the body.
    has_ended: bool,
}

enum Of {
    Brotli(Box<BrotliState<Standard, Standard, Standard>>),
    Gzip(Box<Decompress>),
    Zstd(Box<ZstdDecoder<'static>>),
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
}

/// The bytes are not of the coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::filter) struct Corrupt;

/// Bits of the window of gzip (RFC 1952): any that an encoder may use.
const GZIP_WINDOW_BITS: u8 = 15;
/// Those of Zstandard: what a content coding may use (RFC 9659 3).
const ZSTD_WINDOW_BITS: u32 = 23;

impl Decoder {
    /// `None`: there is no memory for it.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        let of = match coding {
            Coding::Brotli => {
                Of::Brotli(Box::new(BrotliState::new(Standard::default(), Standard::default(), Standard::default())))
            }
            Coding::Gzip => Of::Gzip(Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS))),
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new().ok()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS)).ok()?;
                Of::Zstd(Box::new(decoder))
            }
        };
        Some(Self { of, has_ended: false })
    }

    /// Has the coding's own end come?
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes some of `input`, and puts what has come out into `output`.
    ///
    /// # Errors
    /// `input` is not of the coding.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        // Of Zstandard another frame may follow (RFC 8878 3).
        if self.has_ended && !matches!(self.of, Of::Zstd(_)) {
            return Ok(Step { consumed: input.len(), produced: 0 });
        }
        let (step, has_ended) = match &mut self.of {
            Of::Brotli(state) => brotli(state, input, output)?,
            Of::Gzip(decoder) => gzip(decoder, input, output)?,
            Of::Zstd(decoder) => zstd(decoder, input, output)?,
        };
        self.has_ended = has_ended;
        Ok(step)
    }
}

fn brotli(
    state: &mut BrotliState<Standard, Standard, Standard>,
    input: &[u8],
    output: &mut [u8],
) -> Result<(Step, bool), Corrupt> {
    let (mut left, mut room) = (input.len(), output.len());
    let (mut consumed, mut produced, mut total) = (0, 0, 0);
    let result =
        BrotliDecompressStream(&mut left, &mut consumed, input, &mut room, &mut produced, output, &mut total, state);
    match result {
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok((Step { consumed, produced }, false)),
        BrotliResult::ResultSuccess => Ok((Step { consumed, produced }, true)),
        BrotliResult::ResultFailure => Err(Corrupt),
    }
}

fn gzip(decoder: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), Corrupt> {
    let before = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(input, output, FlushDecompress::None).map_err(|_| Corrupt)?;
    let length = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    let step = Step { consumed: length(decoder.total_in(), before.0), produced: length(decoder.total_out(), before.1) };
    Ok((step, status == Status::StreamEnd))
}

fn zstd(decoder: &mut ZstdDecoder<'_>, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), Corrupt> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    let left = decoder.run(&mut from, &mut to).map_err(|_| Corrupt)?;
    // 0 is the end of a frame.
    Ok((Step { consumed: from.pos(), produced: to.pos() }, left == 0 && from.pos() == input.len()))
}
