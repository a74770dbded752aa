//! `/certs`: the certificates in use, of each context in the configuration's order, and when they expire.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::config_dump::timestamp_to_seconds;
use super::{AdminResponse, AdminState, Query};
use crate::config::tls::x509::{AltName, NameKind, serial, validity};
use crate::config::tls::{InUse, Inventory, MadeOf};
use crate::snapshot::Snapshot;

/// What Envoy has where there is no certificate that could expire.
const NEVER: u64 = 4_294_967_295;

pub(super) fn certs(_: &Query, state: &AdminState) -> AdminResponse {
    let (snapshot, now) = ((state.in_force)().snapshot, state.clock.wall());
    let all: Vec<Value> = contexts(&snapshot).iter().map(|it| context(it.inventory(), now)).collect();
    AdminResponse::json(&json!({ "certificates": all }))
}

/// Whole days until the first of all certificates expires.
pub(super) fn days_until_first_expires(state: &AdminState) -> u64 {
    let now = state.clock.wall();
    let contexts = contexts(&(state.in_force)().snapshot);
    let days = contexts.iter().flat_map(|it| it.inventory().all()).map(|(_, one)| one.days_left(now));
    days.min().unwrap_or(NEVER)
}

/// Seconds until the first response of OCSP expires that goes with a certificate.
pub(super) fn seconds_until_first_staple_expires(state: &AdminState) -> u64 {
    let now = state.clock.wall();
    let contexts = contexts(&(state.in_force)().snapshot);
    let staples = contexts.iter().flat_map(|it| it.inventory().all()).filter_map(|(_, one)| one.staple);
    staples.map(|staple| staple.left(now).as_secs()).min().unwrap_or(0)
}

/// Those of listeners, and then those of clusters.
fn contexts(snapshot: &Snapshot) -> Vec<Arc<dyn MadeOf>> {
    let listeners = snapshot.listeners.iter().flat_map(|listener| listener.config.filter_chains.encryptions());
    let listeners = listeners.map(|tls| tls.current() as Arc<dyn MadeOf>);
    let clusters = snapshot.clusters.iter().flat_map(|cluster| cluster.config.sockets());
    let clusters = clusters.filter_map(|socket| Some(socket.tls.as_ref()?.current() as Arc<dyn MadeOf>));
    listeners.chain(clusters).collect()
}

fn context(inventory: &Inventory, now: SystemTime) -> Value {
    let all = |list: &mut dyn Iterator<Item = &InUse>| list.map(|one| certificate(one, now)).collect::<Vec<_>>();
    json!({ "ca_cert": all(&mut inventory.trusted.iter()), "cert_chain": all(&mut inventory.own.iter()) })
}

fn certificate(one: &InUse, now: SystemTime) -> Value {
    let valid = validity(&one.certificate);
    let at = |time: Option<SystemTime>| time.map(timestamp_to_seconds).unwrap_or_default();
    let mut shown = json!({
        "path": one.path(),
        "serial_number": serial(&one.certificate).unwrap_or_default(),
        "subject_alt_names": one.names().iter().filter_map(name).collect::<Vec<_>>(),
        "days_until_expiration": one.days_left(now).to_string(),
        "valid_from": at(valid.map(|valid| valid.start)),
        "expiration_time": at(valid.map(|valid| valid.end)),
    });
    if let Some(staple) = one.staple {
        // One without an end expires now, as in Envoy.
        shown["ocsp_details"] =
            json!({ "valid_from": at(Some(staple.start)), "expiration": at(Some(staple.end.unwrap_or(now))) });
    }
    shown
}

/// `admin.v3.SubjectAlternateName` has no place for others.
fn name(AltName { kind, text }: &AltName) -> Option<Value> {
    match kind {
        NameKind::Dns => Some(json!({ "dns": text })),
        NameKind::Ip => Some(json!({ "ip_address": text })),
        NameKind::Uri => Some(json!({ "uri": text })),
        NameKind::Email | NameKind::Other => None,
    }
}
