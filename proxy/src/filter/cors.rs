//! `envoy.filters.http.cors`: tells browsers which pages may read a response (Fetch Standard, "CORS protocol").
//!
//! A preflight gets its response here and goes no further; the response to any other request with an `origin` that is allowed says
//! so. Whether the request is forwarded never depends on its origin: it is the browser that keeps a response from its page.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderName, HeaderValue, Method};

use super::{FilterContext, FilterReply, Flow};
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::cors::{self, Allowed, UnmatchedPreflights};

const TRUE: HeaderValue = HeaderValue::from_static("true");

pub(super) struct Cors<'c> {
    policy: &'c cors::Cors,
    /// Of the request, if the policy is enforced and allows it.
    origin: Option<HeaderValue>,
}

impl<'c> Cors<'c> {
    pub(super) fn new(policy: &'c cors::Cors) -> Self {
        Self { policy, origin: None }
    }

    pub(super) fn on_request(&mut self, request: &RequestHead, context: &FilterContext) -> Flow<FilterReply> {
        let policy = self.policy;
        let is_enforced = context.draw(&policy.enforced);
        if !is_enforced && !context.draw(&policy.counted) {
            return Flow::Continue;
        }
        let Some(origin) = request.headers.get(&ORIGIN).filter(|origin| !origin.is_empty()) else {
            return Flow::Continue;
        };
        let is_allowed = policy.origins.allow(origin);
        if let Some(stats) = &context.stats.cors {
            if is_allowed { stats.origin_valid.inc() } else { stats.origin_invalid.inc() }
        }
        if !is_enforced {
            return Flow::Continue;
        }
        if is_allowed {
            self.origin = Some(origin.clone());
        }
        let is_forwarded = !is_allowed && policy.unmatched_preflights == UnmatchedPreflights::Forwarded;
        if is_preflight(request) && !is_forwarded {
            return Flow::Respond(FilterReply::Preflight(self.preflight_response(&request.headers)));
        }
        Flow::Continue
    }

    /// What a browser learns that asks before it sends a request.
    fn preflight_response(&self, request: &Headers) -> Headers {
        let policy = self.policy;
        let mut response = Headers::default();
        if let Some(origin) = &self.origin {
            response.append(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if policy.credentials {
            response.append(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        let mut allow = |allowed: &Option<Allowed>, name: HeaderName, announced: HeaderName| {
            let value = allowed.as_ref().map(|allowed| match allowed {
                // As in Envoy, what was not announced is allowed by name: nothing.
                Allowed::Any => request.get(&announced).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
                Allowed::List(list) => list.clone(),
            });
            if let Some(value) = value {
                response.append(name, value);
            }
        };
        allow(&policy.methods, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_REQUEST_METHOD);
        allow(&policy.headers, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(age) = &policy.max_age {
            response.append(ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        let asks_for_private = request.get(&names::ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK).is_some_and(|it| it == TRUE);
        if policy.private_network && asks_for_private {
            response.append(names::ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK.clone(), TRUE);
        }
        response
    }

    pub(super) fn on_response(&self, response: &mut ResponseHead) {
        let Some(origin) = &self.origin else { return };
        response.headers.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.policy.credentials {
            response.headers.set(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(exposed) = &self.policy.exposed {
            response.headers.set(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }
}

/// Does a browser ask whether it may send another request?
fn is_preflight(request: &RequestHead) -> bool {
    let announced = request.headers.get(&ACCESS_CONTROL_REQUEST_METHOD);
    request.method == Method::OPTIONS && announced.is_some_and(|method| !method.is_empty())
}
