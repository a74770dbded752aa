//! Notices panics. A task's panic ends up in a handle that is often dropped unread, and a proxy that panics on one
//! connection and serves the others would look healthy. In a run no panic may pass unseen.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// Panics of this thread since the hook was set. A run has one thread, and a thread one run at a time.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// How many panics this thread has seen. The first call begins the count; the panic hook that was there before goes
/// on doing its work.
pub(super) fn seen() -> u64 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.set(SEEN.get() + 1);
            before(info);
        }));
    });
    SEEN.get()
}
