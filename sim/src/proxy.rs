//! finwait on a simulated host: the shipped code, given a simulated outside.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use finwait::config::cluster::Discovery;
use finwait::config::secret_read::SecretRead;
use finwait::config::tls::CertificateError;
use finwait::config::{Cluster, Config, ConfigError, Differences, Listener, Loaded, NamedFiles, Surroundings};
use finwait::drain::{Drain, DrainControl, Stage, Strategy, drain_over};
use finwait::net::{Address, Clock, ListenOptions, LocalBoxFuture, Outside};
use finwait::server::reload::{Applied, Reloader};
use finwait::server::{Admin, AdminInterface, ServerShared, Worker};
use finwait::snapshot::Addresses;
use finwait::stats::Snapshot;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::{join, select};

use crate::clock::EPOCH;
use crate::left_out::{self, LeftOut};
use crate::scenario::{CommandLine, Concurrency, DrainFlags, DrainStrategy, LeaveOut, ProxyConfig};
use crate::tls::{Authorities, Files, crypto};
use crate::trace::accounts;

/// How long a proxy that is to stop may take to finish what runs, before it is cut.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A configuration, and the host whose proxy reads it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) config: &'a ProxyConfig,
    pub(crate) host: &'a str,
    /// They sign the certificates that it names.
    pub(crate) authorities: &'a Authorities,
    /// They stay in use where their files are of no use.
    secrets: &'a [SecretRead],
}

impl<'a> Given<'a> {
    pub(crate) fn new(config: &'a ProxyConfig, host: &'a str, authorities: &'a Authorities) -> Self {
        Self { config, host, authorities, secrets: &[] }
    }
}

/// A configuration that was read, the certificates that were made up for it, in words, and what was left out of it.
struct Read {
    loaded: Loaded,
    certificates: Vec<String>,
    left_out: Vec<LeftOut>,
}

/// How a proxy is to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// Its listeners go on accepting for so long.
    pub(crate) listeners_after: Duration,
    /// What runs after that is cut when this is over.
    pub(crate) time: Duration,
}

impl Default for Stop {
    /// The script is over: no more connections will come.
    fn default() -> Self {
        Self { listeners_after: Duration::ZERO, time: DRAIN_TIME }
    }
}

/// A proxy that has read its configuration.
pub(crate) struct Proxy {
    shared: Arc<ServerShared>,
    concurrency: Concurrency,
    file: String,
    /// The files that its configuration has watched.
    watched: Vec<String>,
    /// What the configuration's author should know.
    pub(crate) warnings: Vec<String>,
    /// The certificates that were made up for it, in words.
    pub(crate) certificates: Vec<String>,
    /// What its configuration was read without.
    pub(crate) left_out: Vec<LeftOut>,
    control: Arc<DrainControl>,
    drain: Drain,
}

/// The numbers of a proxy, also after it has stopped.
pub(crate) struct Numbers(Arc<ServerShared>);

impl Proxy {
    /// Reads a configuration.
    ///
    /// # Errors
    /// It is not one; the message names the place.
    pub(crate) fn new(given: Given<'_>) -> Result<Self, String> {
        let Read { loaded, certificates, left_out } = load_with_accounts(given)?;
        let CommandLine { drain: DrainFlags { time, strategy }, concurrency } = given.config.flags;
        let strategy = match strategy {
            DrainStrategy::Gradual => Strategy::Gradual,
            DrainStrategy::Immediate => Strategy::Immediate,
        };
        let (control, drain) = drain_over(time.0, strategy);
        let watched = loaded.config.watched_files.clone();
        let shared = ServerShared::new(loaded.config, UNIX_EPOCH + EPOCH, concurrency.workers().into());
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        let file = given.config.file.clone();
        let control = Arc::new(control);
        Ok(Self { shared, concurrency, file, watched, warnings, certificates, left_out, control, drain })
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers(Arc::clone(&self.shared))
    }

    /// Serves until a `Stop` comes, then drains for as long as it sets. Another `Stop` changes the deadlines. `ready` is
    /// sent when its listeners accept.
    ///
    /// # Errors
    /// It cannot listen; the message names the place.
    pub(crate) async fn run(
        self,
        outside: Outside,
        ready: oneshot::Sender<()>,
        mut stops: mpsc::Receiver<Stop>,
        configs: mpsc::UnboundedReceiver<NextConfig>,
    ) -> Result<(), String> {
        let Self { shared, concurrency, file, watched, control, drain, .. } = self;
        let how = ListenOptions { reuse_port: concurrency != Concurrency::default(), ..ListenOptions::default() };
        let mut workers = Vec::new();
        let mut at = Addresses::new();
        for _ in 0..concurrency.workers() {
            let worker = Worker::start(outside.clone(), &shared, &drain, &at, &how).await;
            let worker = worker.map_err(|error| error.to_string())?;
            at = worker.addresses();
            workers.push(worker);
        }
        shared.set_addresses(at);
        let admin = Admin::new(Arc::clone(&control), &file);
        let admin = AdminInterface::bind(&outside, &shared, admin);
        let mut operators = JoinSet::new();
        if let Some(admin) = admin.map_err(|error| error.to_string())? {
            operators.spawn_local(admin.run(drain));
        }
        let _sent = ready.send(()); // fails where the script does not wait for it
        let (snapshots, received): (Vec<_>, Vec<_>) = workers.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let reloader = Reloader::new(Arc::clone(&shared), snapshots, how, |_, binding| Ok(binding.at.clone()));
        let clock = Rc::clone(&outside.clock);
        let serve = async {
            let running = workers.into_iter().zip(received).map(|(worker, snapshots)| worker.run(snapshots));
            all(running.map(|worker| Box::pin(worker) as LocalBoxFuture<'_, ()>).collect()).await;
            operators.shutdown().await; // to the end, operators may query what is left
        };
        let stop = async {
            // A script that ended without a `Stop` wants the same as one that sends the default.
            let mut stop = stops.recv().await.unwrap_or_default();
            control.begin(stop.time);
            wait(&mut stops, &mut stop, |stop| stop.listeners_after).await;
            control.enter(Stage::Closed);
            wait(&mut stops, &mut stop, |stop| stop.time).await;
            control.enter(Stage::Stopped);
        };
        select! {
            // The end first: nothing is left to be changed then.
            biased;
            _ = async { join!(serve, stop) } => Ok(()),
            () = reload(&reloader, &*clock, watched, configs) => Ok(()),
        }
    }
}

/// Waits until all of them have ended.
async fn all(mut running: Vec<LocalBoxFuture<'_, ()>>) {
    poll_fn(|cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Another configuration for a proxy that runs.
pub(crate) struct NextConfig {
    pub(crate) config: ProxyConfig,
    /// The files that it names and that have changed, if it is the same but for these.
    pub(crate) changed: Vec<String>,
    pub(crate) host: String,
    pub(crate) authorities: Authorities,
    /// Gets what it changes once it is in force, or why it is not.
    pub(crate) done: Box<dyn FnOnce(Result<String, String>)>,
}

/// Puts one configuration after the other in force. Has no end of its own. `watched` are the files that the first has watched.
async fn reload(
    reloader: &Reloader,
    clock: &dyn Clock,
    mut watched: Vec<String>,
    mut configs: mpsc::UnboundedReceiver<NextConfig>,
) {
    while let Some(NextConfig { config, changed, host, authorities, done }) = configs.recv().await {
        let given = Given::new(&config, &host, &authorities);
        if !changed.is_empty() {
            done(match changed.iter().any(|path| watched.contains(path)) {
                true => renew(reloader, clock, given, &changed).await,
                false => Ok("it does not watch the files: they are read with its next configuration".into()),
            });
            continue;
        }
        reloader.attempt();
        let applied = match load_with_accounts(given) {
            Ok(Read { loaded, .. }) => {
                let files = loaded.config.watched_files.clone();
                let applied = reloader.apply(loaded.config, clock.wall()).await.map_err(|error| error.to_string());
                if applied.is_ok() {
                    watched = files;
                }
                applied
            }
            Err(error) => {
                reloader.refuse();
                Err(error)
            }
        };
        done(match applied {
            Ok(Applied::Same(_)) => Ok("the configuration is the one in force".into()),
            Ok(Applied::Next { snapshot, .. }) => {
                Ok(format!("configuration version {} is in force: {}", snapshot.version, snapshot.changes))
            }
            Err(why) => {
                Err(format!("the configuration is refused, and the one before it stays in force: {}", first_line(&why)))
            }
        });
    }
    std::future::pending().await
}

/// Takes over what has changed in files that the configuration names.
async fn renew(reloader: &Reloader, clock: &dyn Clock, given: Given<'_>, changed: &[String]) -> Result<String, String> {
    let refused =
        |why: String| format!("the files are refused, and what they held before stays in use: {}", first_line(&why));
    let secrets = reloader.secrets();
    let given = Given { secrets: &secrets, ..given };
    let config = load_with_accounts(given).map_err(refused)?.loaded.config;
    let renewed = reloader.renew(config, changed, clock.wall()).await.map_err(|error| refused(error.to_string()))?;
    if let Some(why) = renewed.refused.first() {
        return Ok(format!("a file is refused, and what it held before stays in use: {}", first_line(why)));
    }
    Ok(match renewed.snapshot {
        Some(snapshot) => format!("configuration version {} is in force: {}", snapshot.version, snapshot.changes),
        None if renewed.owners.is_empty() => "the files change nothing".into(),
        None => format!("files were read again and are in use: {}", renewed.owners.join(", ")),
    })
}

/// What is wrong; the rest quotes the file.
fn first_line(why: &str) -> &str {
    why.lines().next().unwrap_or_default()
}

/// Waits as long as `time` of `stop`, which another `Stop` may change.
async fn wait(stops: &mut mpsc::Receiver<Stop>, stop: &mut Stop, time: fn(&Stop) -> Duration) {
    while !time(stop).is_zero() {
        select! {
            // A changed deadline comes first: it may be the same instant.
            biased;
            Some(changed) = stops.recv() => *stop = changed,
            () = sleep(time(stop)) => return,
        }
    }
}

/// Configurations that a thread keeps after reading them. Exploring plays the same few thousands of times, and reading them
/// took a third of a run's time.
const LOADED_MAX: usize = 8;

/// A configuration that was read.
struct Known {
    file: String,
    text: String,
    files: BTreeMap<String, String>,
    leave_out: LeaveOut,
    loaded: Loaded,
    left_out: Vec<LeftOut>,
}

thread_local! {
    static LOADED: RefCell<VecDeque<Known>> = const { RefCell::new(VecDeque::new()) };
}

/// Reads a configuration, with an access log from which runs are explained.
fn load_with_accounts(given: Given<'_>) -> Result<Read, String> {
    let mut read = load(given)?;
    let config = &mut read.loaded.config;
    if given.config.exact {
        config.differences = Differences::NONE;
    }
    for manager in config.listeners.iter_mut().flat_map(Listener::managers_mut) {
        manager.access_logs.push(accounts::log());
    }
    Ok(read)
}

/// What a configuration means, for those who explain what a proxy did with it.
pub(crate) fn meaning(config: &ProxyConfig) -> Option<Config> {
    load(Given::new(config, "", &Authorities::new(0))).ok().map(|read| read.loaded.config)
}

/// Where a proxy with this configuration listens.
pub(crate) fn ports(config: &ProxyConfig) -> Vec<u16> {
    let Some(config) = meaning(config) else { return Vec::new() };
    let bindings = config.listeners.iter().flat_map(Listener::bindings).chain(&config.admin);
    bindings.filter_map(|binding| binding.at.port()).collect()
}

/// What a configuration means, and what was left out of it.
///
/// # Errors
/// It is not one; the message names the place.
pub(crate) fn read(config: &ProxyConfig, host: &str) -> Result<(Config, Vec<LeftOut>), String> {
    load(Given::new(config, host, &Authorities::new(0))).map(|read| (read.loaded.config, read.left_out))
}

/// Reads a configuration, or remembers what came of reading it.
fn load(given: Given<'_>) -> Result<Read, String> {
    let ProxyConfig { file, text, certificates, files: held, leave_out, unpatched, .. } = given.config;
    let is_it = |known: &&Known| {
        known.file == *file && known.text == *text && known.files == *held && known.leave_out == *leave_out
    };
    LOADED.with_borrow_mut(|known| {
        if let Some(Known { loaded, left_out, .. }) = known.iter().find(is_it) {
            let (loaded, left_out) = (loaded.clone(), left_out.clone());
            return Ok(Read { loaded, certificates: Vec::new(), left_out });
        }
        let files = Rc::new(Files {
            authorities: given.authorities.clone(),
            host: given.host.into(),
            certificates: certificates.clone(),
            files: held.clone(),
            made: RefCell::default(),
        });
        let written = if file.ends_with(", inline") { "" } else { unpatched.as_ref().unwrap_or(text) };
        let (loaded, left_out) = left_out::load(written, leave_out, |left_out| {
            files.made.take();
            let files = Some(Rc::<Files>::clone(&files) as Rc<dyn NamedFiles>);
            let surroundings =
                Surroundings { crypto: crypto(), files, secrets: given.secrets.to_vec(), left_out: left_out.to_vec() };
            Config::from_yaml_within(text, file, &surroundings)
        })
        .map_err(|error| refusal_text(&error, leave_out))?;
        refuse_pipes(&loaded.config)?;
        if let LeaveOut::Named(names) = leave_out {
            let unused = left_out::unused(names, &left_out.iter().collect::<Vec<_>>());
            if !unused.is_empty() {
                return Err(format!("{file}: {}", left_out::unused_text(&unused)));
            }
        }
        // What TLS remembers of one run is none of the next one's business.
        if !encrypts(&loaded.config) {
            known.truncate(LOADED_MAX - 1);
            known.push_front(Known {
                file: file.clone(),
                text: text.clone(),
                files: held.clone(),
                leave_out: leave_out.clone(),
                loaded: loaded.clone(),
                left_out: left_out.clone(),
            });
        }
        Ok(Read { loaded, certificates: files.made.take(), left_out })
    })
}

/// What is wrong with a configuration, and what a simulation adds to it.
fn refusal_text(error: &ConfigError, leave_out: &LeaveOut) -> String {
    let text = error.to_string();
    if text.contains(&CertificateError::NoKey.to_string()) {
        return format!(
            "{text}\nin a simulation a key in place is Ed25519, in PKCS #8: other signatures are random; write \
             filename, and the key and its certificate are made up"
        );
    }
    match left_out::names(error, leave_out).as_slice() {
        [] => text,
        names => format!(
            "{text}\na simulation can do without: write `leave_out: [{}]` beside the configuration, or `leave_out: anything`; \
             the story begins with what that may change",
            names.join(", ")
        ),
    }
}

fn encrypts(config: &Config) -> bool {
    config.listeners.iter().any(|listener| listener.filter_chains.encrypts())
        || config.clusters.iter().flat_map(Cluster::sockets).any(|socket| socket.tls.is_some())
}

/// Refuses Unix domain sockets where requests would go over them: they connect processes of one machine, and each simulated
/// host has one process.
fn refuse_pipes(config: &Config) -> Result<(), String> {
    let is_pipe = |at: &Address| matches!(at, Address::Pipe(_));
    let listener = config.listeners.iter().find(|listener| listener.bindings().any(|binding| is_pipe(&binding.at)));
    let cluster = config.clusters.iter().find(|cluster| match &cluster.discovery {
        Discovery::Static(endpoints) => endpoints.iter().any(is_pipe),
        Discovery::Aggregate(_)
        | Discovery::Forward(_)
        | Discovery::LogicalDns { .. }
        | Discovery::Original(_)
        | Discovery::StrictDns { .. } => false,
    });
    let what = match (listener, cluster) {
        (Some(listener), _) => format!("listener '{}' listens on a pipe", listener.name),
        (None, Some(cluster)) => format!("cluster '{}' has an endpoint on a pipe", cluster.name),
        (None, None) => return Ok(()),
    };
    Err(format!(
        "{what}, which connects processes of one machine, and each simulated host has one process; \
         write a socket_address with the host's name or address in its place"
    ))
}

impl Numbers {
    /// All of them.
    pub(crate) fn now(&self) -> Snapshot {
        self.0.registry.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_that_requests_would_take_are_refused_by_name() {
        let manager = "\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: in, route_config: {}, http_filters: [{ name: r, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]";
        let listener = |at: &str| {
            format!(
                "listeners: [{{ name: in, address: {at}, filter_chains: [{{ filters: [{{ name: m, typed_config: {{ {manager} }} }}] }}] }}]"
            )
        };
        let cluster = |at: &str| {
            format!(
                "clusters: [{{ name: app, load_assignment: {{ cluster_name: app, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {at} }} }}] }}] }} }}]"
            )
        };
        let (pipe, socket) =
            ("{ pipe: { path: /run/it } }", "{ socket_address: { address: 10.0.0.1, port_value: 80 } }");
        for (listens, leads, error) in [
            (pipe, socket, Some("listener 'in' listens on a pipe, ")),
            (socket, pipe, Some("cluster 'app' has an endpoint on a pipe, ")),
            (socket, socket, None),
        ] {
            let text = format!(
                "admin: {{ address: {pipe} }}\nstatic_resources: {{ {}, {} }}",
                listener(listens),
                cluster(leads)
            );
            let config = ProxyConfig::new("it.yaml".into(), text, None, false);
            let refused = load(Given::new(&config, "it", &Authorities::new(0))).err();
            assert_eq!(
                refused.as_deref().is_some_and(|it| it.starts_with(error.unwrap_or("-"))),
                error.is_some(),
                "{refused:?}"
            );
            assert_eq!(refused.is_some(), error.is_some(), "{refused:?}");
        }
    }
}
