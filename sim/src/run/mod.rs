//! A scenario becomes a world, runs, and is read back: what the actors saw, and the complete trace.
//!
//! The script runs first. Then every program stops: clients close what they have open, the proxies drain, the apps stop.
//! What a program still holds after that was leaked.

mod interventions;
mod progress;
mod roles;
mod runner;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use finwait::stats::Snapshot;
use serde_yaml::Location;

use crate::actor::Sightings;
use crate::course::{Course, Perturbation, Perturbed};
use crate::kernel::link::Link;
use crate::left_out::LeftOut;
use crate::proxy::{self, Given, Proxy};
use crate::scenario::{Host, Path, ProxyConfig, Role, Scenario, ScenarioError};
use crate::tls::Authorities;
use crate::trace::conversation::Conversation;
use crate::trace::{HostId, Trace};
use crate::words::SCRIPT_HOST;
use crate::world::turmoil::Inexpressible;
use crate::world::{Ended, Lookup, Run, Settings, World, free_address};
use progress::Progress;
use roles::{Placement, Roles};
use runner::Runner;

/// Ticks, and how much virtual time to try them on. turmoil steps every host at every tick, so an idle hour takes it
/// minutes: what is not over soon is played again in larger steps, and the last pace is the one that counts.
const TURMOIL_PACES: [(Duration, Duration); 3] = [
    (Duration::from_millis(1), Duration::from_secs(75)), // beyond a balancer's usual idle timeout
    (Duration::from_millis(20), Duration::from_secs(600)),
    (Duration::from_millis(100), Duration::MAX),
];

/// A run, over.
#[derive(Debug)]
pub struct Played {
    /// Every event of the run, in order.
    pub trace: Trace,
    /// What the actors saw.
    pub sightings: Sightings,
    /// The step that could not be carried out, and why; the steps after it did not happen. At the limit it also names who
    /// else was waiting.
    pub stuck: Option<(Location, String)>,
    /// How the run ended.
    pub ended: Ended,
    /// Proxies that refuse their configuration, and why. Then nothing was played.
    pub refused: Vec<(String, String)>,
    /// What a program still had when everybody had left, sockets and tasks, each with its host's name.
    pub left_open: Vec<String>,
    /// The certificates that the world made up: for which host, and what they are.
    pub certificates: Vec<(String, String)>,
    /// What the configurations of proxies were read without: whose, and what.
    pub left_out: Vec<(String, LeftOut)>,
    /// What the proxies have counted when everybody had left, by host.
    pub stats: Vec<(String, Snapshot)>,
    /// The configurations that proxies put in force while they ran, the first first.
    pub reloads: Vec<InForce>,
    /// Where it departed from its plain course.
    pub perturbed: Vec<Perturbed>,
    /// What names resolved to.
    pub lookups: Vec<Lookup>,
    /// The seed that it was played with.
    pub seed: u64,
    /// The course that it was to take.
    pub course: Course<String>,
    /// How long it took in virtual time.
    pub took: Duration,
}

/// A configuration that a proxy put in force while it ran.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Since when, in virtual time.
    pub from: Duration,
    /// On which host.
    pub host: HostId,
    /// The configuration that the proxy runs with.
    pub config: ProxyConfig,
}

impl Scenario {
    /// Plays it, with another seed than its own if one is given.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that.
    pub fn play(&self, seed: Option<u64>) -> Result<Played, ScenarioError> {
        self.play_on(seed.unwrap_or(self.seed), &self.course)
    }

    /// Plays it with this seed and on this course instead of its own.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that.
    pub fn play_on(&self, seed: u64, course: &Course<String>) -> Result<Played, ScenarioError> {
        let refused = self.refused()?;
        let (world, hosts) = self.world(seed, course);
        if !refused.is_empty() {
            return Ok(refuse(world, &hosts, refused, seed));
        }
        let run = |world: World, limit| Ok::<_, Infallible>(world.run(limit));
        Ok(self.perform(world, (seed, course), &hosts, run).unwrap_or_else(|never| match never {}))
    }

    /// Plays it on turmoil instead of our own sockets.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that; or the scenario needs something that
    /// turmoil does not have.
    pub fn play_on_turmoil(&self, seed: u64) -> Result<Played, ScenarioError> {
        let inexpressible = |error: Inexpressible| ScenarioError::of_file(&self.file, error.to_string());
        let shares_ports = |role: &Role| matches!(role, Role::Proxy(config) if config.flags.concurrency.workers() > 1);
        if self.hosts.iter().any(|host| shares_ports(&host.role)) {
            return Err(inexpressible(Inexpressible("workers that share a port".into())));
        }
        let refused = self.refused()?;
        if !refused.is_empty() {
            let (world, hosts) = self.world(seed, &self.course);
            return Ok(refuse(world, &hosts, refused, seed));
        }
        let mut played = None;
        for (tick, limit) in TURMOIL_PACES {
            let limit = limit.min(self.limit.0);
            let (world, hosts) = self.world(seed, &self.course);
            let run = self.perform(world, (seed, &self.course), &hosts, |world, _| world.run_on_turmoil(limit, tick));
            let run = run.map_err(inexpressible)?;
            let is_over = run.took < limit;
            played = Some(run);
            if is_over {
                break;
            }
        }
        played.ok_or_else(|| ScenarioError::of_file(&self.file, "no time to play it in"))
    }

    /// The proxies that refuse their configuration as the scenario expects.
    fn refused(&self) -> Result<Vec<(String, String)>, ScenarioError> {
        let mut refused = Vec::new();
        for host in &self.hosts {
            if let Role::Proxy(config) = &host.role
                && let Err(why) = Proxy::new(Given::new(config, &host.name, &Authorities::new(0)))
            {
                if !self.expects_refusal_of(&host.name) {
                    return Err(ScenarioError::of_file(&self.file, why));
                }
                refused.push((host.name.clone(), why));
            }
        }
        Ok(refused)
    }

    fn expects_refusal_of(&self, host: &str) -> bool {
        self.expect.iter().any(|line| line.value.host == host && line.value.seen.config_error.is_some())
    }

    /// Hosts and links, without programs.
    fn world(&self, seed: u64, course: &Course<String>) -> (World, Vec<(String, HostId)>) {
        let mut settings = Settings { seed, course: self.course_of_hosts(course), ..Settings::default() };
        if let Some(read_delay) = self.read_delay {
            settings.read_delay = read_delay.from.0..=read_delay.to.0;
        }
        let mut world = World::new(settings);
        let mut hosts: Vec<(String, HostId)> = Vec::new();
        let written =
            |host: &Host| host.aliases.iter().filter_map(|it| it.parse().ok()).chain(host.ip).collect::<Vec<_>>();
        let mut taken: Vec<IpAddr> = self.hosts.iter().flat_map(written).collect();
        for host in &self.hosts {
            let ip = host.ip.unwrap_or_else(|| free_address(|ip| taken.contains(&ip)));
            let (addresses, names): (Vec<_>, Vec<_>) = host.aliases.iter().partition(|alias| is_address(alias));
            let all: Vec<IpAddr> = [ip].into_iter().chain(addresses.iter().filter_map(|it| it.parse().ok())).collect();
            taken.extend(&all);
            let id = world.host(&host.name, &all);
            names.into_iter().for_each(|name| world.alias(name, id));
            hosts.push((host.name.clone(), id));
        }
        self.share(&mut world, &hosts);
        self.redirect(&mut world, &hosts);
        let id = |name: &str| hosts.iter().find(|(has, _)| has == name).map(|(_, id)| *id);
        for link in &self.links {
            if let (Some(a), Some(b)) = (id(&link.between.0), id(&link.between.1)) {
                world.link(a, b, Link::from(&link.path));
            }
        }
        (world, hosts)
    }

    /// Puts the containers of pods on their machines.
    fn share(&self, world: &mut World, hosts: &[(String, HostId)]) {
        let id = |name: &str| hosts.iter().find(|(has, _)| has == name).map(|(_, id)| *id);
        for host in &self.hosts {
            let Some((machine, container)) = host.pod.as_deref().and_then(id).zip(id(&host.name)) else { continue };
            let ports = match &host.role {
                Role::Alb(alb) => vec![alb.port],
                Role::App(app) => vec![app.port],
                Role::Client(_) => Vec::new(),
                Role::Proxy(config) => proxy::ports(config),
            };
            world.share(container, machine, &ports);
        }
    }

    /// Has the kernels of hosts take what others send past them.
    fn redirect(&self, world: &mut World, hosts: &[(String, HostId)]) {
        let id = |name: &str| hosts.iter().find(|(has, _)| has == name).map(|(_, id)| *id);
        for host in &self.hosts {
            let Some((redirect, router)) = host.redirect.as_ref().zip(id(&host.name)) else { continue };
            let from: Vec<HostId> = redirect.from.iter().filter_map(|name| id(name)).collect();
            world.redirect(router, &from, redirect.to);
        }
    }

    /// The course with places for names: hosts are made in the order of the file, the script's after them.
    fn course_of_hosts(&self, course: &Course<String>) -> Course {
        let place = |name: &String| {
            let names = self.hosts.iter().map(|host| host.name.as_str()).chain([SCRIPT_HOST]);
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

    /// How many connections an app has accepted; none if it is no app.
    fn accepted(&self, app: &str, trace: &Trace) -> Option<usize> {
        self.hosts.iter().find(|host| host.name == app && matches!(host.role, Role::App(_)))?;
        let is_its = |it: &&Conversation| it.server.is_some_and(|server| trace.host(server) == app);
        Some(trace.conversations().iter().filter(is_its).count())
    }

    fn perform<E>(
        &self,
        mut world: World,
        (seed, course): (u64, &Course<String>),
        hosts: &[(String, HostId)],
        run: impl FnOnce(World, Duration) -> Result<Run, E>,
    ) -> Result<Played, E> {
        let sightings: Rc<RefCell<Sightings>> = Rc::default();
        let roles = Rc::new(Roles::new(world.control(), Authorities::new(seed), Rc::clone(&sightings)));
        for (host, (_, id)) in self.hosts.iter().zip(hosts) {
            let program = roles.add(Placement { name: host.name.clone(), id: *id, role: host.role.clone() });
            world.spawn(*id, program);
        }
        let progress = Rc::new(Progress::default());
        let id = world.host(SCRIPT_HOST, &[]);
        world.control().keep_to_plain_course(true); // until everybody is in place
        let runner =
            Runner::new(&self.script, hosts.to_vec(), id, world.control(), Rc::clone(&roles), Rc::clone(&progress));
        let (script, from) = (self.script.clone(), self.from);
        world.spawn_main(id, move |_| runner.run(script, from));
        let run = run(world, self.limit.0)?;
        let mut stuck = progress.stuck();
        if let Ended::LimitReached { .. } = run.ended {
            let waiting_steps = progress.waiting_steps(|host| self.accepted(host, &run.trace));
            let what = format!("was not over after {:?} of virtual time; {waiting_steps}", self.limit.0);
            stuck = stuck.or_else(|| progress.first_waiting()).map(|(at, _)| (at, what));
        }
        let name = |id: HostId| hosts.iter().find(|(_, has)| *has == id).map_or("?", |(name, _)| name.as_str());
        let held = run.open_sockets.iter().filter(|socket| socket.held);
        let sockets = held.map(|socket| format!("{}: {socket}", name(socket.host)));
        let tasks = run.with_tasks.iter().map(|host| format!("{}: a task that has not ended", name(*host)));
        let left_open = sockets.chain(tasks).collect();
        Ok(Played {
            trace: run.trace,
            sightings: sightings.take(),
            stuck,
            ended: run.ended,
            refused: Vec::new(),
            left_open,
            certificates: roles.certificates(),
            left_out: roles.left_out(),
            stats: roles.numbers(),
            reloads: roles.reloads(),
            perturbed: run.perturbed,
            lookups: run.lookups,
            seed,
            course: course.clone(),
            took: run.virtual_time,
        })
    }
}

fn is_address(alias: &str) -> bool {
    alias.parse::<IpAddr>().is_ok()
}

/// A run in which nothing happens, because a proxy does not start.
fn refuse(world: World, hosts: &[(String, HostId)], refused: Vec<(String, String)>, seed: u64) -> Played {
    for (name, why) in &refused {
        if let Some((_, id)) = hosts.iter().find(|(has, _)| has == name) {
            world.control().note(*id, format!("refuses its configuration: {why}"));
        }
    }
    let run = world.run(Duration::ZERO);
    Played {
        trace: run.trace,
        sightings: Sightings::default(),
        stuck: None,
        ended: run.ended,
        refused,
        left_open: Vec::new(),
        certificates: Vec::new(),
        left_out: Vec::new(),
        stats: Vec::new(),
        reloads: Vec::new(),
        perturbed: run.perturbed,
        lookups: run.lookups,
        seed,
        course: Course::Plain,
        took: run.virtual_time,
    }
}

impl From<&Path> for Link {
    fn from(path: &Path) -> Self {
        let bandwidth = path.bandwidth.and_then(|rate| NonZeroU64::new(u64::try_from(rate.0).ok()?));
        Self { latency: path.latency.0, jitter: path.jitter.0, bandwidth, loss: path.loss, reorder: path.reorder }
    }
}
