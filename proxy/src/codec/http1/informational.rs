//! Informational responses (RFC 9110 15.2) that come before the final one: noted, passed on, and bounded.

use http::StatusCode;
use http::header::CONNECTION;

use super::framing::MALFORMED;
use crate::codec::{ExchangeError, InformationalSender, ResponseHead};

/// Informational responses to one request. No exchange needs more, and without a limit a server keeps a request
/// busy for ever.
pub(in crate::codec) const INFORMATIONAL_MAX: usize = 100;

/// The informational responses to the request under way.
#[derive(Debug, Default)]
pub(super) struct Informational {
    /// At most [`INFORMATIONAL_MAX`].
    statuses: Vec<StatusCode>,
    /// Bytes of their fields. They may all wait for a client that reads nothing, so that they are bounded as a whole.
    bytes: usize,
    /// To the client of the request, if it gets them.
    sender: Option<InformationalSender>,
}

impl Informational {
    /// Another request begins.
    pub(super) fn clear(&mut self) {
        self.statuses.clear();
        self.bytes = 0;
        self.sender = None;
    }

    /// From here on they are passed on to `sender`.
    pub(super) fn pass_to(&mut self, sender: InformationalSender) {
        self.sender = Some(sender);
    }

    /// Another one; an error if there are too many, or if their fields exceed `bytes_max` together.
    pub(super) fn note(&mut self, mut head: ResponseHead, bytes_max: usize) -> Result<(), ExchangeError> {
        self.bytes += head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        if self.statuses.len() == INFORMATIONAL_MAX || self.bytes > bytes_max {
            return Err(MALFORMED);
        }
        self.statuses.push(head.status);
        if let Some(sender) = &self.sender {
            head.headers.remove(&CONNECTION); // it concerns this connection only
            sender.send(&head);
        }
        Ok(())
    }

    /// Those that came, in order.
    pub(super) fn statuses(&self) -> &[StatusCode] {
        &self.statuses
    }
}
