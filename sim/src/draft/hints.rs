//! What to try next with a draft, as commented lines: timers that fire first, idle timeouts that can race, retries that
//! repeat.

use std::time::Duration;

use finwait::config::Cluster;
use finwait::config::listener::ConnectionManager;
use finwait::config::route::{Action, Destination, Forward, NamedCluster};

use super::Hop;

/// Idle connections are closed by an app after so long where nothing else is known of it.
const APP_IDLE: Duration = Duration::from_secs(5);

/// A link so slow that a request and the FIN of an idle connection, which timers of whole milliseconds send, can cross on it.
const LATENCY: Duration = Duration::from_millis(10);
/// The pause after which a request crosses the app's FIN there.
const CROSSING: Duration = APP_IDLE.saturating_sub(LATENCY);

/// The line of a link on which they cross.
pub(super) fn of_link(proxy: &str, app: &str) -> String {
    format!(
        "links: {{ {proxy}-{app}: {{ latency: {}ms }} }}   # so that a request and an app's FIN can cross",
        LATENCY.as_millis()
    )
}

/// Lines of an app behind `cluster`.
pub(super) fn of_app(hops: &[Hop], cluster: &Cluster) -> Vec<String> {
    let mut hints = Vec::new();
    let idle = cluster.idle_timeout;
    if idle.is_none_or(|idle| idle > APP_IDLE) {
        let proxy = idle.map_or("never closes them".to_owned(), |idle| format!("closes them after {}", seconds(idle)));
        hints.push(format!(
            "idle_timeout: {}   # it closes idle connections first: the proxy {proxy}",
            seconds(APP_IDLE)
        ));
    }
    let mut forwards = hops.iter().flat_map(|hop| forwards(&hop.config)).filter(|it| leads_to(it, cluster));
    let timeouts = forwards.clone().filter_map(|it| it.timeout);
    if let Some(timeout) = timeouts.min() {
        let after = timeout + Duration::from_secs(1);
        hints.push(format!(
            "reply: {{ after: {} }}   # slower than route.timeout {}",
            seconds(after),
            seconds(timeout)
        ));
    }
    if let Some(retry) = forwards.find_map(|it| it.retry.as_ref()) {
        let tries = retry.retries_max + 1;
        hints.push(format!("first: [{{ status: 503 }}]   # up to {tries} tries of one request: count what it sees"));
    }
    hints
}

/// Lines of the script, in which `client` connects to the proxy of the number `proxy`; `has_link` if there is the line of a link.
pub(super) fn of_script(hops: &[Hop], client: &str, proxy: usize, has_link: bool) -> Vec<String> {
    let mut hints = vec!["What to try next, beside the commented lines of the hosts:".to_owned()];
    let managers = hops.get(proxy).into_iter().flat_map(|hop| managers(&hop.config));
    let idle = managers.filter_map(|manager| manager.timeouts.idle).min();
    if let Some(idle) = idle.and_then(|idle| idle.checked_sub(Duration::from_micros(100))) {
        hints.push(format!("- wait: {}   # the proxy closes idle connections just now", seconds(idle)));
        hints.push(format!("- {client}: GET /"));
    }
    if has_link {
        hints.push(format!("- wait: {}   # with the app's idle_timeout and the links above", seconds(CROSSING)));
        hints.push(format!("- {client}: POST /   # it crosses the app's FIN; a GET would be sent again"));
    }
    hints.push("finwait-sim explore FILE plays it with many seeds, and makes what fails small.".into());
    hints
}

fn managers(config: &finwait::config::Config) -> impl Iterator<Item = &ConnectionManager> {
    config.listeners.iter().flat_map(|listener| listener.managers().map(|manager| &**manager))
}

fn forwards(config: &finwait::config::Config) -> impl Iterator<Item = &Forward> + Clone {
    let hosts = config.listeners.iter().flat_map(|listener| listener.filter_chains.terminals());
    let managers = hosts.filter_map(|terminal| terminal.http());
    let routes = managers.flat_map(|it| it.routes.virtual_hosts.iter()).flat_map(|host| host.routes.iter());
    let forwards: Vec<&Forward> = routes
        .filter_map(|route| match &route.action {
            Action::Forward(forward) => Some(&**forward),
            Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls => None,
        })
        .collect();
    forwards.into_iter()
}

fn leads_to(forward: &Forward, cluster: &Cluster) -> bool {
    let is_it = |named: &NamedCluster| matches!(named, NamedCluster::Cluster(name) if *name == cluster.name);
    match &forward.cluster {
        Destination::One(named) => is_it(named),
        Destination::Weighted(weighted) => weighted.clusters.iter().any(|it| is_it(&it.cluster)),
    }
}

/// As a scenario writes times.
fn seconds(time: Duration) -> String {
    match time.subsec_micros() {
        micros if micros > 0 && micros % 1_000 == 0 => format!("{}ms", time.as_millis()),
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}us", time.as_micros()),
    }
}
