//! The gRPC status of a response: what its trailers or its head say, or what its HTTP status means.

use super::StreamInfo;
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::log_format::GrpcStatusForm;

/// A gRPC status; `None` is one that is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GrpcStatus(pub(crate) Option<u64>);

/// The statuses in the order of their numbers, in both spellings.
const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl GrpcStatus {
    /// That of a response to a gRPC request.
    pub(crate) fn of_grpc(
        request: Option<&RequestHead>,
        response: Option<&ResponseHead>,
        info: &StreamInfo,
    ) -> Option<Self> {
        request.filter(|request| request.headers.is_grpc())?;
        Self::of_any(response, info)
    }

    /// That of any response.
    pub(crate) fn of_any(response: Option<&ResponseHead>, info: &StreamInfo) -> Option<Self> {
        let said = |headers: &Headers| headers.get(&names::GRPC_STATUS).map(|value| value.to_str().ok()?.parse().ok());
        let in_trailers = info.trailers.as_ref().and_then(said);
        let in_head = || response.and_then(|response| said(&response.headers));
        let meant = || info.response_code.map(|code| Some(of_http(code).into()));
        in_trailers.or_else(in_head).or_else(meant).map(Self)
    }

    pub(crate) fn write(self, form: GrpcStatusForm, out: &mut Vec<u8>) -> Option<()> {
        let name = self.0.and_then(|number| NAMES.get(usize::try_from(number).ok()?));
        match (form, name) {
            (GrpcStatusForm::Camel, Some((camel, _))) => out.extend_from_slice(camel.as_bytes()),
            (GrpcStatusForm::Snake, Some((_, snake))) => out.extend_from_slice(snake.as_bytes()),
            (GrpcStatusForm::Number, _) | (_, None) => {
                let mut buffer = itoa::Buffer::new();
                out.extend_from_slice(self.0.map_or("-1", |number| buffer.format(number)).as_bytes());
            }
        }
        Some(())
    }
}

/// Envoy's translation of an HTTP status.
pub(crate) fn of_http(status: u16) -> u16 {
    match status {
        400 => 13,                   // INTERNAL
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    }
}
