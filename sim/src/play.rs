//! A scenario becomes a world, runs, and is read back: what the actors saw, and the complete trace.
//!
//! The script runs first. Then everybody leaves: clients close what they have open, the proxies drain, the apps stop. What
//! a program still holds after that was leaked.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use finwait::stats::Number;
use serde_yaml::{Location, Spanned};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::actor::{App, Client, Notebook, Order, Orders, Sightings};
use crate::kernel::link::Link;
use crate::proxy::{DRAIN_TIME, Numbers, Proxy};
use crate::scenario::{Path, Role, SCRIPT_HOST, Scenario, ScenarioError, Step};
use crate::trace::{HostId, Trace};
use crate::world::perturb::{Course, Perturbation, Perturbed};
use crate::world::turmoil::Inexpressible;
use crate::world::{Control, Ended, Run, Settings, World};

/// How long the world gets to finish what the last step began; Envoy's delayed close takes one second.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between the stops of two proxies: enough for the connections between them to close in order.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// Orders an actor may have waiting: the script waits for each, so there is never a second one.
const ORDERS_MAX: usize = 1;

/// A run, over.
#[derive(Debug)]
pub struct Played {
    /// Every event.
    pub trace: Trace,
    /// What the actors saw.
    pub sightings: Sightings,
    /// The step that could not be carried out, and why; the steps after it did not happen.
    pub stuck: Option<(Location, String)>,
    /// Sockets that a program still held when everybody had left, each with its host's name.
    pub left_open: Vec<String>,
    /// The proxies' counters and gauges when everybody had left, by host.
    pub stats: Vec<(String, Vec<Number>)>,
    /// Where it departed from its plain course.
    pub perturbed: Vec<Perturbed>,
    /// How long it took in virtual time.
    pub took: Duration,
}

impl Scenario {
    /// Plays it, with another seed than its own if one is given.
    ///
    /// # Errors
    /// A proxy refuses its configuration.
    pub fn play(&self, seed: Option<u64>) -> Result<Played, ScenarioError> {
        self.play_on(seed.unwrap_or(self.seed), &self.course)
    }

    /// Plays it with this seed and on this course instead of its own.
    ///
    /// # Errors
    /// A proxy refuses its configuration.
    pub fn play_on(&self, seed: u64, course: &Course<String>) -> Result<Played, ScenarioError> {
        let stage = self.stage(seed, course)?;
        Ok(stage
            .perform(self, |world, limit| Ok::<_, Infallible>(world.run(limit)))
            .unwrap_or_else(|never| match never {}))
    }

    /// Plays it on turmoil instead of our own sockets.
    ///
    /// # Errors
    /// A proxy refuses its configuration; or the scenario needs something that turmoil does not have.
    pub fn play_on_turmoil(&self, seed: u64) -> Result<Played, ScenarioError> {
        let refused = |error: Inexpressible| ScenarioError::of_file(&self.file, error.to_string());
        let mut played = None;
        for (tick, limit) in TURMOIL_PACES {
            let limit = limit.min(self.limit.0);
            let stage = self.stage(seed, &self.course)?;
            let run = stage.perform(self, |world, _| world.run_on_turmoil(limit, tick)).map_err(refused)?;
            let is_over = run.stuck.is_none() && run.took < limit;
            played = Some(run);
            if is_over {
                break;
            }
        }
        played.ok_or_else(|| ScenarioError::of_file(&self.file, "no time to play it in"))
    }

    fn stage(&self, seed: u64, course: &Course<String>) -> Result<Stage, ScenarioError> {
        let mut stage = Stage::new(self, seed, course);
        for host in &self.hosts {
            match &host.role {
                Role::App(app) => stage.app(&host.name, app.clone()),
                Role::Client(client) => stage.client(&host.name, client.clone()),
                Role::Proxy { file, text } => {
                    let proxy = Proxy::new(file, text).map_err(|why| ScenarioError::of_file(&self.file, why))?;
                    stage.proxy(&host.name, proxy);
                }
            }
        }
        Ok(stage)
    }
}

/// Ticks, and how much virtual time to try them on. turmoil steps every host at every tick, so an idle hour takes it
/// minutes: what is not over soon is played again in larger steps, and the last pace is the one that counts.
const TURMOIL_PACES: [(Duration, Duration); 3] = [
    (Duration::from_millis(1), Duration::from_secs(20)),
    (Duration::from_millis(20), Duration::from_secs(600)),
    (Duration::from_millis(100), Duration::MAX),
];

/// A world that is being set up.
struct Stage {
    world: World,
    hosts: Vec<(String, HostId)>,
    cast: Cast,
    sightings: Rc<RefCell<Sightings>>,
    numbers: Vec<(String, Numbers)>,
}

/// How the script reaches those who take part. Dropping the way to somebody tells them to leave.
#[derive(Default)]
struct Cast {
    clients: Vec<(String, mpsc::Sender<Order>)>,
    proxies: Vec<oneshot::Sender<()>>,
    apps: Vec<(String, mpsc::Sender<Order>)>,
}

impl Stage {
    fn new(scenario: &Scenario, seed: u64, course: &Course<String>) -> Self {
        let mut settings = Settings { seed, course: course_of_hosts(scenario, course), ..Settings::default() };
        if let Some(notice) = scenario.notice {
            settings.notice_delay = notice.from.0..=notice.to.0;
        }
        let mut world = World::new(settings);
        let mut hosts: Vec<(String, HostId)> = Vec::new();
        for host in &scenario.hosts {
            let addresses: Vec<IpAddr> = host.ip.into_iter().collect();
            hosts.push((host.name.clone(), world.host(&host.name, &addresses)));
        }
        let id = |name: &str| hosts.iter().find(|(has, _)| has == name).map(|(_, id)| *id);
        for link in &scenario.links {
            if let (Some(a), Some(b)) = (id(&link.between.0), id(&link.between.1)) {
                world.link(a, b, Link::from(&link.path));
            }
        }
        Self { world, hosts, cast: Cast::default(), sightings: Rc::default(), numbers: Vec::new() }
    }

    fn host(&self, name: &str) -> HostId {
        let found = self.hosts.iter().find(|(has, _)| has == name);
        found.map(|(_, id)| *id).expect("a stage has all hosts of its scenario")
    }

    fn app(&mut self, name: &str, app: crate::scenario::App) {
        let (orders, incoming): (_, Orders) = mpsc::channel(ORDERS_MAX);
        let (id, control) = (self.host(name), self.world.control());
        let (host, sightings) = (name.to_owned(), Rc::clone(&self.sightings));
        self.world.spawn(id, move |outside| async move {
            let notebook = Notebook::new(&host, Instant::now(), &sightings);
            if let Err(error) = App::new(outside, &app, notebook).run(incoming).await {
                control.note(id, format!("cannot serve: {error}"));
            }
        });
        self.cast.apps.push((name.into(), orders));
    }

    fn client(&mut self, name: &str, client: crate::scenario::Client) {
        let (orders, incoming): (_, Orders) = mpsc::channel(ORDERS_MAX);
        let (host, sightings) = (name.to_owned(), Rc::clone(&self.sightings));
        self.world.spawn(self.host(name), move |outside| async move {
            let notebook = Notebook::new(&host, Instant::now(), &sightings);
            Client::new(outside, &client, notebook).run(incoming).await;
        });
        self.cast.clients.push((name.into(), orders));
    }

    fn proxy(&mut self, name: &str, proxy: Proxy) {
        self.numbers.push((name.into(), proxy.numbers()));
        let (stop, stopped) = oneshot::channel();
        let (id, control) = (self.host(name), self.world.control());
        for warning in &proxy.warnings {
            control.note(id, warning);
        }
        self.world.spawn(id, move |outside| async move {
            if let Err(error) = proxy.run(outside, stopped).await {
                control.note(id, format!("cannot run: {error}"));
            }
        });
        self.cast.proxies.push(stop);
    }

    fn perform<E>(self, scenario: &Scenario, run: impl FnOnce(World, Duration) -> Result<Run, E>) -> Result<Played, E> {
        let Self { mut world, hosts, cast, sightings, numbers } = self;
        let stuck = Rc::new(Cell::new(None));
        let desk = world.host(SCRIPT_HOST, &[]);
        world.control().keep_to_plain_course(true); // until everybody is in place
        let script: Vec<Cue> = scenario.script.iter().map(Cue::from).collect();
        let reader = Reader { hosts: hosts.clone(), desk, control: world.control(), cast, stuck: Rc::clone(&stuck) };
        world.spawn_main(desk, move |_| reader.read(script));
        let run = run(world, scenario.limit.0)?;
        let mut stuck = stuck.take();
        if let Ended::LimitReached { .. } = run.ended {
            stuck = stuck.map(|(at, _)| (at, format!("was not over after {:?} of virtual time", scenario.limit.0)));
        }
        let name = |id: HostId| hosts.iter().find(|(_, has)| *has == id).map_or("?", |(name, _)| name.as_str());
        let held = run.open_sockets.iter().filter(|socket| socket.held);
        let left_open = held.map(|socket| format!("{}: {socket}", name(socket.host))).collect();
        let stats = numbers.into_iter().map(|(host, numbers)| (host, numbers.now())).collect();
        let (sightings, took) = (sightings.take(), run.virtual_time);
        Ok(Played { trace: run.trace, sightings, stuck, left_open, stats, perturbed: run.perturbed, took })
    }
}

/// The course with places for names: hosts are made in the order of the file, the script's after them.
fn course_of_hosts(scenario: &Scenario, course: &Course<String>) -> Course {
    let place = |name: &String| {
        let names = scenario.hosts.iter().map(|host| host.name.as_str()).chain([SCRIPT_HOST]);
        names.into_iter().position(|has| has == name).map(HostId)
    };
    match course {
        Course::Drawn(bounds) => Course::Drawn(*bounds),
        Course::Fixed(list) => {
            Course::Fixed(list.iter().filter_map(|it| it.rename(place)).collect::<Vec<Perturbation>>())
        }
        Course::Plain => Course::Plain,
    }
}

/// A step and where it stands.
struct Cue {
    at: Location,
    text: String,
    step: Step,
}

impl From<&Spanned<Step>> for Cue {
    fn from(step: &Spanned<Step>) -> Self {
        Self { at: step.referenced, text: step.value.to_string(), step: step.value.clone() }
    }
}

/// Who reads the script aloud.
struct Reader {
    hosts: Vec<(String, HostId)>,
    desk: HostId,
    control: Control,
    cast: Cast,
    /// The step that is under way, with what went wrong in it; nothing when the script has been read.
    stuck: Rc<Cell<Option<(Location, String)>>>,
}

impl Reader {
    async fn read(self, script: Vec<Cue>) {
        // The proxies and apps begin to listen in the instant in which the run begins.
        sleep(Duration::from_millis(1)).await;
        self.control.keep_to_plain_course(false);
        for Cue { at, text, step } in script {
            self.stuck.set(Some((at, String::new())));
            match self.carry_out(&text, step).await {
                Ok(()) => self.stuck.set(None),
                Err(why) => {
                    self.stuck.set(Some((at, why)));
                    break;
                }
            }
        }
        self.farewell().await;
    }

    async fn carry_out(&self, text: &str, step: Step) -> Result<(), String> {
        let (host, action) = match step {
            Step::Wait(time) => {
                self.control.note(self.desk, text);
                sleep(time.0).await;
                return Ok(());
            }
            Step::Do { host, action } => (host, action),
        };
        if let Some((_, id)) = self.hosts.iter().find(|(name, _)| *name == host) {
            self.control.note(*id, text);
        }
        let actors = self.cast.clients.iter().chain(&self.cast.apps);
        let orders = actors.filter(|(name, _)| *name == host).map(|(_, orders)| orders).next();
        let (done, result) = oneshot::channel();
        let orders = orders.ok_or("nobody takes orders there")?;
        orders.send(Order { action, done }).await.map_err(|_| "it has stopped")?;
        result.await.map_err(|_| "it has stopped")?
    }

    /// Everybody leaves, those first whom others wait for.
    async fn farewell(self) {
        let Self { cast: Cast { clients, proxies, apps }, control, desk, .. } = self;
        control.note(desk, "the script is over: the clients leave");
        drop(clients);
        sleep(FAREWELL).await;
        control.note(desk, "the proxies stop, one after the other");
        for stop in proxies {
            // Fails only if the proxy has stopped by itself, which its note tells.
            let _told = stop.send(());
            sleep(STOP_INTERVAL).await;
        }
        sleep(DRAIN_TIME + FAREWELL).await;
        control.note(desk, "the apps stop");
        drop(apps);
    }
}

impl From<&Path> for Link {
    fn from(path: &Path) -> Self {
        let bandwidth = path.bandwidth.and_then(|rate| NonZeroU64::new(u64::try_from(rate.0).ok()?));
        Self { latency: path.latency.0, jitter: path.jitter.0, bandwidth, loss: path.loss, reorder: path.reorder }
    }
}
