//! One access log of a worker: lines that it writes to a file, or entries that it hands on to a service.

use std::cell::RefCell;
use std::rc::Rc;

use super::StreamInfo;
use super::entry::Entries;
use super::format::{Heads, Renderer, Source};
use crate::config::entry_log::EntryLog;
use crate::config::log_filter::LogType;
use crate::config::log_format::LineFormat;
use crate::net::{Clock, LogWriter, Random};

/// One access log of a worker.
pub struct AccessLog {
    random: Rc<dyn Random>,
    form: Form,
}

enum Form {
    Entries { entries: Entries, sink: Rc<dyn EntrySink> },
    Lines { writer: Rc<dyn LogWriter>, line: RefCell<Line> },
}

/// What takes entries.
pub trait EntrySink {
    /// Takes an entry, a message of protobuf. It does not wait: an entry for which there is no room is dropped.
    fn add(&self, entry: Vec<u8>);
}

/// Kept from line to line, so that writing one allocates nothing.
struct Line {
    renderer: Renderer,
    bytes: Vec<u8>,
}

impl AccessLog {
    /// Lines of `format` to `writer`.
    #[must_use]
    pub fn new(format: impl Into<LineFormat>, writer: Rc<dyn LogWriter>, random: Rc<dyn Random>) -> Self {
        Self::of(Renderer::new(format.into()), writer, random)
    }

    /// Lines of `renderer` to `writer`.
    #[must_use]
    pub fn of(renderer: Renderer, writer: Rc<dyn LogWriter>, random: Rc<dyn Random>) -> Self {
        let line = RefCell::new(Line { renderer, bytes: Vec::new() });
        Self { random, form: Form::Lines { writer, line } }
    }

    /// Entries to `sink`.
    #[must_use]
    pub fn of_entries(options: &EntryLog, sink: Rc<dyn EntrySink>, random: Rc<dyn Random>, clock: &dyn Clock) -> Self {
        Self { random, form: Form::Entries { entries: Entries::new(options, clock), sink } }
    }

    /// Writes the line of a finished stream.
    pub fn write(&self, info: &StreamInfo) {
        let heads = Heads { request: info.request.as_ref(), response: info.response.as_ref() };
        self.write_on(LogType::DownstreamEnd, heads, info);
    }

    /// Writes a line of a stream that may have its heads elsewhere.
    pub(crate) fn write_on(&self, log_type: LogType, heads: Heads<'_>, info: &StreamInfo) {
        let source = Source { heads, info, body: b"", log_type, random: Some(&*self.random) };
        match &self.form {
            Form::Entries { entries, sink } => sink.add(entries.entry(&source)),
            Form::Lines { writer, line } => {
                let Line { renderer, bytes } = &mut *line.borrow_mut();
                bytes.clear();
                renderer.render(&source, bytes);
                writer.write_line(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::time::Instant;

    use super::*;
    use crate::access_log::{Downstream, ResponseFlag};
    use crate::config::log_format::Format;
    use crate::net::Address;

    struct Ones;

    impl Random for Ones {
        fn next_u64(&self) -> u64 {
            u64::MAX
        }
    }

    #[derive(Default)]
    struct Lines(RefCell<Vec<String>>);

    impl LogWriter for Lines {
        fn write_line(&self, line: &[u8]) {
            self.0.borrow_mut().push(String::from_utf8_lossy(line).into_owned());
        }
    }

    #[test]
    fn one_stream_is_one_line() {
        let lines = Rc::new(Lines::default());
        let format = Format::parse("%RESPONSE_CODE% %DURATION% %RESPONSE_FLAGS%\n").unwrap();
        let log = AccessLog::new(format, Rc::<Lines>::clone(&lines), Rc::new(Ones));
        let local = Address::Internal("here".into());
        let downstream = Rc::new(Downstream::new(1, local.clone(), local));
        let begin = Instant::now();
        let mut info = StreamInfo::new(begin, SystemTime::UNIX_EPOCH, downstream);
        info.response_code = Some(503);
        info.flag(ResponseFlag::UH);
        info.finish(begin + Duration::from_millis(20));
        info.finish(begin + Duration::from_millis(30));
        log.write(&info);
        info.response_code = None;
        log.write(&info);
        assert_eq!(*lines.0.borrow(), ["503 20 UH\n", "0 20 UH\n"]);
    }
}
