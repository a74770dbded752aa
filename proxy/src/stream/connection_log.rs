//! The line that each connection gets in the access logs of its listener, once it has ended.
//!
//! A listener makes a [`ConnectionLog`] when it accepts, and hands it to what serves the connection. A TCP proxy writes the line
//! from what it knows itself; of an HTTP connection, and of one that nothing has served, the line is written when the log is
//! dropped.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::logs::Logs;
use crate::access_log::format::Heads;
use crate::access_log::{ConnectionTermination, Details, Downstream, ResponseFlag, StreamInfo, Wire};
use crate::config::log_filter::LogType;
use crate::gate::Denial;
use crate::net::{Conn, Outside, Traffic};

/// The access logs of a listener.
pub(crate) struct ListenerLogs {
    pub(crate) logs: Logs,
    pub(crate) outside: Outside,
}

/// A connection that will have exactly one line in every access log of its listener.
pub(crate) struct ConnectionLog {
    info: StreamInfo,
    /// The bytes of its protocol, once something serves it.
    traffic: Option<Arc<Traffic>>,
    line: Line,
    to: Rc<ListenerLogs>,
}

/// The line of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    /// It waits for the end of the connection.
    Waits,
    /// It has been written.
    Written,
}

impl ConnectionLog {
    /// `conn` has been accepted.
    pub(crate) fn begin(to: &Rc<ListenerLogs>, conn: &Conn) -> Box<Self> {
        let downstream = Rc::new(Downstream::new(0, conn.local.clone(), conn.peer.clone()));
        let mut info = StreamInfo::new(Instant::now(), to.outside.clock.wall(), downstream);
        // As in Envoy, what is on the wire belongs to streams.
        info.wire = Some(Wire::default());
        Box::new(Self { info, traffic: None, line: Line::Waits, to: Rc::clone(to) })
    }

    /// No filter chain takes it. `ends` is what has been read of it.
    pub(crate) fn note_no_chain(&mut self, ends: Downstream) {
        self.info.downstream = Rc::new(ends);
        self.info.flag(ResponseFlag::NR);
        self.info.detail(Details::FilterChainNotFound);
    }

    /// Its handshake of TLS has failed.
    pub(crate) fn note_failed(&mut self, downstream: Rc<Downstream>, why: Option<ConnectionTermination>) {
        self.info.downstream = downstream;
        self.info.connection_termination = why;
    }

    /// A connection manager serves it.
    pub(crate) fn serve(&mut self, conn: &mut Conn, downstream: &Rc<Downstream>) {
        self.traffic = Some(conn.count_traffic());
        self.info.metadata = downstream.passed.as_ref().map(|passed| Box::new(passed.metadata.clone()));
        self.info.downstream = Rc::clone(downstream);
    }

    /// A network filter has denied it.
    pub(crate) fn note_denied(&mut self, why: Box<Denial>) {
        self.info.denied_by = Some(why);
    }

    /// A network filter has refused it with this flag.
    pub(crate) fn flag(&mut self, flag: ResponseFlag) {
        self.info.flag(flag);
    }

    /// Does a line show the id of a connection?
    pub(crate) fn shows_stream_id(&self) -> bool {
        self.to.logs.shows_stream_id
    }

    /// Writes the line as `info` has it.
    pub(crate) fn write(&mut self, info: &StreamInfo) {
        if self.line == Line::Waits {
            self.line = Line::Written;
            let heads = Heads { request: None, response: None };
            self.to.logs.write(LogType::NotSet, heads, info, &*self.to.outside.random);
        }
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        if self.line == Line::Written {
            return;
        }
        let mut info = self.info.clone();
        info.finish(Instant::now());
        if let Some(traffic) = &self.traffic {
            (info.bytes_received, info.bytes_sent) = (traffic.received(), traffic.sent());
        }
        info.protocol = info.downstream.protocol.get();
        if info.downstream.is_malformed.get() {
            info.flag(ResponseFlag::DPE);
        }
        self.write(&info);
    }
}
