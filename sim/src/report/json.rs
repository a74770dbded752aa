//! A run for programs: one JSON object with everything that the story tells. Times are nanoseconds of virtual time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::actor::{Exchange, Outcome};
use crate::explain::{Explanation, Setting, explain};
use crate::play::Played;
use crate::scenario::{Scenario, ScenarioError};
use crate::trace::Trace;
use crate::trace::sequence::{Crossing, Item, What, messages};

/// The whole result of a run. `complaints` are what [`check`](crate::check::check) found.
#[must_use]
pub fn json(scenario: &Scenario, played: &Played, complaints: &[ScenarioError]) -> Value {
    let trace = &played.trace;
    let stats = played.stats.iter().map(|(host, numbers)| {
        let numbers = numbers.iter().map(|number| (number.name.to_string(), json!(number.value)));
        (host.clone(), Value::from_iter(numbers))
    });
    json!({
        "scenario": scenario.file,
        "about": scenario.about,
        "refs": scenario.refs,
        "seed": scenario.seed,
        "held": complaints.is_empty(),
        "complaints": complaints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "took_ns": nanos(played.took),
        "exchanges": played.sightings.exchanges.iter().map(exchange).collect::<Vec<_>>(),
        "explanations": explain(scenario, played).iter().map(explanation).collect::<Vec<_>>(),
        "timeline": messages(trace).iter().map(|it| item(trace, it)).collect::<Vec<_>>(),
        "stats": Value::from_iter(stats),
        "left_open": played.left_open,
    })
}

fn exchange(exchange: &Exchange) -> Value {
    let (status, headers, failed) = match &exchange.outcome {
        Outcome::Answer { status, headers, .. } => (Some(*status), headers.as_slice(), None),
        Outcome::Failed(why) => (None, &[][..], Some(why.as_str())),
        Outcome::Waiting => (None, &[][..], None),
    };
    json!({
        "client": exchange.host,
        "asked": exchange.asked,
        "began_ns": nanos(exchange.began),
        "answered_ns": exchange.answered.map(nanos),
        "status": status,
        "headers": headers,
        "failed": failed,
        "ended": exchange.ended.map(|(how, at)| json!({"how": how.to_string(), "at_ns": nanos(at)})),
    })
}

fn explanation(explanation: &Explanation) -> Value {
    let hops = explanation.hops.iter().map(
        |hop| json!({"host": hop.host, "did": hop.did, "because": hop.because.as_ref().map(setting), "log": hop.log}),
    );
    let changes = explanation.changes.iter();
    let changes = changes.map(|change| json!({"what": change.what, "setting": change.setting.as_ref().map(setting)}));
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

fn setting(setting: &Setting) -> Value {
    let Setting { host, name, value, file, line, is_written } = setting;
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
