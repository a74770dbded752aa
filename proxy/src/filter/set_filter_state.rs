//! `set_filter_state`: objects under keys, for logs, for filters behind it, and for connections to upstreams. The HTTP filter sets
//! those of a stream, the network filter those of a connection.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::access_log::format::{Heads, line};
use crate::access_log::{Downstream, StreamInfo};
use crate::codec::RequestHead;
use crate::config::filter::SetFilterState;
use crate::config::filter_state::{Object, StateEntry, WhenEmpty};
use crate::net::Clock;

/// A request's head has come: the filter's own entries are set, then those of the levels above its route, and of its route.
pub(super) fn on_request(options: &SetFilterState, request: &RequestHead, info: &mut StreamInfo) {
    for entry in options.levels.iter().flat_map(|level| level.iter()) {
        set(entry, Heads::of_request(request), info);
    }
}

/// A connection has come. Each entry sees those before it, and what the connection brings along.
pub(crate) fn set_on_connection<'e>(
    entries: impl Iterator<Item = &'e StateEntry>,
    downstream: &mut Rc<Downstream>,
    clock: &dyn Clock,
) {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return;
    }
    // What the connection brings along may be replaced here, and only here: it is taken off, or it would stay as for streams.
    let brought = Rc::get_mut(downstream).and_then(|downstream| downstream.state.take());
    let mut info = StreamInfo::new(Instant::now(), clock.wall(), Rc::clone(downstream));
    info.filter_state = brought.as_deref().cloned().map(Box::new);
    entries.for_each(|entry| set(entry, Heads { request: None, response: None }, &mut info));
    let state = info.filter_state.take();
    drop(info);
    if let Some(downstream) = Rc::get_mut(downstream) {
        downstream.state = state.map(|state| Arc::new(*state));
    }
}

fn set(entry: &StateEntry, heads: Heads<'_>, info: &mut StreamInfo) {
    let text = line(&entry.format, heads, info);
    if text.is_empty() && entry.when_empty == WhenEmpty::Skip {
        return;
    }
    // As in Envoy, what its factory cannot read is not set.
    if let Some(object) = Object::parse(entry.kind, &text) {
        info.set_state(Arc::clone(&entry.key), Object { sharing: entry.sharing, ..object });
    }
}
