//! A run as one page that needs nothing else: no network, no other file.
//!
//! Everything is in the page as text and drawing before its program runs: without JavaScript only the details and the
//! change between messages and segments are missing. The program is `page.js`, the look `page.css`.

mod svg;

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::map::OutcomeMap;
use super::markup::escape;
use super::rounds::shown;
use super::{Paragraph, folded, story};
use crate::actor::Exchange;
use crate::clock::Millis;
use crate::explain::{Change, Explanation, HopStory, explain, timers};
use crate::report::sequence::{Item, What, messages, segments};
use crate::run::Played;
use crate::scenario::{Scenario, ScenarioError};
use crate::trace::Trace;
use crate::trace::spans::{Span, Timer, spans};
use svg::Picture;

/// Messages and segments that are drawn. With their details an item takes about 2 kB, and a page is to stay below 2 MB.
const MESSAGES_MAX: usize = 400;
const SEGMENTS_MAX: usize = 300;
/// Timers, and states of connections, that are drawn beside them.
const LASTED_MAX: usize = 400;
/// Lines of the same as text.
const STORY_LINES_MAX: usize = 4_000;
/// Requests of clients that are listed.
const EXCHANGES_MAX: usize = 100;
/// Lines of the story of another run, and bytes of all these stories.
const OTHER_LINES_MAX: usize = 400;
const OTHERS_BYTES_MAX: usize = 700_000;
/// Complaints that are listed.
const COMPLAINTS_MAX: usize = 20;

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What was played.
    pub scenario: &'a Scenario,
    /// What came of it.
    pub played: &'a Played,
    /// What [`check`](crate::check::check) found.
    pub complaints: &'a [ScenarioError],
    /// What came of the other runs of the same file, if there are others.
    pub map: Option<&'a OutcomeMap>,
    /// Other runs of the same file, which the cells of the map lead to.
    pub others: &'a [OtherRun],
}

/// Another run of the same file.
#[derive(Clone, Debug)]
pub struct OtherRun {
    /// Its place among all runs of the file.
    pub number: usize,
    /// What distinguishes it from the others.
    pub label: String,
    /// Its story.
    pub story: String,
}

/// The page, complete.
#[must_use]
pub fn page(page: Page<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut text, page);
    text
}

fn write(out: &mut String, page: Page<'_>) -> fmt::Result {
    let Page { scenario, played, complaints, map, others } = page;
    let others = within_bounds(others);
    let title = scenario.file.trim_start_matches("scenarios/").trim_end_matches(".yaml");
    let title = title.replace('/', ": ").replace('-', " ");
    let title = escape(&title);
    head(out, &title)?;
    write!(out, "<header><h1>{title}</h1><p class=\"about\">{}</p>", escape(&scenario.about))?;
    let verdict = match complaints {
        [] => "<strong class=\"good\">Everything expected was seen.</strong>".to_owned(),
        some => format!("<strong class=\"bad\">{} expectations were not met.</strong>", some.len()),
    };
    let refs = if scenario.refs.is_empty() { String::new() } else { format!("See {}. ", scenario.refs.join(", ")) };
    let (took, seed) = (svg::duration(played.took), scenario.seed);
    writeln!(out, "<p>{}{verdict} {took} of virtual time, seed {seed}.</p></header>", escape(&refs))?;
    if !complaints.is_empty() {
        let mut text: Vec<String> = complaints.iter().take(COMPLAINTS_MAX).map(ToString::to_string).collect();
        if complaints.len() > COMPLAINTS_MAX {
            text.push(format!("and {} more", complaints.len() - COMPLAINTS_MAX));
        }
        writeln!(
            out,
            "<section><h2>What was expected and not seen</h2><pre>{}</pre></section>",
            escape(&text.join("\n"))
        )?;
    }
    if let Some(map) = map {
        let link = |run| others.iter().any(|other| other.number == run).then(|| run_id(run));
        let (svg, label) = (map.to_svg(&scenario.label.0, link), escape(scenario.label.to_string().trim()));
        let linked =
            if others.is_empty() { "" } else { " A cell leads to the story of its run, at the end of the page." };
        writeln!(
            out,
            "<section><h2>What came of each run</h2><div class=\"map\">{svg}</div><p>Below is the run with {label}.{linked}</p></section>"
        )?;
    }
    exchanges(out, played)?;
    let explanations = explain(scenario, played);
    why(out, &explanations)?;
    diagram(out, &played.trace, timers(scenario, played))?;
    writeln!(
        out,
        "<details class=\"story\" id=\"story\"><summary>The same as text</summary><pre>{}</pre></details>",
        escape(&beginning(&story(scenario, played), STORY_LINES_MAX))
    )?;
    stories(out, &others)?;
    write!(out, "<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"))
}

/// What stands before the body.
fn head(out: &mut String, title: &str) -> fmt::Result {
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#story\">To the same as text</a>\n",
        include_str!("page.css")
    )
}

/// The stories of other runs.
fn stories(out: &mut String, others: &[&OtherRun]) -> fmt::Result {
    for OtherRun { number, label, story } in others {
        // A link to what is within closed details opens them.
        writeln!(
            out,
            "<details class=\"story\"><summary>The run with {}</summary><pre id=\"{}\">{}</pre></details>",
            escape(label.trim()),
            run_id(*number),
            escape(&beginning(story, OTHER_LINES_MAX))
        )?;
    }
    Ok(())
}

/// Those whose stories the page has room for.
fn within_bounds(others: &[OtherRun]) -> Vec<&OtherRun> {
    let mut bytes = 0;
    let fits = |other: &&OtherRun| {
        bytes += other.story.len();
        bytes <= OTHERS_BYTES_MAX
    };
    others.iter().take_while(fits).collect()
}

/// Where a link to the story of another run leads.
fn run_id(number: usize) -> String {
    format!("run-{number}")
}

fn exchanges(out: &mut String, played: &Played) -> fmt::Result {
    out.write_str("<section><h2>What the clients saw</h2><ul>")?;
    let of_exchange = |exchange: &Exchange| format!("{} {exchange}", exchange.host);
    for paragraph in folded(&played.sightings.exchanges.iter().map(of_exchange).collect::<Vec<_>>(), EXCHANGES_MAX) {
        match paragraph {
            Paragraph::Shown(text) => {
                let (host, what) = text.split_once(' ').unwrap_or(("", text));
                write!(out, "<li><b>{}</b> {}</li>", escape(host), escape(what))?;
            }
            Paragraph::More(more) => write!(out, "<li>{more} more like it, at other times</li>")?,
            Paragraph::LeftOut(more) => write!(out, "<li>{more} more are left out here</li>")?,
        }
    }
    out.write_str("</ul></section>\n")
}

/// The explanations of failed requests.
fn why(out: &mut String, explanations: &[Explanation]) -> fmt::Result {
    if explanations.is_empty() {
        return Ok(());
    }
    out.write_str("<section><h2>Why</h2>")?;
    for explanation in explanations {
        let Explanation { host, outcome, hops, closed_first, sent, retry, changes, .. } = explanation;
        write!(out, "<article class=\"why\"><p class=\"verdict\">{}: {}</p><dl>", escape(host), escape(outcome))?;
        for HopStory { host, did, because, log, without } in hops {
            write!(out, "<dt>{}</dt><dd>{}", escape(host), escape(&did.join("; ")))?;
            if let Some(because) = because {
                write!(out, "<br>because of {}", escape(&because.to_string()))?;
            }
            for without in without {
                write!(out, "<br>without {}", escape(without))?;
            }
            if let Some(log) = log {
                write!(out, "<br><code>{}</code>", escape(log))?;
            }
            out.write_str("</dd>")?;
        }
        if let Some(closed) = closed_first {
            write!(out, "<dt>closed first</dt><dd>{}</dd>", escape(closed))?;
        }
        let safe = if retry.is_safe { "safe" } else { "not safe" };
        write!(out, "<dt>sent</dt><dd>{}</dd><dt>a retry</dt><dd>{safe}: {}</dd>", escape(sent), escape(&retry.why))?;
        for Change { what, setting, trial, .. } in changes {
            let setting = setting.as_ref().map_or_else(String::new, |setting| format!(": {setting}"));
            write!(out, "<dt>to change it</dt><dd>{}{}", escape(what), escape(&setting))?;
            if let Some(trial) = trial {
                write!(out, "<br>{}: {}", trial.verdict.heading(), escape(&trial.to_string()))?;
            }
            out.write_str("</dd>")?;
        }
        out.write_str("</dl></article>")?;
    }
    out.write_str("</section>\n")
}

/// The lines of a story that a page has room for.
fn beginning(story: &str, lines_max: usize) -> String {
    let mut lines: Vec<&str> = story.lines().take(lines_max).collect();
    if story.lines().nth(lines_max).is_some() {
        lines.push("The rest is left out here: `finwait-sim run` prints it.");
    }
    lines.join("\n")
}

/// Those that have to do with what is drawn, and how many are left out.
fn drawn<T>(all: Vec<T>, is_drawn: impl Fn(&T) -> bool) -> (Vec<T>, usize) {
    let number = all.len();
    let kept: Vec<T> = all.into_iter().filter(is_drawn).take(LASTED_MAX).collect();
    let left_out = number - kept.len();
    (kept, left_out)
}

fn diagram(out: &mut String, trace: &Trace, timers: Vec<Timer>) -> fmt::Result {
    let messages = shown(trace, messages(trace), MESSAGES_MAX);
    let segments = shown(trace, segments(trace), SEGMENTS_MAX);
    let connections: BTreeSet<usize> = messages.iter().chain(&segments).filter_map(connection).collect();
    let times: BTreeSet<Duration> = messages.iter().chain(&segments).map(|item| item.moment.at).collect();
    let (spans, spans_left_out) = drawn(spans(trace), |span| connections.contains(&span.connection));
    let (timers, timers_left_out) = drawn(timers, |it| times.range(it.from..=it.until).next().is_some());
    let left_out = spans_left_out + timers_left_out;
    out.write_str(
        "<section aria-labelledby=\"happened\"><h2 id=\"happened\">What happened</h2>\n\
         <div class=\"controls\" role=\"radiogroup\" aria-label=\"Level of detail\">\
         <label><input type=\"radio\" name=\"level\" value=\"messages\" checked> messages</label> \
         <label><input type=\"radio\" name=\"level\" value=\"segments\"> segments</label>\
         <label><input type=\"checkbox\" id=\"timers\" checked> timers</label>\n\
         <span class=\"hint\">Arrow keys go from item to item, Enter shows its details. Time is not to scale.</span>\
         <span class=\"legend\"><i class=\"state connecting\"></i> connecting <i class=\"state open\"></i> open \
         <i class=\"state half\"></i> half closed <i class=\"timer\"></i> a timer that ran \
         <i class=\"timer fired\"></i> one that ended something</span></div>\n<div class=\"pictures\"><div class=\"messages\">",
    )?;
    let title = "Sequence diagram, one row per message";
    Picture { trace, items: &messages, spans: &spans, timers: &timers, id: "messages", title }.draw(out)?;
    let title = "Sequence diagram, one row per segment";
    out.write_str("</div><div class=\"segments\" hidden>")?;
    Picture { trace, items: &segments, spans: &spans, timers: &timers, id: "segments", title }.draw(out)?;
    out.write_str("</div></div>\n<aside id=\"details\" aria-live=\"polite\" aria-label=\"Details\"><p>Choose an item to see its headers and bytes.</p></aside></section>\n")?;
    lasted(out, trace, &spans, &timers, left_out)?;
    for (id, items) in [("messages", &messages), ("segments", &segments)] {
        let details: Vec<Value> = items.iter().map(|item| details(trace, item)).collect();
        // Inside a script element only `<` could end it.
        let text = Value::from(details).to_string().replace('<', "\\u003c");
        writeln!(out, "<script type=\"application/json\" id=\"{id}-details\">{text}</script>")?;
    }
    Ok(())
}

/// What the bars and brackets of the picture show, as a table.
fn lasted(out: &mut String, trace: &Trace, spans: &[Span], timers: &[Timer], left_out: usize) -> fmt::Result {
    out.write_str(
        "<details><summary>Timers and connections as a table</summary><table class=\"lasted\"><thead><tr><th scope=\"col\">host\
         </th><th scope=\"col\">what</th><th scope=\"col\">from, ms</th><th scope=\"col\">until, ms</th><th scope=\"col\">\
         how it ended</th></tr></thead><tbody>",
    )?;
    let mut rows: Vec<(Duration, Duration, String, String, &str)> = Vec::new();
    for Timer { host, name, from, until, has_fired } in timers {
        let end = if *has_fired { "it ended something" } else { "it was stopped" };
        rows.push((*from, *until, trace.host(*host).into(), name.clone(), end));
    }
    for Span { host, connection, state, from, until, .. } in spans {
        let what = format!("connection {connection}: {}", state.words());
        rows.push((*from, *until, trace.host(*host).into(), what, ""));
    }
    rows.sort();
    for (from, until, host, what, end) in rows {
        let (host, what, from, until) = (escape(&host), escape(&what), Millis(from), Millis(until));
        write!(out, "<tr><td>{host}</td><td>{what}</td><td>{from}</td><td>{until}</td><td>{end}</td></tr>")?;
    }
    out.write_str("</tbody></table>")?;
    if left_out > 0 {
        write!(out, "<p>{left_out} more, of what is not drawn either, are left out.</p>")?;
    }
    out.write_str("</details>\n")
}

/// The connection that an item is about.
fn connection(item: &Item) -> Option<usize> {
    match &item.what {
        What::Crossing(crossing) => Some(crossing.connection),
        What::Log { .. } | What::Note { .. } => None,
    }
}

/// What a click shows.
fn details(trace: &Trace, item: &Item) -> Value {
    let at = Millis(item.moment.at).to_string();
    match &item.what {
        What::Log { host, line } => {
            json!({"title": format!("{} wrote to its log", trace.host(*host)), "at": at, "text": line})
        }
        What::Note { host, text } => json!({"title": trace.host(*host), "at": at, "text": text}),
        What::Crossing(crossing) => json!({
            "title": svg::heading(trace, crossing),
            "at": at,
            "arrived": crossing.arrived.map(|at| Millis(at).to_string()),
            "fates": crossing.fates,
            "fields": crossing.fields,
            "size": crossing.size,
            "bytes": crossing.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b a=\"c\">&"), "&lt;b a=&quot;c&quot;&gt;&amp;");
    }
}
