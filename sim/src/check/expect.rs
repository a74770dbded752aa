//! The author's expectations, held against what was seen.

use std::time::Duration;

use finwait::stats::Number;
use serde_yaml::Spanned;

use crate::actor::{Delivery, Exchange, Outcome, WebSocketMessage};
use crate::run::Played;
use crate::scenario::{Expect, ExpectedFields, Role, Scenario, ScenarioError, Seen, Times};
use crate::trace::conversation::Conversation;
use crate::trace::flags;

/// One complaint for each line of `expect` that is not what happened, unless it may fail in some runs.
pub(super) fn check(scenario: &Scenario, played: &Played) -> Vec<ScenarioError> {
    let mut complaints = Vec::new();
    for (nth, line) in scenario.expect.iter().enumerate().filter(|(_, line)| line.value.share.is_none()) {
        let differences = differences(scenario, played, nth, line);
        complaints.extend(differences.into_iter().map(|what| scenario.complain(line.referenced, what)));
    }
    complaints
}

/// Whether the `nth` line of `expect` is what happened.
pub(crate) fn holds(scenario: &Scenario, played: &Played, nth: usize) -> bool {
    scenario.expect.get(nth).is_some_and(|line| differences(scenario, played, nth, line).is_empty())
}

fn differences(scenario: &Scenario, played: &Played, nth: usize, line: &Spanned<Expect>) -> Vec<String> {
    let Expect { host, seen, .. } = &line.value;
    // The second line about an exchange of a host is about its second one. Lines that may fail in some runs are counted apart.
    let is_earlier = |before: &&Spanned<Expect>| {
        before.value.host == *host && before.value.share.is_some() == line.value.share.is_some()
    };
    let earlier = scenario.expect.iter().take(nth).filter(is_earlier);
    let earlier = earlier.filter(|before| before.value.seen.is_about_one());
    let role = scenario.hosts.iter().find(|has| has.name == *host).map(|has| &has.role);
    let mut found = match role {
        Some(Role::Client(_)) => {
            let exchange =
                played.sightings.exchanges.iter().filter(|exchange| exchange.host == *host).nth(earlier.count());
            match exchange {
                Some(exchange) => client(seen, exchange),
                None if seen.is_about_one() => vec!["expected an exchange, got none".into()],
                None => Vec::new(),
            }
        }
        Some(Role::Proxy { .. }) => {
            let log = played.trace.log();
            let lines: Vec<_> = log.iter().filter(|(_, at, _)| at == host).map(|(at, _, line)| (*at, *line)).collect();
            let numbers = played.stats.iter().find(|(name, _)| name == host).map(|(_, stats)| stats.numbers.as_slice());
            let mut found = proxy(seen, &lines, earlier.count(), numbers.unwrap_or_default());
            found.extend(refusal(seen, played.refused.iter().find(|(name, _)| name == host)));
            found
        }
        Some(Role::App(_)) => {
            let deliveries: Vec<_> =
                played.sightings.deliveries.iter().filter(|delivery| delivery.host == *host).collect();
            app(seen, &deliveries, earlier.count())
        }
        Some(Role::Alb(_)) | None => Vec::new(), // a scenario that loads names only hosts it has
    };
    if let Some(connections) = seen.connections {
        let accepts = matches!(role, Some(Role::App(_)));
        let is_its = |it: &&Conversation| {
            let end = if accepts { it.server } else { Some(it.client) };
            end.is_some_and(|end| played.trace.host(end) == host)
        };
        let got = played.trace.conversations().iter().filter(is_its).count();
        let mut differences = Differences(Vec::new());
        differences.unless(got == connections, "connections", connections, &got.to_string());
        found.extend(differences.0);
    }
    found
}

fn client(expected: &Seen, exchange: &Exchange) -> Vec<String> {
    let Seen { status, error, body, took, ended, ended_at, received, received_bytes, at, .. } = expected;
    let mut differences = Differences(Vec::new());
    let (got_status, got_error, got_headers, got_body) = match &exchange.outcome {
        Outcome::Response { status, headers, body } => (Some(*status), None, headers.as_slice(), body.as_slice()),
        Outcome::Failed(why) => (None, Some(why.as_str()), &[][..], &[][..]),
        Outcome::Waiting => (None, Some("no response yet"), &[][..], &[][..]),
    };
    if let Some(status) = status {
        let got = got_status.map_or_else(|| got_error.unwrap_or("none").to_owned(), |status| status.to_string());
        differences.unless(got_status == Some(*status), "status", status, &got);
    }
    if let Some(error) = error {
        differences.unless(
            got_error.is_some_and(|got| got.contains(error)),
            "error",
            error,
            got_error.unwrap_or("none"),
        );
    }
    if let Some(body) = body {
        differences.unless(got_body == body.as_bytes(), "body", body, &String::from_utf8_lossy(got_body));
    }
    differences.fields(&expected.headers, got_headers);
    differences.fields(&expected.trailers, &exchange.trailers);
    differences.at(at.as_ref(), exchange.responded);
    if let Some(took) = took {
        let got = exchange.responded.map(|at| at.saturating_sub(exchange.began));
        let shown = got.map_or_else(|| "no response".into(), |got| format!("{got:?}"));
        differences.unless(got.is_some_and(|got| took.contains(got)), "took", took, &shown);
    }
    if let Some(ended) = ended {
        let got = exchange.ended.map(|(ending, _)| ending);
        let shown = got.map_or_else(|| "open".into(), |got| got.to_string());
        differences.unless(got == Some(*ended), "ended", ended, &shown);
    }
    differences.time("ended_at", ended_at.as_ref(), exchange.ended.map(|(_, at)| at));
    let messages = exchange.tunnel.as_ref().map_or(&[][..], |record| &record.received);
    if let Some(received) = received {
        let texts = messages
            .iter()
            .filter_map(|message| if let WebSocketMessage::Text(text) = message { Some(text) } else { None });
        let texts: Vec<&String> = texts.collect();
        let same = texts.len() == received.len() && texts.iter().zip(received).all(|(got, expected)| *got == expected);
        differences.unless(same, "received", format!("{received:?}"), &format!("{texts:?}"));
    }
    if let Some(size) = received_bytes {
        let got: usize = messages.iter().map(WebSocketMessage::len).sum();
        differences.unless(got == size.0, "received_bytes", size.0, &got.to_string());
    }
    differences.0
}

fn proxy(expected: &Seen, lines: &[(Duration, &str)], nth: usize, numbers: &[Number]) -> Vec<String> {
    let mut differences = Differences(count(expected, lines.len()));
    let line = lines.get(nth);
    if let Some(log) = &expected.log {
        let got = line.map(|(_, line)| *line);
        differences.unless(got.is_some_and(|line| line.contains(log)), "log", log, got.unwrap_or("none"));
    }
    if let Some(wanted) = &expected.flags {
        let got = line.map_or_else(|| "no line".into(), |(_, line)| flags(line));
        differences.unless(got == *wanted, "flags", wanted, &got);
    }
    differences.at(expected.at.as_ref(), line.map(|(at, _)| *at));
    for (name, value) in expected.stats.iter() {
        let got = numbers.iter().find(|number| number.name == name).map(|number| number.value);
        let shown = got.map_or_else(|| "no such stat".into(), |got| got.to_string());
        differences.unless(got == Some(*value), name, value, &shown);
    }
    differences.0
}

fn refusal(expected: &Seen, refused: Option<&(String, String)>) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    if let Some(part) = &expected.config_error {
        let got = refused.map(|(_, why)| why.as_str());
        differences.unless(got.is_some_and(|why| why.contains(part)), "config_error", part, got.unwrap_or("none"));
    }
    differences.0
}

/// The times between an app's requests.
pub(crate) fn gaps(played: &Played, host: &str) -> Vec<Duration> {
    between(&played.sightings.deliveries.iter().filter(|delivery| delivery.host == host).collect::<Vec<_>>())
}

fn between(deliveries: &[&Delivery]) -> Vec<Duration> {
    deliveries.iter().zip(deliveries.iter().skip(1)).map(|(one, next)| next.at - one.at).collect()
}

fn app(expected: &Seen, deliveries: &[&Delivery], nth: usize) -> Vec<String> {
    let mut differences = Differences(count(expected, deliveries.len()));
    if let Some(gaps) = &expected.gaps {
        let got = between(deliveries);
        let fits = got.len() == gaps.len() && gaps.iter().zip(&got).all(|(wanted, got)| wanted.contains(*got));
        let wanted: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        differences.unless(fits, "gaps", wanted.join(", "), &format!("{got:?}"));
    }
    if !expected.is_about_one() {
        return differences.0;
    }
    let Some(delivery) = deliveries.get(nth) else {
        differences.0.push("expected a request, got none".into());
        return differences.0;
    };
    if let Some(request) = &expected.request {
        differences.unless(delivery.request == *request, "request", request, &delivery.request);
    }
    if let Some(body) = &expected.body {
        let got = String::from_utf8_lossy(&delivery.body);
        differences.unless(delivery.body == body.as_bytes(), "body", body, &got);
    }
    differences.fields(&expected.headers, &delivery.headers);
    differences.fields(&expected.trailers, &delivery.trailers);
    differences.at(expected.at.as_ref(), Some(delivery.at));
    differences.0
}

fn count(expected: &Seen, got: usize) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    if let Some(count) = expected.count {
        differences.unless(got == count, "count", count, &got.to_string());
    }
    differences.0
}

struct Differences(Vec<String>);

impl Differences {
    fn at(&mut self, expected: Option<&Times>, got: Option<Duration>) {
        self.time("at", expected, got);
    }

    fn time(&mut self, what: &str, expected: Option<&Times>, got: Option<Duration>) {
        if let Some(times) = expected {
            let shown = got.map_or_else(|| "never".into(), |got| format!("{got:?}"));
            self.unless(got.is_some_and(|got| times.contains(got)), what, times, &shown);
        }
    }

    fn fields(&mut self, expected: &ExpectedFields, got: &[(String, String)]) {
        for (name, value) in &expected.0 {
            let lines = got.iter().filter(|(has, _)| has.eq_ignore_ascii_case(name));
            let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
            let has = match lines.as_slice() {
                [] => "none".to_owned(),
                [only] => (*only).to_owned(),
                lines => format!("[{}]", lines.join(", ")),
            };
            self.unless(value.fits(&lines), name, value, &has);
        }
    }

    fn unless(&mut self, fits: bool, what: &str, expected: impl std::fmt::Display, got: &str) {
        if !fits {
            self.0.push(format!("{what}: expected {expected}, got {got}"));
        }
    }
}
