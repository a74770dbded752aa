//! What holds for every exchange, whatever the scenario is about: no response without a request, no request
//! carried out twice, and a tunnel that carries what was sent, in order and unchanged.

use std::collections::BTreeMap;

use finwait::config::route::{Action, Forward};
use finwait::config::{Config, Listener};
use serde_yaml::Spanned;

use crate::actor::{WebSocketMessage, is_idempotent};
use crate::proxy;
use crate::run::Played;
use crate::scenario::{self, Cue, FrameKind, Payload, Role, Scenario, Step};
use crate::trace::wire;

/// RFC 9112 section 9.3: a response belongs to a request. One more is the beginning of response smuggling.
pub(super) fn one_response(_: &Scenario, played: &Played) -> Vec<String> {
    let mut complaints = Vec::new();
    for conversation in played.trace.conversations() {
        let messages = wire::messages(conversation, played.trace.secrets());
        if messages.responses > messages.requests {
            complaints.push(format!(
                "{} sent {} responses to {} requests of {}",
                conversation.server.map_or("no host", |server| played.trace.host(server)),
                messages.responses,
                messages.requests,
                played.trace.host(conversation.client),
            ));
        }
    }
    complaints
}

/// RFC 9110 section 9.2.2: a request with another method than these may do something each time it arrives. So it arrives
/// once, and once more for each copy that a proxy makes for a mirror, unless a configuration or the client allows more, or
/// the app states in a GOAWAY that it has not looked at what came.
pub(super) fn deliveries(scenario: &Scenario, played: &Played) -> Vec<String> {
    if scenario.hosts.iter().any(|host| permits_repetition(&host.role)) || does(&scenario.script, permits_again) {
        return Vec::new();
    }
    let mut times: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for delivery in &played.sightings.deliveries {
        let method = delivery.request.split(' ').next().unwrap_or_default();
        if let Some(id) = &delivery.request_id
            && !is_idempotent(method)
        {
            *times.entry((id, &delivery.request)).or_default() += 1;
        }
    }
    let copies = scenario.hosts.iter().map(|host| 1 + mirrors(&host.role)).product::<usize>();
    let repeated = times.into_iter().filter(|(_, times)| usize::try_from(*times).is_ok_and(|times| times > copies));
    repeated.map(|((_, request), times)| format!("{request} reached an app {times} times")).collect()
}

/// Whether the settings of a host permit that a request reaches an app twice: a route of a proxy that tries again, or a
/// program of an app that refuses requests.
fn permits_repetition(role: &Role) -> bool {
    match role {
        Role::Proxy(config) => proxy::meaning(config).is_some_and(|config| retries(&config)),
        Role::App(app) => app.programs.iter().flatten().any(permits_again),
        Role::Alb(_) | Role::Client(_) => false,
    }
}

/// How many copies of a request a proxy makes at most.
fn mirrors(role: &Role) -> usize {
    let Role::Proxy(config) = role else { return 0 };
    let Some(config) = proxy::meaning(config) else { return 0 };
    forwards(&config).map(|forward| forward.mirrors.len()).max().unwrap_or(0)
}

/// Whether a route retries, or follows a redirect of the app.
fn retries(config: &Config) -> bool {
    forwards(config).any(|forward| forward.retry.is_some() || forward.redirects.is_some())
}

/// What the routes do that forward requests.
fn forwards(config: &Config) -> impl Iterator<Item = &Forward> {
    let managers = config.listeners.iter().flat_map(Listener::managers);
    let hosts = managers.flat_map(|manager| &manager.routes.virtual_hosts);
    hosts.flat_map(|host| &host.routes).filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(&**forward),
        Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls => None,
    })
}

/// Whether a step of the script, or one inside it, does this.
fn does(script: &[Spanned<Cue>], what: fn(&scenario::Action) -> bool) -> bool {
    script.iter().any(|cue| match &cue.value.step {
        Step::Do { action, .. } => what(action),
        step @ (Step::Background(_)
        | Step::Barrier(_)
        | Step::Happen(_)
        | Step::Nothing
        | Step::Repeat(_)
        | Step::Wait(_)) => does(step.inner(), what),
    })
}

/// Whether an actor permits that a request is sent again: a client by x-envoy-retry-on, a server by a GOAWAY that states
/// which streams it has looked at.
fn permits_again(action: &scenario::Action) -> bool {
    let is_word = |name: &str| name.eq_ignore_ascii_case("x-envoy-retry-on");
    let has_header = |text: &str| text.lines().any(|line| line.split_once(':').is_some_and(|(name, _)| is_word(name)));
    if let scenario::Action::Request(request) = action {
        return request.headers.iter().any(|(name, _)| is_word(name));
    }
    if let scenario::Action::Send { message: Payload::Text(text), .. } = action {
        return has_header(text);
    }
    if let scenario::Action::Send { message: Payload::Hex(bytes), .. } = action {
        return has_header(&String::from_utf8_lossy(bytes));
    }
    let scenario::Action::SendFrame { frame, .. } = action else { return false };
    let refuses = frame.kind == FrameKind::Goaway && frame.fields.last_stream.is_some();
    refuses || frame.fields.fields.iter().any(|(name, _)| is_word(name))
}

/// What one end received is what the other had sent, from the beginning, as far as it came.
pub(super) fn tunnels(_: &Scenario, played: &Played) -> Vec<String> {
    let mut complaints = Vec::new();
    let of_apps: Vec<_> =
        played.sightings.deliveries.iter().filter_map(|it| Some((&it.host, it.tunnel.as_ref()?))).collect();
    for exchange in &played.sightings.exchanges {
        let Some(client) = &exchange.tunnel else { continue };
        // The key travels from end to end, so it finds the other end.
        let Some((app, other)) = of_apps.iter().find(|(_, record)| record.key == client.key) else { continue };
        let ways = [
            (&client.sent, &other.received, &exchange.host, *app),
            (&other.sent, &client.received, *app, &exchange.host),
        ];
        for (sent, received, from, to) in ways {
            if !is_beginning(received, sent) {
                complaints.push(format!("{to} did not receive over its WebSocket what {from} had sent"));
            }
        }
    }
    complaints
}

fn is_beginning(received: &[WebSocketMessage], sent: &[WebSocketMessage]) -> bool {
    sent.starts_with(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_may_lose_its_end_and_nothing_else() {
        let message = |text: &str| WebSocketMessage::Text(text.into());
        let sent = [message("a"), message("b")];
        assert!(is_beginning(&[], &sent));
        assert!(is_beginning(&[message("a")], &sent));
        assert!(!is_beginning(&[message("b")], &sent));
        assert!(!is_beginning(&[message("a"), message("b"), message("b")], &sent));
    }
}
