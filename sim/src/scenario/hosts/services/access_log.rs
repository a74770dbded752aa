//! An access log service: `envoy.service.accesslog.v3.AccessLogService`, over gRPC.

use serde::Deserialize;

use super::grpc::{self, Message};
use crate::scenario::script::Reply;
use crate::scenario::units::Time;

/// Where a call of the service goes.
pub(super) const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// The settings of the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogService {
    /// What it does with its first calls, one each, before it comes to `reply`.
    pub first: Vec<LogCall>,
    /// What it does with the others.
    pub reply: LogCall,
}

/// What it does with a call. It shows the entries that come, whatever follows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogCall {
    /// It responds after so many messages; with the end of the call if absent.
    pub ends_after: Option<usize>,
    /// It fails, with this status of gRPC.
    pub error: Option<u16>,
    /// How long it takes until it responds.
    pub after: Time,
}

impl LogCall {
    /// A `StreamAccessLogsResponse`, which is empty, or an error.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self.error {
            Some(status) => grpc::failed(status, self.after),
            None => Message::default().reply(self.after),
        }
    }
}
