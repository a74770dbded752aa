//! A request that begins anew: it goes to another place, with the body that it has.

use tokio::time::Instant;

use super::{Delivery, Exchange, PayloadEnd, Received};

/// With what a request begins anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Again {
    /// All of it.
    Whole,
    /// Its head alone.
    WithoutBody,
}

impl Exchange<'_> {
    /// The request, which is complete and kept whole, begins anew: with its timers, and for filters that have seen nothing of it.
    pub(crate) fn begin_again(&mut self, again: Again) {
        self.replay.begin_again();
        match again {
            Again::Whole => self.bytes_received += u64::try_from(self.replay.len()).unwrap_or(u64::MAX),
            Again::WithoutBody => {
                self.replay.drain().for_each(drop);
                (self.received, self.ended_with_head) = (Received::Complete { trailers: None }, true);
            }
        }
        self.delivery = Delivery::Flowing(PayloadEnd::Message);
        self.upstream = None;
        self.is_anew = true;
        self.timers.begin_again();
        if let Some(periodic) = &mut self.periodic {
            periodic.begin_again(Instant::now());
        }
    }
}
