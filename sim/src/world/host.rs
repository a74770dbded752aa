//! One simulated machine: its kernel, its tasks, and when its driver next looks at the kernel.

use std::cell::RefCell;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::task::LocalSet;

use super::perturb::Steering;
use super::seam::SharedKernel;
use crate::chance::Chance;
use crate::course::PartsPerMillion;
use crate::tls::Machine;
use crate::trace::HostId;

/// A simulated machine: its addresses, its kernel and its programs.
pub(super) struct Host {
    id: HostId,
    pub(super) kernel: SharedKernel,
    /// What TLS requires of it.
    machine: Rc<Machine>,
    /// Cut off from power: what arrives is lost.
    pub(super) powered: bool,
    /// Its programs get no processor time before this.
    pub(super) stalled_until: Duration,
    /// How much too slow its clock is.
    slow: PartsPerMillion,
    /// How long its driver takes to look at what the kernel has.
    pub(super) read_delay: RangeInclusive<Duration>,
    /// Programs started so far; each gets chance of its own.
    pub(super) started: u64,
    tasks: LocalSet,
    /// Whether some of them had not ended when they last ran.
    has_tasks: bool,
    woken: Arc<Woken>,
    turn_at: Option<Duration>,
    /// When its programs last ran.
    ran_at: Duration,
    /// When its slow clock notifies them that their timers have gone off.
    timers_at: Duration,
    /// What its kernel returned when it was last polled: whether programs are to be notified, and when its next
    /// timer is due.
    news: bool,
    timer: Option<Duration>,
    chance: Chance,
    steering: Rc<RefCell<Steering>>,
}

impl Host {
    pub(super) fn new(
        id: HostId,
        kernel: SharedKernel,
        machine: Rc<Machine>,
        root: Arc<Root>,
        read_delay: RangeInclusive<Duration>,
        chance: Chance,
        steering: Rc<RefCell<Steering>>,
    ) -> Self {
        let slow = steering.borrow_mut().slow(id);
        Self {
            id,
            kernel,
            machine,
            powered: true,
            stalled_until: Duration::ZERO,
            slow,
            read_delay,
            started: 0,
            tasks: LocalSet::new(),
            has_tasks: false,
            woken: Arc::new(Woken { flag: AtomicBool::new(true), by_timer: AtomicBool::new(false), root }),
            turn_at: None,
            ran_at: Duration::ZERO,
            timers_at: Duration::ZERO,
            news: false,
            timer: None,
            chance,
            steering,
        }
    }

    /// How much too slow its clock is.
    pub(super) fn slow(&self) -> PartsPerMillion {
        self.slow
    }

    /// Adds a task; it runs when the scheduler next picks this host.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.started += 1;
        self.tasks.spawn_local(task);
        self.wake();
    }

    /// Ends every task; the kernel closes what they held.
    pub(super) fn end_tasks(&mut self) {
        drop(std::mem::take(&mut self.tasks));
        self.has_tasks = false;
        self.wake(); // the new set has to learn whom to wake
    }

    fn wake(&mut self) {
        self.woken.flag.store(true, Ordering::Relaxed);
        self.woken.by_timer.store(false, Ordering::Relaxed);
        self.timers_at = Duration::ZERO;
    }

    /// When its tasks can go on, if they have something to do.
    ///
    /// Timers of all hosts go off by one clock, tokio's. On a host with a slow clock they are late by a share of the time
    /// since its programs last ran: of a timer's whole time if nothing else woke them, and never of more.
    fn next_task(&mut self, now: Duration) -> Option<Duration> {
        if !self.woken.flag.load(Ordering::Relaxed) {
            return None;
        }
        if self.woken.by_timer.swap(false, Ordering::Relaxed) {
            self.timers_at = now + self.slow.of(now.saturating_sub(self.ran_at));
        }
        Some(self.timers_at.max(now))
    }

    /// When the driver will look at the kernel: a delay after the first thing there is to see.
    pub(super) fn next_turn(&mut self, now: Duration) -> Option<Duration> {
        self.look();
        if self.turn_at.is_none() && self.news {
            let late = self.steering.borrow_mut().turn(self.id, now);
            self.turn_at = Some(now + self.chance.duration(&self.read_delay) + late);
        }
        self.turn_at
    }

    /// When its kernel has something to do by itself.
    pub(super) fn next_timer(&mut self) -> Option<Duration> {
        self.look();
        self.timer
    }

    fn look(&mut self) {
        if self.kernel.was_used() {
            let kernel = self.kernel.look();
            (self.news, self.timer) = (kernel.has_news(), kernel.next_timer());
        }
    }

    /// Whether polling it at `now` could do something.
    pub(super) fn is_runnable(&mut self, now: Duration) -> bool {
        let turns = self.next_turn(now).is_some_and(|at| at <= now);
        (turns || self.next_task(now).is_some_and(|at| at <= now)) && self.stalled_until <= now
    }

    /// Whether something will make it run after `now` without anything else happening.
    pub(super) fn next_run(&mut self, now: Duration) -> Option<Duration> {
        let turn = self.next_turn(now);
        let wanted = turn.into_iter().chain(self.next_task(now)).min()?;
        Some(wanted.max(self.stalled_until))
    }

    /// Lets the driver turn if it is due, then the tasks run.
    pub(super) fn run(&mut self, now: Duration) {
        let stall = self.steering.borrow_mut().run(self.id, now);
        if !stall.is_zero() {
            self.stalled_until = now + stall;
            return;
        }
        self.woken.flag.store(false, Ordering::Relaxed);
        (self.ran_at, self.timers_at) = (now, Duration::ZERO);
        if self.turn_at.is_some_and(|at| at <= now) {
            self.turn_at = None;
            let wakers = self.kernel.lock().turn();
            wakers.into_iter().for_each(Waker::wake);
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let _here = self.machine.enter();
        // Ready means that every task has ended; more may be spawned.
        self.has_tasks = Pin::new(&mut self.tasks).poll(&mut Context::from_waker(&waker)).is_pending();
    }

    /// Whether some of its tasks had not ended when they last ran.
    pub(super) fn has_tasks(&self) -> bool {
        self.has_tasks
    }
}

/// Whether a host's tasks have something to do.
struct Woken {
    flag: AtomicBool,
    /// Whether a timer of the runtime set it.
    by_timer: AtomicBool,
    root: Arc<Root>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.flag.swap(true, Ordering::Relaxed) {
            self.by_timer.store(self.root.waits(), Ordering::Relaxed);
            self.root.wake();
        }
    }
}

/// How to wake the scheduler while it waits for time to pass. Empty while it runs, so that it does not wake
/// itself and thereby keep the clock from moving.
#[derive(Default)]
pub(super) struct Root {
    waker: Mutex<Option<Waker>>,
    /// A task woken meanwhile is woken by the runtime: by a timer, or because a task yielded at this instant.
    waits: AtomicBool,
}

impl Root {
    pub(super) fn set(&self, waker: Option<Waker>) {
        self.waits.store(waker.is_some(), Ordering::Relaxed);
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }

    fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
