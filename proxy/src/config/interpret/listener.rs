//! What a listener and its network filter chains mean.

use std::sync::Arc;

use super::{ClusterNames, buffer_bytes_max, connection_manager, socket_address};
use crate::config::bootstrap::listener::{
    FilterChain as Written, Listener as WrittenListener, NetworkFilter, TrafficDirection,
};
use crate::config::error::Place;
use crate::config::listener::{ConnectionManager, FilterChain, FilterChainMatch, FilterChains, Listener, Terminal};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

/// How a chain ends, as configured.
type Configured = Terminal<Arc<ConnectionManager>>;

pub(super) fn listener(
    written: WrittenListener,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<Listener, Problem> {
    let address = socket_address(&written.address)?;
    let buffer_bytes_max = buffer_bytes_max(written.per_connection_buffer_limit_bytes.as_ref())?;
    let filter_chains =
        filter_chains(written.filter_chains, written.default_filter_chain, &written.address.place, clusters, notes)?;
    Ok(Listener {
        name: written.name.filter(|name| !name.is_empty()).unwrap_or_else(|| address.to_string()),
        address,
        filter_chains,
        buffer_bytes_max,
        ignores_global_limit: written.ignore_global_conn_limit.unwrap_or(false),
        is_inbound: written.traffic_direction == Some(TrafficDirection::Inbound),
    })
}

/// The chains of the listener whose address stands at `place`.
fn filter_chains(
    written: Vec<At<Written>>,
    default: Option<At<Written>>,
    place: &Place,
    clusters: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<FilterChains<Configured>, Problem> {
    if written.is_empty() && default.is_none() {
        return Err(Problem::invalid(place, "the listener has no filter_chains"));
    }
    // No field of a match is acted on, so that each chain has the same: none.
    if let Some(second) = written.get(1) {
        return Err(second.invalid_but(
            "a listener has one filter chain, which takes every connection",
            "write a listener of its own for each filter chain",
        ));
    }
    if let (Some(_), Some(default)) = (written.first(), &default) {
        notes.note(&default.place, "has no effect: the entry of filter_chains takes every connection");
    }
    let chain = |chain: At<Written>| -> Result<_, Problem> {
        Ok(FilterChain { matches: FilterChainMatch::Any, terminal: terminal(chain, clusters, notes)? })
    };
    Ok(FilterChains {
        chains: written.into_iter().map(chain).collect::<Result<_, _>>()?,
        default: default.map(|chain| terminal(chain, clusters, notes)).transpose()?,
    })
}

/// The filter at the end of a chain. Every network filter there is ends a chain, so it is the only one.
fn terminal(chain: At<Written>, clusters: &ClusterNames<'_>, notes: &Notes) -> Result<Configured, Problem> {
    let mut filters = chain.value.filters.into_iter();
    let Some(filter) = filters.next() else {
        let what = "the filter chain is empty; it must consist of an HttpConnectionManager";
        return Err(Problem::invalid(&chain.place, what));
    };
    if let Some(second) = filters.next() {
        let name = &*filter.value.name;
        return Err(
            second.invalid(format!("terminal filter named {name} must be the last filter in a network filter chain"))
        );
    }
    let config = filter.value.typed_config;
    match config.value {
        NetworkFilter::HttpConnectionManager(manager) => {
            let manager = connection_manager::connection_manager(*manager, &config.place, clusters, notes)?;
            Ok(Terminal::Http(Arc::new(manager)))
        }
    }
}
