//! Who reads the script aloud: one line after the other, the parts in the background beside each other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use finwait::net::LocalBoxFuture;
use serde_yaml::{Location, Spanned};
use tokio::select;
use tokio::sync::{Barrier, Notify, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::cast::Cast;
use crate::actor::Order;
use crate::proxy::{DRAIN_TIME, Stop};
use crate::scenario::{Action, Cue, Direction, Intervention, Pair, Role, Segments, Step, TimeStep};
use crate::trace::HostId;
use crate::world::Control;
use crate::world::fault::{Effect, Fault};

/// How long the world gets to finish what the last step began; Envoy's delayed close takes one second.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between the stops of two proxies: enough for the connections between them to close in order.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

type Script = Vec<Spanned<Cue>>;

/// Where the reader leaves what the run's end may cut off.
#[derive(Default)]
pub(super) struct Desk {
    /// The step that could not be carried out.
    stuck: RefCell<Option<(Location, String)>>,
    /// Steps that have begun and not ended, by their number.
    waiting: RefCell<BTreeMap<u64, Waiting>>,
}

struct Waiting {
    at: Location,
    text: String,
    since: Duration,
    what_for: WhatFor,
}

/// What a step waits for.
enum WhatFor {
    /// The other parts of the script, so many with its own.
    Barrier(String, usize),
    /// Somebody to do it, on this connection if one is named.
    Doing(String, Option<String>),
    /// The end of another step.
    Event(String),
    /// What its own words say.
    Itself,
}

impl Desk {
    pub(super) fn stuck(&self) -> Option<(Location, String)> {
        self.stuck.borrow().clone()
    }

    pub(super) fn first_waiting(&self) -> Option<(Location, String)> {
        self.waiting.borrow().values().next().map(|step| (step.at, step.text.clone()))
    }

    /// A line for each step that has not ended. `accepted` says how many connections an app has accepted, of anybody else
    /// nothing.
    pub(super) fn who_waits(&self, accepted: impl Fn(&str) -> Option<usize>) -> String {
        let waiting = self.waiting.borrow();
        let lines = waiting.values().map(|Waiting { at, text, since, what_for }| {
            let why = match what_for {
                WhatFor::Barrier(name, parts) => {
                    let is_there = |it: &&Waiting| matches!(&it.what_for, WhatFor::Barrier(other, _) if other == name);
                    let come = waiting.values().filter(is_there).count();
                    format!(", where {come} of {parts} parts of the script have come")
                }
                WhatFor::Doing(host, connection) => {
                    let number = connection.as_ref().map_or(Some(1), |number| number.parse().ok());
                    let missing =
                        accepted(host).filter(|accepted| number.is_some_and(|number: usize| number > *accepted));
                    let missing = missing.map(|accepted| match accepted {
                        0 => format!(", but {host} has accepted no connection"),
                        few => format!(", but {host} has accepted only {few}"),
                    });
                    missing.unwrap_or_default()
                }
                WhatFor::Event(name) => format!(", which follows {name}"),
                WhatFor::Itself => String::new(),
            };
            format!("\n  line {}, since {} ms: {text}{why}", at.line(), crate::clock::Millis(*since))
        });
        let lines: String = lines.collect();
        match lines.is_empty() {
            true => "the script was over, but not everybody had left; a larger `limit` gives them time".into(),
            false => format!("these wait:{lines}"),
        }
    }

    fn begin(&self, step: Waiting) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        waiting.insert(number, step);
        number
    }

    /// What a step waits for has come, and this is next.
    fn turn(&self, number: u64, what_for: WhatFor) {
        if let Some(step) = self.waiting.borrow_mut().get_mut(&number) {
            step.what_for = what_for;
        }
    }

    fn end(&self, number: u64) {
        self.waiting.borrow_mut().remove(&number);
    }
}

/// Who reads.
pub(super) struct Reader {
    hosts: Vec<(String, HostId)>,
    /// The host the reader is on.
    id: HostId,
    control: Control,
    cast: Rc<Cast>,
    desk: Rc<Desk>,
    barriers: BTreeMap<String, Barrier>,
    /// How many parts of the script come to each barrier.
    parts: BTreeMap<String, usize>,
    /// Events, and whether they have ended.
    events: BTreeMap<String, watch::Sender<bool>>,
    background: RefCell<Vec<Part>>,
    failed: Notify,
}

/// A part in the background. It ends with its owner, also where that is a wait for it that was given up.
struct Part(JoinHandle<()>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reader {
    pub(super) fn new(
        script: &Script,
        hosts: Vec<(String, HostId)>,
        id: HostId,
        control: Control,
        cast: Rc<Cast>,
        desk: Rc<Desk>,
    ) -> Rc<Self> {
        let (mut parts, mut events) = (BTreeMap::new(), BTreeMap::new());
        prepare(script, &mut parts, &mut events);
        let barriers = parts.iter().map(|(name, parts)| (name.clone(), Barrier::new(*parts))).collect();
        let (background, failed) = Default::default();
        Rc::new(Self { hosts, id, control, cast, desk, barriers, parts, events, background, failed })
    }

    /// Reads the script, then sends everybody home.
    pub(super) async fn read(self: Rc<Self>, script: Script) {
        // The proxies and apps begin to listen in the instant in which the run begins.
        sleep(Duration::from_millis(1)).await;
        self.control.keep_to_plain_course(false);
        let all = async {
            Rc::clone(&self).sequence(script).await;
            // Parts may begin parts, so the list can grow while it is waited for.
            while let Some(mut part) = { self.background.borrow_mut().pop() } {
                drop((&mut part.0).await); // a panic ends the run by itself
            }
        };
        // A part that ends in its last step has ended well: the failure of another comes second.
        select! {
            biased;
            () = all => {}
            () = self.failed.notified() => {}
        }
        drop(self.background.take());
        self.farewell().await;
    }

    fn sequence(self: Rc<Self>, script: Script) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            for Spanned { value: cue, referenced: at, .. } in script {
                if let Err(why) = Rc::clone(&self).cue(at, cue).await {
                    *self.desk.stuck.borrow_mut() = Some((at, why));
                    self.failed.notify_one();
                    return std::future::pending().await;
                }
            }
        })
    }

    async fn cue(self: Rc<Self>, at: Location, cue: Cue) -> Result<(), String> {
        let text = cue.to_string();
        let whose = if let Step::Do { host, .. } = &cue.step { format!("{host}: {text}") } else { text.clone() };
        let what_for = cue.follows.clone().map_or(WhatFor::Itself, WhatFor::Event);
        let number = self.desk.begin(Waiting { at, text: whose, since: self.control.now(), what_for });
        if let Some(event) = cue.follows.as_ref().and_then(|event| self.events.get(event)) {
            drop(event.subscribe().wait_for(|ended| *ended).await); // fails only when the reader is gone
        }
        if let Some(time) = cue.after {
            sleep(time.0).await;
        }
        if let Some(time) = cue.at {
            sleep_until(Instant::now() + time.0.saturating_sub(self.control.now())).await;
        }
        self.desk.turn(number, self.what_for(&cue.step));
        Rc::clone(&self).step(&text, cue.step).await?;
        if let Some(event) = cue.event.as_ref().and_then(|event| self.events.get(event)) {
            event.send_replace(true);
        }
        self.desk.end(number);
        Ok(())
    }

    fn what_for(&self, step: &Step) -> WhatFor {
        match step {
            Step::Barrier(name) => WhatFor::Barrier(name.clone(), self.parts.get(name).copied().unwrap_or_default()),
            Step::Do { host, connection, .. } => WhatFor::Doing(host.clone(), connection.clone()),
            Step::Background(_) | Step::Happen(_) | Step::Nothing | Step::Repeat(_) | Step::Wait(_) => WhatFor::Itself,
        }
    }

    async fn step(self: Rc<Self>, text: &str, step: Step) -> Result<(), String> {
        match step {
            Step::Background(script) => {
                let part = spawn_local(Rc::clone(&self).sequence(script));
                self.background.borrow_mut().push(Part(part));
                Ok(())
            }
            Step::Barrier(name) => {
                if let Some(barrier) = self.barriers.get(&name) {
                    barrier.wait().await;
                }
                Ok(())
            }
            Step::Do { host, connection, action } => self.order(text, &host, connection, action).await,
            Step::Happen(intervention) => {
                self.control.note(self.id, text);
                self.intervene(intervention)
            }
            Step::Nothing => Ok(()),
            Step::Repeat(repeat) => {
                for number in 1..=repeat.times {
                    self.control.note(self.id, repeat.heading(number));
                    Rc::clone(&self).sequence(repeat.round(number)).await;
                }
                Ok(())
            }
            Step::Wait(time) => {
                self.control.note(self.id, text);
                sleep(time.0).await;
                Ok(())
            }
        }
    }

    async fn order(&self, text: &str, host: &str, connection: Option<String>, action: Action) -> Result<(), String> {
        if let Some(id) = self.id(host) {
            self.control.note(id, text);
        }
        let (done, result) = oneshot::channel();
        let orders = self.cast.orders(host)?;
        orders.send(Order { connection, action, done }).await.map_err(|_| "it has stopped")?;
        result.await.map_err(|_| "it has stopped")?
    }

    fn intervene(&self, intervention: Intervention) -> Result<(), String> {
        let control = &self.control;
        match intervention {
            Intervention::BlackHole(way) => self.way(&way, |from, to| control.black_hole(from, to)),
            Intervention::Clock(step) => {
                let (by, back) = match step.by {
                    TimeStep::Back(time) => (time.0, true),
                    TimeStep::Forth(time) => (time.0, false),
                };
                self.host(&step.host, |id| control.set_clock(id, by, back))
            }
            Intervention::Delay(segments) => {
                let delay = Effect::Delay(segments.by.unwrap_or_default().0);
                self.way(&segments.way, |from, to| control.fault(from, to, fault(&segments, delay)))
            }
            Intervention::Drain(draining) => {
                let listeners_after = draining.listeners_after.unwrap_or_default().0;
                self.cast.drain(&draining.host, Stop { listeners_after, time: draining.time.0 });
                Ok(())
            }
            Intervention::Drop(segments) => {
                self.way(&segments.way, |from, to| control.fault(from, to, fault(&segments, Effect::Drop)))
            }
            Intervention::Gate(gate) => {
                let bytes = u64::try_from(gate.bytes.0).unwrap_or(u64::MAX);
                self.way(&gate.way, |from, to| control.gate(from, to, bytes))
            }
            Intervention::Hold(way) => self.way(&way, |from, to| control.hold(from, to)),
            Intervention::Kill(host) => {
                self.cast.lose(&host);
                self.host(&host, |id| control.kill(id))
            }
            Intervention::Partition(pair) => self.pair(&pair, |a, b| control.partition(a, b)),
            Intervention::PowerOff(host) => {
                self.host(&host, |id| control.power_off(id))?;
                self.cast.lose(&host);
                Ok(())
            }
            Intervention::Release(way) => self.way(&way, |from, to| control.release(from, to)),
            Intervention::Repair(pair) => self.pair(&pair, |a, b| control.repair(a, b)),
            Intervention::Resolve(naming) => {
                control.rename(&naming.name, &naming.to);
                Ok(())
            }
            Intervention::Restart(host) => {
                self.cast.restart(&host);
                Ok(())
            }
            Intervention::Stall(stall) => self.host(&stall.host, |id| control.stall(id, stall.time.0)),
        }
    }

    fn id(&self, host: &str) -> Option<HostId> {
        self.hosts.iter().find(|(name, _)| name == host).map(|(_, id)| *id)
    }

    fn host(&self, name: &str, act: impl FnOnce(HostId)) -> Result<(), String> {
        self.id(name).map(act).ok_or_else(|| format!("there is no host {name}"))
    }

    fn way(&self, way: &Direction, act: impl FnOnce(HostId, HostId)) -> Result<(), String> {
        let (Some(from), Some(to)) = (self.id(&way.from), self.id(&way.to)) else {
            return Err(format!("there is no way {way}"));
        };
        act(from, to);
        Ok(())
    }

    fn pair(&self, pair: &Pair, act: impl FnOnce(HostId, HostId)) -> Result<(), String> {
        let (from, to) = pair.among(|name| self.id(name).is_some()).ok_or("these are not two hosts")?;
        self.way(&Direction { from: from.into(), to: to.into() }, act)
    }

    /// Everybody leaves, those first whom others wait for.
    async fn farewell(&self) {
        let Self { cast, control, id, .. } = self;
        control.note(*id, "the script is over: the clients leave");
        cast.dismiss(|role| matches!(role, Role::Client(_)));
        sleep(FAREWELL).await;
        cast.dismiss(|role| matches!(role, Role::Alb(_)));
        control.note(*id, "the proxies stop, one after the other");
        for proxy in cast.proxies() {
            cast.drain(&proxy, Stop::default());
            sleep(STOP_INTERVAL).await;
        }
        sleep(DRAIN_TIME + FAREWELL).await;
        control.note(*id, "the apps stop");
        cast.dismiss(|role| matches!(role, Role::App(_)));
    }
}

/// Counts who comes to each barrier, and finds the events.
fn prepare(
    script: &[Spanned<Cue>],
    parts: &mut BTreeMap<String, usize>,
    events: &mut BTreeMap<String, watch::Sender<bool>>,
) {
    let mut here: Vec<&str> = Vec::new();
    for Spanned { value: cue, .. } in script {
        if let Some(event) = &cue.event {
            events.insert(event.clone(), watch::Sender::new(false));
        }
        if let Step::Barrier(name) = &cue.step
            && !here.contains(&name.as_str())
        {
            here.push(name);
            *parts.entry(name.clone()).or_default() += 1;
        }
        prepare(cue.step.inner(), parts, events);
    }
}

fn fault(segments: &Segments, effect: Effect) -> Fault {
    Fault { which: segments.which, connection: segments.connection, skip: segments.skip, times: segments.times, effect }
}
