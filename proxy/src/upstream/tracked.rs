//! What is counted of one attempt where its cluster wants it (`track_cluster_stats`): what it used of its time, and how
//! large its messages are. All of it is recorded when the attempt is over, however it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::exchange::{Exchange, Expired, Interrupted, percent_used};
use crate::stats::TrackedStats;

/// An attempt that is under way, or its response.
pub(super) struct Tracked {
    stats: Arc<TrackedStats>,
    began: Instant,
    /// Its own timeout.
    limit: Option<Duration>,
    budget: Budget,
    request: HeadSize,
    /// Bytes of its body that were written.
    sent: Rc<Cell<u64>>,
    /// The heads of its response, informational ones among them.
    response: Option<HeadSize>,
    /// Bytes of its body that came.
    received: u64,
}

/// Whether the attempt counts for its own timeout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Budget {
    Counted,
    /// The timeout of the request ended it while its response was awaited: its own did not come into play.
    Forgone,
}

/// How large a head is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct HeadSize {
    bytes: u64,
    fields: u64,
}

impl HeadSize {
    fn with(self, name: &str, value: &[u8]) -> Self {
        let bytes = u64::try_from(name.len() + value.len()).unwrap_or(u64::MAX);
        Self { bytes: self.bytes + bytes, fields: self.fields + 1 }
    }

    fn with_all(self, headers: &Headers) -> Self {
        headers.iter().fold(self, |size, (name, value)| size.with(name.as_str(), value.as_bytes()))
    }

    fn of_request(head: &RequestHead) -> Self {
        // Over HTTP/1 the scheme is that of the client's connection, as in Envoy.
        let scheme = head.scheme.as_ref().or_else(|| head.headers.get(&names::X_FORWARDED_PROTO));
        let fields = [
            (":scheme", scheme),
            (":authority", head.authority.as_ref()),
            (":path", head.path.as_ref()),
            (":protocol", head.protocol.as_ref()),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let method = Self::default().with(":method", head.method.as_str().as_bytes());
        let pseudo = fields.fold(method, |size, (name, value): (_, &HeaderValue)| size.with(name, value.as_bytes()));
        pseudo.with_all(&head.headers)
    }

    fn of_response(head: &ResponseHead, informed: usize) -> Self {
        let status = |size: Self| size.with(":status", head.status.as_str().as_bytes());
        (0..=informed).fold(Self::default(), |size, _| status(size)).with_all(&head.headers)
    }
}

impl Tracked {
    /// An attempt begins, with this timeout; `None` if nothing is counted of it.
    pub(super) fn begin(
        cluster: &Cluster,
        head: &RequestHead,
        limit: Option<Duration>,
        exchange: &mut Exchange<'_>,
    ) -> Option<Box<Self>> {
        let stats = &cluster.shared.tracked;
        if stats.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            stats: Arc::clone(stats),
            began: Instant::now(),
            limit,
            budget: Budget::Counted,
            request: if stats.sizes.is_some() { HeadSize::of_request(head) } else { HeadSize::default() },
            sent: exchange.count_sent(),
            response: None,
            received: 0,
        }))
    }

    /// Its response has come, behind these informational ones.
    pub(super) fn respond(&mut self, head: &ResponseHead, informed: &[StatusCode]) {
        self.response = Some(HeadSize::of_response(head, informed.len()));
    }

    /// So much of the response's body has come.
    pub(super) fn receive(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// The request was interrupted while a response was awaited.
    pub(super) fn interrupt(&mut self, by: Interrupted) {
        if by == Interrupted::Timer(Expired::Global) {
            self.budget = Budget::Forgone;
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(budgets) = self.stats.budgets.as_ref().filter(|_| self.budget == Budget::Counted) {
            let percent = percent_used(self.began.elapsed(), self.limit);
            budgets.upstream_rq_timeout_budget_per_try_percent_used.record(percent);
        }
        let Some(sizes) = &self.stats.sizes else { return };
        sizes.upstream_rq_headers_size.record(self.request.bytes);
        sizes.upstream_rq_headers_count.record(self.request.fields);
        sizes.upstream_rq_body_size.record(self.sent.get());
        if let Some(response) = self.response {
            sizes.upstream_rs_headers_size.record(response.bytes);
            sizes.upstream_rs_headers_count.record(response.fields);
            sizes.upstream_rs_body_size.record(self.received);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, USER_AGENT};
    use http::{HeaderName, Method};

    use super::*;

    /// As Envoy 1.40 recorded them.
    #[test]
    fn the_size_of_a_head_is_that_of_its_names_and_values() {
        let value = HeaderValue::from_static;
        let mut headers = Headers::default();
        headers.append(USER_AGENT, value("curl/7.88.1"));
        headers.append(HeaderName::from_static("accept"), value("*/*"));
        headers.append(HeaderName::from_static("x-foo"), value("12345"));
        headers.append(names::X_FORWARDED_PROTO.clone(), value("http"));
        headers.append(names::X_REQUEST_ID.clone(), value("9b4df4b7-33e2-9b4d-b7f4-0123456789ab"));
        headers.append(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), value("800"));
        let head = RequestHead {
            method: Method::GET,
            authority: Some(value("localhost:31000")),
            path: Some(value("/a")),
            headers,
            ..RequestHead::default()
        };
        assert_eq!(HeadSize::of_request(&head), HeadSize { bytes: 195, fields: 10 });
        let mut head = ResponseHead::new(StatusCode::OK);
        head.headers.append(CONTENT_LENGTH, value("3"));
        head.headers.append(HeaderName::from_static("x-a"), value("b"));
        assert_eq!(HeadSize::of_response(&head, 0), HeadSize { bytes: 29, fields: 3 });
        assert_eq!(HeadSize::of_response(&head, 1), HeadSize { bytes: 39, fields: 4 }, "behind a 100");
    }
}
