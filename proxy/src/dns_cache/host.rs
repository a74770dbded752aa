//! A host of a cache, and what is known of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::host_name::HostName;
use crate::access_log::Details;
use crate::access_log::details::Unresolved;
use crate::net::Address;

/// A host that requests have named.
#[derive(Debug)]
pub struct Host {
    pub(super) name: HostName,
    state: watch::Sender<HostState>,
    /// When a request was last sent to it, or it was first named.
    last_used: Mutex<Instant>,
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
        Arc::new(Self { name, state: watch::Sender::new(HostState::Resolving), last_used: Mutex::new(Instant::now()) })
    }

    /// What the cache knows it by: the text of the request, with its port.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.name.key
    }

    /// Its addresses, if it has some.
    #[must_use]
    pub fn addresses(&self) -> Option<Arc<[Address]>> {
        match &*self.state.borrow() {
            HostState::Found(addresses) => Some(Arc::clone(addresses)),
            HostState::Resolving | HostState::Failed(_) | HostState::Gone => None,
        }
    }

    /// What comes to be known of it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<HostState> {
        self.state.subscribe()
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
        match &*self.state.borrow() {
            HostState::Found(_) => Some(Ok(Arc::clone(self))),
            HostState::Failed(why) => Some(Err(HostFailure::Unresolved(why.clone()))),
            HostState::Gone => Some(Err(HostFailure::Unresolved(Unresolved::new("removed")))),
            HostState::Resolving => None,
        }
    }

    /// It has these addresses. Returns whether they are others.
    pub(super) fn found(&self, addresses: Vec<SocketAddr>) -> bool {
        let addresses: Vec<Address> = addresses.into_iter().map(Address::Socket).collect();
        self.state.send_if_modified(|state| match state {
            HostState::Found(known) if **known == *addresses => false,
            HostState::Found(_) | HostState::Resolving | HostState::Failed(_) | HostState::Gone => {
                *state = HostState::Found(addresses.into());
                true
            }
        })
    }

    /// It has no address now: one that it had stays, as in Envoy.
    pub(super) fn failed(&self, why: Unresolved) {
        self.state.send_if_modified(|state| match state {
            HostState::Found(_) | HostState::Gone => false,
            HostState::Resolving | HostState::Failed(_) => {
                *state = HostState::Failed(why);
                true
            }
        });
    }

    pub(super) fn forget(&self) {
        self.state.send_replace(HostState::Gone);
    }
}
