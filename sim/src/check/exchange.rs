//! What holds for every exchange, whatever the scenario is about: no answer nobody asked for, no request
//! carried out twice, and a tunnel that carries what was sent, in order and unchanged.

use std::collections::BTreeMap;

use crate::actor::Said;
use crate::play::Played;
use crate::scenario::{Role, Scenario};
use crate::trace::conversation::conversations;
use crate::trace::wire;

/// RFC 9112 section 9.3: a response belongs to a request. One more is the beginning of response smuggling.
pub(super) fn answers(_: &Scenario, played: &Played) -> Vec<String> {
    let mut complaints = Vec::new();
    for conversation in conversations(&played.trace) {
        let messages = wire::read(&conversation.from_client.bytes, &conversation.from_server.bytes);
        if messages.answers > messages.requests {
            complaints.push(format!(
                "{} answered {} times to {} requests of {}",
                conversation.server.map_or("nobody", |server| played.trace.host(server)),
                messages.answers,
                messages.requests,
                played.trace.host(conversation.client),
            ));
        }
    }
    complaints
}

/// RFC 9110 section 9.2.2: a request with another method than these may do something each time it arrives. So it arrives
/// once, unless a configuration or the client allows more, or the app says in a GOAWAY that it has not looked at what came.
pub(super) fn deliveries(scenario: &Scenario, played: &Played) -> Vec<String> {
    const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    let allows = |text: &str| text.contains("retry_on") || text.contains("hedge_policy") || text.contains("mirror");
    if scenario.hosts.iter().any(|host| matches!(&host.role, Role::Proxy { text, .. } if allows(text)))
        || scenario.document.as_read().contains("x-envoy-retry-on")
        || scenario.document.as_read().contains("goaway: { last_stream")
    {
        return Vec::new();
    }
    let mut times: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for delivery in &played.sightings.deliveries {
        let method = delivery.asked.split(' ').next().unwrap_or_default();
        if let Some(id) = &delivery.request_id
            && !IDEMPOTENT.contains(&method)
        {
            *times.entry((id, &delivery.asked)).or_default() += 1;
        }
    }
    let repeated = times.into_iter().filter(|(_, times)| *times > 1);
    repeated.map(|((_, asked), times)| format!("{asked} reached an app {times} times")).collect()
}

/// What one end received is what the other had sent, from the beginning, as far as it came.
pub(super) fn tunnels(_: &Scenario, played: &Played) -> Vec<String> {
    let mut complaints = Vec::new();
    let of_apps: Vec<_> =
        played.sightings.deliveries.iter().filter_map(|it| Some((&it.host, it.tunnel.as_ref()?))).collect();
    for exchange in &played.sightings.exchanges {
        let Some(client) = &exchange.tunnel else { continue };
        // The key travels from end to end, so it finds the other end.
        let Some((app, other)) = of_apps.iter().find(|(_, talk)| talk.key == client.key) else { continue };
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

fn is_beginning(received: &[Said], sent: &[Said]) -> bool {
    sent.starts_with(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_may_lose_its_end_and_nothing_else() {
        let said = |text: &str| Said::Text(text.into());
        let sent = [said("a"), said("b")];
        assert!(is_beginning(&[], &sent));
        assert!(is_beginning(&[said("a")], &sent));
        assert!(!is_beginning(&[said("b")], &sent));
        assert!(!is_beginning(&[said("a"), said("b"), said("b")], &sent));
    }
}
