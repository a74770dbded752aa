//! A rate limit service: `envoy.service.ratelimit.v3.RateLimitService`, over gRPC.

use serde::Deserialize;

use super::grpc::{self, Message};
use crate::scenario::Ordered;
use crate::scenario::script::Reply;
use crate::scenario::units::Time;

/// The settings of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitService {
    /// What it says of its first requests, one each, before it comes to `reply`.
    pub first: Vec<LimitCount>,
    /// What it says of the others.
    pub reply: LimitCount,
}

/// What it says of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitCount {
    /// A limit is reached.
    pub over: bool,
    /// It fails, with this status of gRPC.
    pub error: Option<u16>,
    /// One for each descriptor.
    pub limits: Vec<LimitLeft>,
    /// Added to the request, if it goes on.
    pub headers: Ordered<String>,
    /// Added to the response.
    pub response_headers: Ordered<String>,
    /// Left as metadata of the request.
    pub metadata: Ordered<String>,
    /// The body of the response to a request that is refused.
    pub body: String,
    /// How long it takes.
    pub after: Time,
}

/// A limit, and what is left of it. With nothing left it is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitLeft {
    /// So many requests
    pub requests: u32,
    /// in this unit of time.
    pub per: LimitUnit,
    /// So many are left
    pub left: u32,
    /// until it is reset.
    pub reset: Time,
    /// What it is called.
    #[serde(default)]
    pub name: String,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LimitUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// `OK` and `OVER_LIMIT` of `RateLimitResponse.Code`.
fn code(is_over: bool) -> u64 {
    if is_over { 2 } else { 1 }
}

impl LimitCount {
    /// As a `RateLimitResponse`.
    pub(super) fn reply(&self) -> Reply {
        if let Some(status) = self.error {
            return grpc::failed(status, self.after);
        }
        let mut response = Message::default().number(1, code(self.over));
        for limit in &self.limits {
            response = response.message(2, &limit.status());
        }
        for (field, headers) in [(3, &self.response_headers), (4, &self.headers)] {
            for (name, value) in headers.iter() {
                let header = Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
                response = response.message(field, &header);
            }
        }
        if !self.body.is_empty() {
            response = response.bytes(5, self.body.as_bytes());
        }
        if !self.metadata.0.is_empty() {
            response = response.message(6, &grpc::texts(&self.metadata));
        }
        response.reply(self.after)
    }
}

impl LimitLeft {
    /// As a `DescriptorStatus`.
    fn status(&self) -> Message {
        let unit = match self.per {
            LimitUnit::Second => 1,
            LimitUnit::Minute => 2,
            LimitUnit::Hour => 3,
            LimitUnit::Day => 4,
        };
        let limit = Message::default().number(1, self.requests.into()).number(2, unit).bytes(3, self.name.as_bytes());
        let reset = Message::default().number(1, self.reset.0.as_secs());
        let status = Message::default().number(1, code(self.left == 0)).message(2, &limit);
        status.number(3, self.left.into()).message(4, &reset)
    }
}
