//! `envoy.filters.http.dynamic_forward_proxy`: has the host of a request resolved before the request goes on, where its route leads
//! to a forward proxy.

use http::StatusCode;

use super::reply::EndedReply;
use super::{FilterReply, Flow};
use crate::access_log::ResponseFlag;
use crate::codec::RequestHead;
use crate::config::dns_cache::{ForwardProxy, HostRewrite};
use crate::dns_cache::{HostFailure, WantedHost};

/// The filter while it serves one stream.
pub(super) struct ForwardedHost<'c> {
    options: &'c ForwardProxy,
    state: State,
}

enum State {
    /// It has not seen the request.
    New,
    /// This host is to be looked up.
    Wants(WantedHost),
    /// It is being looked up.
    Waits,
    /// That came to this.
    Ended(Result<(), HostFailure>),
}

impl<'c> ForwardedHost<'c> {
    pub(super) fn new(options: &'c ForwardProxy) -> Self {
        Self { options, state: State::New }
    }

    /// A request's head has come, whose route leads to a forward proxy of this port, or to none.
    pub(super) fn on_request(&mut self, request: &mut RequestHead, port: Option<u16>) -> Flow<FilterReply> {
        match std::mem::replace(&mut self.state, State::Waits) {
            State::New => {
                let Some(port) = port else { return Flow::Continue };
                rewrite(self.options.rewrite.as_ref(), request);
                self.state = State::Wants(WantedHost::of(&self.options.cache, request.authority.as_ref(), port));
                Flow::Wait
            }
            State::Ended(Err(failure)) => refuse(&failure),
            State::Ended(Ok(())) => Flow::Continue,
            waits @ (State::Wants(_) | State::Waits) => {
                self.state = waits;
                Flow::Wait
            }
        }
    }

    /// The host that is to be looked up, once.
    pub(super) fn take_wanted(&mut self) -> Option<WantedHost> {
        match std::mem::replace(&mut self.state, State::Waits) {
            State::Wants(wanted) => Some(wanted),
            other @ (State::New | State::Waits | State::Ended(_)) => {
                self.state = other;
                None
            }
        }
    }

    pub(super) fn end(&mut self, found: Result<(), HostFailure>) {
        self.state = State::Ended(found);
    }
}

fn rewrite(how: Option<&HostRewrite>, request: &mut RequestHead) {
    let host = match how {
        None => None,
        Some(HostRewrite::Literal(host)) => Some(host.clone()),
        // Of several values the first counts, which alone a caller before this proxy may have set.
        Some(HostRewrite::Header(name)) => request.headers.get(name).cloned(),
    };
    if host.is_some() {
        request.authority = host;
    }
}

fn refuse(failure: &HostFailure) -> Flow<FilterReply> {
    let (status, body, flag) = match failure {
        HostFailure::Missing => (StatusCode::BAD_REQUEST, "Empty host header", None),
        HostFailure::Overflow => (StatusCode::SERVICE_UNAVAILABLE, "DNS cache overflow", None),
        HostFailure::PendingOverflow => {
            (StatusCode::SERVICE_UNAVAILABLE, "Dynamic forward proxy pending request overflow", None)
        }
        HostFailure::Unresolved(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "DNS resolution failure", Some(ResponseFlag::DF))
        }
    };
    EndedReply { flag, ..EndedReply::new(status, body, failure.details()) }.end()
}
