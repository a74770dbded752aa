//! `envoy.filters.http.jwt_authn`: a request goes on if it carries the JSON Web Tokens that the rules want.
//!
//! Keys that have to be fetched are kept for as long as their provider says; a request that needs them waits while they are
//! fetched.

mod evaluation;
mod places;
mod token;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use super::call::{Call, CallEnd, Sender};
use super::fields::realm;
use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::{Details, JwtDenied, JwtFailure, StreamInfo};
use crate::codec::route_matching::{condition_holds, path_takes};
use crate::codec::{Headers, RequestHead};
use crate::config::filter_state::ObjectKind;
use crate::config::jwks::Keys;
use crate::config::jwt_authn::{ByState, JwtAuthn, RemoteKeys, Requirement, Requires, Rule};
use crate::config::metadata::{Metadata, merge};
use evaluation::{Evaluation, Fetched, Stop};

/// Where payloads are left for logs and other filters.
const NAMESPACE: &str = "envoy.filters.http.jwt_authn";
/// The largest set of keys that is read. Those of large providers have some ten kilobytes.
const KEYS_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct Authentication<'c> {
    options: &'c JwtAuthn,
    state: State<'c>,
    /// What was fetched for this request: keys, or nothing.
    fetched: Vec<(&'c str, Option<Arc<Keys>>)>,
}

enum State<'c> {
    /// The request has not been looked at.
    New,
    /// These keys are to be fetched.
    ToSend(&'c RemoteKeys),
    /// They are fetched.
    Sent(&'c RemoteKeys),
    /// The request goes on.
    Over { clears_route: bool },
}

impl<'c> Authentication<'c> {
    pub(super) fn new(options: &'c JwtAuthn) -> Self {
        Self { options, state: State::New, fetched: Vec::new() }
    }

    /// What is to be sent, once.
    pub(super) fn take_call(&mut self) -> Option<Box<Call>> {
        let State::ToSend(remote) = self.state else { return None };
        self.state = State::Sent(remote);
        let mut headers = Headers::default();
        // Envoy's; there are issuers that refuse requests without one.
        headers.append(USER_AGENT, HeaderValue::from_static("Go-browser"));
        let head = RequestHead {
            headers,
            method: Method::GET,
            authority: Some(remote.host.clone()),
            path: Some(remote.path.clone()),
            ..RequestHead::default()
        };
        let to = Arc::clone(&remote.service);
        Some(Box::new(Call { to, head, body: Bytes::new(), bytes_max: KEYS_BYTES_MAX, sender: Sender::Forwarded }))
    }

    pub(super) fn end_call(&mut self, end: CallEnd, context: &FilterContext) {
        let State::Sent(remote) = self.state else { return };
        let keys = match end {
            CallEnd::Response { head, body, .. } if head.status == StatusCode::OK => {
                Keys::parse(&body).ok().map(Arc::new)
            }
            CallEnd::Response { .. } | CallEnd::Failed(_) => None,
        };
        if let Some(stats) = context.stats.tokens(&self.options.stat_prefix) {
            let counter = if keys.is_some() { &stats.jwks_fetch_success } else { &stats.jwks_fetch_failed };
            counter.inc();
        }
        if let Some(keys) = &keys {
            context.fetched_keys.keep(remote, keys);
        }
        self.fetched.push((&remote.place, keys));
        self.state = State::New;
    }

    /// Is the route to be looked for again?
    pub(super) fn clears_route(&self) -> bool {
        matches!(self.state, State::Over { clears_route: true })
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Flow<FilterReply> {
        match self.state {
            State::New => {}
            State::ToSend(_) | State::Sent(_) => return Flow::Wait,
            State::Over { .. } => return Flow::Continue,
        }
        let stats = context.stats.tokens(&self.options.stat_prefix);
        self.state = State::Over { clears_route: false };
        if self.options.bypasses_preflights && is_preflight(request) {
            stats.into_iter().for_each(|stats| {
                stats.cors_preflight_bypassed.inc();
                stats.allowed.inc();
            });
            return Flow::Continue;
        }
        let Some(requirement) = self.requirement(request, info, context) else {
            stats.into_iter().for_each(|stats| stats.allowed.inc());
            return Flow::Continue;
        };
        let keys = |remote: &RemoteKeys| self.keys(remote, context);
        let mut evaluation = Evaluation::new(&self.options.providers, request.clone(), now(context), &keys);
        let result = evaluation.run(requirement);
        let Evaluation { request: changed, metadata, clears_route, misses, .. } = evaluation;
        if let Err(Stop::Fetch(remote)) = result {
            self.state = State::ToSend(remote);
            return Flow::Wait;
        }
        *request = changed;
        if !metadata.is_empty() {
            let Metadata(all) = &mut **info.metadata.get_or_insert_default();
            merge(all.entry(NAMESPACE.to_owned()).or_default(), &metadata);
        }
        if let Some(stats) = stats {
            stats.jwt_cache_miss.add(misses);
            if result.is_ok() { stats.allowed.inc() } else { stats.denied.inc() }
        }
        if let Err(Stop::Failed(why)) = result {
            return self.refuse(why, request);
        }
        self.state = State::Over { clears_route };
        Flow::Continue
    }

    /// What the request needs, if anything.
    fn requirement(
        &self,
        request: &RequestHead,
        info: &StreamInfo,
        context: &FilterContext,
    ) -> Option<&'c Requirement> {
        let takes = |rule: &&Rule| {
            let mut conditions = rule.conditions.iter();
            conditions.all(|condition| condition_holds(condition, request, |share| context.draw(share)))
                && path_takes(&rule.path, request, request.path_only())
        };
        match &self.options.requires {
            Requires::ByRules(rules, state) => match rules.iter().find(takes) {
                Some(rule) => Some(&*rule.requirement),
                None => state.as_ref().and_then(|state| by_state(state, info)),
            },
            Requires::Of(requirement) => Some(requirement),
        }
    }

    fn keys(&self, remote: &RemoteKeys, context: &FilterContext) -> Fetched {
        match self.fetched.iter().find(|(place, _)| *place == remote.place) {
            Some((_, Some(keys))) => Fetched::Keys(Arc::clone(keys)),
            Some((_, None)) => Fetched::Failed,
            None => context.fetched_keys.get(remote).map_or(Fetched::NotYet, Fetched::Keys),
        }
    }

    fn refuse(&self, why: JwtFailure, request: &RequestHead) -> Flow<FilterReply> {
        let status = if why == JwtFailure::Audience { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        let mut reply = EndedReply::new(status, "", Details::JwtDenied(JwtDenied(why)));
        if !self.options.strips_failures {
            reply.body = why.words().into();
            let error = if why == JwtFailure::Missing { "" } else { ", error=\"invalid_token\"" };
            let challenge = [b"Bearer realm=\"", &*realm(request), b"\"", error.as_bytes()].concat();
            // Parts of header values make a header value.
            if let Ok(challenge) = HeaderValue::from_bytes(&challenge) {
                reply.headers.append(WWW_AUTHENTICATE, challenge);
            }
        }
        reply.end()
    }
}

/// What a text that filters have left stands for.
fn by_state<'c>(state: &'c ByState, info: &StreamInfo) -> Option<&'c Requirement> {
    let is_text = |kind| matches!(kind, ObjectKind::HashableText | ObjectKind::Text);
    let object = info.state(&state.key).filter(|object| is_text(object.kind))?;
    state.requirements.get(object.as_text()?).map(|requirement| &**requirement)
}

fn is_preflight(request: &RequestHead) -> bool {
    let has = |name| request.headers.get(name).is_some_and(|value| !value.is_empty());
    request.method == Method::OPTIONS && has(&ORIGIN) && has(&ACCESS_CONTROL_REQUEST_METHOD)
}

/// Seconds since 1970.
fn now(context: &FilterContext) -> u64 {
    context.clock.wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
