//! Entries of access logs on their way to a service: kept until there are some, or until it is time, and sent in a call over gRPC
//! that goes on as long as the service lets it.
//!
//! Nothing waits for the service. While it takes nothing, entries are kept up to the log's bound, and those above it are dropped.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Version};
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::decorate;
use super::reports::nowhere;
use super::subrequest::{Kept, Subrequest, SubrequestParts};
use crate::access_log::EntrySink;
use crate::access_log::entry::{EntryList, Identifier, Locality, LogsMessage, Node};
use crate::cluster::{Cluster, Clusters};
use crate::codec::{Body, Copier, Headers, RequestHead, copied, grpc, names};
use crate::config::entry_log::{EntryKind, EntryLog, EntryService, NodeIdentity};
use crate::config::filter::RouterOptions;
use crate::config::retry::RetryPolicy;
use crate::config::route::{Forward, NamedCluster};
use crate::filter::edits::edit_tunnel;
use crate::stats::EntryStats;
use crate::upstream::request_options::RequestOptions;

/// Where services take entries.
const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
/// The next message is handed over when the call has taken the one before.
const AHEAD_BYTES: usize = 1;
/// How long the service has for its response once a log has ended.
const END_TIME: Duration = Duration::from_secs(1);

/// The calls of a worker, which may outlive their logs.
pub(crate) type Calls = Rc<RefCell<JoinSet<()>>>;

/// The entries of one log of a worker, or of several with the same options.
pub(crate) struct Entries {
    log: EntryLog,
    node: Arc<NodeIdentity>,
    parts: SubrequestParts,
    clusters: Rc<Clusters>,
    stats: EntryStats,
    /// Entries are sent at multiples of the interval after this.
    started: Instant,
    pending: RefCell<Pending>,
    call: RefCell<Option<Call>>,
    timer: RefCell<JoinSet<()>>,
    calls: Calls,
    this: Weak<Self>,
}

/// Entries that wait.
#[derive(Default)]
struct Pending {
    entries: Vec<Bytes>,
    bytes: usize,
}

/// A call that has not ended.
struct Call {
    /// Where messages go.
    messages: Copier,
    /// Dropped with it: the log has ended, and the call has [`END_TIME`].
    _ends: oneshot::Sender<()>,
}

/// What became of a message.
enum HandedOver {
    /// The service takes nothing.
    NoRoom,
    /// The call has it; or there is no such cluster, and it is lost, as in Envoy.
    Yes,
}

impl Entries {
    /// Nothing has come. Needs a `LocalSet` around it.
    pub(crate) fn new(
        log: &EntryLog,
        node: &Arc<NodeIdentity>,
        parts: SubrequestParts,
        clusters: &Rc<Clusters>,
        stats: EntryStats,
        calls: &Calls,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            log: log.clone(),
            node: Arc::clone(node),
            parts,
            clusters: Rc::clone(clusters),
            stats,
            started: Instant::now(),
            pending: RefCell::default(),
            call: RefCell::default(),
            timer: RefCell::default(),
            calls: Rc::clone(calls),
            this: Weak::clone(this),
        })
    }

    /// Are they those of a log with these options? As in Envoy, the names of headers make no difference.
    pub(crate) fn are_of(&self, log: &EntryLog) -> bool {
        let EntryLog { kind, to, extras, .. } = log;
        self.log.kind == *kind && self.log.to == *to && self.log.extras == *extras
    }

    fn options(&self) -> &EntryService {
        &self.log.to
    }

    /// Sends what there is, as far as the service takes it, and nothing more behind it.
    pub(crate) fn end(&self) {
        self.flush();
        drop(self.pending.take());
        if let Some(call) = self.call.take() {
            call.messages.finish(None);
        }
    }

    fn has_room(&self) -> bool {
        let pending = self.pending.borrow();
        pending.entries.is_empty() || pending.bytes < self.options().buffer_bytes_max
    }

    /// Sends what there is, if the service takes it.
    fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        let count = u64::try_from(pending.entries.len()).unwrap_or(u64::MAX);
        if count == 0 {
            return;
        }
        match self.hand_over(&mut pending.entries) {
            HandedOver::NoRoom => self.stats.grpc_entries_flush_failed.add(count),
            HandedOver::Yes => {
                pending.bytes = 0;
                self.stats.grpc_entries_flushed.add(count);
            }
        }
    }

    fn hand_over(&self, entries: &mut Vec<Bytes>) -> HandedOver {
        let mut call = self.call.borrow_mut();
        if call.as_ref().is_some_and(|call| !call.messages.has_room()) {
            return HandedOver::NoRoom;
        }
        let list = Some(EntryList { log_entry: std::mem::take(entries) });
        let mut message = match self.log.kind {
            EntryKind::Http => LogsMessage { http_logs: list, ..LogsMessage::default() },
            EntryKind::Tcp => LogsMessage { tcp_logs: list, ..LogsMessage::default() },
        };
        if call.is_none() {
            // The first message of each call says whose log it is.
            message.identifier = Some(self.identifier());
            *call = self.clusters.get(&self.options().cluster).map(|cluster| self.open(cluster));
        }
        if let Some(call) = &*call {
            call.messages.push(grpc::frame(&message.encode_to_vec()));
        }
        HandedOver::Yes
    }

    fn identifier(&self) -> Identifier {
        let NodeIdentity { id, cluster, metadata, locality } = &*self.node;
        let node = Node {
            id: id.clone(),
            cluster: cluster.clone(),
            metadata: metadata.as_ref().map(Into::into),
            locality: locality.as_ref().map(|locality| Locality {
                region: locality.region.clone(),
                zone: locality.zone.clone(),
                sub_zone: locality.sub_zone.clone(),
            }),
            user_agent_name: env!("CARGO_PKG_NAME").to_owned(),
            user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Identifier { node: Some(node), log_name: self.options().log_name.clone() }
    }

    /// Begins a call.
    fn open(&self, cluster: Rc<Cluster>) -> Call {
        let buffer_bytes_max = cluster.shared.config.buffer_bytes_max;
        let (messages, body) = copied(AHEAD_BYTES);
        let (parts, info) = (SubrequestParts { buffer_bytes_max, ..self.parts.clone() }, nowhere(&self.parts.outside));
        let subrequest = Subrequest::of(parts, self.head(), Body::Copied(body), cluster, info);
        let forward = self.forward();
        let (ends, ended) = oneshot::channel::<()>();
        let this = Weak::clone(&self.this);
        let mut calls = self.calls.borrow_mut();
        while calls.try_join_next().is_some() {} // forget those that have ended
        calls.spawn_local(async move {
            let options = RequestOptions::resolve(&forward, &RouterOptions::default(), &mut Headers::default());
            let last = async {
                drop(ended.await);
                tokio::time::sleep(END_TIME).await;
            };
            tokio::select! {
                // A response is the end, however long the log goes on.
                biased;
                _response = subrequest.send(&forward, &options, Kept::Nothing) => {}
                () = last => {}
            }
            // The next entries go in another call.
            if let Some(entries) = this.upgrade() {
                entries.call.take();
            }
        });
        Call { messages, _ends: ends }
    }

    fn head(&self) -> RequestHead {
        let value = HeaderValue::from_static;
        let mut headers = Headers::default();
        headers.append(TE, value("trailers"));
        headers.append(CONTENT_TYPE, value("application/grpc"));
        let mut head = RequestHead {
            method: Method::POST,
            scheme: Some(value("http")),
            authority: Some(self.options().authority.clone()),
            path: Some(value(METHOD)),
            version: Version::HTTP_2,
            headers,
            ..RequestHead::default()
        };
        edit_tunnel(&self.options().headers, &mut head, &nowhere(&self.parts.outside));
        head.headers.append(names::X_ENVOY_INTERNAL.clone(), value("true"));
        if let Some(own) = self.parts.outside.net.own_address() {
            decorate::append_forwarded_for(&mut head.headers, own);
        }
        head
    }

    /// A call has no end of its own.
    fn forward(&self) -> Forward {
        let mut forward = Forward::to(NamedCluster::Cluster(self.options().cluster.clone()), None);
        forward.idle_timeout = Some(None);
        forward.retry = self.options().retry.as_ref().map(|retry| {
            let (on, retries_max, back_off) = (retry.on, retry.retries_max, retry.back_off);
            Box::new(RetryPolicy { on, retries_max, back_off, ..RetryPolicy::default() })
        });
        forward
    }

    /// Sends what waits when the interval is over, and again until nothing does.
    fn arm(&self) {
        let mut timer = self.timer.borrow_mut();
        while timer.try_join_next().is_some() {}
        if !timer.is_empty() || self.pending.borrow().entries.is_empty() {
            return;
        }
        let this = Weak::clone(&self.this);
        timer.spawn_local(async move {
            while let Some(at) = this.upgrade().and_then(|entries| entries.next_flush()) {
                tokio::time::sleep_until(at).await;
                if let Some(entries) = this.upgrade() {
                    entries.flush();
                }
            }
        });
    }

    /// `None`: nothing waits.
    fn next_flush(&self) -> Option<Instant> {
        if self.pending.borrow().entries.is_empty() {
            return None;
        }
        let (interval, passed) = (self.options().flush_interval, self.started.elapsed());
        let into = passed.as_nanos() % interval.as_nanos().max(1);
        let into = u64::try_from(into).map_or(Duration::ZERO, Duration::from_nanos);
        // An interval beyond the end of time is none.
        Instant::now().checked_add(interval.saturating_sub(into))
    }
}

impl EntrySink for Entries {
    fn add(&self, entry: Vec<u8>) {
        if !self.has_room() {
            self.flush();
            if !self.has_room() {
                return self.stats.logs_dropped.inc();
            }
        }
        // As in Envoy, those of connections do not count.
        if self.log.kind == EntryKind::Http {
            self.stats.logs_written.inc();
        }
        let mut pending = self.pending.borrow_mut();
        pending.bytes = pending.bytes.saturating_add(entry.len());
        pending.entries.push(entry.into());
        let is_full = pending.bytes >= self.options().buffer_bytes_max;
        drop(pending);
        if is_full {
            self.flush();
        }
        self.arm();
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.end();
    }
}
