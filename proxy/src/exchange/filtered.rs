//! The request on its way through the filters before the router.

use super::{Exchange, Received};
use crate::access_log::StreamInfo;
use crate::codec::{Payload, RequestHead};
use crate::filter::{End, FilterReply, Flow, Piece, Refusal, Released};

impl Exchange<'_> {
    /// Lets the filters see the request's head, which `payload` follows, and what waited with it; to be called again once
    /// [`receive`](Self::receive) has ended their wait.
    pub(crate) fn filter_request(
        &mut self,
        request: &mut RequestHead,
        mut payload: Payload,
        info: &mut StreamInfo,
    ) -> Flow<FilterReply> {
        loop {
            let (waiting, had_read) = (self.filters.requested(), self.filters.reads());
            let flow = self.filters.on_request(request, payload, info);
            if let Flow::Respond(_) = flow {
                return flow;
            }
            // The filter that waited for the body has seen what is here; those behind it have not.
            let mut first = if std::mem::take(&mut self.is_anew) { 0 } else { waiting + usize::from(had_read) };
            if let Some((index, released)) = self.filters.take_released() {
                self.take_back(released);
                // A filter may give a body to a request that had none.
                payload = if self.has_no_body() { Payload::None } else { Payload::Some };
                first = index + 1;
            }
            if let Err(refusal) = self.filter_held(first) {
                return Flow::Respond(FilterReply::Refused(refusal));
            }
            if flow == Flow::Continue || self.filters.holds_request() {
                return flow;
            }
        }
    }

    /// A filter that has held the whole body lets this go on.
    fn take_back(&mut self, released: Released) {
        if !released.data.is_empty() {
            self.replay.push(released.data);
        }
        self.received = Received::Complete { trailers: released.trailers };
    }

    /// Takes the body that waits through the filters from `first` on.
    fn filter_held(&mut self, first: usize) -> Result<(), Refusal> {
        let mut held: Vec<Piece> = self.replay.drain().map(Piece::data).collect();
        if let Received::Complete { trailers } = &mut self.received {
            held.push(Piece::end(trailers.take()));
        }
        for mut piece in held {
            let is_last = piece.is_last();
            self.filters.on_held_data(first, &mut piece)?;
            if !piece.data.is_empty() {
                self.replay.push(piece.data);
            }
            match piece.end {
                End::Complete(trailers) => self.received = Received::Complete { trailers },
                // A filter keeps the end for a time.
                End::Open if is_last => self.received = Received::Open,
                End::Open => {}
            }
        }
        Ok(())
    }
}
