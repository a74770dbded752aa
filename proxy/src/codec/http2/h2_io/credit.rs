//! What is given back to the windows for payload that h2 has not seen.

use super::connection_state::ConnectionState;
use crate::codec::http2::CONNECTION;
use crate::codec::http2::bounds::CREDIT_BYTES_MIN;

impl ConnectionState {
    /// Takes what is to be given back to a window, if it has become enough for a WINDOW_UPDATE.
    pub(super) fn take_credit(&self) -> Vec<(u32, u32)> {
        if self.credit.get() < CREDIT_BYTES_MIN {
            return Vec::new();
        }
        let mut credits = vec![(CONNECTION, self.credit.replace(0))];
        for (stream, sent) in self.streams.borrow_mut().iter_mut().filter(|(_, sent)| sent.credit > 0) {
            credits.push((*stream, std::mem::take(&mut sent.credit)));
        }
        credits
    }
}
