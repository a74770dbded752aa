//! A scenario becomes a world, runs, and is read back: what the actors saw, and the complete trace.
//!
//! The script runs first. Then everybody leaves: clients close what they have open, the proxies drain, the apps stop. What
//! a program still holds after that was leaked.

mod cast;
mod reader;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use finwait::stats::Number;
use serde_yaml::Location;

use crate::actor::Sightings;
use crate::kernel::link::Link;
use crate::proxy::Proxy;
use crate::scenario::{Path, Role, SCRIPT_HOST, Scenario, ScenarioError};
use crate::trace::{HostId, Trace};
use crate::world::{Ended, Settings, World};
use cast::{Cast, Part};
use reader::{Desk, Reader};

/// A run, over.
#[derive(Debug)]
pub struct Played {
    /// Every event.
    pub trace: Trace,
    /// What the actors saw.
    pub sightings: Sightings,
    /// The step that could not be carried out, and why; the steps after it did not happen. At the limit it says also who
    /// else was waiting.
    pub stuck: Option<(Location, String)>,
    /// How the run ended.
    pub ended: Ended,
    /// Proxies that refuse their configuration, and why. Then nothing was played.
    pub refused: Vec<(String, String)>,
    /// Sockets that a program still held when everybody had left, each with its host's name.
    pub left_open: Vec<String>,
    /// The proxies' counters and gauges when everybody had left, by host.
    pub stats: Vec<(String, Vec<Number>)>,
    /// How long it took in virtual time.
    pub took: Duration,
}

impl Scenario {
    /// Plays it, with another seed than its own if one is given.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that.
    pub fn play(&self, seed: Option<u64>) -> Result<Played, ScenarioError> {
        let (world, hosts) = self.world(seed.unwrap_or(self.seed));
        let mut refused = Vec::new();
        for host in &self.hosts {
            if let Role::Proxy { file, text } = &host.role
                && let Err(why) = Proxy::new(file, text)
            {
                if !self.expects_refusal_of(&host.name) {
                    return Err(ScenarioError::of_file(&self.file, why));
                }
                refused.push((host.name.clone(), why));
            }
        }
        Ok(if refused.is_empty() { self.perform(world, hosts) } else { refuse(world, &hosts, refused) })
    }

    fn expects_refusal_of(&self, host: &str) -> bool {
        self.expect.iter().any(|line| line.value.host == host && line.value.seen.config_error.is_some())
    }

    /// Hosts and links, with nobody on them yet.
    fn world(&self, seed: u64) -> (World, Vec<(String, HostId)>) {
        let mut settings = Settings { seed, ..Settings::default() };
        if let Some(notice) = self.notice {
            settings.notice_delay = notice.from.0..=notice.to.0;
        }
        let mut world = World::new(settings);
        let mut hosts: Vec<(String, HostId)> = Vec::new();
        let mut taken: Vec<IpAddr> = self.hosts.iter().filter_map(|host| host.ip).collect();
        for host in &self.hosts {
            let ip = host.ip.unwrap_or_else(|| free_address(&taken));
            taken.push(ip);
            hosts.push((host.name.clone(), world.host(&host.name, &[ip])));
        }
        let id = |name: &str| hosts.iter().find(|(has, _)| has == name).map(|(_, id)| *id);
        for link in &self.links {
            if let (Some(a), Some(b)) = (id(&link.between.0), id(&link.between.1)) {
                world.link(a, b, Link::from(&link.path));
            }
        }
        (world, hosts)
    }

    fn perform(&self, mut world: World, hosts: Vec<(String, HostId)>) -> Played {
        let sightings: Rc<RefCell<Sightings>> = Rc::default();
        let cast = Rc::new(Cast::new(world.control(), Rc::clone(&sightings)));
        for (host, (_, id)) in self.hosts.iter().zip(&hosts) {
            let program = cast.enter(Part { name: host.name.clone(), id: *id, role: host.role.clone() });
            world.spawn(*id, program);
        }
        let desk = Rc::new(Desk::default());
        let id = world.host(SCRIPT_HOST, &[]);
        let reader = Reader::new(&self.script, hosts.clone(), id, world.control(), Rc::clone(&cast), Rc::clone(&desk));
        let script = self.script.clone();
        world.spawn_main(id, move |_| reader.read(script));
        let run = world.run(self.limit.0);
        let mut stuck = desk.stuck();
        if let Ended::LimitReached { .. } = run.ended {
            let what = format!("was not over after {:?} of virtual time; {}", self.limit.0, desk.who_waits());
            stuck = stuck.or_else(|| desk.first_waiting()).map(|(at, _)| (at, what));
        }
        let name = |id: HostId| hosts.iter().find(|(_, has)| *has == id).map_or("?", |(name, _)| name.as_str());
        let held = run.open_sockets.iter().filter(|socket| socket.held);
        let left_open = held.map(|socket| format!("{}: {socket}", name(socket.host))).collect();
        Played {
            trace: run.trace,
            sightings: sightings.take(),
            stuck,
            ended: run.ended,
            refused: Vec::new(),
            left_open,
            stats: cast.numbers(),
            took: run.virtual_time,
        }
    }
}

/// The lowest address of 10.0.0.0/16 that nobody has or will have.
fn free_address(taken: &[IpAddr]) -> IpAddr {
    let mut addresses = (1..=u16::MAX).map(|number| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from(Ipv4Addr::new(10, 0, high, low))
    });
    addresses.find(|ip| !taken.contains(ip)).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// A run in which nothing happens, because a proxy does not start.
fn refuse(world: World, hosts: &[(String, HostId)], refused: Vec<(String, String)>) -> Played {
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
        stats: Vec::new(),
        took: run.virtual_time,
    }
}

impl From<&Path> for Link {
    fn from(path: &Path) -> Self {
        let bandwidth = path.bandwidth.and_then(|rate| NonZeroU64::new(u64::try_from(rate.0).ok()?));
        Self { latency: path.latency.0, jitter: path.jitter.0, bandwidth, loss: path.loss, reorder: path.reorder }
    }
}
