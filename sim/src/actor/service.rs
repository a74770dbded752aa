//! What an app is besides an app, for all its connections.

use std::cell::Cell;

use crate::scenario::{self, Reply};

/// A service, with how many requests it has had.
pub(super) struct Service {
    replies: scenario::Service,
    requests: Cell<usize>,
}

impl Service {
    pub(super) fn new(replies: scenario::Service) -> Self {
        Self { replies, requests: Cell::new(0) }
    }

    /// Its reply to a request with this target, if that is for it.
    pub(super) fn reply_to(&self, target: &str) -> Option<Reply> {
        if self.replies.path.is_some_and(|path| path != target) {
            return None;
        }
        let before = self.requests.replace(self.requests.get() + 1);
        Some(self.replies.first.get(before).unwrap_or(&self.replies.reply).clone())
    }
}
