//! `envoy.filters.http.local_ratelimit`: requests take tokens from a bucket, and those that get none are refused.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::edits::add_to_request;
use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::{RequestHead, ResponseHead};
use crate::config::rate_limit::{BucketHeaders, RateLimit, Sharing};
use crate::token_bucket::TokenBucket;

pub(super) struct RateLimited<'c> {
    limit: &'c Arc<RateLimit>,
    /// From which the request has taken a token, or would have.
    bucket: Option<Arc<TokenBucket>>,
}

impl<'c> RateLimited<'c> {
    pub(super) fn new(limit: &'c Arc<RateLimit>) -> Self {
        Self { limit, bucket: None }
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
        self.bucket = match limit.sharing {
            Sharing::All => known.bucket.clone(),
            Sharing::Connection => limit.bucket.map(|size| {
                // As in Envoy, the first limit that a connection meets is that of all its requests.
                Arc::clone(info.downstream.bucket.get_or_init(|| Arc::new(TokenBucket::new(size))))
            }),
        };
        if self.bucket.as_ref().is_none_or(|bucket| bucket.take()) {
            known.stats.ok.inc();
            return Flow::Continue;
        }
        known.stats.rate_limited.inc();
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

    pub(super) fn on_response(&self, response: &mut ResponseHead) {
        let Some(bucket) = self.bucket.as_ref().filter(|bucket| bucket.max() > 0) else { return };
        match self.limit.headers {
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

/// A part of a second counts as one.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
