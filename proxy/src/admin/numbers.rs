//! `/stats`, in three forms.

use http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};

use super::{AdminResponse, AdminState, JSON, Query, TEXT, put};
use crate::config::stats::{ShownStats, StatsOptions};
use crate::stats::histogram::QUANTILES;
use crate::stats::{Kind, Recorded, Snapshot};

pub(super) fn stats(query: &Query, state: &AdminState) -> AdminResponse {
    let render = match query.value("format") {
        None | Some("text") => |snapshot: &Snapshot, _: &StatsOptions| AdminResponse::new(TEXT, text(snapshot)),
        Some("json") => |snapshot: &Snapshot, _: &StatsOptions| AdminResponse::new(JSON, json(snapshot).to_string()),
        Some("prometheus") => exposition,
        Some(_) => return bad_request("usage: /stats?format=(json|prometheus|text)\n\n"),
    };
    if query.value("histogram_buckets").is_some_and(|buckets| buckets != "summary") {
        return bad_request("usage: /stats?histogram_buckets=(summary)\n\n");
    }
    match select(query, state) {
        Ok(snapshot) => render(&snapshot, &(state.in_force)().snapshot.config.stats),
        Err(refusal) => refusal,
    }
}

pub(super) fn prometheus(query: &Query, state: &AdminState) -> AdminResponse {
    match select(query, state) {
        Ok(snapshot) => exposition(&snapshot, &(state.in_force)().snapshot.config.stats),
        Err(refusal) => refusal,
    }
}

fn exposition(snapshot: &Snapshot, options: &StatsOptions) -> AdminResponse {
    AdminResponse::new(TEXT, crate::stats::prometheus::render(snapshot, options))
}

/// The numbers the query asks for.
fn select(query: &Query, state: &AdminState) -> Result<Snapshot, AdminResponse> {
    state.server.uptime.set(state.started.elapsed().as_secs());
    let memory = (state.memory)();
    state.server.memory_allocated.set(memory.anonymous);
    state.server.memory_heap_size.set(memory.anonymous);
    state.server.memory_physical_size.set(memory.resident);
    let mut snapshot = state.registry.snapshot();
    let shown = &(state.in_force)().snapshot.config.stats.shown;
    if !matches!(shown, ShownStats::All) {
        snapshot.retain(|name| shown.has(name));
    }
    if query.has("usedonly") {
        snapshot.retain_used();
    }
    if let Some(filter) = query.value("filter") {
        // Matching takes time linear in the name, whatever the expression (docs of the regex crate).
        let filter = Regex::new(filter).map_err(|error| bad_request(invalid(filter, &error)))?;
        let wanted = !query.has("invert_filter");
        snapshot.retain(|name| filter.is_match(name) == wanted);
    }
    match query.value("type") {
        None | Some("All") => {}
        Some("Counters") => only(&mut snapshot, Kind::Counter),
        Some("Gauges") => only(&mut snapshot, Kind::Gauge),
        Some("Histograms") => snapshot.numbers.clear(),
        Some("TextReadouts") => {
            snapshot.numbers.clear();
            snapshot.histograms.clear();
        }
        Some(_) => return Err(bad_request("invalid &type= param")),
    }
    Ok(snapshot)
}

fn only(snapshot: &mut Snapshot, kind: Kind) {
    snapshot.numbers.retain(|number| number.kind == kind);
    snapshot.histograms.clear();
}

/// What is wrong with a regular expression, in the words of Envoy's engine where it has some for it.
fn invalid(filter: &str, error: &regex::Error) -> String {
    if error.to_string().contains("unclosed group") {
        return format!("Invalid re2 regex: missing ): {filter}");
    }
    format!("Invalid regex: {error}\n")
}

fn bad_request(message: impl Into<String>) -> AdminResponse {
    AdminResponse::refused(StatusCode::BAD_REQUEST, message)
}

fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for number in &snapshot.numbers {
        put(&mut out, format_args!("{}: {}\n", number.name, number.value));
    }
    for recorded in &snapshot.histograms {
        put(&mut out, format_args!("{}: {}\n", recorded.name, quantiles(recorded)));
    }
    out
}

/// `P0(interval,total) P25(interval,total) ...`
fn quantiles(recorded: &Recorded) -> String {
    if recorded.total.is_empty() {
        return "No recorded values".to_owned();
    }
    let show = |value: Option<f64>| value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
    let pair = |quantile: &f64| {
        let (interval, total) = (recorded.interval.quantile(*quantile), recorded.total.quantile(*quantile));
        format!("P{}({},{})", percent(*quantile), show(interval), show(total))
    };
    QUANTILES.iter().map(pair).collect::<Vec<_>>().join(" ")
}

fn json(snapshot: &Snapshot) -> Value {
    let numbers = snapshot.numbers.iter().map(|number| json!({ "name": number.name, "value": number.value }));
    let mut stats: Vec<Value> = numbers.collect();
    if !snapshot.histograms.is_empty() {
        let computed = snapshot.histograms.iter().map(|recorded| {
            let value = |quantile: &f64| {
                json!({
                    "cumulative": number(recorded.total.quantile(*quantile)),
                    "interval": number(recorded.interval.quantile(*quantile)),
                })
            };
            json!({ "name": recorded.name, "values": QUANTILES.iter().map(value).collect::<Vec<_>>() })
        });
        stats.push(json!({ "histograms": {
            "supported_quantiles": QUANTILES.map(|quantile| number(Some(percent(quantile)))),
            "computed_quantiles": computed.collect::<Vec<_>>(),
        } }));
    }
    json!({ "stats": stats })
}

/// A number as Envoy writes it: without a fraction where it has none. Nothing is `null`.
fn number(value: Option<f64>) -> Value {
    value.and_then(|value| serde_json::from_str(&value.to_string()).ok()).unwrap_or(Value::Null)
}

/// Rounded to a tenth, since 0.999 times 100 is not 99.9 in binary.
fn percent(quantile: f64) -> f64 {
    (quantile * 1000.0).round() / 10.0
}
