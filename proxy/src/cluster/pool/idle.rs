//! Connections that wait for their next request, and the watch over them.
//!
//! A pooled connection must be seen to close while nobody uses it, yet parking one must cost almost nothing:
//! it happens once per request. So each connection carries a waker of its own, and parking is one poll of the
//! connection with that waker. Only when the peer acts does the waker name the connection to the pool's
//! keeper, which then looks at that one alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::codec::http1;

/// An HTTP/1 connection in its pool's hands.
pub(super) struct Parked<T> {
    pub(super) connection: http1::ClientConnection,
    pub(super) since: Instant,
    /// What travels with the connection.
    pub(super) with: T,
    name: Name,
}

/// By which a connection is called when something happens to it. It keeps its name for life.
#[derive(Clone)]
pub(super) struct Name {
    id: u64,
    waker: Waker,
}

impl<T> Parked<T> {
    /// Has the peer closed, or said something nobody asked for? Registers the keeper for the answer "no".
    pub(super) fn poll_end(&mut self) -> Poll<http1::IdleEnd> {
        self.connection.poll_idle(&mut Context::from_waker(&self.name.waker))
    }
}

/// Names of parked connections at which something happened.
#[derive(Default)]
pub(super) struct Signals {
    named: Mutex<Vec<u64>>,
    keeper: Notify,
}

impl Signals {
    /// A name for a connection; `id` is the connection's alone.
    pub(super) fn name(self: &Arc<Self>, id: u64) -> Name {
        Name { id, waker: Waker::from(Arc::new(Signal { id, to: Arc::clone(self) })) }
    }

    /// Parks a connection.
    pub(super) fn park<T>(name: Name, connection: http1::ClientConnection, with: T) -> Parked<T> {
        Parked { connection, since: Instant::now(), with, name }
    }

    /// Ready when something happened, or [`nudge`](Self::nudge) was called.
    pub(super) async fn changed(&self) {
        self.keeper.notified().await;
    }

    /// Makes the keeper look at its deadlines again.
    pub(super) fn nudge(&self) {
        self.keeper.notify_one();
    }

    /// Takes out of `parked` those that ended.
    pub(super) fn take_ended<T>(&self, parked: &mut Vec<Parked<T>>) -> Vec<(Parked<T>, http1::IdleEnd)> {
        let named = std::mem::take(&mut *self.named.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ended = Vec::new();
        for id in named {
            // Not among them: it is lent out again, and its user will see for itself.
            let Some(at) = parked.iter().position(|one| one.name.id == id) else { continue };
            let Some(one) = parked.get_mut(at) else { continue };
            if let Poll::Ready(end) = one.poll_end() {
                ended.push((parked.remove(at), end));
            }
        }
        ended
    }
}

struct Signal {
    id: u64,
    to: Arc<Signals>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.to.named.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        self.to.keeper.notify_one();
    }
}
