//! The copy of a request's body, for an upstream that gets a copy of the request.
//!
//! Who reads the original hands each piece to the [`Copier`] as well; the [`CopiedBody`] gives them out again. The original never
//! waits: a copy whose reader falls behind by more than its bound breaks off.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Headers;

/// Where the pieces of the original go.
#[derive(Debug)]
pub struct Copier(Rc<RefCell<Pieces>>);

/// What an upstream gets.
#[derive(Debug)]
pub struct CopiedBody(Rc<RefCell<Pieces>>);

/// One piece of a copy.
#[derive(Debug)]
pub(super) enum Piece {
    /// There is no more, and the original goes on.
    BrokenOff,
    /// Payload; never empty.
    Data(Bytes),
    /// The end, with trailers.
    Trailers(Headers),
}

#[derive(Debug)]
struct Pieces {
    waiting: VecDeque<Bytes>,
    /// Of `waiting`. At most `bytes_max` and one piece.
    bytes: usize,
    bytes_max: usize,
    end: End,
    reader: Option<Waker>,
}

/// How the copy ends, behind what waits.
#[derive(Debug)]
enum End {
    /// The reader has been given the end.
    Reported,
    /// The original is complete.
    Complete(Option<Headers>),
    /// The original broke off, or the copy fell behind.
    ExchangeError,
    /// The original goes on.
    Open,
}

/// A copy of which `bytes_max` may wait, and the place where the original goes.
#[must_use]
pub fn copied(bytes_max: usize) -> (Copier, CopiedBody) {
    let pieces = Pieces { waiting: VecDeque::new(), bytes: 0, bytes_max, end: End::Open, reader: None };
    let pieces = Rc::new(RefCell::new(pieces));
    (Copier(Rc::clone(&pieces)), CopiedBody(pieces))
}

impl Copier {
    /// A piece of the original.
    pub fn push(&self, piece: Bytes) {
        self.change(|pieces| {
            if !matches!(pieces.end, End::Open) {
                return;
            }
            if pieces.bytes > pieces.bytes_max {
                pieces.waiting.clear();
                pieces.bytes = 0;
                pieces.end = End::ExchangeError;
                return;
            }
            pieces.bytes += piece.len();
            pieces.waiting.push_back(piece);
        });
    }

    /// May another piece be pushed? The copy does not break off then.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let pieces = self.0.borrow();
        pieces.bytes < pieces.bytes_max
    }

    /// The original is complete.
    pub fn finish(&self, trailers: Option<Headers>) {
        self.change(|pieces| {
            if let End::Open = pieces.end {
                pieces.end = End::Complete(trailers);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Pieces)) {
        let mut pieces = self.0.borrow_mut();
        change(&mut pieces);
        let reader = pieces.reader.take();
        drop(pieces);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.change(|pieces| {
            if let End::Open = pieces.end {
                pieces.end = End::ExchangeError;
            }
        });
    }
}

impl CopiedBody {
    /// What comes next; `None` is the end of the original.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let mut pieces = self.0.borrow_mut();
        if let Some(piece) = pieces.waiting.pop_front() {
            pieces.bytes -= piece.len();
            return Poll::Ready(Some(Piece::Data(piece)));
        }
        match std::mem::replace(&mut pieces.end, End::Reported) {
            End::Reported => Poll::Ready(None),
            End::Complete(trailers) => Poll::Ready(trailers.map(Piece::Trailers)),
            End::ExchangeError => {
                pieces.end = End::ExchangeError;
                Poll::Ready(Some(Piece::BrokenOff))
            }
            End::Open => {
                pieces.end = End::Open;
                pieces.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let pieces = self.0.borrow();
        pieces.waiting.is_empty() && matches!(pieces.end, End::Reported | End::Complete(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &mut CopiedBody) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = Vec::new();
        while let Poll::Ready(piece) = body.poll_piece(&mut cx) {
            let (text, is_last) = match piece {
                Some(Piece::Data(piece)) => (String::from_utf8_lossy(&piece).into_owned(), false),
                Some(Piece::Trailers(_)) => ("trailers".to_owned(), false),
                Some(Piece::BrokenOff) => ("broken off".to_owned(), true),
                None => ("end".to_owned(), true),
            };
            read.push(text);
            if is_last {
                break;
            }
        }
        read
    }

    #[test]
    fn a_copy_has_the_pieces_and_the_end_of_the_original() {
        let (copier, mut body) = copied(8);
        copier.push(Bytes::from_static(b"a"));
        assert_eq!((read(&mut body), body.is_complete()), (vec!["a".to_owned()], false));
        copier.push(Bytes::from_static(b"b"));
        copier.finish(Some(Headers::default()));
        drop(copier);
        assert_eq!(read(&mut body), ["b", "trailers", "end"]);
        let (copier, body) = copied(8);
        copier.finish(None);
        assert!(body.is_complete());
    }

    #[test]
    fn a_copy_breaks_off_with_the_original_and_when_it_falls_behind() {
        let (copier, mut body) = copied(8);
        copier.push(Bytes::from_static(b"a"));
        drop(copier);
        assert_eq!(read(&mut body), ["a", "broken off"]);
        let (copier, mut body) = copied(2);
        (0..4).for_each(|_| copier.push(Bytes::from_static(b"a")));
        copier.finish(None);
        assert_eq!(read(&mut body), ["broken off"]);
    }
}
