//! `/runtime` and `/runtime_modify`: what operators may change while the server runs.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{AdminResponse, AdminState, Query, Then};
use crate::runtime::ModifyError;

const USAGE: &str = "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\nor send the parameters as form values\nuse an empty value to remove a previously added override";

pub(super) fn show(_: &Query, state: &AdminState) -> AdminResponse {
    let entry = |values: crate::runtime::KeyValues| {
        (values.key, json!({ "final_value": values.last, "layer_values": values.in_layers }))
    };
    let entries: Map<String, Value> = state.runtime.keys().into_iter().map(entry).collect();
    let layers = state.runtime.layer_names();
    AdminResponse::json(&json!({ "entries": entries, "layers": layers }))
}

pub(super) fn modify(query: &Query, state: &AdminState) -> AdminResponse {
    if query.pairs().next().is_none() {
        return AdminResponse::refused(StatusCode::BAD_REQUEST, USAGE);
    }
    match state.runtime.modify(query.pairs()) {
        Ok(()) => AdminResponse::ok(Then::Nothing),
        Err(error @ ModifyError::NoAdminLayer) => {
            AdminResponse::refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Err(error @ ModifyError::Value(_)) => AdminResponse::refused(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}
