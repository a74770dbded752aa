//! A run for programs: one JSON object with everything that the story, the page and the trace show. Times are nanoseconds of
//! virtual time since the run began, and null where something never happened.
//!
//! | Key | What it has |
//! |---|---|
//! | `version` | 1; counted up when a key changes its meaning or goes away, not when one joins |
//! | `scenario`, `about`, `refs`, `seed`, `took_ns`, `hosts` | which run it is |
//! | `left_out` | what the configurations were read without |
//! | `held`, `complaints` | whether everything expected was seen, and what was not |
//! | `exchanges` | each request as its client lived through it: status, headers, body, how the connection ended |
//! | `streams` | each request as a proxy saw it: status, flags, details, whatever its configuration logs |
//! | `explanations` | each failure: the hops, who closed first, what was sent, whether a retry is safe, what would change it and what came of it when it was tried |
//! | `timeline` | what crossed the network message by message, what was logged and what the script did, in order |
//! | `segments` | what crossed the network segment by segment |
//! | `timers`, `connections` | what lasted: timers that ran, and the states of both ends of each connection |
//! | `stats`, `left_open` | the proxies' numbers at the end by host, and sockets that were still held |

use std::time::Duration;

use serde_json::{Value, json};

use crate::actor::{Exchange, Outcome, WebSocketMessage};
use crate::explain::{Explanation, Setting, Trial, explain, timers};
use crate::report::sequence::{Crossing, Item, What, messages, segments};
use crate::run::Played;
use crate::scenario::{Scenario, ScenarioError};
use crate::trace::Trace;
use crate::trace::accounts::{Account, accounts};
use crate::trace::spans::{Span, Timer, spans};
use crate::words::SCRIPT_HOST;

/// Bytes of a body that are given; `body_bytes` counts all of them.
const BODY_BYTES_SHOWN_MAX: usize = 4096;

/// The whole result of a run. `complaints` are what [`check`](crate::check::check) found.
#[must_use]
pub fn json(scenario: &Scenario, played: &Played, complaints: &[ScenarioError]) -> Value {
    let trace = &played.trace;
    let stats = played.stats.iter().map(|(host, stats)| {
        let numbers = stats.numbers.iter().map(|number| (number.name.to_string(), json!(number.value)));
        (host.clone(), Value::from_iter(numbers))
    });
    let crossings = segments(trace);
    let crossings = crossings.iter().filter(|it| matches!(it.what, What::Crossing(_)));
    json!({
        "version": 1,
        "scenario": scenario.file,
        "about": scenario.about,
        "refs": scenario.refs,
        "seed": scenario.seed,
        "held": complaints.is_empty(),
        "complaints": complaints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "took_ns": nanos(played.took),
        "hosts": trace.hosts().iter().filter(|name| *name != SCRIPT_HOST).collect::<Vec<_>>(),
        "left_out": played.left_out.iter().map(|(host, it)| json!({"host": host, "what": it.describe(&scenario.file_of(host))})).collect::<Vec<_>>(),
        "exchanges": played.sightings.exchanges.iter().map(exchange).collect::<Vec<_>>(),
        "streams": accounts(trace).iter().map(|it| stream(trace, it)).collect::<Vec<_>>(),
        "explanations": explain(scenario, played).iter().map(explanation).collect::<Vec<_>>(),
        "timeline": messages(trace).iter().map(|it| item(trace, it)).collect::<Vec<_>>(),
        "segments": crossings.map(|it| item(trace, it)).collect::<Vec<_>>(),
        "timers": timers(scenario, played).iter().map(|it| timer(trace, it)).collect::<Vec<_>>(),
        "connections": spans(trace).iter().map(|it| span(trace, it)).collect::<Vec<_>>(),
        "stats": Value::from_iter(stats),
        "left_open": played.left_open,
    })
}

fn exchange(exchange: &Exchange) -> Value {
    let (status, headers, body, failed) = match &exchange.outcome {
        Outcome::Response { status, headers, body } => (Some(*status), headers.as_slice(), body.as_slice(), None),
        Outcome::Failed(why) => (None, &[][..], &[][..], Some(why.as_str())),
        Outcome::Waiting => (None, &[][..], &[][..], None),
    };
    let list = |messages: &[WebSocketMessage]| messages.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tunnel = exchange.tunnel.as_ref();
    json!({
        "client": exchange.host,
        "connection": exchange.connection,
        "request": exchange.request,
        "began_ns": nanos(exchange.began),
        "responded_ns": exchange.responded.map(nanos),
        "status": status,
        "headers": headers,
        "body_bytes": body.len(),
        "body": String::from_utf8_lossy(body.get(..BODY_BYTES_SHOWN_MAX).unwrap_or(body)),
        "websocket": tunnel.map(|record| json!({"sent": list(&record.sent), "received": list(&record.received)})),
        "failed": failed,
        "ended": exchange.ended.map(|(how, at)| json!({"how": how.to_string(), "at_ns": nanos(at)})),
    })
}

/// A value as the access log has it; empty if there is none.
fn text(value: Option<&impl ToString>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

fn stream(trace: &Trace, account: &Account) -> Value {
    let Account {
        host,
        at,
        client,
        server,
        method,
        path,
        status,
        flags,
        details,
        termination,
        took,
        upstream,
        event: _,
    } = account;
    json!({
        "proxy": trace.host(*host),
        "over_ns": nanos(*at),
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "client": client,
        "server": server,
        "method": method,
        "path": path,
        "status": status,
        "flags": flags.iter().map(|flag| flag.short()).collect::<Vec<_>>(),
        "details": text(details.as_ref()),
        "termination": text(termination.as_ref()),
        "upstream": text(upstream.as_ref()),
    })
}

fn timer(trace: &Trace, Timer { host, name, from, until, has_fired }: &Timer) -> Value {
    let (host, from, until) = (trace.host(*host), nanos(*from), nanos(*until));
    json!({"host": host, "name": name, "from_ns": from, "until_ns": until, "fired": has_fired})
}

fn span(trace: &Trace, Span { host, connection, peer, state, from, until }: &Span) -> Value {
    json!({
        "host": trace.host(*host),
        "peer": peer.map(|peer| trace.host(peer)),
        "connection": connection,
        "state": state.words(),
        "from_ns": nanos(*from),
        "until_ns": nanos(*until),
    })
}

fn explanation(explanation: &Explanation) -> Value {
    let hops = explanation.hops.iter().map(|hop| {
        json!({"host": hop.host, "did": hop.did, "because": hop.because.as_ref().map(setting), "log": hop.log,
            "without": hop.without})
    });
    let changes = explanation.changes.iter();
    let changes = changes.map(|change| {
        let trial = change.trial.as_ref().map(trial);
        json!({"what": change.what, "setting": change.setting.as_ref().map(setting), "trial": trial})
    });
    json!({
        "client": explanation.host,
        "outcome": explanation.outcome,
        "hops": hops.collect::<Vec<_>>(),
        "closed_first": explanation.closed_first,
        "sent": explanation.sent,
        "retry": {"safe": explanation.retry.is_safe, "why": explanation.retry.why},
        "changes": changes.collect::<Vec<_>>(),
    })
}

fn trial(trial: &Trial) -> Value {
    let Trial { verdict, what, came, harm } = trial;
    json!({"verdict": verdict.word(), "what": what, "outcome": came, "harm": harm})
}

fn setting(setting: &Setting) -> Value {
    let Setting { host, name, value, file, line, is_written, .. } = setting;
    json!({"host": host, "name": name, "value": value, "file": file, "line": line, "written": is_written})
}

fn item(trace: &Trace, Item { moment, what }: &Item) -> Value {
    let at = nanos(moment.at);
    match what {
        What::Log { host, line } => json!({"at_ns": at, "kind": "log", "host": trace.host(*host), "text": line}),
        What::Note { host, text } => json!({"at_ns": at, "kind": "note", "host": trace.host(*host), "text": text}),
        What::Crossing(Crossing { from, to, connection, arrived, lost, text, fields, size, fates, .. }) => json!({
            "at_ns": at,
            "kind": "message",
            "from": trace.host(*from),
            "to": to.map(|to| trace.host(to)),
            "connection": connection,
            "arrived_ns": arrived.map(nanos),
            "lost": lost.is_some(),
            "text": text,
            "fields": fields,
            "bytes": size,
            "fates": fates,
        }),
    }
}

/// Half a thousand years of nanoseconds fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
