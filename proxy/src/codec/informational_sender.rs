//! The way for informational responses (RFC 9110 15.2), which come before the final one.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use http::StatusCode;

use super::ResponseHead;

/// Passes informational responses on to a client, while others own its request and its response.
#[derive(Clone)]
pub struct InformationalSender(Rc<Client>);

struct Client {
    /// How the codec of the client's connection sends one; false if it is not sent.
    send: Box<dyn Fn(&ResponseHead) -> bool>,
    passed: Cell<u32>,
    last: Cell<Option<StatusCode>>,
}

impl InformationalSender {
    /// To the client of a request. `send` queues a head on the client's connection and returns whether it did.
    #[must_use]
    pub fn new(send: impl Fn(&ResponseHead) -> bool + 'static) -> Self {
        Self(Rc::new(Client { send: Box::new(send), passed: Cell::default(), last: Cell::default() }))
    }

    /// Queues `head`, which goes out when the request's body, or the client's presence, is next polled.
    pub fn send(&self, head: &ResponseHead) {
        if (self.0.send)(head) {
            self.0.passed.set(self.0.passed.get() + 1);
            self.0.last.set(Some(head.status));
        }
    }

    /// The status of the last that was passed on.
    #[must_use]
    pub fn last(&self) -> Option<StatusCode> {
        self.0.last.get()
    }

    /// How many have been passed on.
    #[must_use]
    pub fn passed(&self) -> u32 {
        self.0.passed.get()
    }
}

impl fmt::Debug for InformationalSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { passed, last, .. } = &*self.0;
        f.debug_struct("InformationalSender").field("passed", passed).field("last", last).finish_non_exhaustive()
    }
}
