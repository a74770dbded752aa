//! The way for informational responses (RFC 9110 15.2), which come before the one that answers the request.

use std::cell::Cell;
use std::rc::Rc;

use http::StatusCode;

use super::{ResponseHead, http1, http2};

/// Passes informational responses on to a client, while others own its request and its response.
#[derive(Clone, Debug)]
pub struct InformationalSender {
    to: Client,
    passed: Rc<Cell<u32>>,
    last: Rc<Cell<Option<StatusCode>>>,
}

#[derive(Clone, Debug)]
enum Client {
    Http1(http1::InformationalSender),
    Http2(http2::InformationalSender),
}

impl InformationalSender {
    /// To a client that speaks HTTP/1.
    #[must_use]
    pub fn http1(to: http1::InformationalSender) -> Self {
        Self { to: Client::Http1(to), passed: Rc::default(), last: Rc::default() }
    }

    /// To a client that speaks HTTP/2.
    #[must_use]
    pub fn http2(to: http2::InformationalSender) -> Self {
        Self { to: Client::Http2(to), passed: Rc::default(), last: Rc::default() }
    }

    /// Queues `head`, which goes out when the request's body, or the client's presence, is next polled.
    pub fn inform(&self, head: &ResponseHead) {
        let is_passed = match &self.to {
            Client::Http1(to) => to.inform(head),
            Client::Http2(to) => to.inform(head),
        };
        if is_passed {
            self.passed.set(self.passed.get() + 1);
            self.last.set(Some(head.status));
        }
    }

    /// The status of the last that was passed on.
    #[must_use]
    pub fn last(&self) -> Option<StatusCode> {
        self.last.get()
    }

    /// How many have been passed on.
    #[must_use]
    pub fn passed(&self) -> u32 {
        self.passed.get()
    }
}
