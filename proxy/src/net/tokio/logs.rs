//! Log files: each has a queue and a thread of its own, so that no worker waits for a disk or a reader, and no log for
//! another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ::tokio::time::Instant;

use super::log_batch::{Batch, Output};
use super::log_queue::{Queue, Work};
use crate::net::{LogTarget, LogWriter, Logs};
use crate::stats::{LogStats, Registry};

/// How long a line may wait in a worker's batch, unless the command line sets another time.
pub const LOG_FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// At the end, logs may take so long to write what waits. A disk needs less for full queues; a reader that has stopped
/// would take for ever.
const END_MAX: Duration = Duration::from_secs(1);
/// The process's own log is written last, since it reports what the others lost; it has so long.
const DIAGNOSTICS_END_MAX: Duration = Duration::from_millis(250);

/// Between two attempts at a descriptor that is non-blocking because another process made it so.
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// All log files of the process. Dropping it writes what waits, within a second or so.
pub struct LogFiles {
    /// A line may wait so long in a worker's batch.
    flush_interval: Duration,
    open: Mutex<BTreeMap<LogTarget, Arc<Queue>>>,
    /// Where messages of the process itself go: written to the end, since they report what the other logs lost.
    diagnostics: OnceLock<LogTarget>,
    stats: LogStats,
}

impl LogFiles {
    /// None is open yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::flushed_every(LOG_FLUSH_INTERVAL)
    }

    /// None is open yet; a line may wait so long in a worker's batch.
    #[must_use]
    pub fn flushed_every(flush_interval: Duration) -> Arc<Self> {
        let (open, diagnostics, stats) = (Mutex::default(), OnceLock::new(), LogStats::default());
        Arc::new(Self { flush_interval, open, diagnostics, stats })
    }

    /// A log for messages of the process itself. They share it with access-log lines of the same target.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or the system refuses a thread.
    pub fn diagnostics(&self, to: &LogTarget) -> io::Result<Diagnostics> {
        let queue = self.queue(to)?;
        // One that was requested before stays the last.
        self.diagnostics.get_or_init(|| descriptor_of(to));
        Ok(Diagnostics(queue))
    }

    /// Opens every file again by its path. Returns at once.
    pub fn reopen(&self) {
        self.lock().values().for_each(|queue| queue.reopen());
    }

    /// Writes what waits, and closes every log. Takes a little more than a second at most: what a log has not written by
    /// then is lost, and counted.
    pub fn finish(&self) {
        let mut others = std::mem::take(&mut *self.lock());
        let diagnostics = self.diagnostics.get().and_then(|target| others.remove(target));
        others.values().for_each(|queue| queue.end());
        let deadline = Instant::now() + END_MAX;
        others.values().for_each(|queue| queue.ended(deadline));
        if let Some(diagnostics) = diagnostics {
            diagnostics.end();
            diagnostics.ended(Instant::now() + DIAGNOSTICS_END_MAX);
        }
    }

    /// The queue of `target`, whose file is opened and whose thread is started if they are not yet.
    fn queue(&self, target: &LogTarget) -> io::Result<Arc<Queue>> {
        let target = descriptor_of(target);
        let mut open = self.lock();
        if let Some(queue) = open.get(&target) {
            return Ok(Arc::clone(queue));
        }
        let file = open_file(&target)?;
        let queue = Arc::new(Queue::new(name_of(&target), self.stats.clone()));
        let thread = LogThread { queue: Arc::clone(&queue), output: Output::new(file), target: target.clone() };
        std::thread::Builder::new().name("log".into()).spawn(move || thread.run())?;
        open.insert(target, Arc::clone(&queue));
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogTarget, Arc<Queue>>> {
        // An insertion is not done in two steps.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The descriptor that a path means, where it means one that is open already: what is behind it may be a socket, or
/// belong to another user, and then the path cannot be opened.
fn descriptor_of(target: &LogTarget) -> LogTarget {
    match target {
        LogTarget::File(path) if ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].contains(&path.as_str()) => {
            LogTarget::Stdout
        }
        LogTarget::File(path) if ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"].contains(&path.as_str()) => {
            LogTarget::Stderr
        }
        LogTarget::File(_) | LogTarget::Stderr | LogTarget::Stdout => target.clone(),
    }
}

/// Opens a log for appending, without waiting for anything.
pub(super) fn open_file(target: &LogTarget) -> io::Result<File> {
    match descriptor_of(target) {
        // Not std's handle, which has a buffer and a lock.
        LogTarget::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        LogTarget::Stderr => Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        LogTarget::File(path) => {
            // Opened for writing alone, a FIFO blocks `open` until it has a reader.
            let is_fifo = std::fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_fifo());
            OpenOptions::new().create(true).append(true).read(is_fifo).open(path)
        }
    }
}

fn name_of(target: &LogTarget) -> String {
    match target {
        LogTarget::File(path) => path.clone(),
        LogTarget::Stderr => "standard error".into(),
        LogTarget::Stdout => "standard output".into(),
    }
}

/// The thread of one log.
struct LogThread {
    queue: Arc<Queue>,
    output: Output<File>,
    target: LogTarget,
}

impl LogThread {
    fn run(mut self) {
        loop {
            match self.queue.next() {
                Work::Write(batch) => {
                    let outcome = self.output.write(&batch, || self.queue.pause(BUSY_WAIT));
                    self.queue.written(&batch, outcome);
                }
                Work::Reopen => self.reopen(),
                Work::Report(report) => self.queue.log_drops(report),
                Work::End => return,
            }
        }
    }

    fn reopen(&mut self) {
        if !matches!(self.target, LogTarget::File(_)) {
            return; // a descriptor that was inherited has no path
        }
        match open_file(&self.target) {
            Ok(file) => {
                if self.output.go_on_with(file) {
                    self.queue.lost_unfinished();
                }
            }
            Err(error) => {
                self.queue.stats.reopen_failed.inc();
                tracing::warn!(log = self.queue.name, %error, "cannot be opened again; lines go on to the old file");
            }
        }
    }
}

/// Messages of the process itself, each written by one call.
pub struct Diagnostics(Arc<Queue>);

impl Write for &Diagnostics {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.push(&Batch::of(message));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // its thread writes at once
    }
}

/// The logs of one worker.
pub(super) struct WorkerLogs {
    files: Arc<LogFiles>,
    /// Those that are open: lines of two listeners in one file stay in the order in which they came.
    open: RefCell<BTreeMap<LogTarget, Weak<WorkerLog>>>,
}

impl WorkerLogs {
    pub(super) fn new(files: &Arc<LogFiles>) -> Self {
        Self { files: Arc::clone(files), open: RefCell::default() }
    }
}

impl Logs for WorkerLogs {
    fn open(&self, target: &LogTarget) -> io::Result<Rc<dyn LogWriter>> {
        let target = descriptor_of(target);
        if let Some(log) = self.open.borrow().get(&target).and_then(Weak::upgrade) {
            return Ok(log);
        }
        let log = Rc::new(WorkerLog { queue: self.files.queue(&target)?, batch: RefCell::default() });
        self.open.borrow_mut().insert(target, Rc::downgrade(&log));
        let (flushed, flush_interval) = (Rc::downgrade(&log), self.files.flush_interval);
        // Ends by itself once the worker has dropped the log.
        ::tokio::task::spawn_local(async move {
            loop {
                ::tokio::time::sleep(flush_interval).await;
                let Some(log) = flushed.upgrade() else { return };
                if !log.batch.borrow().is_empty() {
                    log.queue.stats.flushed_by_timer.inc();
                    log.flush();
                }
            }
        });
        Ok(log)
    }

    fn reopen(&self) {
        self.files.reopen();
    }

    fn register_stats(&self, registry: &Registry) {
        self.files.stats.register(registry);
    }
}

/// One log of a worker, which collects lines before it locks the queue that it shares with other workers.
struct WorkerLog {
    queue: Arc<Queue>,
    batch: RefCell<Batch>,
}

impl WorkerLog {
    fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        self.queue.push(&batch);
        batch.clear();
    }
}

impl LogWriter for WorkerLog {
    fn write_line(&self, line: &[u8]) {
        if !self.batch.borrow().has_room_for(line.len()) {
            self.flush();
        }
        self.batch.borrow_mut().push(line);
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use ::tokio::task::LocalSet;

    use super::*;
    use crate::stats::Counter;

    #[::tokio::test(start_paused = true)]
    async fn written_and_dropped_lines_and_reopened_files_are_counted() {
        let folder = std::env::temp_dir().join(format!("finwait-logs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let paths = [folder.join("log").to_str().unwrap().to_owned(), "/dev/full".to_owned()];
        let files = LogFiles::new();
        let work = async {
            let logs = WorkerLogs::new(&files);
            let open = |path: &String| logs.open(&LogTarget::File(path.clone())).unwrap();
            let open = paths.each_ref().map(open);
            open.iter().for_each(|log| log.write_line(b"line\n"));
            ::tokio::time::sleep(2 * LOG_FLUSH_INTERVAL).await; // of the paused clock
            std::fs::remove_dir_all(&folder).unwrap();
            logs.reopen();
        };
        LocalSet::new().run_until(work).await;
        files.finish();
        let LogStats {
            flushed_by_timer,
            reopen_failed,
            write_buffered,
            write_completed,
            write_dropped,
            write_failed,
            ..
        } = &files.stats;
        assert_eq!([flushed_by_timer.value(), write_buffered.value()], [2, 2]);
        assert_eq!([write_completed, write_failed, write_dropped, reopen_failed].map(Counter::value), [1; 4]);
    }
}
