//! What `finwait` does without a configuration: three hops and an application in one process, to try and to
//! look at.
//!
//! The hops run the files of `examples/`, exactly as they stand there, each as a server of its own. They meet
//! over loopback sockets like any three processes; only their access logs come together, so that one page
//! shows what each of them saw.

mod app;
mod faults;
mod feed;
mod operator;
mod websocket;

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::cluster::Discovery;
use crate::config::{Config, ConfigError};
use crate::drain::{Drain, DrainControl, Stage, drain};
use crate::net::accept::Acceptor;
use crate::net::tokio::{LogFiles, outside};
use crate::net::{Address, ListenOptions, Outside};
use crate::server::process::{MakeOutside, Process, ProcessError};
use crate::server::{Admin, ServerShared};
use app::App;
use faults::Fault;
use feed::{Feed, HopLogs};
use operator::{CHANGES_MAX, Changeable, Operator};

/// A hop and its configuration.
struct Hop {
    name: &'static str,
    file: &'static str,
    yaml: &'static str,
}

/// The one that clients connect to.
const FRONT: Hop = Hop { name: "front", file: "front.yaml", yaml: include_str!("../../examples/front.yaml") };
/// The one that visitors can break.
const INGRESS: Hop = Hop { name: "ingress", file: "ingress.yaml", yaml: include_str!("../../examples/ingress.yaml") };
/// In the order a request visits them.
const HOPS: [Hop; 3] =
    [FRONT, INGRESS, Hop { name: "sidecar", file: "sidecar.yaml", yaml: include_str!("../../examples/sidecar.yaml") }];
/// Where the application listens: the endpoint that `sidecar.yaml` names.
const APP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10003);

/// Which ports to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ports {
    /// Those of the files.
    AsWritten,
    /// Whichever are free, and no admin interfaces, so that any number of demonstrations run side by side.
    Free,
    /// This one and the next three, from the front to the application, and no admin interfaces.
    From(u16),
}

impl Ports {
    /// The port of the server at `place`, counted from the front, unless it is as written.
    fn of(self, place: usize) -> Option<u16> {
        match self {
            Self::AsWritten => None,
            Self::Free => Some(0),
            Self::From(first) => Some(u16::try_from(place).map_or(u16::MAX, |place| first.saturating_add(place))),
        }
    }
}

/// What the demonstration shares with who starts it.
pub struct Ground<'a> {
    /// Where the configurations' access logs go.
    pub logs: &'a Arc<LogFiles>,
    /// For the operator who ends it through an admin interface.
    pub control: &'a Arc<DrainControl>,
    /// When to finish.
    pub drain: &'a Drain,
}

/// The demonstration, running on its own threads.
pub struct Demo {
    app: JoinHandle<()>,
    app_control: DrainControl,
    operator: JoinHandle<()>,
    processes: Vec<Process>,
    welcome: String,
    /// Where a client connects.
    pub front: SocketAddr,
}

/// Why the demonstration does not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The application cannot listen.
    #[error("app cannot listen on {at}")]
    App {
        /// The address that is in use.
        at: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// An embedded file is wrong.
    #[error("the embedded configuration is wrong")]
    Config(#[from] ConfigError),
    /// A hop does not start.
    #[error("{hop} does not start")]
    Hop {
        /// The proxy that did not start.
        hop: &'static str,
        /// Why it did not start.
        source: ProcessError,
    },
    /// The system refuses a thread.
    #[error("the application's thread cannot start")]
    Thread(#[source] io::Error),
}

impl Demo {
    /// Starts the application and the hops, each with so many `workers`, to run until the ground's `drain` ends them.
    ///
    /// # Errors
    /// A port is taken, or a thread is refused. What was started by then ends: the drain is over.
    pub fn start(ports: Ports, workers: usize, ground: &Ground<'_>) -> Result<Self, DemoError> {
        let started = start_all(ports, workers, ground);
        if started.is_err() {
            ground.control.enter(Stage::Stopped);
        }
        started
    }

    /// What runs, and how to try it: lines for a person.
    #[must_use]
    pub fn welcome(&self) -> &str {
        &self.welcome
    }

    /// Waits until the hops have ended, then ends the application.
    pub fn join(self) {
        for process in self.processes {
            process.join();
        }
        self.app_control.enter(Stage::Stopped);
        // A panic there has printed itself. The operator ends when the app can give it nothing more to do.
        drop(self.app.join());
        drop(self.operator.join());
    }
}

fn start_all(ports: Ports, workers: usize, ground: &Ground<'_>) -> Result<Demo, DemoError> {
    let feed = Feed::new();
    let (app_control, stop) = drain();
    let at = SocketAddr::new(APP.ip(), ports.of(HOPS.len()).unwrap_or(APP.port()));
    let (changes, operator_changes) = mpsc::channel(CHANGES_MAX);
    let drain = ground.drain.clone();
    let job = AppJob { at, logs: Arc::clone(ground.logs), feed: feed.clone(), drain, stop, changes };
    let (app, app_at) = job.start()?;
    let mut changeable = Vec::new();
    // From the last hop to the first, so that a request to the front finds the rest listening.
    let (mut behind, mut processes, mut places) = (app_at, Vec::new(), Vec::new());
    for (place, hop) in HOPS.iter().enumerate().rev() {
        let mut config = Config::from_yaml(hop.yaml, hop.file)?.config;
        if let Some(port) = ports.of(place) {
            move_to(port, &mut config, behind);
        }
        let next = behind;
        let admin_at = config.admin.as_ref().map(|binding| binding.at.clone());
        let process = start_hop(hop, config, workers, ground, &feed)?;
        if let Some(Address::Socket(at)) = process.addresses().first() {
            behind = *at;
        }
        changeable.push(Changeable { hop, reloader: process.reloader(), port: ports.of(place), behind: next });
        places.push(Place { name: hop.name, at: behind, admin: admin_at });
        processes.push(process);
    }
    places.reverse();
    changeable.retain(|it| [INGRESS.name, FRONT.name].contains(&it.hop.name));
    let operator = Operator { hops: changeable }.start(operator_changes).map_err(DemoError::Thread)?;
    Ok(Demo { app, app_control, operator, processes, welcome: welcome(&places, app_at), front: behind })
}

/// Where a hop can be found.
struct Place {
    name: &'static str,
    at: SocketAddr,
    admin: Option<Address>,
}

fn move_to(port: u16, config: &mut Config, behind: SocketAddr) {
    config.admin = None;
    for listener in &mut config.listeners {
        listener.binding = Address::Socket(SocketAddr::new(APP.ip(), port)).into();
    }
    for cluster in &mut config.clusters {
        cluster.discovery = Discovery::Static(vec![behind.into()]);
    }
}

fn start_hop(
    hop: &Hop,
    config: Config,
    workers: usize,
    ground: &Ground<'_>,
    feed: &Feed,
) -> Result<Process, DemoError> {
    let (name, logs, feed) = (hop.name, Arc::clone(ground.logs), feed.clone());
    let world: MakeOutside = Arc::new(move || {
        let world = outside(&logs);
        let logs = Rc::new(HopLogs { hop: name, logs: Rc::clone(&world.logs), feed: feed.clone() });
        Outside { logs, ..world }
    });
    let admin = Admin::new(Arc::clone(ground.control), hop.file);
    Process::start(&ServerShared::new(config, world().clock.wall(), workers), workers, &world, ground.drain, admin)
        .map_err(|source| DemoError::Hop { hop: name, source })
}

/// What the application's thread needs.
struct AppJob {
    at: SocketAddr,
    logs: Arc<LogFiles>,
    feed: Feed,
    drain: Drain,
    /// Ends the application, after the hops in front of it.
    stop: Drain,
    /// What visitors break, and that they mend it.
    changes: mpsc::Sender<Option<Fault>>,
}

impl AppJob {
    /// Starts the application. Returns when it listens, with where that is.
    fn start(self) -> Result<(JoinHandle<()>, SocketAddr), DemoError> {
        let (ready, started) = channel();
        let thread = std::thread::Builder::new().name("app".into());
        let thread = thread.spawn(move || self.run(&ready)).map_err(DemoError::Thread)?;
        // A thread that panics before it is ready drops the sender.
        let at = started.recv().map_err(|_| DemoError::Thread(io::ErrorKind::BrokenPipe.into()))??;
        Ok((thread, at))
    }

    fn run(self, ready: &Sender<Result<SocketAddr, DemoError>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return drop(ready.send(Err(DemoError::Thread(source)))),
        };
        LocalSet::new().block_on(&runtime, async move {
            let at = self.at;
            let world = outside(&self.logs);
            let accept = match world.net.listen(&Address::Socket(at), &ListenOptions::default()) {
                Ok(accept) => accept,
                Err(source) => return drop(ready.send(Err(DemoError::App { at, source }))),
            };
            let bound = match accept.local() {
                Address::Socket(bound) => *bound,
                Address::Internal(_) | Address::Pipe(_) => at, // a socket has no name
            };
            drop(ready.send(Ok(bound)));
            let app = App::new(self.feed, self.drain, self.changes);
            app::serve(Acceptor::new(accept, "app"), app, self.stop).await;
        });
    }
}

fn welcome(hops: &[Place], app: SocketAddr) -> String {
    let Some(front) = hops.first().map(|hop| hop.at) else { return String::new() };
    let mut out = String::from("No configuration was given, so this is the demonstration:\n\n");
    let mut line = |what: &str, how: &str| writeln!(out, "  {what:<11}{how}").expect("a String grows as needed");
    for hop in hops {
        let admin = hop.admin.as_ref().map(|at| format!("    admin http://{at}/")).unwrap_or_default();
        line(hop.name, &format!("{}{admin}", hop.at));
    }
    line("app", &app.to_string());
    line("", "");
    line("Peek", &format!("http://{front}/    and break it there"));
    line("Request", &format!("curl -i http://{front}/hello"));
    line("WebSocket", "curl --http1.1 -i -N -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\");
    line("", "  -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' \\");
    line("", &format!("  http://{front}/echo"));
    line("Your own", "finwait -c FILE    with any Envoy v3 bootstrap; these three are in proxy/examples");
    line("Stop", "Ctrl-C");
    out.push_str("\nAccess-log lines of the three hops:\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_leads_to_the_next() {
        let mut expected = Address::Socket(APP);
        for hop in HOPS.iter().rev() {
            let config = Config::from_yaml(hop.yaml, hop.file).unwrap().config;
            let endpoints: Vec<_> = config
                .clusters
                .iter()
                .flat_map(|cluster| match &cluster.discovery {
                    Discovery::Static(endpoints) => endpoints.clone(),
                    Discovery::Aggregate(_)
                    | Discovery::Forward(_)
                    | Discovery::LogicalDns { .. }
                    | Discovery::Original(_)
                    | Discovery::StrictDns { .. } => Vec::new(),
                })
                .collect();
            assert_eq!(endpoints, [expected], "{}", hop.file);
            expected = config.listeners[0].address().clone();
        }
    }
}
