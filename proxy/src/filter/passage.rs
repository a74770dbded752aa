//! Bodies on their way through the filters: what filters have kept of one, and a response that is there as a whole.

use std::task::{Context, Poll};

use super::call::Call;
use super::keeper::Kept;
use super::piece::Direction;
use super::{Filters, Flow, Piece, Refusal};
use crate::access_log::StreamInfo;
use crate::codec::{Payload, RequestHead, ResponseHead};

impl Filters<'_> {
    /// What filters have kept of the request's body for a time.
    pub(crate) fn poll_kept_request(&mut self, cx: &mut Context<'_>) -> Kept {
        let mut has_room = true;
        for index in 0..self.filters.len() {
            let (piece, room) = self.poll_keeper(index, Direction::Request, cx);
            has_room &= room;
            let Some(piece) = piece else { continue };
            let mut piece = match piece {
                Ok(piece) => piece,
                Err(refusal) => return Kept::Due(Piece::default(), Flow::Respond(refusal)),
            };
            let flow = self.on_held_data(index + 1, &mut piece).map_or_else(Flow::Respond, |()| Flow::Continue);
            return Kept::Due(piece, flow);
        }
        if has_room { Kept::Nothing } else { Kept::Full }
    }

    /// The same of the response's.
    pub(crate) fn poll_kept(&mut self, cx: &mut Context<'_>) -> Kept {
        let mut has_room = true;
        for index in (0..self.filters.len()).rev() {
            let (piece, room) = self.poll_keeper(index, Direction::Response, cx);
            has_room &= room;
            let Some(piece) = piece else { continue };
            let mut piece = match piece {
                Ok(piece) => piece,
                Err(refusal) => return Kept::Due(Piece::default(), Flow::Respond(refusal)),
            };
            // Those before it may keep it in their turn.
            let flow = self.on_held_response_data(index, &mut piece);
            return Kept::Due(piece, flow);
        }
        if has_room { Kept::Nothing } else { Kept::Full }
    }

    /// What goes on from one filter now, and whether it takes more.
    fn poll_keeper(
        &mut self,
        index: usize,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> (Option<Result<Piece, Refusal>>, bool) {
        let Some(filter) = self.filters.get_mut(index) else { return (None, true) };
        let Some(mut keeper) = filter.keeper(direction) else { return (None, true) };
        let piece = keeper.poll_piece(direction, cx);
        let has_room = keeper.has_room();
        match piece {
            Poll::Pending => (None, has_room),
            Poll::Ready(piece) => {
                if piece.is_err() {
                    filter.count_broken();
                }
                (Some(piece), has_room)
            }
        }
    }

    /// Takes a response that is there as a whole through all filters, from those before `below` on, which are all at first. It
    /// ends where one of them waits for a call, and is to be called again once that has ended.
    pub(crate) fn on_whole_response(
        &mut self,
        response: &mut ResponseHead,
        piece: &mut Piece,
        request: &RequestHead,
        info: &mut StreamInfo,
        below: &mut usize,
    ) -> Option<Box<Call>> {
        // Each filter waits for the body once at most: what is there is the whole body, and such a body is not refused.
        for _ in 0..=self.filters.len() {
            let payload = if piece.data.is_empty() { Payload::None } else { Payload::Some };
            let flow = self.on_response(response, payload, request, info);
            if let Some((index, released)) = self.take_released() {
                released.replace(piece);
                *below = index;
            }
            if flow == Flow::Wait
                && let Some(call) = self.take_call_of_response()
            {
                return Some(call);
            }
            let _is_last = self.on_held_response_data(*below, piece);
            if flow != Flow::Wait {
                return None;
            }
            *below = self.undecided.saturating_sub(1);
        }
        None
    }
}
