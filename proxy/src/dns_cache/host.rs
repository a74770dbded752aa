//! A host of a cache, and what is known of it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::host_name::HostName;
use crate::access_log::Details;
use crate::access_log::Unresolved;
use crate::net::Address;

/// A host that requests have named.
#[derive(Debug)]
pub struct Host {
    pub(super) name: HostName,
    state: Mutex<Versioned>,
    /// Notified when that is other. Those that wait are woken in the order in which they came.
    changed: Notify,
    /// When a request was last sent to it, or it was first named.
    last_used: Mutex<Instant>,
}

/// What is known of a host, and how often that has changed.
#[derive(Debug)]
struct Versioned {
    version: u64,
    state: HostState,
}

/// Follows what is known of a host.
pub struct HostWatch {
    host: Arc<Host>,
    seen: u64,
}

impl HostWatch {
    /// What is known, once that is other than it was when this was made, or last returned.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn changed(&mut self) -> HostState {
        loop {
            let mut notified = pin!(self.host.changed.notified());
            // From here on no change is missed.
            notified.as_mut().enable();
            {
                let known = self.host.lock();
                if known.version != self.seen {
                    self.seen = known.version;
                    return known.state.clone();
                }
            }
            notified.await;
        }
    }
}

/// What is known of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostState {
    /// It is being resolved for the first time.
    Resolving,
    /// It has these addresses. They stay until it has others.
    Found(Arc<[Address]>),
    /// It has had none yet, for this reason.
    Failed(Unresolved),
    /// It was forgotten.
    Gone,
}

/// Why a request does not get to the host that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostFailure {
    /// It names none.
    Missing,
    /// Too many hosts are known.
    Overflow,
    /// Too many requests wait for a host.
    PendingOverflow,
    /// It has no address.
    Unresolved(Unresolved),
}

impl PartialEq for Host {
    /// Is it the same one?
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl HostFailure {
    /// Response-code details.
    #[must_use]
    pub fn details(&self) -> Details {
        match self {
            Self::Missing => Details::EmptyHostHeader,
            Self::Overflow => Details::DnsCacheOverflow,
            Self::PendingOverflow => Details::ForwardProxyPendingOverflow,
            Self::Unresolved(why) => Details::DnsResolutionFailure(why.clone()),
        }
    }
}

impl Host {
    pub(super) fn new(name: HostName) -> Arc<Self> {
        let state = Mutex::new(Versioned { version: 0, state: HostState::Resolving });
        Arc::new(Self { name, state, changed: Notify::new(), last_used: Mutex::new(Instant::now()) })
    }

    fn lock(&self) -> MutexGuard<'_, Versioned> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it another state, where `next` has one.
    fn change(&self, next: impl FnOnce(&HostState) -> Option<HostState>) -> bool {
        let mut known = self.lock();
        let Some(state) = next(&known.state) else { return false };
        *known = Versioned { version: known.version + 1, state };
        drop(known);
        self.changed.notify_waiters();
        true
    }

    /// What the cache knows it by: the text of the request, with its port.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.name.key
    }

    /// Its addresses, if it has some.
    #[must_use]
    pub fn addresses(&self) -> Option<Arc<[Address]>> {
        match &self.lock().state {
            HostState::Found(addresses) => Some(Arc::clone(addresses)),
            HostState::Resolving | HostState::Failed(_) | HostState::Gone => None,
        }
    }

    /// What comes to be known of it.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> HostWatch {
        HostWatch { host: Arc::clone(self), seen: self.lock().version }
    }

    /// A request is sent to it.
    pub fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it; `None` is nothing yet.
    pub(super) fn known(self: &Arc<Self>) -> Option<Result<Arc<Self>, HostFailure>> {
        match &self.lock().state {
            HostState::Found(_) => Some(Ok(Arc::clone(self))),
            HostState::Failed(why) => Some(Err(HostFailure::Unresolved(why.clone()))),
            HostState::Gone => Some(Err(HostFailure::Unresolved(Unresolved::new("removed")))),
            HostState::Resolving => None,
        }
    }

    /// It has these addresses. Returns whether they are others.
    pub(super) fn found(&self, addresses: Vec<SocketAddr>) -> bool {
        let addresses: Vec<Address> = addresses.into_iter().map(Address::Socket).collect();
        self.change(|known| match known {
            HostState::Found(known) if **known == *addresses => None,
            HostState::Found(_) | HostState::Resolving | HostState::Failed(_) | HostState::Gone => {
                Some(HostState::Found(addresses.into()))
            }
        })
    }

    /// It has no address now: one that it had stays, as in Envoy.
    pub(super) fn failed(&self, why: Unresolved) {
        self.change(|known| match known {
            HostState::Found(_) | HostState::Gone => None,
            HostState::Resolving | HostState::Failed(_) => Some(HostState::Failed(why)),
        });
    }

    pub(super) fn forget(&self) {
        self.change(|_| Some(HostState::Gone));
    }
}
