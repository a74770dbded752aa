//! A run on paper: what it is about, what came of it, what each hop logged, and what crossed the network.
//!
//! This text is what `golden/` keeps. Nothing in it is redacted: what varies from run to run is a defect.

pub mod diagram;
pub(crate) mod histogram;
pub mod json;
mod layout;
pub mod map;
pub mod page;

use std::fmt::{self, Write};

use crate::actor::{Exchange, Outcome, Said, Talk};
use crate::explain::explain;
use crate::play::Played;
use crate::scenario::{Ending, Scenario};
use crate::trace::story::{Millis, Timeline};
use crate::trace::wire;

/// The whole story of a run.
#[must_use]
pub fn story(scenario: &Scenario, played: &Played) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut text, scenario, played);
    text
}

fn write(text: &mut String, scenario: &Scenario, played: &Played) -> fmt::Result {
    for line in wrap(&scenario.about) {
        writeln!(text, "{line}")?;
    }
    if !scenario.refs.is_empty() {
        writeln!(text, "See {}.", scenario.refs.join(", "))?;
    }
    let hosts = played.trace.hosts();
    let width = hosts.iter().map(String::len).max().unwrap_or_default();
    if !played.refused.is_empty() {
        writeln!(text, "\nWHAT THE PROXIES REFUSED")?;
        for (host, why) in &played.refused {
            writeln!(text, "{host}: {why}")?;
        }
        return Ok(());
    }
    writeln!(text, "\nWHAT THE CLIENTS SAW")?;
    for exchange in &played.sightings.exchanges {
        writeln!(text, "{:>width$}  {}", exchange.host, exchange_line(exchange))?;
    }
    if played.sightings.exchanges.is_empty() {
        writeln!(text, "  nothing")?;
    }
    for (nth, explanation) in explain(scenario, played).iter().enumerate() {
        text.push_str(if nth == 0 { "\nWHY\n" } else { "\n" });
        write!(text, "{explanation}")?;
    }
    writeln!(text, "\nWHAT THE PROXIES LOGGED")?;
    let log = Timeline::log(&played.trace);
    for (at, host, line) in &log {
        writeln!(text, "{host:>width$}  at {} ms: {line}", Millis(*at))?;
    }
    if log.is_empty() {
        writeln!(text, "  nothing")?;
    }
    writeln!(text, "\nWHAT CROSSED THE NETWORK (in milliseconds)")?;
    write!(text, "{}", Timeline::new(&played.trace))?;
    writeln!(text, "\nWHAT WAS LEFT OPEN")?;
    for socket in &played.left_open {
        writeln!(text, "  {socket}")?;
    }
    if played.left_open.is_empty() {
        writeln!(text, "  nothing")?;
    }
    Ok(())
}

/// One line about one exchange.
pub(crate) fn exchange_line(exchange: &Exchange) -> String {
    let on = exchange.connection.as_ref().map_or_else(String::new, |name| format!("on {name}: "));
    let mut line = format!("{on}{}: ", exchange.asked);
    let after = exchange.answered.map(|answered| Millis(answered.saturating_sub(exchange.began)).to_string());
    let after = after.map_or_else(String::new, |after| format!(" after {after} ms"));
    match &exchange.outcome {
        Outcome::Answer { status, body, .. } => {
            line = format!("{line}{status}{after}");
            match std::str::from_utf8(body) {
                _ if body.is_empty() => {}
                Ok(text) if text.len() <= 120 => line = format!("{line}, {text:?}"),
                _ => line = format!("{line}, {}", wire::size(body.len())),
            }
        }
        Outcome::Failed(why) => line = format!("{line}no answer{after}: {why}"),
        Outcome::Waiting => line.push_str("no answer"),
    }
    if let Some(Talk { sent, received, .. }) = &exchange.tunnel {
        line = format!("{line}; sent {}, received {}", list(sent), list(received));
    }
    if let Some((ending, at)) = exchange.ended {
        let how = match ending {
            Ending::Fin => "closed by the peer",
            Ending::Rst => "reset by the peer",
            Ending::Us => "left",
        };
        line = format!("{line}; {how} at {} ms", Millis(at));
    }
    line
}

fn list(said: &[Said]) -> String {
    if said.is_empty() {
        return "nothing".into();
    }
    said.iter().map(Said::to_string).collect::<Vec<_>>().join(", ")
}

/// Lines of at most a screen's width.
fn wrap(text: &str) -> Vec<String> {
    const COLUMNS: usize = 100;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}
