//! Access logs whose entries go to a service over gRPC, typed.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::cluster::ClusterName;
use super::log_format::{Format, Operator};
use super::metadata::Struct;
use super::mutation::Edits;
use super::retry::{Intervals, RetryOn};

/// A log that has entries of streams.
#[derive(Clone, Debug)]
pub struct EntryLog {
    /// What its entries are about.
    pub kind: EntryKind,
    /// Where they go. Logs with the same service, tags and objects share a call.
    pub to: Arc<EntryService>,
    /// What they have besides, of requests.
    pub headers: Arc<EntryHeaders>,
    /// What they have besides, of all streams.
    pub extras: Arc<EntryExtras>,
}

/// What entries are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// `HTTPAccessLogEntry`: a request and its response.
    Http,
    /// `TCPAccessLogEntry`: a connection.
    Tcp,
}

/// The service that gets entries, and how it does.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryService {
    /// `log_name`
    pub log_name: String,
    /// `cluster_name`; the configuration may lack it: then entries are lost.
    pub cluster: ClusterName,
    /// `authority`, else the cluster's name.
    pub authority: HeaderValue,
    /// `initial_metadata`
    pub headers: Edits,
    /// How often a call is made again that found no connection, and after which pauses.
    pub retry: Option<CallRetries>,
    /// `buffer_flush_interval`: entries wait so long for others at most.
    pub flush_interval: Duration,
    /// `buffer_size_bytes`: or until there are so many bytes of them. Entries above it are dropped while the service takes none.
    pub buffer_bytes_max: usize,
}

/// `grpc_stream_retry_policy`, or else that of the service.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRetries {
    /// What makes a call worth repeating.
    pub on: RetryOn,
    /// Calls after the first.
    pub retries_max: u32,
    /// The pauses before them.
    pub back_off: Option<Intervals>,
}

/// `additional_*_to_log`: headers and trailers by their names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EntryHeaders {
    /// Of the request.
    pub request: Vec<String>,
    /// Of the response.
    pub response: Vec<String>,
    /// Trailers of the response.
    pub trailers: Vec<String>,
}

/// What entries of all kinds have besides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EntryExtras {
    /// `filter_state_objects_to_log`
    pub state: Vec<String>,
    /// `custom_tags`
    pub tags: Vec<EntryTag>,
}

/// A tag. One whose value is empty is not in the entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryTag {
    /// Its name.
    pub name: String,
    /// What it says; what is not known is empty.
    pub value: Format,
    /// What it says where that is empty.
    pub default: String,
}

/// `node`: what a service is told of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeIdentity {
    /// `id`
    pub id: String,
    /// `cluster`
    pub cluster: String,
    /// `metadata`
    pub metadata: Option<Struct>,
    /// `locality`
    pub locality: Option<NodeLocality>,
}

/// `node.locality`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NodeLocality {
    /// `region`
    pub region: String,
    /// `zone`
    pub zone: String,
    /// `sub_zone`
    pub sub_zone: String,
}

impl EntryLog {
    /// Writes the text that `said` has for an operator in its place.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        Arc::make_mut(&mut self.extras).tags.iter_mut().for_each(|tag| tag.value.resolve(said));
    }

    /// Is one of the operators of its tags such?
    #[must_use]
    pub fn any(&self, is: &dyn Fn(&Operator) -> bool) -> bool {
        self.extras.tags.iter().any(|tag| tag.value.any(is))
    }

    /// Does it read the trailers of a response?
    #[must_use]
    pub fn reads_trailers(&self) -> bool {
        !self.headers.trailers.is_empty() || self.any(&Operator::reads_trailers)
    }
}
