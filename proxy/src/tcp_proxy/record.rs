//! What is known of a connection, for its lines in the access log.

use std::rc::Rc;

use tokio::time::Instant;

use super::TcpProxyParts;
use crate::access_log::format::Heads;
use crate::access_log::{Downstream, LocalEnd, Process, StreamInfo};
use crate::config::log_filter::LogType;
use crate::stream::ConnectionLog;

/// A connection that will have exactly one last line in every access log, written when this is dropped if not before.
pub(super) struct Record<'p> {
    pub(super) info: StreamInfo,
    state: State,
    /// For the line in the listener's logs.
    of_listener: Option<Box<ConnectionLog>>,
    proxy: &'p TcpProxyParts,
}

/// The last line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It waits for the end of the connection.
    Open,
    /// It has been written.
    Written,
}

impl<'p> Record<'p> {
    /// A connection has been accepted.
    pub(super) fn begin(
        proxy: &'p TcpProxyParts,
        downstream: Rc<Downstream>,
        of_listener: Option<Box<ConnectionLog>>,
    ) -> Self {
        let metadata = downstream.passed.as_ref().map(|passed| Box::new(passed.metadata.clone()));
        let mut info = StreamInfo::new(Instant::now(), proxy.outside.clock.wall(), downstream);
        info.process = Process::of(&proxy.outside.net);
        info.metadata = metadata;
        info.shows_upstream_name = proxy.logs.shows_upstream_name;
        let of_listener_shows = of_listener.as_ref().is_some_and(|log| log.shows_stream_id());
        if proxy.logs.shows_stream_id || of_listener_shows {
            info.stream_id = Some(String::from_utf8_lossy(&proxy.outside.random.uuid()).into());
        }
        Self { info, state: State::Open, of_listener, proxy }
    }

    /// Writes a line that is not the last.
    pub(super) fn write(&self, log_type: LogType) {
        let mut info = self.info.clone();
        info.finish(Instant::now());
        self.write_line(log_type, &info);
    }

    /// Writes the last line. The first call counts.
    pub(super) fn write_end(&mut self) {
        if self.state == State::Open {
            self.state = State::Written;
            self.info.finish(Instant::now());
            if let Some(log) = &mut self.of_listener {
                log.write(&self.info);
            }
            self.write_line(LogType::TcpConnectionEnd, &self.info);
        }
    }

    /// The connection is over, and everything about it is known.
    pub(super) fn end(mut self) {
        self.write_end();
    }

    fn write_line(&self, log_type: LogType, info: &StreamInfo) {
        let heads = Heads { request: None, response: None };
        self.proxy.logs.write(log_type, heads, info, &*self.proxy.outside.random);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if self.state == State::Open {
            // With the task that served it: the drain is over.
            self.info.end_locally(LocalEnd::Drained);
        }
        self.write_end();
    }
}
