//! The access logs of a connection manager or a TCP proxy: which of them has a line of a stream, and on which occasions.

use super::log_filter::{LogFilter, Subject};
use crate::access_log::format::Heads;
use crate::access_log::{AccessLog, StreamInfo};
use crate::config::listener::{AccessLog as Options, ConnectionManager};
use crate::config::log_filter::LogType;
use crate::config::log_format::Operator;
use crate::net::Random;
use crate::runtime::Runtime;

/// The access logs of a connection manager or a TCP proxy.
pub(crate) struct Logs {
    logs: Vec<(LogFilter, AccessLog)>,
    /// Some format or filter reads the trailers of responses.
    pub(super) reads_trailers: bool,
    /// Some format shows the name of the endpoint.
    pub(crate) shows_upstream_name: bool,
    /// Some format shows bytes on the wire.
    pub(crate) shows_wire_bytes: bool,
    /// Some format shows the id of a stream.
    pub(crate) shows_stream_id: bool,
}

impl Logs {
    /// `opened` are the logs of these options, in their order.
    pub(crate) fn new(options: &[Options], opened: Vec<AccessLog>, runtime: &Runtime) -> Self {
        let filters = options.iter().map(|log| LogFilter::new(&log.filter, runtime));
        Self {
            reads_trailers: options.iter().any(Options::reads_trailers),
            shows_upstream_name: options.iter().any(|log| log.any(Operator::is_upstream_name)),
            shows_wire_bytes: options.iter().any(Options::shows_wire_bytes),
            shows_stream_id: options.iter().any(Options::shows_stream_id),
            logs: filters.zip(opened).collect(),
        }
    }

    /// The same, which count bytes also where responses of the proxy's own show them.
    pub(crate) fn beside_replies_of(mut self, options: &ConnectionManager) -> Self {
        self.shows_wire_bytes |= options.replies_show(Operator::is_wire_bytes);
        self
    }

    /// Writes a line into each log that has one of this stream on this occasion.
    pub(crate) fn write(&self, log_type: LogType, heads: Heads<'_>, info: &StreamInfo, random: &dyn Random) {
        for (filter, log) in &self.logs {
            if filter.takes(&Subject { heads, info, log_type, random }) {
                log.write_on(log_type, heads, info);
            }
        }
    }
}
