//! Bytes become compressed bytes.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::config::compression::{Checksum, Method};

/// A body on its way to a coding.
pub(super) enum Encoder {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    /// The end has been written.
    Ended,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
}

/// What follows the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// The end of the body.
    End,
    /// Nothing for a while: what was written is to come out.
    Pause,
    /// More.
    More,
}

/// Of what the encoder of Brotli keeps for itself.
const BROTLI_BUFFER_BYTES: usize = 4096;

impl Encoder {
    /// # Errors
    /// There is no memory for it.
    pub(super) fn new(method: Method) -> io::Result<Self> {
        Ok(match method {
            Method::Brotli { quality, window_bits } => {
                let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
                let params = BrotliEncoderParams {
                    quality: number(quality),
                    lgwin: number(window_bits),
                    ..BrotliEncoderParams::default()
                };
                Self::Brotli(Box::new(CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER_BYTES, &params)))
            }
            Method::Gzip { level } => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))),
            Method::Zstd { level, checksum } => {
                let mut encoder = ZstdEncoder::new(Vec::new(), i32::try_from(level).unwrap_or(i32::MAX))?;
                encoder.include_checksum(checksum == Checksum::On)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Takes bytes, and gives those that have come out.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(super) fn write(&mut self, bytes: &[u8], then: Then) -> io::Result<Vec<u8>> {
        let writer: &mut dyn Write = match self {
            Self::Brotli(encoder) => encoder,
            Self::Ended => return Ok(Vec::new()),
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        };
        writer.write_all(bytes)?;
        match then {
            Then::End => return self.end(),
            Then::More => {}
            Then::Pause => writer.flush()?,
        }
        Ok(std::mem::take(match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Ended => return Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }))
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(self, Self::Ended) {
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Ended => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
