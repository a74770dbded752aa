//! A body on its way into a coding or back: what comes is kept, and goes on as far as one turn of the event loop permits.

use std::num::NonZeroU32;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{HeaderName, HeaderValue};

use super::decode::{Corrupt, Decoder};
use super::encode::{Encoder, Then};
use crate::filter::waiting::Waiting;
use crate::filter::{End, Piece};
use crate::stats::RecodedBytes;

/// So many bytes are worked on at once: a fraction of a millisecond.
const STEP_BYTES: usize = 16 * 1024;
/// So many in one turn of the event loop, before other connections have theirs.
const TURN_BYTES: usize = 64 * 1024;
/// With more than so many waiting, the sender is not read.
const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// What is kept of one body.
pub(in crate::filter) struct Recoder {
    work: Work,
    waiting: Waiting,
    /// Bytes that were worked on in this turn.
    turn: usize,
    bytes: RecodedBytes,
}

enum Work {
    Decoding {
        decoder: Decoder,
        /// How many times as long the body may become.
        ratio_max: NonZeroU32,
        taken: u64,
        given: u64,
        /// Trailers that tell the lengths, compressed and not.
        told: Option<(HeaderName, HeaderName)>,
    },
    Encoding(Encoder),
}

impl Recoder {
    /// The body becomes compressed.
    pub(super) fn encoding(encoder: Encoder, bytes: RecodedBytes) -> Self {
        Self::new(Work::Encoding(encoder), bytes)
    }

    /// The body was compressed.
    pub(super) fn decoding(
        decoder: Decoder,
        ratio_max: NonZeroU32,
        told: Option<(HeaderName, HeaderName)>,
        bytes: RecodedBytes,
    ) -> Self {
        Self::new(Work::Decoding { decoder, ratio_max, taken: 0, given: 0, told }, bytes)
    }

    fn new(work: Work, bytes: RecodedBytes) -> Self {
        Self { work, waiting: Waiting::default(), turn: 0, bytes }
    }

    pub(super) fn keep(&mut self, piece: Piece) {
        self.waiting.keep(piece);
    }

    /// May more come?
    pub(in crate::filter) fn has_room(&self) -> bool {
        self.waiting.has_room(QUEUE_BYTES_MAX)
    }

    /// The next piece that goes on.
    pub(in crate::filter) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Corrupt>> {
        loop {
            if self.turn >= TURN_BYTES {
                self.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.waiting.is_empty() && !self.waiting.has_end() {
                self.turn = 0;
                return Poll::Pending;
            }
            match self.step() {
                Ok(piece) if piece.data.is_empty() && !piece.is_last() => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Works on the first bytes that wait, or on the end.
    fn step(&mut self) -> Result<Piece, Corrupt> {
        match &mut self.work {
            Work::Decoding { .. } => self.decode(),
            Work::Encoding(encoder) => {
                let part = self.waiting.take(STEP_BYTES).unwrap_or_default();
                self.turn += part.len();
                self.bytes.uncompressed.add(part.len() as u64);
                let is_last = self.waiting.is_empty() && self.waiting.has_end();
                // As in Envoy, what has come goes out: a client may wait for it.
                let then = if is_last {
                    Then::End
                } else if self.waiting.is_empty() {
                    Then::Pause
                } else {
                    Then::More
                };
                let data = encoder.write(&part, then).map_err(|_no_memory| Corrupt)?;
                self.bytes.compressed.add(data.len() as u64);
                let end = if is_last { self.waiting.take_end() } else { None };
                Ok(Piece { data: data.into(), end: end.map_or(End::Open, End::Complete) })
            }
        }
    }

    fn decode(&mut self) -> Result<Piece, Corrupt> {
        let Self { work: Work::Decoding { decoder, ratio_max, taken, given, told }, waiting, .. } = self else {
            return Ok(Piece::default());
        };
        let Some(front) = waiting.front() else {
            // A body that is cut off is not whole, however much of it could be read.
            if *taken > 0 && !decoder.has_ended() {
                return Err(Corrupt);
            }
            let mut trailers = waiting.take_end().flatten();
            if let Some((compressed, uncompressed)) = told {
                let trailers = trailers.get_or_insert_default();
                trailers.set(compressed.clone(), HeaderValue::from(*taken));
                trailers.set(uncompressed.clone(), HeaderValue::from(*given));
            }
            return Ok(Piece::end(trailers));
        };
        let mut output = vec![0; STEP_BYTES];
        let step = decoder.step(front.get(..STEP_BYTES.min(front.len())).unwrap_or_default(), &mut output)?;
        front.advance(step.consumed);
        // With room left, all that the bytes stand for has come out; behind the coding's own end there is nothing either.
        if front.is_empty() && (step.produced < output.len() || decoder.has_ended()) {
            waiting.drop_front();
        }
        output.truncate(step.produced);
        *taken += step.consumed as u64;
        *given += step.produced as u64;
        self.turn += step.consumed.max(step.produced).max(1);
        self.bytes.compressed.add(step.consumed as u64);
        self.bytes.uncompressed.add(step.produced as u64);
        if *given > taken.saturating_mul(ratio_max.get().into()) {
            return Err(Corrupt);
        }
        Ok(Piece::data(output.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;

    use super::*;
    use crate::config::compression::{Checksum, Coding, Method};

    const METHODS: [Method; 3] = [
        Method::Brotli { quality: 3, window_bits: 18 },
        Method::Gzip { level: 6 },
        Method::Zstd { level: 3, checksum: Checksum::On },
    ];

    fn bytes() -> RecodedBytes {
        RecodedBytes { compressed: Default::default(), uncompressed: Default::default() }
    }

    fn encoder(method: Method) -> Recoder {
        Recoder::encoding(Encoder::new(method).unwrap(), bytes())
    }

    fn decoder(coding: Coding, ratio_max: u32) -> Recoder {
        Recoder::decoding(Decoder::new(coding).unwrap(), NonZeroU32::new(ratio_max).unwrap(), None, bytes())
    }

    /// What a recoder makes of these pieces; how many turns it takes.
    async fn all(recoder: &mut Recoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), Corrupt> {
        let (mut made, mut turns) = (Vec::new(), 0);
        for (nth, piece) in pieces.iter().enumerate() {
            let end = if nth + 1 == pieces.len() { End::Complete(None) } else { End::Open };
            recoder.keep(Piece { data: Bytes::copy_from_slice(piece), end });
        }
        loop {
            let piece = poll_fn(|cx| {
                turns += 1;
                recoder.poll_piece(cx)
            });
            let piece = piece.await?;
            made.extend_from_slice(&piece.data);
            if piece.is_last() {
                return Ok((made, turns));
            }
        }
    }

    #[tokio::test]
    async fn what_is_compressed_becomes_what_it_was() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|number| (number / 7).to_string().into_bytes()).collect();
        for method in METHODS {
            let (compressed, _) = all(&mut encoder(method), &[&text[..10], b"", &text[10..]]).await.unwrap();
            assert!(compressed.len() < text.len() / 2, "{method:?}");
            let halves = compressed.split_at(compressed.len() / 2);
            let (plain, _) = all(&mut decoder(method.coding(), 1000), &[halves.0, halves.1]).await.unwrap();
            assert!(plain == text, "{method:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_with_a_full_step_is_whole() {
        for (method, steps) in METHODS.into_iter().flat_map(|method| [1, 2].map(|steps| (method, steps))) {
            let text: Vec<u8> = (0..=250).cycle().take(steps * STEP_BYTES).collect();
            let (compressed, _) = all(&mut encoder(method), &[&text]).await.unwrap();
            let (plain, _) = all(&mut decoder(method.coding(), 10_000), &[&compressed, b""]).await.unwrap();
            assert!(plain == text, "{method:?} {steps}");
        }
    }

    #[tokio::test]
    async fn what_has_come_goes_out_before_the_end() {
        for method in METHODS {
            let (mut to, mut from) = (encoder(method), decoder(method.coding(), 1000));
            to.keep(Piece::data(Bytes::from_static(b"data: one\n\n")));
            from.keep(poll_fn(|cx| to.poll_piece(cx)).await.unwrap());
            let piece = poll_fn(|cx| from.poll_piece(cx)).await.unwrap();
            assert_eq!((&piece.data[..], piece.is_last()), (&b"data: one\n\n"[..], false), "{method:?}");
        }
    }

    #[tokio::test]
    async fn a_long_body_takes_many_turns_of_the_event_loop() {
        let zeros = vec![0; 1 << 20];
        let (compressed, turns) = all(&mut encoder(METHODS[1]), &[&zeros]).await.unwrap();
        assert!(turns >= (1 << 20) / TURN_BYTES, "{turns}");
        let (plain, turns) = all(&mut decoder(Coding::Gzip, 1032), &[&compressed]).await.unwrap();
        assert!(plain.len() == zeros.len() && turns >= (1 << 20) / STEP_BYTES, "{turns}");
    }

    #[tokio::test]
    async fn what_becomes_too_long_or_is_no_such_coding_or_is_cut_off_is_corrupt() {
        let zeros = vec![0; 1 << 20];
        for method in METHODS {
            let coding = method.coding();
            let (compressed, _) = all(&mut encoder(method), &[&zeros]).await.unwrap();
            assert_eq!(all(&mut decoder(coding, 100), &[&compressed]).await, Err(Corrupt), "{coding:?}");
            let cut = &compressed[..compressed.len() - 1];
            assert_eq!(all(&mut decoder(coding, 1_000_000), &[cut]).await, Err(Corrupt), "{coding:?}");
            assert_eq!(all(&mut decoder(coding, 100), &[b"\xff\xfethis is plain"]).await, Err(Corrupt), "{coding:?}");
            assert_eq!(all(&mut decoder(coding, 100), &[b""]).await.map(|made| made.0), Ok(Vec::new()), "{coding:?}");
        }
    }
}
