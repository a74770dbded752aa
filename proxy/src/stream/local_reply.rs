//! Every response the proxy itself makes: one enum, one table.
//!
//! The table can be held against Envoy's: status, body, response-code details and flag of each.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};

use crate::access_log::{Details, ResponseFlag, ResponseStart, grpc_status};
use crate::cluster::Failure;
use crate::codec::http1::Refusal;
use crate::codec::{Headers, RequestHead, ResponseHead, Violation, grpc, names};
use crate::config::filter::StrictHeader;
use crate::config::route::Edits;
use crate::exchange::Expired;
use crate::filter::{EndedReply, Refusal as FilterRefusal};

/// Why the proxy responds by itself.
#[derive(Debug)]
pub(crate) enum LocalReply {
    /// Bytes that are not a request we serve, in its head or behind it.
    BadMessage(Refusal),
    /// A filter has ended the request.
    Ended(Box<EndedReply>),
    /// A configured direct response, or a redirect.
    Direct { status: u16, body: String, location: Option<HeaderValue> },
    /// The cluster refuses a share of its requests, set by a runtime key.
    Maintenance { marks_overload: bool },
    /// A header that is to be checked is malformed.
    MalformedHeader { header: StrictHeader, value: String },
    /// An HTTP/1.1 request without `host`.
    MissingHost,
    /// A path that is not a path: `OPTIONS *`.
    NotAPath,
    /// A request for UDP whose path names no target.
    NotAPathOfConnectUdp,
    /// The route's cluster does not exist.
    NoCluster { status: u16 },
    /// No virtual host or route takes the request.
    NoRoute,
    /// A body that a filter does not let pass.
    Filtered(FilterRefusal),
    /// A path with `#`, or one that has no normal form.
    MalformedPath,
    /// A path that is not in the form that the client shall request.
    NormalPath { location: Option<HeaderValue> },
    /// What a preflight requested (Fetch Standard, "CORS protocol").
    Preflight(Headers),
    /// A QUERY whose content has no type.
    QueryWithoutContentType,
    /// A timeout whose client wants no error status for it.
    TimedOutEmpty(Box<Self>),
    /// A timer fired before there was a response.
    TooLate { expired: Expired, request_complete: bool },
    /// An upgrade that is not enabled.
    UpgradeRefused,
    /// The upstream failed.
    Upstream { failure: Failure, retried: bool, response: ResponseStart },
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) details: Details,
    pub(crate) flag: Option<ResponseFlag>,
    /// HTTP/1 sends `connection: close` even if the request is complete.
    pub(crate) closes: bool,
}

impl Row {
    /// After which the connection goes on, if the request is complete.
    fn open(
        status: StatusCode,
        body: &'static str,
        details: impl Into<Details>,
        flag: impl Into<Option<ResponseFlag>>,
    ) -> Self {
        Self { status, body: body.into(), details: details.into(), flag: flag.into(), closes: false }
    }

    /// After which the connection is closed.
    fn closing(
        status: StatusCode,
        body: &'static str,
        details: impl Into<Details>,
        flag: impl Into<Option<ResponseFlag>>,
    ) -> Self {
        Self { closes: true, ..Self::open(status, body, details, flag) }
    }

    /// The upstream failed.
    fn of_failure(failure: &Failure, retried: bool, response: ResponseStart) -> Self {
        if matches!(failure, Failure::Host(_) | Failure::NoHealthyUpstream | Failure::PoolOverflow) {
            let details = failure.details(response);
            return Self::open(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream", details, ResponseFlag::UH);
        }
        Self {
            status: failure.status(),
            body: reset_body(failure, retried).into(),
            details: failure.details(response),
            flag: Some(failure.flag()),
            closes: false,
        }
    }

    /// A filter does not let a body pass.
    fn of_filter(refusal: FilterRefusal) -> Self {
        let bad_base64 = "Bad gRPC-web request, invalid base64 data.";
        match refusal {
            FilterRefusal::Base64Data => Self::open(StatusCode::BAD_REQUEST, bad_base64, Details::Base64Data, None),
            FilterRefusal::Base64Size => Self::open(StatusCode::BAD_REQUEST, bad_base64, Details::Base64Size, None),
            FilterRefusal::RequestUndecodable => {
                Self::open(StatusCode::BAD_REQUEST, "Bad Request", Details::RequestNotDecodable, None)
            }
            FilterRefusal::ResponseUndecodable => {
                Self::open(StatusCode::BAD_GATEWAY, "Bad Gateway", Details::ResponseNotDecodable, None)
            }
            FilterRefusal::RequestTooLarge => {
                Self::open(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large", Details::RequestPayloadTooLarge, None)
            }
            FilterRefusal::ResponseTooLarge => Self::open(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal Server Error",
                Details::ResponsePayloadTooLarge,
                None,
            ),
        }
    }

    /// A timer fired before there was a response.
    fn of_timer(expired: Expired, request_complete: bool) -> Self {
        use ResponseFlag as Flag;
        let status = match expired {
            Expired::Global => StatusCode::GATEWAY_TIMEOUT,
            Expired::Head | Expired::Request => StatusCode::REQUEST_TIMEOUT,
            // Who kept the other waiting? As long as the request is incomplete, the client did.
            Expired::Duration | Expired::Idle | Expired::Upstream if request_complete => StatusCode::GATEWAY_TIMEOUT,
            Expired::Duration | Expired::Idle | Expired::Upstream => StatusCode::REQUEST_TIMEOUT,
        };
        match expired {
            Expired::Duration => Self::open(status, "downstream duration timeout", Details::MaxDurationTimeout, None),
            Expired::Global => Self::open(status, "upstream request timeout", Details::ResponseTimeout, Flag::UT),
            Expired::Head => Self::open(status, "request header timeout", Details::RequestHeaderTimeout, None),
            Expired::Idle => Self::open(status, "stream timeout", Details::StreamIdleTimeout, Flag::SI),
            Expired::Request => Self::open(status, "request timeout", Details::RequestTimeout, None),
            Expired::Upstream => Self::open(
                status,
                "upstream max stream duration reached",
                Details::UpstreamMaxStreamDuration,
                Flag::UMSDR,
            ),
        }
    }
}

impl LocalReply {
    /// The reply to a request whose timer fired.
    pub(crate) fn too_late(expired: Expired, request_complete: bool) -> Self {
        Self::TooLate { expired, request_complete }
    }

    /// The reply to an HTTP/1 request whose body or trailers broke off like this.
    pub(crate) fn bad_body(violation: Violation) -> Self {
        Self::BadMessage(if let Violation::Http1(refusal) = violation { refusal } else { Refusal::Codec })
    }

    /// Has an upstream been too slow?
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::TooLate { expired: Expired::Global, .. }
                | Self::Upstream { failure: Failure::TryIdle | Failure::TryTimeout, .. }
        )
    }

    /// What it changes in its head, behind the edits of its route.
    pub(crate) fn edits(&self) -> Option<&Edits> {
        if let Self::Ended(reply) = self { reply.edits.as_deref() } else { None }
    }

    /// What is set in its head, behind those edits.
    pub(crate) fn headers(&self) -> Option<&Headers> {
        if let Self::Ended(reply) = self { Some(&reply.headers) } else { None }
    }

    /// Is it a whole response of a filter's? Then it is sent as it is: neither in gRPC's form nor edited by its route.
    pub(crate) fn is_of_filter(&self) -> bool {
        matches!(self, Self::Preflight(_))
    }

    /// Does it come from behind the filters?
    pub(crate) fn is_of_router(&self) -> bool {
        use Expired::{Global, Upstream};
        matches!(
            self,
            Self::TooLate { expired: Global | Upstream, .. } | Self::TimedOutEmpty(_) | Self::Upstream { .. }
        )
    }

    /// The row for this reply.
    pub(crate) fn row(&self) -> Row {
        use ResponseFlag as Flag;
        match self {
            Self::BadMessage(why) => Row::closing(why.status(), why.body(), Violation::Http1(*why), Flag::DPE),
            Self::Direct { status, body, location: _ } => Row {
                // Configuration allows 200 to 599.
                status: StatusCode::from_u16(*status).unwrap_or(StatusCode::OK),
                body: body.clone().into(),
                details: Details::DirectResponse,
                flag: None,
                closes: false,
            },
            Self::Ended(reply) => Row {
                status: reply.status,
                body: reply.body.clone(),
                details: reply.details.clone(),
                flag: reply.flag,
                closes: false,
            },
            Self::Maintenance { marks_overload: _ } => {
                Row::open(StatusCode::SERVICE_UNAVAILABLE, "maintenance mode", Details::MaintenanceMode, Flag::UO)
            }
            Self::Filtered(refusal) => Row::of_filter(*refusal),
            Self::MalformedHeader { header, value } => Row {
                status: StatusCode::BAD_REQUEST,
                body: format!("invalid header '{}' with value '{value}'", header.name()).into(),
                details: Details::StrictCheckFailed(*header),
                flag: Some(Flag::IH),
                closes: true,
            },
            Self::MissingHost => Row::closing(StatusCode::BAD_REQUEST, "", Details::MissingHost, None),
            Self::NotAPath => Row::open(StatusCode::NOT_FOUND, "", Details::AbsolutePathRejected, None),
            Self::NotAPathOfConnectUdp => {
                Row::open(StatusCode::NOT_FOUND, "The path is incorrect for CONNECT-UDP", Details::InvalidPath, None)
            }
            Self::NoCluster { status } => Row::open(
                // Configuration allows 404, 500 and 503.
                StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                "",
                Details::ClusterNotFound,
                Some(Flag::NC),
            ),
            Self::NoRoute => Row::open(StatusCode::NOT_FOUND, "", Details::RouteNotFound, Flag::NR),
            Self::MalformedPath => Row::closing(StatusCode::BAD_REQUEST, "", Details::PathNormalizationFailed, None),
            Self::NormalPath { .. } => {
                Row::open(StatusCode::TEMPORARY_REDIRECT, "", Details::PathNormalizationFailed, None)
            }
            Self::Preflight(_) => Row::open(StatusCode::OK, "", Details::CorsResponse, None),
            Self::QueryWithoutContentType => {
                Row::closing(StatusCode::BAD_REQUEST, "", Details::QueryMissingContentType, None)
            }
            Self::TimedOutEmpty(timeout) => Row { status: StatusCode::NO_CONTENT, body: "".into(), ..timeout.row() },
            Self::TooLate { expired, request_complete } => Row::of_timer(*expired, *request_complete),
            Self::UpgradeRefused => Row::closing(StatusCode::FORBIDDEN, "", Details::UpgradeFailed, None),
            Self::Upstream { failure, retried, response } => Row::of_failure(failure, *retried, *response),
        }
    }

    /// The response without what concerns its body; `date`, `server` and `connection` are added like on any other.
    pub(crate) fn head(&self, row: &Row) -> ResponseHead {
        let mut head = ResponseHead::new(row.status);
        if let Self::Upstream { failure: Failure::Overflow | Failure::PendingOverflow, .. }
        | Self::Maintenance { marks_overload: true } = self
        {
            head.headers.append(names::X_ENVOY_OVERLOADED.clone(), HeaderValue::from_static("true"));
        }
        if let Self::Preflight(headers) = self {
            head.headers = headers.clone();
        }
        if let Self::Direct { location: Some(location), .. } | Self::NormalPath { location: Some(location) } = self {
            head.headers.append(LOCATION, location.clone());
        }
        head
    }

    /// Adds to `head` what concerns the body, and returns the body. Envoy's order: content-length first where there is a body,
    /// last where there is none; a content type that is there already stays, unless it described another body.
    pub(crate) fn describe_body(&self, content: Content, form: Form, head: &mut ResponseHead) -> Bytes {
        let Content { body, content_type, is_rewritten, keeps_type } = content;
        match form {
            Form::Grpc => {
                let status = self.grpc_status(head.status);
                head.status = StatusCode::OK;
                head.headers.set(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                head.headers.set_if_absent(names::GRPC_STATUS.clone(), HeaderValue::from(status));
                if !body.is_empty() {
                    head.headers.append(names::GRPC_MESSAGE.clone(), grpc::message(&body));
                }
                Bytes::new()
            }
            Form::Http => {
                if !body.is_empty() {
                    head.headers.append(CONTENT_LENGTH, HeaderValue::from(body.len()));
                    if is_rewritten && !keeps_type {
                        head.headers.set(CONTENT_TYPE, content_type);
                    } else {
                        head.headers.set_if_absent(CONTENT_TYPE, content_type);
                    }
                } else {
                    head.headers.remove(&CONTENT_TYPE);
                }
                body
            }
        }
    }

    /// Envoy's translation of an HTTP status. A limit of the whole stream is DEADLINE_EXCEEDED, whatever its status.
    fn grpc_status(&self, status: StatusCode) -> u32 {
        if let Self::Ended(reply) = self
            && let Some(status) = reply.grpc_status
        {
            return status;
        }
        if matches!(self, Self::TooLate { expired: Expired::Duration, .. }) {
            return 4;
        }
        grpc_status::of_http(status.as_u16()).into()
    }
}

/// The body of a local reply.
pub(crate) struct Content {
    pub(crate) body: Bytes,
    content_type: HeaderValue,
    /// The body is another than the proxy's own.
    is_rewritten: bool,
    /// `content-type` has been set for the body as it is.
    pub(crate) keeps_type: bool,
}

impl Content {
    /// The proxy's own.
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            body: row.body.clone(),
            content_type: HeaderValue::from_static("text/plain"),
            is_rewritten: false,
            keeps_type: false,
        }
    }

    /// Another body in its place, of this type if that is known.
    pub(crate) fn rewrite(&mut self, body: Bytes, content_type: Option<&HeaderValue>) {
        self.is_rewritten |= self.body != body;
        self.body = body;
        if let Some(content_type) = content_type {
            self.content_type = content_type.clone();
        }
    }
}

/// What a client reads a local reply as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// 200 with a status of gRPC's own, and without a body ("gRPC over HTTP2", Trailers-Only).
    Grpc,
    /// A status with a body.
    Http,
}

impl Form {
    /// The form that the sender of a request reads.
    pub(crate) fn of(request: &RequestHead) -> Self {
        if request.path.is_some() && request.headers.is_grpc() { Self::Grpc } else { Self::Http }
    }
}

fn reset_body(failure: &Failure, retried: bool) -> String {
    let reason = failure.reason();
    if matches!(failure, Failure::LongestStream { .. } | Failure::TryIdle | Failure::TryTimeout) {
        return reason.to_owned();
    }
    let prefix = if retried { "retried and the latest reset reason" } else { "reset reason" };
    format!("upstream connect error or disconnect/reset before headers. {prefix}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 sends direct responses with these statuses, and its timeouts.
    #[test]
    fn grpc_has_a_status_of_its_own() {
        for (status, expected) in
            [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (408, 2), (429, 14), (500, 2), (503, 14), (504, 14)]
        {
            let reply = LocalReply::Direct { status, body: "a%b\"~ü\t".to_owned(), location: None };
            let row = reply.row();
            let mut head = reply.head(&row);
            let body = reply.describe_body(Content::of(&row), Form::Grpc, &mut head);
            assert_eq!((head.status, body.len()), (StatusCode::OK, 0));
            let fields: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let status = expected.to_string();
            assert_eq!(
                fields,
                [
                    ("content-type", &b"application/grpc"[..]),
                    ("grpc-status", status.as_bytes()),
                    ("grpc-message", b"a%25b\"%7E%C3%BC%09"),
                ]
            );
        }
        let late = |expired| LocalReply::too_late(expired, true);
        for (reply, expected) in [(late(Expired::Duration), 4), (late(Expired::Global), 14), (late(Expired::Idle), 14)]
        {
            assert_eq!(reply.grpc_status(reply.row().status), expected);
        }
    }
}
