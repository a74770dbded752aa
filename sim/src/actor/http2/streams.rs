//! What a peer of HTTP/2 has of its connection and the streams on it, and how it writes whole messages.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use finwait::net::Conn;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::flow::Flow;
use super::frames::{Received, encode};
use crate::actor::service::LogStream;
use crate::scenario::{Ending, Frame, FrameFields, FrameKind, Rate, Request};
use crate::trace::wire::hpack::Decoder;

/// Notified when an order is done.
pub(super) type Done = oneshot::Sender<Result<(), String>>;

/// A connection, or what is left of it.
pub(super) struct Link {
    pub(super) conn: Option<Conn>,
    pub(super) unread: BytesMut,
    pub(super) decoder: Decoder,
    /// A header block that goes on in the next frame, with the flags of its first.
    pub(super) block: Option<(Received, Vec<u8>)>,
    pub(super) received: VecDeque<Received>,
    pub(super) ended: Option<Ending>,
    pub(super) next_stream: u32,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Exchanges that the end of the connection is the end of.
    pub(super) exchanges: Vec<usize>,
    /// What is still to be sent.
    pub(super) flow: Flow,
    /// Windows that a slow reader will open: when, of which stream, by how much.
    pub(super) openings: BTreeMap<(Instant, u32), u32>,
    /// When a stream last began or ended.
    pub(super) since: Instant,
}

/// What is known of a stream that is under way.
pub(super) struct Stream {
    /// The exchange of a client, the delivery of a server.
    pub(super) sighting: usize,
    /// What a client requests.
    pub(super) path: String,
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) trailers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// How fast its body is read; as fast as it comes if absent.
    pub(super) rate: Option<Rate>,
    /// When a slow reader has read what came.
    pub(super) read_until: Instant,
    /// Whether its response is complete with its head.
    pub(super) websocket: bool,
    pub(super) done: Option<Done>,
    /// It is a call of an access log.
    pub(super) log: Option<LogStream>,
}

impl Link {
    pub(super) fn new(conn: Conn, flow: Flow) -> Self {
        Self {
            conn: Some(conn),
            unread: BytesMut::new(),
            decoder: Decoder::default(),
            block: None,
            received: VecDeque::new(),
            ended: None,
            next_stream: 1,
            streams: BTreeMap::new(),
            exchanges: Vec::new(),
            flow,
            openings: BTreeMap::new(),
            since: Instant::now(),
        }
    }

    /// Puts header blocks together; false while the end of one is missing. The whole counts as one HEADERS frame.
    pub(super) fn assemble(&mut self, frame: &mut Received) -> bool {
        match (frame.kind, self.block.take()) {
            (FrameKind::Headers, None) => self.block = Some((frame.clone(), frame.payload.clone())),
            (FrameKind::Continuation, Some((first, mut block))) => {
                block.extend_from_slice(&frame.payload);
                self.block = Some((Received { end_headers: frame.end_headers, ..first }, block));
            }
            _ => return true,
        }
        let Some((first, block)) = self.block.take_if(|(first, _)| first.end_headers) else { return false };
        *frame = first;
        frame.fields = self.decoder.decode(&block).unwrap_or_default();
        true
    }
}

impl Link {
    /// A stream is over, as far as receiving goes.
    pub(super) fn end_stream(&mut self, number: u32) -> Option<Stream> {
        let stream = self.streams.remove(&number)?;
        self.openings.retain(|(_, of), _| *of != number);
        self.since = Instant::now();
        Some(stream)
    }
}

impl Stream {
    pub(super) fn new(sighting: usize) -> Self {
        Self {
            sighting,
            path: String::new(),
            status: None,
            headers: Vec::new(),
            trailers: Vec::new(),
            body: Vec::new(),
            rate: None,
            read_until: Instant::now(),
            websocket: false,
            done: None,
            log: None,
        }
    }
}

/// The fields of a request, pseudo-header fields first (RFC 9113 section 8.3.1; RFC 8441 section 4 for WebSockets).
pub(super) fn fields(request: &Request, scheme: &str, authority: String) -> Vec<(String, String)> {
    let method = if request.websocket { "CONNECT" } else { &request.method };
    let mut fields = vec![(":method".to_owned(), method.to_owned())];
    if request.websocket {
        fields.push((":protocol".into(), "websocket".into()));
    }
    fields.extend([(":scheme".into(), scheme.into()), (":path".into(), request.path.clone())]);
    let given = request.headers.iter().find(|(name, _)| name == ":authority");
    fields.push((":authority".into(), given.map_or(authority, |(_, value)| value.clone())));
    if request.websocket {
        fields.push(("sec-websocket-version".into(), "13".into()));
    }
    let others = request.headers.iter().filter(|(name, _)| name != ":authority");
    fields.extend(others.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    fields
}

/// WINDOW_UPDATE.
pub(super) fn opening(stream: u32, by: u32) -> Vec<u8> {
    let fields = FrameFields { stream: Some(stream), by: Some(by), ..FrameFields::default() };
    encode(&Frame { kind: FrameKind::WindowUpdate, fields })
}
