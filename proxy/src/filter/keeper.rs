//! What keeps pieces of a body for a time, and what they come to.

use std::task::{Context, Poll};

use super::compression::Recoder;
use super::fault::Limiter;
use super::piece::Direction;
use super::{Flow, Piece, Refusal};

/// A filter's.
pub(super) enum Keeper<'f> {
    /// Pieces go on at a limited rate.
    Limiter(&'f mut Limiter),
    /// Pieces go on in another coding.
    Recoder(&'f mut Recoder),
}

/// What filters have kept of a body.
#[derive(Debug)]
pub(crate) enum Kept {
    /// This goes on now, and has passed the filters behind the one that kept it.
    Due(Piece, Flow<Refusal>),
    /// As much as they may, or all there is: no more is to come to them.
    Full,
    /// Nothing that goes on now.
    Nothing,
}

impl Keeper<'_> {
    /// The next piece that goes on.
    pub(super) fn poll_piece(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<Result<Piece, Refusal>> {
        match self {
            Self::Limiter(limiter) => limiter.poll_piece(cx).map(Ok),
            Self::Recoder(recoder) => recoder.poll_piece(cx).map_err(|_corrupt| match direction {
                Direction::Request => Refusal::RequestUndecodable,
                Direction::Response => Refusal::ResponseUndecodable,
            }),
        }
    }

    /// May more come?
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Limiter(limiter) => limiter.has_room(),
            Self::Recoder(recoder) => recoder.has_room(),
        }
    }
}
