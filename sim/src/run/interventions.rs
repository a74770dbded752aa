//! What the script does to the world itself: faults, clocks, names, and the programs of hosts.

use super::runner::Runner;
use crate::proxy::Stop;
use crate::scenario::{Direction, Intervention, NameAnswer, Naming, Pair, Segments, TimeStep};
use crate::trace::HostId;
use crate::world::fault::{Effect, Fault};

impl Runner {
    pub(super) fn intervene(&self, intervention: Intervention) -> Result<(), String> {
        let control = &self.control;
        match intervention {
            Intervention::BlackHole(way) => self.direction(&way, |from, to| control.black_hole(from, to)),
            Intervention::Clock(step) => {
                let (by, back) = match step.by {
                    TimeStep::Back(time) => (time.0, true),
                    TimeStep::Forth(time) => (time.0, false),
                };
                self.host(&step.host, |id| control.set_clock(id, by, back))
            }
            Intervention::Delay(segments) => {
                let delay = Effect::Delay(segments.by.unwrap_or_default().0);
                self.direction(&segments.direction, |from, to| control.fault(from, to, fault(&segments, delay)))
            }
            Intervention::Drain(draining) => {
                let listeners_after = draining.listeners_after.unwrap_or_default().0;
                self.roles.drain(&draining.host, Stop { listeners_after, time: draining.time.0 });
                Ok(())
            }
            Intervention::Drop(segments) => {
                self.direction(&segments.direction, |from, to| control.fault(from, to, fault(&segments, Effect::Drop)))
            }
            Intervention::Gate(gate) => {
                let bytes = u64::try_from(gate.bytes.0).unwrap_or(u64::MAX);
                self.direction(&gate.direction, |from, to| control.gate(from, to, bytes))
            }
            Intervention::Hold(way) => self.direction(&way, |from, to| control.hold(from, to)),
            Intervention::Kill(host) => {
                self.roles.mark_killed(&host);
                self.host(&host, |id| control.kill(id))
            }
            Intervention::Partition(pair) => self.pair(&pair, |a, b| control.partition(a, b)),
            Intervention::PowerOff(host) => {
                self.host(&host, |id| control.power_off(id))?;
                self.roles.mark_killed(&host);
                Ok(())
            }
            Intervention::Release(way) => self.direction(&way, |from, to| control.release(from, to)),
            Intervention::Reload(reload) => {
                match reload.read {
                    Some(config) => self.roles.reload(&reload.host, config),
                    None => self.roles.change_files(&reload),
                }
                Ok(())
            }
            Intervention::Repair(pair) => self.pair(&pair, |a, b| control.repair(a, b)),
            Intervention::Resolve(naming) => {
                self.answer(&naming);
                Ok(())
            }
            Intervention::Restart(host) => {
                self.roles.restart(&host);
                Ok(())
            }
            Intervention::Stall(stall) => self.host(&stall.host, |id| control.stall(id, stall.time.0)),
        }
    }

    /// What the name server responds from now on.
    fn answer(&self, Naming { name, to, after }: &Naming) {
        self.control.delay_name(name, after.map(|after| after.0));
        match to {
            NameAnswer::Addresses(to) => self.control.rename(name, to),
            NameAnswer::NoSuchName => self.control.rename(name, &[]),
            NameAnswer::ServerFailed => self.control.fail_name(name),
        }
    }

    pub(super) fn id(&self, host: &str) -> Option<HostId> {
        self.hosts.iter().find(|(name, _)| name == host).map(|(_, id)| *id)
    }

    fn host(&self, name: &str, act: impl FnOnce(HostId)) -> Result<(), String> {
        self.id(name).map(act).ok_or_else(|| format!("there is no host {name}"))
    }

    fn direction(&self, direction: &Direction, act: impl FnOnce(HostId, HostId)) -> Result<(), String> {
        let (Some(from), Some(to)) = (self.id(&direction.from), self.id(&direction.to)) else {
            return Err(format!("no host has one end of {direction}"));
        };
        act(from, to);
        Ok(())
    }

    fn pair(&self, pair: &Pair, act: impl FnOnce(HostId, HostId)) -> Result<(), String> {
        let (from, to) = pair.among(|name| self.id(name).is_some()).ok_or("these are not two hosts")?;
        self.direction(&Direction { from: from.into(), to: to.into() }, act)
    }
}

fn fault(segments: &Segments, effect: Effect) -> Fault {
    Fault {
        which: segments.segment,
        connection: segments.connection,
        skip: segments.skip,
        times: segments.times,
        effect,
    }
}
