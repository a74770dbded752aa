//! Carries out the script: one step after the other, the sequences in the background beside each other.

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

use super::progress::{Progress, Waiting, WaitsFor};
use super::roles::Roles;
use crate::actor::Order;
use crate::proxy::{DRAIN_TIME, Stop};
use crate::scenario::{Action, Beginning, Cue, Role, Step};
use crate::trace::HostId;
use crate::world::Control;

/// How long the world gets to finish what the last step began; Envoy's delayed close takes one second.
const SHUTDOWN_PAUSE: Duration = Duration::from_secs(2);
/// Between the stops of two proxies: enough for the connections between them to close in order.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

type Script = Vec<Spanned<Cue>>;

/// Carries out one script.
pub(super) struct Runner {
    pub(super) hosts: Vec<(String, HostId)>,
    /// The host the script runs on.
    id: HostId,
    pub(super) control: Control,
    pub(super) roles: Rc<Roles>,
    progress: Rc<Progress>,
    barriers: BTreeMap<String, Barrier>,
    /// How many sequences of the script come to each barrier.
    parts: BTreeMap<String, usize>,
    /// Events, and whether they have ended.
    events: BTreeMap<String, watch::Sender<bool>>,
    background: RefCell<Vec<Background>>,
    failed: Notify,
}

/// A sequence in the background. It ends with its owner, also where that is a wait for it that was given up.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runner {
    pub(super) fn new(
        script: &Script,
        hosts: Vec<(String, HostId)>,
        id: HostId,
        control: Control,
        roles: Rc<Roles>,
        progress: Rc<Progress>,
    ) -> Rc<Self> {
        let (mut parts, mut events) = (BTreeMap::new(), BTreeMap::new());
        prepare(script, &mut parts, &mut events);
        let barriers = parts.iter().map(|(name, parts)| (name.clone(), Barrier::new(*parts))).collect();
        let (background, failed) = Default::default();
        Rc::new(Self { hosts, id, control, roles, progress, barriers, parts, events, background, failed })
    }

    /// Runs the script, then stops every program.
    pub(super) async fn run(self: Rc<Self>, script: Script, from: Beginning) {
        // The proxies and apps begin to listen in the instant in which the run begins.
        sleep(Duration::from_millis(1)).await;
        if let (Beginning::Ready, Some(first)) = (from, script.first()) {
            self.proxies_ready(first.referenced).await;
        }
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
        self.shut_down().await;
    }

    /// Waits until every proxy accepts connections. `first` is where the script's first step stands in the file.
    async fn proxies_ready(&self, first: Location) {
        let since = self.control.now();
        for (name, ready) in self.roles.take_starting() {
            let (text, waits_for) = ("the script begins".into(), WaitsFor::Proxy(name));
            let number = self.progress.begin(Waiting { at: first, text, since, waits_for });
            drop(ready.await); // one that has ended is not waited for: its note tells why
            self.progress.end(number);
        }
        if self.control.now() > since {
            self.control.note(self.id, "all proxies accept connections: the script begins");
        }
    }

    fn sequence(self: Rc<Self>, script: Script) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            for Spanned { value: cue, referenced: at, .. } in script {
                if let Err(why) = Rc::clone(&self).cue(at, cue).await {
                    self.progress.fail(at, why);
                    self.failed.notify_one();
                    return std::future::pending().await;
                }
            }
        })
    }

    async fn cue(self: Rc<Self>, at: Location, cue: Cue) -> Result<(), String> {
        let text = cue.to_string();
        let whose = if let Step::Do { host, .. } = &cue.step { format!("{host}: {text}") } else { text.clone() };
        let waits_for = cue.follows.clone().map_or(WaitsFor::Itself, WaitsFor::Event);
        let number = self.progress.begin(Waiting { at, text: whose, since: self.control.now(), waits_for });
        if let Some(event) = cue.follows.as_ref().and_then(|event| self.events.get(event)) {
            drop(event.subscribe().wait_for(|ended| *ended).await); // fails only when the runner is gone
        }
        if let Some(time) = cue.after {
            sleep(time.0).await;
        }
        if let Some(time) = cue.at {
            sleep_until(Instant::now() + time.0.saturating_sub(self.control.now())).await;
        }
        self.progress.waits_for(number, self.waits_for(&cue.step));
        Rc::clone(&self).step(&text, cue.step).await?;
        if let Some(event) = cue.event.as_ref().and_then(|event| self.events.get(event)) {
            event.send_replace(true);
        }
        self.progress.end(number);
        Ok(())
    }

    fn waits_for(&self, step: &Step) -> WaitsFor {
        match step {
            Step::Barrier(name) => WaitsFor::Barrier(name.clone(), self.parts.get(name).copied().unwrap_or_default()),
            Step::Do { host, connection, .. } => WaitsFor::Doing(host.clone(), connection.clone()),
            Step::Background(_) | Step::Happen(_) | Step::Nothing | Step::Repeat(_) | Step::Wait(_) => WaitsFor::Itself,
        }
    }

    async fn step(self: Rc<Self>, text: &str, step: Step) -> Result<(), String> {
        match step {
            Step::Background(script) => {
                let part = spawn_local(Rc::clone(&self).sequence(script));
                self.background.borrow_mut().push(Background(part));
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
        let orders = self.roles.orders(host)?;
        orders.send(Order { connection, action, done }).await.map_err(|_| "it has stopped")?;
        result.await.map_err(|_| "it has stopped")?
    }

    /// Stops every program, those first that others wait for.
    async fn shut_down(&self) {
        let Self { roles, control, id, .. } = self;
        control.note(*id, "the script is over: the clients close");
        roles.stop(|role| matches!(role, Role::Client(_)));
        sleep(SHUTDOWN_PAUSE).await;
        roles.stop(|role| matches!(role, Role::Alb(_)));
        control.note(*id, "the proxies stop, one after the other");
        for proxy in roles.proxies() {
            roles.drain(&proxy, Stop::default());
            sleep(STOP_INTERVAL).await;
        }
        sleep(DRAIN_TIME + SHUTDOWN_PAUSE).await;
        control.note(*id, "the apps stop");
        roles.stop(|role| matches!(role, Role::App(_)));
    }
}

/// Counts the sequences that come to each barrier, and finds the events.
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
