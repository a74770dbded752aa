//! What the application has been notified of on a socket, as against what is true.
//!
//! An event loop learns about its sockets only when it polls the kernel, once per turn; in between it trusts
//! the last result. That gap is where a proxy writes a request to a connection whose FIN has already
//! arrived. So a call on a simulated socket consults [`Readiness`] first, and only a turn of the host's
//! driver ([`Kernel::turn`](super::Kernel::turn)) brings it up to date. The rules are those of an
//! edge-triggered poll under tokio.

use std::task::{Context, Waker};

/// What is true of a socket at the moment of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Truth {
    /// Bytes wait to be read.
    pub(super) has_data: bool,
    /// A read would not block.
    pub(super) readable: bool,
    /// No more data will ever arrive.
    pub(super) read_closed: bool,
    /// A write would not block.
    pub(super) writable: bool,
    /// No more data can ever be sent.
    pub(super) write_closed: bool,
}

/// What the application has been notified of, per direction, and who waits for more.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    pub(super) read: KnownReadiness,
    pub(super) write: KnownReadiness,
}

impl Readiness {
    /// The driver turned: notes the truth and gives the wakers of those who waited for it.
    pub(super) fn turn(&mut self, truth: Truth, woken: &mut Vec<Waker>) {
        self.read.turn(truth.readable, truth.read_closed, woken);
        self.write.turn(truth.writable, truth.write_closed, woken);
    }
}

/// One direction of a socket as the application last saw it.
#[derive(Debug, Default)]
pub(super) struct KnownReadiness {
    knowledge: Knowledge,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Knowledge {
    /// The direction has ended; never unlearnt.
    Closed,
    /// A call may be tried.
    Ready,
    /// The last call would have blocked, or nothing is known yet.
    #[default]
    WouldBlock,
}

impl KnownReadiness {
    /// Whether a call may be tried; if not, the task is woken by the turn that changes it.
    pub(super) fn may_try(&mut self, cx: &Context<'_>) -> bool {
        if self.knowledge != Knowledge::WouldBlock {
            return true;
        }
        match &self.waiting {
            Some(waiting) if waiting.will_wake(cx.waker()) => {}
            Some(_) | None => self.waiting = Some(cx.waker().clone()),
        }
        false
    }

    /// A call moved fewer bytes than requested, or would have blocked: the next one waits for the driver.
    pub(super) fn exhausted(&mut self) {
        if self.knowledge == Knowledge::Ready {
            self.knowledge = Knowledge::WouldBlock;
        }
    }

    pub(super) fn turn(&mut self, ready: bool, closed: bool, woken: &mut Vec<Waker>) {
        match (ready, closed) {
            (_, true) => self.knowledge = Knowledge::Closed,
            (true, false) if self.knowledge == Knowledge::WouldBlock => self.knowledge = Knowledge::Ready,
            (true | false, false) => {}
        }
        if ready || closed {
            woken.extend(self.waiting.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_learnt_by_turns_only_and_closing_is_never_unlearnt() {
        let cx = Context::from_waker(Waker::noop());
        let mut known = KnownReadiness::default();
        let mut woken = Vec::new();
        assert!(!known.may_try(&cx), "nothing is known of a new socket");
        known.turn(true, false, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(known.may_try(&cx));
        known.exhausted();
        assert!(!known.may_try(&cx));
        known.turn(false, true, &mut woken);
        known.exhausted();
        assert!(known.may_try(&cx));
        assert_eq!(woken.len(), 2);
    }
}
