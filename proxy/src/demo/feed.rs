//! Access-log lines, sent twice: to where the configuration sends them, behind the name of their hop, and to
//! every client that watches.

use std::io;
use std::rc::Rc;

use tokio::sync::broadcast;

use crate::net::{LogTarget, LogWriter, Logs};
use crate::stats::Registry;

/// Lines queued for a slow watcher; beyond that it loses the oldest and gets their number.
const LINES_WAITING_MAX: usize = 256;
/// What a watcher gets to see of one line; the log itself has all of it. Bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// An access-log line and the hop that wrote it.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Line {
    pub(super) hop: &'static str,
    pub(super) line: String,
}

/// Where lines of all hops come together.
#[derive(Clone)]
pub(super) struct Feed(broadcast::Sender<Line>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(LINES_WAITING_MAX))
    }

    /// The lines from here on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Line> {
        self.0.subscribe()
    }
}

/// The logs of one hop.
pub(super) struct HopLogs {
    pub(super) hop: &'static str,
    /// The logs as configured.
    pub(super) logs: Rc<dyn Logs>,
    pub(super) feed: Feed,
}

impl Logs for HopLogs {
    fn open(&self, target: &LogTarget) -> io::Result<Rc<dyn LogWriter>> {
        let log = self.logs.open(target)?;
        Ok(Rc::new(HopLog { hop: self.hop, log, feed: self.feed.clone() }))
    }

    fn reopen(&self) {
        self.logs.reopen();
    }

    fn register_stats(&self, registry: &Registry) {
        self.logs.register_stats(registry);
    }
}

struct HopLog {
    hop: &'static str,
    log: Rc<dyn LogWriter>,
    feed: Feed,
}

impl LogWriter for HopLog {
    fn write_line(&self, line: &[u8]) {
        let mut named = format!("{:<8}", self.hop).into_bytes();
        named.extend_from_slice(line);
        self.log.write_line(&named);
        let shown = line.get(..LINE_BYTES_MAX).unwrap_or(line).trim_ascii_end();
        let line = Line { hop: self.hop, line: String::from_utf8_lossy(shown).into_owned() };
        drop(self.feed.0.send(line)); // an error: there is no watcher
    }
}
