//! The author's expectations, held against what was seen.

use finwait::stats::Number;

use crate::actor::{Exchange, Outcome, Said};
use crate::play::Played;
use crate::scenario::{Expect, Role, Scenario, ScenarioError, Seen};
use crate::trace::story::Timeline;

/// One complaint for each line of `expect` that is not what happened.
pub(super) fn check(scenario: &Scenario, played: &Played) -> Vec<ScenarioError> {
    let log = Timeline::log(&played.trace);
    let mut complaints = Vec::new();
    for (nth, line) in scenario.expect.iter().enumerate() {
        let Expect { host, seen } = &line.value;
        // The second line about a host is about its second exchange.
        let earlier = scenario.expect.iter().take(nth).filter(|before| before.value.host == *host).count();
        let role = scenario.hosts.iter().find(|has| has.name == *host).map(|has| &has.role);
        let differences = match role {
            Some(Role::Client(_)) => {
                let exchange = played.sightings.exchanges.iter().filter(|exchange| exchange.host == *host).nth(earlier);
                exchange.map_or_else(|| vec!["expected an exchange, got none".into()], |it| client(seen, it))
            }
            Some(Role::Proxy { .. }) => {
                let lines: Vec<&str> = log.iter().filter(|(_, at, _)| at == host).map(|(_, _, line)| *line).collect();
                let numbers = played.stats.iter().find(|(name, _)| name == host).map(|(_, numbers)| numbers.as_slice());
                proxy(seen, &lines, earlier, numbers.unwrap_or_default())
            }
            Some(Role::App(_)) => {
                count(seen, played.sightings.deliveries.iter().filter(|delivery| delivery.host == *host).count())
            }
            None => Vec::new(), // a scenario that loads names only hosts it has
        };
        complaints.extend(differences.into_iter().map(|what| scenario.complain(line.referenced, what)));
    }
    complaints
}

fn client(expected: &Seen, exchange: &Exchange) -> Vec<String> {
    let Seen { status, error, body, headers, took, ended, received, received_bytes, log: _, count: _, stats: _ } =
        expected;
    let mut differences = Differences(Vec::new());
    let (got_status, got_error, got_headers, got_body) = match &exchange.outcome {
        Outcome::Answer { status, headers, body } => (Some(*status), None, headers.as_slice(), body.as_slice()),
        Outcome::Failed(why) => (None, Some(why.as_str()), &[][..], &[][..]),
        Outcome::Waiting => (None, Some("no answer yet"), &[][..], &[][..]),
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
    for (name, value) in headers.iter() {
        let got = got_headers.iter().find(|(has, _)| has.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let shown = value.as_deref().unwrap_or("none");
        differences.unless(got == value.as_deref(), name, shown, got.unwrap_or("none"));
    }
    if let Some(took) = took {
        let got = exchange.answered.map(|answered| answered.saturating_sub(exchange.began));
        let shown = got.map_or_else(|| "no answer".into(), |got| format!("{got:?}"));
        differences.unless(got.is_some_and(|got| took.contains(got)), "took", took, &shown);
    }
    if let Some(ended) = ended {
        let got = exchange.ended.map(|(ending, _)| ending);
        let shown = got.map_or_else(|| "open".into(), |got| got.to_string());
        differences.unless(got == Some(*ended), "ended", ended, &shown);
    }
    let heard = exchange.tunnel.as_ref().map_or(&[][..], |talk| &talk.received);
    if let Some(received) = received {
        let texts = heard.iter().filter_map(|said| if let Said::Text(text) = said { Some(text) } else { None });
        let texts: Vec<&String> = texts.collect();
        let same = texts.len() == received.len() && texts.iter().zip(received).all(|(got, expected)| *got == expected);
        differences.unless(same, "received", format!("{received:?}"), &format!("{texts:?}"));
    }
    if let Some(size) = received_bytes {
        let got: usize = heard.iter().map(Said::len).sum();
        differences.unless(got == size.0, "received_bytes", size.0, &got.to_string());
    }
    differences.0
}

fn proxy(expected: &Seen, lines: &[&str], nth: usize, numbers: &[Number]) -> Vec<String> {
    let mut differences = Differences(count(expected, lines.len()));
    if let Some(log) = &expected.log {
        let got = lines.get(nth);
        differences.unless(got.is_some_and(|line| line.contains(log)), "log", log, got.unwrap_or(&"none"));
    }
    for (name, value) in expected.stats.iter() {
        let got = numbers.iter().find(|number| number.name == name).map(|number| number.value);
        let shown = got.map_or_else(|| "no such stat".into(), |got| got.to_string());
        differences.unless(got == Some(*value), name, value, &shown);
    }
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
    fn unless(&mut self, fits: bool, what: &str, expected: impl std::fmt::Display, got: &str) {
        if !fits {
            self.0.push(format!("{what}: expected {expected}, got {got}"));
        }
    }
}
