//! Who runs when, and how time passes.
//!
//! One paused runtime holds one root future, [`Scheduler::poll`], which polls the hosts itself. While anything
//! can happen at this instant it happens; then the clock jumps to the next instant at which something can.
//! Packets have nanosecond resolution, while tokio's timers sit on a wheel of whole milliseconds, and its
//! paused clock moves by whole milliseconds only: so the clock is brought onto a boundary before any jump
//! past it, or packets would arrive late by the rest.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::host::{Host, Root};
use super::{Command, Ended, WorldShared, panics};
use crate::chance::Chance;
use crate::trace::{Event, HostChange, HostId, Loss};

const MILLISECOND: Duration = Duration::from_millis(1);

/// How often hosts may run at one instant. Programs that wake themselves for ever would keep time from passing.
const RUNS_PER_INSTANT_MAX: u32 = 100_000;

/// The root future of a run.
pub(super) struct Scheduler {
    pub(super) hosts: Vec<Host>,
    pub(super) shared: Rc<WorldShared>,
    pub(super) root: Arc<Root>,
    pub(super) chance: Chance,
    pub(super) limit: Duration,
    /// How often the clock moved.
    pub(super) instants: u64,
    start: Instant,
    panics_before: u64,
    alarm: Pin<Box<Sleep>>,
    /// Tasks that yielded to the runtime have had their chance to run at this instant.
    yielded: bool,
    /// The instant of the last runs, and how many there were.
    runs: (Duration, u32),
    runnable: Vec<usize>,
}

impl Scheduler {
    /// Must be called within the paused runtime.
    pub(super) fn new(
        hosts: Vec<Host>,
        shared: Rc<WorldShared>,
        root: Arc<Root>,
        chance: Chance,
        limit: Duration,
    ) -> Self {
        let start = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(start));
        Self {
            hosts,
            shared,
            root,
            chance,
            limit,
            instants: 0,
            start,
            panics_before: panics::seen(),
            alarm,
            yielded: false,
            runs: (start.elapsed(), 0),
            runnable: Vec::new(),
        }
    }

    /// Everything that can happen now, then one step of time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.root.set(None);
        let polled = self.poll_awake(cx);
        if polled.is_pending() {
            self.root.set(Some(cx.waker().clone()));
        }
        polled
    }

    fn poll_awake(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let now = self.start.elapsed();
            self.shared.now.set(now);
            if let Err(ended) = self.exhaust_instant(now) {
                return Poll::Ready(ended);
            }
            if panics::seen() != self.panics_before {
                return Poll::Ready(Ended::Panicked);
            }
            if !self.yielded {
                // A task that yielded, or has used up its budget, waits for the runtime to come round.
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_at_rest(now) {
                return Poll::Ready(Ended::AtRest);
            }
            if now >= self.limit {
                return Poll::Ready(Ended::LimitReached { waiting: self.shared.waiting() });
            }
            if self.pass_time(now, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Steps 1 to 3: hosts run, packets leave and arrive, until nothing more can happen at `now`.
    fn exhaust_instant(&mut self, now: Duration) -> Result<(), Ended> {
        loop {
            self.obey(now);
            for host in &mut self.hosts {
                if host.next_timer().is_some_and(|due| due <= now) {
                    host.kernel.lock().advance(now);
                }
            }
            while let Some(host) = self.pick(now) {
                host.run(now);
                self.yielded = false;
                self.count_run(now)?;
            }
            self.collect(now);
            let idle = !self.deliver(now) && self.shared.commands.borrow().is_empty();
            if idle && !self.hosts.iter_mut().any(|host| host.is_runnable(now)) {
                return Ok(());
            }
        }
    }

    fn count_run(&mut self, now: Duration) -> Result<(), Ended> {
        let (instant, runs) = self.runs;
        self.runs = (now, if instant == now { runs + 1 } else { 1 });
        if self.runs.1 > RUNS_PER_INSTANT_MAX {
            return Err(Ended::Spinning { waiting: self.shared.waiting() });
        }
        Ok(())
    }

    /// The seed picks among the hosts that can run.
    fn pick(&mut self, now: Duration) -> Option<&mut Host> {
        self.runnable.clear();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if host.is_runnable(now) {
                self.runnable.push(index);
            }
        }
        let picked = *self.runnable.get(self.chance.index(self.runnable.len()))?;
        let picked = self.shared.steering.borrow_mut().choice(&self.runnable, picked, now);
        self.hosts.get_mut(picked)
    }

    /// Hands what the kernels sent to the network, in the order in which it was sent.
    fn collect(&mut self, now: Duration) {
        let mut sent = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let packets = host.kernel.collect();
            sent.extend(packets.into_iter().map(|(packet, segment)| (packet, HostId(index), segment)));
        }
        sent.sort_unstable_by_key(|(packet, _, _)| *packet);
        let mut network = self.shared.network.borrow_mut();
        for (packet, from, segment) in sent {
            network.post(from, packet, segment, now);
        }
    }

    /// Brings what is due to its kernel; false if nothing was.
    fn deliver(&mut self, now: Duration) -> bool {
        let mut any = false;
        loop {
            let arrived = self.shared.network.borrow_mut().arrival(now);
            let Some(arrived) = arrived else { return any };
            any = true;
            let Some(host) = self.hosts.get(arrived.to.0) else { continue };
            let packet = arrived.packet;
            if host.powered {
                self.shared.trace.lock().push(now, Event::Delivered { host: arrived.to, packet });
                host.kernel.lock().deliver(&arrived.segment);
            } else {
                self.shared.trace.lock().push(now, Event::Dropped { packet, why: Loss::NoPower });
            }
        }
    }

    /// Carries out what tasks requested of the world, outside of any task.
    fn obey(&mut self, now: Duration) {
        loop {
            let Some(command) = self.shared.commands.borrow_mut().pop_front() else { return };
            let id = command.host();
            let Some(host) = self.hosts.get_mut(id.0) else { continue };
            let change = match command {
                Command::Kill(_) => {
                    host.end_tasks();
                    HostChange::Killed
                }
                Command::PowerOff(_) => {
                    host.kernel.lock().power_off(); // first, so that ending the tasks sends nothing
                    host.end_tasks();
                    host.powered = false;
                    HostChange::PoweredOff
                }
                Command::ReadDelay(_, delay) => {
                    host.read_delay = delay;
                    continue;
                }
                Command::Stall(_, until) => {
                    host.stalled_until = until;
                    continue;
                }
                Command::Start(_, program) => {
                    host.powered = true;
                    self.shared.start(id, host, program, None);
                    HostChange::Started
                }
            };
            self.shared.trace.lock().push(now, Event::Host { host: id, change });
        }
    }

    /// The mains have ended, and what they set in motion has come to a stop. Timers of programs do not count:
    /// a proxy always has some.
    fn is_at_rest(&mut self, now: Duration) -> bool {
        self.shared.mains.borrow().is_empty()
            && self.shared.network.borrow().next_arrival().is_none()
            && self.hosts.iter_mut().all(|host| host.next_run(now).is_none() && host.kernel.look().is_quiet())
    }

    /// Step 4: moves the clock towards the next instant at which something can happen, but not past any timer
    /// of a program. Pending: the runtime has to fire timers or to advance its clock.
    fn pass_time(&mut self, now: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.instants += 1;
        let next = self.next_instant(now);
        let boundary = ceil_to_millisecond(now);
        if boundary != now && next >= boundary {
            self.yielded = false;
            advance(boundary.saturating_sub(now), cx); // timers of this millisecond fire before anything moves on
            return Poll::Pending;
        }
        let whole = floor_to_millisecond(next);
        if whole > now {
            self.alarm.as_mut().reset(self.start + whole);
            return self.alarm.as_mut().poll(cx);
        }
        advance(next.saturating_sub(now), cx);
        Poll::Ready(())
    }

    fn next_instant(&mut self, now: Duration) -> Duration {
        let arrival = self.shared.network.borrow().next_arrival();
        let runs = self.hosts.iter_mut().filter_map(|host| host.next_run(now)).min();
        let timer = self.hosts.iter_mut().filter_map(Host::next_timer).min();
        [arrival, runs, timer].into_iter().flatten().min().map_or(self.limit, |next| next.min(self.limit))
    }
}

/// Moves the paused clock at once, and has the runtime come back to the root.
fn advance(by: Duration, cx: &mut Context<'_>) {
    // The clock moves in the first poll; what follows is a yield, which only has to reach the runtime.
    let advanced = std::pin::pin!(tokio::time::advance(by));
    let _yields = advanced.poll(cx);
}

fn ceil_to_millisecond(at: Duration) -> Duration {
    let whole = floor_to_millisecond(at);
    if whole == at { whole } else { whole + MILLISECOND }
}

fn floor_to_millisecond(at: Duration) -> Duration {
    Duration::new(at.as_secs(), at.subsec_millis() * 1_000_000)
}
