//! What an app is besides an app, for all its connections.

use std::cell::Cell;

use super::log_entries::LogReader;
use crate::scenario::{self, LogCall, Reply};

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

    /// What becomes of a call with this target, if it is one of an access log.
    pub(super) fn log_call(&self, target: &str) -> Option<LogStream> {
        let log = self.replies.log.as_ref().filter(|_| self.replies.path == Some(target))?;
        let before = self.requests.replace(self.requests.get() + 1);
        let manner = log.first.get(before).unwrap_or(&log.reply).clone();
        Some(LogStream { manner, reader: LogReader::default(), is_answered: false })
    }
}

/// A call of an access log, and what has come in it.
pub(super) struct LogStream {
    manner: LogCall,
    reader: LogReader,
    is_answered: bool,
}

impl LogStream {
    /// What has come whole with these bytes, in words.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        self.reader.read(bytes)
    }

    /// The response that ends it, once: when enough has come, or everything.
    pub(super) fn reply(&mut self, is_complete: bool) -> Option<Reply> {
        let is_due = is_complete || self.manner.ends_after.is_some_and(|most| self.reader.messages() >= most);
        if !is_due || std::mem::replace(&mut self.is_answered, is_due) {
            return None;
        }
        Some(self.manner.reply())
    }
}
