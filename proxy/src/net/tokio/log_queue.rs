//! The queue between the workers that log lines and the thread that writes them to a file: it is bounded in bytes, and
//! drops and counts lines rather than delay a worker.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::tokio::time::Instant;

use super::log_batch::{Batch, Lost};
use crate::stats::{Held, LogStats};

/// Memory that the lines of one log may hold while they wait for its file. Bytes. Two seconds of 30,000 lines of 250
/// bytes: longer than a healthy disk or reader pauses, and little beside what a proxy needs to make lines that fast.
pub(super) const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Dropped lines are reported once in so long.
const DROPS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The lines of one log that wait for its thread.
pub(super) struct Queue {
    /// What the log is called in messages: a path, `standard output`.
    pub(super) name: String,
    pub(super) stats: LogStats,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Batch>,
    /// Memory of the batches in `waiting`, and of the one that is being written. Bytes.
    held: usize,
    /// The same, as this log's share of the process's gauge.
    share: Held,
    /// Lines of the batch that is being written.
    writing: usize,
    wants_reopening: bool,
    phase: Phase,
    drops: Drops,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Running,
    /// What waits is written, and nothing else.
    Ending,
    /// Its thread has written everything.
    Ended,
    /// Its thread took too long.
    Abandoned,
}

/// Lines dropped, and which of them the process's own log has reported.
#[derive(Default)]
struct Drops {
    total: u64,
    reported: u64,
    reported_at: Option<Instant>,
    why: String,
}

/// What is to be written to the log of the process.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Report {
    total: u64,
    why: String,
}

/// What a log's thread does next.
pub(super) enum Work {
    Write(Batch),
    Reopen,
    Report(Report),
    End,
}

impl Queue {
    pub(super) fn new(name: String, stats: LogStats) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            held: 0,
            share: stats.write_total_buffered.hold(0),
            writing: 0,
            wants_reopening: false,
            phase: Phase::default(),
            drops: Drops::default(),
        };
        Self { name, stats, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Queues the lines of `batch`, or drops all of them if they do not fit. Never waits for the file.
    pub(super) fn push(&self, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        let report = {
            let mut state = self.lock();
            if state.phase == Phase::Running && state.takes(batch) {
                self.stats.write_buffered.add(count(batch.lines()));
                state.show_held();
                None
            } else {
                self.drop_lines(&mut state, batch.lines(), "it takes them too slowly");
                state.drops.due()
            }
        };
        self.changed.notify_all();
        if let Some(report) = report {
            self.log_drops(report);
        }
    }

    /// Has the thread open the file again.
    pub(super) fn reopen(&self) {
        self.lock().wants_reopening = true;
        self.changed.notify_all();
    }

    /// What is to be done next; waits for it. For the log's thread.
    pub(super) fn next(&self) -> Work {
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.wants_reopening) {
                return Work::Reopen;
            }
            if let Some(report) = state.drops.due() {
                return Work::Report(report);
            }
            if let Some(batch) = state.waiting.pop_front() {
                state.writing = batch.lines();
                return Work::Write(batch);
            }
            if state.phase != Phase::Running {
                state.phase = Phase::Ended;
                self.changed.notify_all();
                return Work::End;
            }
            state = match state.drops.next_report() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// The batch that [`Self::next`] gave has been dealt with.
    pub(super) fn written(&self, batch: &Batch, outcome: Result<(), Lost>) {
        let mut state = self.lock();
        state.held -= batch.held();
        state.writing = 0;
        state.show_held();
        match outcome {
            Ok(()) => self.stats.write_completed.inc(),
            Err(Lost { lines, error }) => {
                self.stats.write_failed.inc();
                self.drop_lines(&mut state, lines, &error.to_string());
            }
        }
    }

    /// A line was begun in a file that is no longer written to.
    pub(super) fn lost_unfinished(&self) {
        self.drop_lines(&mut self.lock(), 1, "a line was left unfinished when the file was opened again");
    }

    /// A short wait for a file that takes no more at the moment. Whether it is worth trying again.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, time, |state| state.phase != Phase::Abandoned)
            .unwrap_or_else(PoisonError::into_inner);
        state.phase != Phase::Abandoned
    }

    /// Reports dropped lines in the log of the process.
    pub(super) fn log_drops(&self, Report { total, why }: Report) {
        tracing::warn!(log = self.name, dropped = total, why, "log lines dropped; reported once a minute");
    }

    /// Lets the thread write what waits, and end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ending;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the thread's end, until `deadline` at the latest. What it has not written then is dropped.
    pub(super) fn ended(&self, deadline: Instant) {
        let wait = deadline.saturating_duration_since(Instant::now());
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, wait, |state| state.phase == Phase::Ending)
            .unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Ending {
            state.phase = Phase::Abandoned;
            let left = state.writing + state.waiting.drain(..).map(|batch| batch.lines()).sum::<usize>();
            self.drop_lines(&mut state, left, "it takes them too slowly");
        }
        let report = state.drops.rest();
        drop(state);
        self.changed.notify_all();
        if let Some(report) = report {
            self.log_drops(report);
        }
    }

    fn drop_lines(&self, state: &mut State, lines: usize, why: &str) {
        state.drops.total += count(lines);
        if state.drops.why != why {
            why.clone_into(&mut state.drops.why);
        }
        self.stats.write_dropped.add(count(lines));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is only held to move lines and to count: after a panic what is there is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn show_held(&mut self) {
        self.share.resize(count(self.held));
    }

    /// Takes the lines in, if there is room.
    fn takes(&mut self, batch: &Batch) -> bool {
        if let Some(last) = self.waiting.back_mut().filter(|last| last.has_room_for(batch.bytes())) {
            let before = last.held();
            last.append(batch); // may hold more ends than usual; the next batch reserves as many
            self.held += last.held() - before;
            return true;
        }
        let mut own = Batch::with_room_for(batch.bytes(), batch.lines());
        if self.held + own.held() > QUEUE_BYTES_MAX {
            return false;
        }
        own.append(batch);
        self.held += own.held();
        self.waiting.push_back(own);
        true
    }
}

impl Drops {
    /// What is to be reported now.
    fn due(&mut self) -> Option<Report> {
        if self.next_report()?.is_zero() { self.rest() } else { None }
    }

    /// What has not been reported yet.
    fn rest(&mut self) -> Option<Report> {
        if self.reported == self.total {
            return None;
        }
        (self.reported, self.reported_at) = (self.total, Some(Instant::now()));
        Some(Report { total: self.total, why: self.why.clone() })
    }

    /// How long until the next report, if there is anything to report.
    fn next_report(&self) -> Option<Duration> {
        let passed = || self.reported_at.map_or(DROPS_LOG_INTERVAL, |at| at.elapsed());
        (self.reported != self.total).then(|| DROPS_LOG_INTERVAL.saturating_sub(passed()))
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::log_batch::BATCH_BYTES;
    use super::*;

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::default();
        lines.iter().for_each(|line| batch.push(line.as_bytes()));
        batch
    }

    fn queue() -> Queue {
        Queue::new("log".into(), LogStats::default())
    }

    #[test]
    fn a_full_queue_drops_and_counts_lines_and_holds_no_more_than_its_bound() {
        let queue = queue();
        let line = "x".repeat(1000);
        let lines = batch(&[line.as_str(); 10]);
        for _ in 0..3000 {
            queue.push(&lines);
            assert!(queue.lock().held <= QUEUE_BYTES_MAX + BATCH_BYTES);
        }
        let (buffered, dropped) = (queue.stats.write_buffered.value(), queue.stats.write_dropped.value());
        assert_eq!(buffered + dropped, 30_000);
        let waiting: usize = queue.lock().waiting.iter().map(Batch::lines).sum();
        assert_eq!(buffered, count(waiting));
        assert!(queue.stats.write_total_buffered.value() > 0);
        assert!(dropped > 0 && buffered > 10_000, "{buffered} {dropped}");
    }

    #[test]
    fn many_short_lines_count_as_what_they_hold() {
        let queue = queue();
        let lines = batch(&["\n"; 1000]);
        for _ in 0..10_000 {
            queue.push(&lines);
        }
        let held: usize = queue.lock().waiting.iter().map(Batch::held).sum();
        assert_eq!(held, queue.lock().held);
        assert!(held <= QUEUE_BYTES_MAX + BATCH_BYTES * size_of::<usize>() * 2);
    }

    #[test]
    fn dropped_lines_are_reported_at_intervals_and_at_the_end() {
        let mut drops = Drops { total: 5, why: "full".into(), ..Drops::default() };
        assert_eq!(drops.due(), Some(Report { total: 5, why: "full".into() }));
        drops.total = 7;
        assert_eq!(drops.due(), None);
        assert!(drops.next_report().is_some_and(|wait| !wait.is_zero()));
        assert_eq!(drops.rest(), Some(Report { total: 7, why: "full".into() }));
        assert_eq!(drops.rest(), None);
    }

    #[test]
    fn a_thread_that_does_not_end_in_time_loses_the_waiting_lines() {
        let queue = queue();
        queue.push(&batch(&["a\n", "b\n"]));
        queue.end();
        queue.push(&batch(&["c\n"]));
        queue.ended(Instant::now());
        assert_eq!(queue.stats.write_dropped.value(), 3);
        assert!(!queue.pause(Duration::from_secs(1)), "it is not worth trying again");
    }
}
