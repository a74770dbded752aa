//! A run on paper: what it is about, what came of it, what each hop logged, and what crossed the network.
//!
//! This text is what `golden/` keeps. Nothing in it is redacted: what varies from run to run is a defect.

pub mod diagram;
pub mod difference;
pub mod heads;
pub(crate) mod histogram;
pub mod json;
mod layout;
pub mod map;
mod markup;
pub mod page;
pub mod pcapng;
pub(crate) mod rounds;
pub mod sequence;
pub mod table;
pub mod timeline;

use std::fmt::{self, Write};
use std::time::Duration;

use crate::actor::Exchange;
use crate::clock::Millis;
use crate::columns;
use crate::explain::{Explanation, explain};
use crate::run::Played;
use crate::scenario::Scenario;
use rounds::without_numbers;
use timeline::{LINES_MAX, Timeline};

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
    let width = columns::width(hosts.iter().map(String::as_str));
    if !played.refused.is_empty() {
        writeln!(text, "\nWHAT THE PROXIES REFUSED")?;
        for (host, why) in &played.refused {
            writeln!(text, "{host}: {why}")?;
        }
        return Ok(());
    }
    if !played.left_out.is_empty() {
        writeln!(text, "\nWHAT WAS LEFT OUT OF THE CONFIGURATIONS")?;
        for (host, it) in &played.left_out {
            writeln!(text, "{host:>width$}  {}", it.describe(&scenario.file_of(host)))?;
        }
    }
    if !played.certificates.is_empty() {
        writeln!(text, "\nCERTIFICATES (the clock begins at 2024-01-01 00:00:00)")?;
        let of_host = |(host, what): &(String, String)| format!("{host:>width$}  {what}");
        write_folded(text, &played.certificates.iter().map(of_host).collect::<Vec<_>>(), "")?;
    }
    writeln!(text, "\nWHAT THE CLIENTS SAW")?;
    let of_exchange = |exchange: &Exchange| format!("{:>width$}  {}", exchange.host, exchange);
    write_folded(text, &played.sightings.exchanges.iter().map(of_exchange).collect::<Vec<_>>(), "")?;
    if played.sightings.exchanges.is_empty() {
        writeln!(text, "  nothing")?;
    }
    let explanations = explain(scenario, played);
    if !explanations.is_empty() {
        text.push_str("\nWHY\n");
    }
    let of_failure = |explanation: &Explanation| explanation.to_string().trim_end().to_owned();
    write_folded(text, &explanations.iter().map(of_failure).collect::<Vec<_>>(), "\n")?;
    writeln!(text, "\nWHAT THE PROXIES LOGGED")?;
    let log = played.trace.log();
    let of_log = |(at, host, line): &(Duration, &str, &str)| format!("{host:>width$}  at {} ms: {line}", Millis(*at));
    write_folded(text, &log.iter().map(of_log).collect::<Vec<_>>(), "")?;
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

/// More paragraphs than this that are alike are shown as one, and counted.
const ALIKE_MAX: usize = 8;

/// Paragraphs one below the other, as [`folded`] leaves them.
fn write_folded(text: &mut String, paragraphs: &[String], between: &str) -> fmt::Result {
    for (nth, paragraph) in folded(paragraphs, LINES_MAX).enumerate() {
        let before = if nth == 0 { "" } else { between };
        match paragraph {
            Paragraph::Shown(paragraph) => writeln!(text, "{before}{paragraph}")?,
            Paragraph::More(more) => writeln!(text, "        {more} more like it, at other times")?,
            Paragraph::LeftOut(more) => writeln!(text, "        {more} more are left out here; --json has them")?,
        }
    }
    Ok(())
}

/// One of many paragraphs, or what stands in place of some.
pub(crate) enum Paragraph<'a> {
    /// So many, because there are too many to show.
    LeftOut(usize),
    /// So many that are like the one before.
    More(usize),
    /// As it is.
    Shown(&'a str),
}

/// Of many that are alike but for their times the first, and of more than `most` the first and the last.
pub(crate) fn folded(paragraphs: &[String], most: usize) -> impl Iterator<Item = Paragraph<'_>> {
    let alike = |one: &String, next: &String| without_numbers(one) == without_numbers(next);
    let groups = paragraphs.chunk_by(alike).flat_map(|group| {
        let shown = if group.len() > ALIKE_MAX { 1 } else { group.len() };
        let more = (group.len() > shown).then(|| Paragraph::More(group.len() - shown));
        group.iter().take(shown).map(|paragraph| Paragraph::Shown(paragraph)).chain(more)
    });
    let mut all: Vec<Paragraph<'_>> = groups.collect();
    let excess = all.len().saturating_sub(most);
    if excess > 0 {
        drop(all.splice(most / 2..most / 2 + excess, [Paragraph::LeftOut(excess)]));
    }
    all.into_iter()
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
