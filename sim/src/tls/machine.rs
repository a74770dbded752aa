//! The machine whose program runs at this moment: the chance that TLS draws secrets from, the clock, and the trace that records
//! the secrets.
//!
//! rustls takes chance and time from values without a lifetime, and a run has many hosts; so the scheduler sets the current
//! machine here before it polls a program.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use crate::chance::Chance;
use crate::trace::{Secret, SharedTrace};

/// One simulated machine, as far as TLS needs it.
pub(crate) struct Machine {
    chance: RefCell<Chance>,
    /// Its wall clock.
    clock: Box<dyn Fn() -> SystemTime>,
    trace: SharedTrace,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

impl Machine {
    pub(crate) fn new(chance: Chance, trace: SharedTrace, clock: impl Fn() -> SystemTime + 'static) -> Rc<Self> {
        Rc::new(Self { chance: RefCell::new(chance), clock: Box::new(clock), trace })
    }

    /// What runs from here on runs on it, until the result is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(CURRENT.replace(Some(Rc::clone(self))))
    }
}

/// A program runs on a machine.
#[must_use]
pub(crate) struct Entered(Option<Rc<Machine>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Random bytes of the machine; false if nothing runs.
pub(super) fn fill(bytes: &mut [u8]) -> bool {
    CURRENT.with_borrow(|machine| {
        let Some(machine) = machine else { return false };
        let mut chance = machine.chance.borrow_mut();
        for some in bytes.chunks_mut(8) {
            let drawn = chance.next_u64().to_le_bytes();
            some.iter_mut().zip(drawn).for_each(|(byte, drawn)| *byte = drawn);
        }
        true
    })
}

/// What its clock shows; none if nothing runs.
pub(super) fn wall() -> Option<SystemTime> {
    CURRENT.with_borrow(|machine| machine.as_ref().map(|machine| (machine.clock)()))
}

/// Records a secret of the machine in the trace.
pub(super) fn record_secret(secret: Secret) {
    CURRENT.with_borrow(|machine| {
        if let Some(machine) = machine {
            machine.trace.lock().push_secret(secret);
        }
    });
}
