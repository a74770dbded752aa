//! A value that tasks wait on.
//!
//! Tokio's `watch` wakes its waiters in a random order. Here it is the order in which they began to wait, so
//! that a simulated run can be repeated.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

/// The tasks that wait, in the order in which they began to.
#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    numbers: u64,
}

impl Waiting {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// What a waiting future remembers, so that a poll for another reason costs nothing.
#[derive(Debug)]
struct Registered {
    waker: Waker,
    /// Changes of the value up to the registration.
    changes: u64,
}

impl Registered {
    fn is_current(known: Option<&Self>, cx: &Context<'_>, changes: u64) -> bool {
        known.is_some_and(|known| known.changes == changes && known.waker.will_wake(cx.waker()))
    }
}

/// A value that threads share.
#[derive(Debug)]
pub(super) struct Signal<T> {
    value: RwLock<T>,
    changes: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl<T: Copy> Signal<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), changes: AtomicU64::new(0), waiting: Mutex::default() }
    }

    pub(super) fn now(&self) -> T {
        // A panic under the lock had only copied a few fields: what is there is whole.
        *self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the value has changed. Takes no lock.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.fetch_add(1, Ordering::AcqRel);
        let wakers = std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner).wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until the value is like this.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn until(&self, reached: impl Fn(&T) -> bool) {
        if reached(&self.now()) {
            return;
        }
        let mut place = Place { signal: self, number: self.lock().next_number(), registered: None };
        poll_fn(|cx| place.poll(cx, &reached)).await;
    }

    /// Waits until the value has changed more often than `seen`, which begins at 0 and is brought up to date.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn changed(&self, seen: &mut u64) {
        self.until(|_| self.changes.load(Ordering::Acquire) != *seen).await;
        *seen = self.changes.load(Ordering::Acquire);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the waiting tasks; given up when dropped.
struct Place<'a, T> {
    signal: &'a Signal<T>,
    number: u64,
    registered: Option<Registered>,
}

impl<T: Copy> Place<'_, T> {
    fn poll(&mut self, cx: &Context<'_>, reached: &impl Fn(&T) -> bool) -> Poll<()> {
        let changes = self.signal.changes.load(Ordering::Acquire);
        if Registered::is_current(self.registered.as_ref(), cx, changes) {
            return Poll::Pending;
        }
        self.registered = Some(Registered { waker: cx.waker().clone(), changes });
        let replaced = self.signal.lock().wakers.insert(self.number, cx.waker().clone());
        drop(replaced);
        // Looked at after the waker is in place: a change in between finds it there.
        if reached(&self.signal.now()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let removed = self.signal.waiting.lock().unwrap_or_else(PoisonError::into_inner).wakers.remove(&self.number);
        drop(removed);
    }
}

/// A value that the tasks of one worker share: reading it and waiting on it take no lock.
#[derive(Debug)]
pub(super) struct LocalSignal<T: Copy> {
    value: Cell<T>,
    changes: Cell<u64>,
    waiting: RefCell<Waiting>,
}

impl<T: Copy> LocalSignal<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Cell::new(value), changes: Cell::new(0), waiting: RefCell::default() }
    }

    pub(super) fn now(&self) -> T {
        self.value.get()
    }

    pub(super) fn set(&self, value: T) {
        self.value.set(value);
        self.changes.set(self.changes.get().wrapping_add(1));
        let wakers = std::mem::take(&mut self.waiting.borrow_mut().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits until the value is like this.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn until(&self, reached: impl Fn(&T) -> bool) {
        if reached(&self.now()) {
            return;
        }
        let number = self.waiting.borrow_mut().next_number();
        let mut place = LocalPlace { signal: self, number, registered: None };
        poll_fn(|cx| place.poll(cx, &reached)).await;
    }
}

/// A place among the waiting tasks of a worker; given up when dropped.
struct LocalPlace<'a, T: Copy> {
    signal: &'a LocalSignal<T>,
    number: u64,
    registered: Option<Registered>,
}

impl<T: Copy> LocalPlace<'_, T> {
    fn poll(&mut self, cx: &Context<'_>, reached: &impl Fn(&T) -> bool) -> Poll<()> {
        let changes = self.signal.changes.get();
        if Registered::is_current(self.registered.as_ref(), cx, changes) {
            return Poll::Pending;
        }
        if reached(&self.signal.now()) {
            return Poll::Ready(());
        }
        self.registered = Some(Registered { waker: cx.waker().clone(), changes });
        let replaced = self.signal.waiting.borrow_mut().wakers.insert(self.number, cx.waker().clone());
        drop(replaced); // not while the map is borrowed
        Poll::Pending
    }
}

impl<T: Copy> Drop for LocalPlace<'_, T> {
    fn drop(&mut self) {
        let removed = self.signal.waiting.borrow_mut().wakers.remove(&self.number);
        drop(removed); // not while the map is borrowed
    }
}
