//! `envoy.filters.http.local_ratelimit`: requests take tokens from a bucket, and those that get none are refused.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::descriptors::{Descriptor, descriptors};
use super::edits::add_to_request;
use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::format::Heads;
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::{RequestHead, ResponseHead};
use crate::config::filter;
use crate::config::rate_limit::{BucketHeaders, DefaultBucket, Enforcing, Moment, Policy, RateLimit, Sharing};
use crate::token_bucket::{BucketSet, TokenBucket};

pub(super) struct RateLimited<'c> {
    limit: &'c Arc<RateLimit>,
    /// What requests are told apart by.
    policies: &'c [Policy],
    /// From which the request has taken a token, or would have.
    bucket: Option<Arc<TokenBucket>>,
    /// Whether responses have headers about it.
    headers: BucketHeaders,
}

/// What a request has got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    /// None, from a bucket that refuses requests.
    Refused,
    /// None, from buckets that refuse no request.
    Shadowed,
    Taken,
}

impl<'c> RateLimited<'c> {
    pub(super) fn new(options: &'c filter::RateLimited) -> Self {
        Self { limit: &options.limit, policies: &options.policies, bucket: None, headers: options.limit.headers }
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        info: &StreamInfo,
        context: &FilterContext,
    ) -> Flow<FilterReply> {
        let limit = self.limit;
        if !context.draw(&limit.enabled) {
            return Flow::Continue;
        }
        let known = context.limits.of(limit);
        known.stats.enabled.inc();
        let new = || Arc::new(BucketSet::new(limit));
        let buckets = match limit.sharing {
            Sharing::All => &known.buckets,
            // As in Envoy, the first limit that a connection meets is that of all its requests.
            Sharing::Connection => info.downstream.buckets.get_or_init(new),
        };
        let token = self.take(buckets, request, info, context);
        if token == Token::Taken {
            known.stats.ok.inc();
            return Flow::Continue;
        }
        known.stats.rate_limited.inc();
        if token == Token::Shadowed {
            known.stats.shadow_mode.inc();
            return Flow::Continue;
        }
        if !context.draw(&limit.enforced) {
            add_to_request(&limit.unenforced, request, info);
            return Flow::Continue;
        }
        known.stats.enforced.inc();
        EndedReply {
            flag: Some(ResponseFlag::RL),
            edits: Some(Arc::clone(&limit.response)),
            grpc_status: limit.grpc_status,
            ..EndedReply::new(limit.status, "local_rate_limited", Details::LocalRateLimited)
        }
        .end()
    }

    /// Takes a token from the bucket of each descriptor of the request, and from that of all requests. Keeps the bucket that is told
    /// of: the first that refuses, or that the request has.
    fn take(
        &mut self,
        buckets: &BucketSet,
        request: &RequestHead,
        info: &StreamInfo,
        context: &FilterContext,
    ) -> Token {
        let limit = self.limit;
        let requested = descriptors(self.policies, Moment::Request, Heads::of_request(request), info, context);
        let sharers = sharers(limit, context);
        let (mut is_first, mut token) = (true, Token::Taken);
        for (bucket, enforcing, requested) in of_descriptors(limit, buckets, &requested) {
            let is_refused = !bucket.take_all(requested.hits.map_or(1, |(count, _)| count).saturating_mul(sharers));
            if is_first || is_refused && (token == Token::Taken || enforcing == Enforcing::On) {
                (self.bucket, self.headers) = (Some(bucket), requested.headers.unwrap_or(limit.headers));
            }
            match enforcing {
                Enforcing::Off if is_refused => token = Token::Shadowed,
                Enforcing::On if is_refused => return Token::Refused,
                Enforcing::Off | Enforcing::On => {}
            }
            is_first = false;
        }
        if !is_first && limit.default_bucket == DefaultBucket::Others {
            return token;
        }
        let Some(default) = &buckets.default else { return token };
        if !default.take_all(sharers) {
            (self.bucket, self.headers) = (Some(Arc::clone(default)), limit.headers);
            return Token::Refused;
        }
        self.bucket.get_or_insert_with(|| Arc::clone(default));
        token
    }

    pub(super) fn on_response(&self, response: &mut ResponseHead) {
        let Some(bucket) = self.bucket.as_ref().filter(|bucket| bucket.max() > 0) else { return };
        match self.headers {
            BucketHeaders::Off => {}
            BucketHeaders::Draft03 => {
                let mut say = |name, number: u64| response.headers.append(name, HeaderValue::from(number));
                say(HeaderName::from_static("x-ratelimit-limit"), bucket.max().into());
                say(HeaderName::from_static("x-ratelimit-remaining"), bucket.left().into());
                say(HeaderName::from_static("x-ratelimit-reset"), whole_seconds(bucket.next_in()));
            }
        }
    }
}

/// How many proxies share the limit. Each takes as many tokens for a request, so that all of them together take one.
fn sharers(limit: &RateLimit, context: &FilterContext) -> u64 {
    let members = limit.shared_among.as_ref().and_then(|cluster| (context.health.membership)(cluster));
    members.map_or(1, |members| members.total.max(1))
}

/// The buckets of a request with these descriptors. As in Envoy, one whose values are given goes before those that
/// take any, and two equal descriptors of the request take two tokens.
fn of_descriptors<'r>(
    limit: &RateLimit,
    buckets: &BucketSet,
    requested: &'r [Descriptor],
) -> Vec<(Arc<TokenBucket>, Enforcing, &'r Descriptor)> {
    let chosen = |requested: &'r Descriptor| {
        let entries = &requested.entries;
        let taking = || limit.descriptors.iter().enumerate().filter(|(_, descriptor)| descriptor.takes(entries));
        let given = taking().find(|(_, descriptor)| !descriptor.has_any_value());
        let (number, descriptor) = given.or_else(|| taking().next())?;
        Some((number, buckets.descriptors.get(number)?.of(entries), descriptor.enforcing, requested))
    };
    let mut found: Vec<(usize, Arc<TokenBucket>, Enforcing, &Descriptor)> =
        requested.iter().filter_map(chosen).collect();
    found.sort_by_key(|(number, ..)| *number); // which is their order by rate
    found.into_iter().map(|(_, bucket, enforcing, requested)| (bucket, enforcing, requested)).collect()
}

/// A part of a second counts as one.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
