//! What programs may do to the world they run in: note, look, and break things.

use std::future::Future;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::rc::{Rc, Weak};
use std::time::Duration;

use finwait::net::Outside;

use super::fault::Fault;
use super::{Command, WorldShared, boxed};
use crate::kernel::OpenSocket;
use crate::trace::{Event, HostId};

/// A handle to a running world, for programs on its hosts. After the world has ended it does nothing.
#[derive(Clone)]
pub struct Control {
    world: Weak<WorldShared>,
}

impl Control {
    pub(super) fn new(world: &Rc<WorldShared>) -> Self {
        Self { world: Rc::downgrade(world) }
    }

    /// Virtual time since the beginning of the run.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.world.upgrade().map_or(Duration::ZERO, |world| world.now.get())
    }

    /// Puts a sentence on record.
    pub fn note(&self, host: HostId, text: impl Into<String>) {
        if let Some(world) = self.world.upgrade() {
            world.trace.lock().push(world.now.get(), Event::Note { host, text: text.into() });
        }
    }

    /// Every socket of a host at this moment, listeners first.
    #[must_use]
    pub fn open_sockets(&self, host: HostId) -> Vec<OpenSocket> {
        let Some(world) = self.world.upgrade() else { return Vec::new() };
        let kernel = world.kernels.borrow().get(host.index()).cloned();
        kernel.map_or_else(Vec::new, |kernel| kernel.lock().open_sockets())
    }

    /// From now on `name` resolves to `addresses`; none: it is unknown.
    pub fn rename(&self, name: &str, addresses: &[IpAddr]) {
        if let Some(world) = self.world.upgrade() {
            world.failing_names.borrow_mut().remove(name);
            world.names.borrow_mut().insert(name.into(), addresses.to_vec());
        }
    }

    /// From now on the name server fails for `name`, until [`Control::rename`].
    pub fn fail_name(&self, name: &str) {
        if let Some(world) = self.world.upgrade() {
            world.failing_names.borrow_mut().insert(name.into());
        }
    }

    /// From now on the name server responds so long after each query for `name`; `None` is at once.
    pub fn delay_name(&self, name: &str, after: Option<Duration>) {
        let Some(world) = self.world.upgrade() else { return };
        let mut late = world.late_names.borrow_mut();
        match after {
            Some(after) => drop(late.insert(name.into(), after)),
            None => drop(late.remove(name)),
        }
    }

    /// Segments from `from` to `to` wait, in order, until [`Control::release`].
    pub fn hold(&self, from: HostId, to: HostId) {
        if let Some(world) = self.intervene("a hold") {
            world.network.borrow_mut().begin_hold(from, to);
        }
    }

    /// Lets exactly `bytes` more of payload pass from `from` to `to`, then holds. What was held already passes first; a
    /// segment that has more is cut in two.
    pub fn gate(&self, from: HostId, to: HostId, bytes: u64) {
        if let Some(world) = self.intervene("a gate") {
            world.network.borrow_mut().begin_gate(from, to, bytes, world.now.get());
        }
    }

    /// Ends a hold, a gate or a black hole from `from` to `to`. What was held leaves now, in order.
    pub fn release(&self, from: HostId, to: HostId) {
        if let Some(world) = self.intervene("the release of a hold, a gate or a black hole") {
            world.network.borrow_mut().open(from, to, world.now.get());
        }
    }

    /// Segments from `from` to `to` vanish until [`Control::release`].
    pub fn black_hole(&self, from: HostId, to: HostId) {
        if let Some(world) = self.intervene("a black hole") {
            world.network.borrow_mut().swallow(from, to, world.now.get());
        }
    }

    /// Some of the segments from `from` to `to` meet with a fault, when they come through.
    pub fn fault(&self, from: HostId, to: HostId, fault: Fault) {
        if let Some(world) = self.intervene("a fault of single segments") {
            world.network.borrow_mut().fault(from, to, fault);
        }
    }

    /// Segments vanish in both directions until [`Control::repair`].
    pub fn partition(&self, a: HostId, b: HostId) {
        self.black_hole(a, b);
        self.black_hole(b, a);
    }

    /// Ends a partition.
    pub fn repair(&self, a: HostId, b: HostId) {
        self.release(a, b);
        self.release(b, a);
    }

    /// Kills every process of a host; its kernel closes their sockets as it would for any process.
    pub fn kill(&self, host: HostId) {
        self.command(Command::Kill(host));
    }

    /// Cuts a host off from power: no segment leaves any more, and what arrives is lost.
    pub fn power_off(&self, host: HostId) {
        self.command(Command::PowerOff(host));
    }

    /// The host's programs get no processor time for `how_long`; its kernel goes on responding.
    pub fn stall(&self, host: HostId, how_long: Duration) {
        self.command(Command::Stall(host, self.now() + how_long));
    }

    /// Sets a host's wall clock forwards, or backwards, by `by`. Its timers do not read_delay.
    pub fn set_clock(&self, host: HostId, by: Duration, backwards: bool) {
        if let Some(world) = self.world.upgrade() {
            let mut clocks = world.clocks.borrow_mut();
            let clock = clocks.entry(host).or_default();
            let by = i128::try_from(by.as_nanos()).unwrap_or(i128::MAX);
            clock.ahead = clock.ahead.saturating_add(if backwards { -by } else { by });
        }
    }

    /// From now on the host's driver takes so long to look at what its kernel already has.
    pub fn read_delay(&self, host: HostId, delay: RangeInclusive<Duration>) {
        self.command(Command::ReadDelay(host, delay));
    }

    /// From now on the run keeps to its plain course, whatever [`Settings::course`](super::Settings::course) sets, until
    /// this is called with `false`. For what has to be in place before the part of a run that is looked at.
    pub fn keep_to_plain_course(&self, keep: bool) {
        if let Some(world) = self.world.upgrade() {
            world.steering.borrow_mut().rest(keep);
        }
    }

    /// Starts a program, on a host without power too: it then has power again, and an empty kernel.
    pub fn start<P, F>(&self, host: HostId, program: P)
    where
        P: FnOnce(Outside) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.command(Command::Start(host, boxed(program)));
    }

    /// The world, for those who change its course; turmoil's cannot be changed like this.
    fn intervene(&self, how: &str) -> Option<Rc<WorldShared>> {
        let world = self.world.upgrade()?;
        if world.on_turmoil.get() {
            world.refuse(how);
            return None;
        }
        Some(world)
    }

    fn command(&self, command: Command) {
        if let Some(world) = self.intervene(command.name()) {
            world.commands.borrow_mut().push_back(command);
        }
    }
}
