//! `/stats`, in three forms.

use http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};

use super::buckets::Buckets;
use super::certificates::{days_until_first_expires, seconds_until_first_staple_expires};
use super::{AdminResponse, AdminState, JSON, Query, TEXT, put};
use crate::config::stats::{ShownStats, StatsOptions};
use crate::stats::{Snapshot, StatKind};

pub(super) fn stats(query: &Query, state: &AdminState) -> AdminResponse {
    let Some(buckets) = Buckets::parse(query.value("histogram_buckets")) else {
        return bad_request("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n\n");
    };
    let snapshot = match select(query, state) {
        Ok(snapshot) => snapshot,
        Err(refusal) => return refusal,
    };
    let options = &(state.in_force)().snapshot.config.stats;
    match query.value("format") {
        None | Some("text") => AdminResponse::new(TEXT, text(&snapshot, buckets, options)),
        Some("json") => AdminResponse::new(JSON, json(&snapshot, buckets, options).to_string()),
        Some("prometheus") => exposition(&snapshot, options),
        Some(_) => bad_request("usage: /stats?format=(json|prometheus|text)\n\n"),
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

/// The numbers the query requests.
fn select(query: &Query, state: &AdminState) -> Result<Snapshot, AdminResponse> {
    state.server.uptime.set(state.started.elapsed().as_secs());
    state.server.days_until_first_cert_expiring.set(days_until_first_expires(state));
    state.server.seconds_until_first_ocsp_response_expiring.set(seconds_until_first_staple_expires(state));
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
        Some("Counters") => only(&mut snapshot, StatKind::Counter),
        Some("Gauges") => only(&mut snapshot, StatKind::Gauge),
        Some("Histograms") => snapshot.numbers.clear(),
        Some("TextReadouts") => {
            snapshot.numbers.clear();
            snapshot.histograms.clear();
        }
        Some(_) => return Err(bad_request("invalid &type= param")),
    }
    Ok(snapshot)
}

fn only(snapshot: &mut Snapshot, kind: StatKind) {
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

fn text(snapshot: &Snapshot, buckets: Buckets, options: &StatsOptions) -> String {
    let mut out = String::new();
    for number in &snapshot.numbers {
        put(&mut out, format_args!("{}: {}\n", number.name, number.value));
    }
    for recorded in &snapshot.histograms {
        put(&mut out, format_args!("{}:{}\n", recorded.name, buckets.text(recorded, options)));
    }
    out
}

fn json(snapshot: &Snapshot, buckets: Buckets, options: &StatsOptions) -> Value {
    let numbers = snapshot.numbers.iter().map(|number| json!({ "name": number.name, "value": number.value }));
    let mut stats: Vec<Value> = numbers.collect();
    if !snapshot.histograms.is_empty() {
        stats.push(json!({ "histograms": buckets.json(&snapshot.histograms, options) }));
    }
    json!({ "stats": stats })
}
