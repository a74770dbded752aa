//! Requests that wait for a connection, first come, first served.
//!
//! A request holds a [`Waiter`], the queue its counterpart. Each waiter gets exactly one result, or is dropped before that.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::budget::Pending;
use crate::cluster::Failure;
use crate::stats::Counter;

/// Which connections a request can use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Any.
    Any,
    /// One that has carried no request yet: if it closes, its age cannot have been the reason.
    Unused,
}

/// The requests that wait for an `L`. The circuit breaker of pending requests bounds them.
pub(super) struct WaitQueue<L> {
    entries: RefCell<VecDeque<Entry<L>>>,
    /// Requests that stopped waiting.
    cancelled: Counter,
}

struct Entry<L> {
    wanted: Wanted,
    result: oneshot::Sender<Result<L, Failure>>,
    _pending: Pending,
}

/// A request in the queue. Dropped, it leaves the queue.
pub(super) struct Waiter<'q, L> {
    queue: &'q WaitQueue<L>,
    result: oneshot::Receiver<Result<L, Failure>>,
}

/// A request taken out of the queue, which gets what [`Self::serve`] is given.
#[must_use = "a request that is not served fails"]
pub(super) struct Served<L>(oneshot::Sender<Result<L, Failure>>);

impl<L> WaitQueue<L> {
    pub(super) fn new(cancelled: Counter) -> Self {
        Self { entries: RefCell::default(), cancelled }
    }

    pub(super) fn push(&self, wanted: Wanted, pending: Pending) -> Waiter<'_, L> {
        let (sender, result) = oneshot::channel();
        self.entries.borrow_mut().push_back(Entry { wanted, result: sender, _pending: pending });
        Waiter { queue: self, result }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Does a request wait that only an unused connection serves?
    pub(super) fn wants_unused(&self) -> bool {
        self.entries.borrow().iter().any(|entry| entry.wanted == Wanted::Unused)
    }

    /// Takes out the first request that can use what is `offered`.
    pub(super) fn pop_for(&self, offered: Wanted) -> Option<Served<L>> {
        let mut entries = self.entries.borrow_mut();
        let at = entries.iter().position(|entry| offered == Wanted::Unused || entry.wanted == Wanted::Any)?;
        entries.remove(at).map(|entry| Served(entry.result))
    }

    /// Fails every request; returns how many there were.
    pub(super) fn fail_all(&self, failure: &Failure) -> usize {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        let count = entries.len();
        for entry in entries {
            Served(entry.result).serve(Err(failure.clone()));
        }
        count
    }
}

impl<L> Waiter<'_, L> {
    /// What the request gets.
    pub(super) async fn result(mut self) -> Result<L, Failure> {
        // The sender lives in the queue, which the caller borrows.
        (&mut self.result).await.unwrap_or(Err(Failure::Terminated))
    }
}

impl<L> Drop for Waiter<'_, L> {
    fn drop(&mut self) {
        self.result.close();
        self.queue.entries.borrow_mut().retain(|entry| {
            let waits = !entry.result.is_closed();
            if !waits {
                self.queue.cancelled.inc();
            }
            waits
        });
    }
}

impl<L> Served<L> {
    pub(super) fn serve(self, with: Result<L, Failure>) {
        // A waiter that was dropped took its entry out of the queue, so this one is there to receive.
        drop(self.0.send(with));
    }
}
