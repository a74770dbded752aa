//! What a peer does about the frames that come: what it does by itself, and which steps it completes.

use std::collections::BTreeSet;
use std::io;

use tokio::time::Instant;

use super::super::Outcome;
use super::flow::{End, Sending};
use super::frames::{Received, encode, first_in, fits};
use super::streams::{Stream, opening};
use super::{Peer, Side};
use crate::scenario::{Ending, ErrorCode, Frame, FrameFields, FrameKind, Hex, Reply};

/// Received frames kept for a script that requests them later; older ones are forgotten.
const RECEIVED_MAX: usize = 10_000;

/// The setting for how much may be sent on a stream before a WINDOW_UPDATE (RFC 9113 section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The error code of a stream that was not looked at (RFC 9113 section 7).
const REFUSED_STREAM: ErrorCode = ErrorCode(7);

impl Peer {
    pub(super) async fn read_frames(&mut self) {
        loop {
            let Some(link) = &mut self.link else { return };
            let frame = match first_in(&mut link.unread, matches!(self.side, Side::Server { .. })) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => {
                    // A response in HTTP/1, for example. Nothing after it can be understood.
                    drop(link.conn.take());
                    self.over(Ending::Local, "the peer does not use HTTP/2");
                    return;
                }
            };
            if self.frame(frame).await.is_err() {
                return; // the next read finds how the connection ended
            }
        }
    }

    /// Does what a frame requests by itself, then completes a step that waits for it.
    async fn frame(&mut self, mut frame: Received) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if !link.assemble(&mut frame) {
            return Ok(());
        }
        let stream = frame.stream;
        match frame.kind {
            FrameKind::Settings => {
                if let Some(bytes) = frame.setting(INITIAL_WINDOW_SIZE) {
                    link.flow.set_initial(bytes);
                }
                if self.manner.acknowledges {
                    self.reply_with(FrameKind::SettingsAck, &[]).await?;
                }
                self.pump().await?;
            }
            FrameKind::WindowUpdate => {
                link.flow.open(stream, frame.number() & 0x7fff_ffff);
                self.pump().await?;
            }
            FrameKind::Ping if self.manner.acknowledges => {
                let payload = frame.payload.clone();
                self.reply_with(FrameKind::PingAck, &payload).await?;
            }
            FrameKind::Data => self.data(&frame).await?,
            FrameKind::Headers if self.is_refused(&frame) => {
                let (kind, code) = (FrameKind::RstStream, Some(REFUSED_STREAM));
                let fields = FrameFields { stream: Some(stream), code, ..FrameFields::default() };
                self.write(&encode(&Frame { kind, fields })).await?;
                self.record(frame);
                return Ok(());
            }
            FrameKind::Headers => self.headers(&frame),
            FrameKind::RstStream => self.fail(stream, &format!("reset by the peer: {}", ErrorCode(frame.number()))),
            FrameKind::Goaway => self.goaway(frame.number() & 0x7fff_ffff),
            FrameKind::Continuation
            | FrameKind::Ping
            | FrameKind::PingAck
            | FrameKind::Preface
            | FrameKind::Priority
            | FrameKind::SettingsAck => {}
        }
        if frame.end_stream {
            self.complete(stream);
        }
        self.record(frame);
        Ok(())
    }

    async fn reply_with(&mut self, kind: FrameKind, payload: &[u8]) -> io::Result<()> {
        let hex = (!payload.is_empty()).then(|| Hex(payload.to_vec()));
        self.write(&encode(&Frame { kind, fields: FrameFields { hex, ..FrameFields::default() } })).await
    }

    async fn data(&mut self, frame: &Received) -> io::Result<()> {
        // Padding counts too (RFC 9113 section 6.1).
        let taken = u32::try_from(frame.flow_bytes()).unwrap_or(u32::MAX);
        let Some(link) = &mut self.link else { return Ok(()) };
        let opens = self.manner.opens_windows && taken > 0;
        let mut updates = if opens { opening(0, taken) } else { Vec::new() };
        let stream = link.streams.get_mut(&frame.stream);
        let slow = stream.as_ref().and_then(|stream| stream.rate);
        if let Some(stream) = stream {
            match &mut stream.log {
                None => stream.body.extend_from_slice(&frame.payload),
                Some(log) => log.read(&frame.payload).into_iter().for_each(|text| self.notebook.note(text)),
            }
            if let Some(reply) = stream.log.as_mut().and_then(|log| log.reply(false)) {
                self.due.insert((Instant::now() + reply.after.0, frame.stream), reply);
            }
            if let Some(rate) = slow {
                stream.read_until = stream.read_until.max(Instant::now()) + rate.time_for(frame.payload.len());
                if opens && !frame.end_stream {
                    link.openings.insert((stream.read_until, frame.stream), taken);
                }
            }
        }
        if opens && !frame.end_stream && slow.is_none() {
            updates.extend(opening(frame.stream, taken));
        }
        if updates.is_empty() { Ok(()) } else { self.write(&updates).await }
    }

    /// Whether a frame begins a stream beyond those that an app permits, of which it was told in SETTINGS (RFC 9113 5.1.2).
    fn is_refused(&self, frame: &Received) -> bool {
        let limit =
            self.manner.settings.iter().find(|(name, _)| *name == "max_concurrent_streams").map(|(_, most)| *most);
        let (Some(link), Some(limit)) = (&self.link, limit.filter(|_| self.manner.refuses_streams)) else {
            return false;
        };
        let under_way: BTreeSet<u32> = link.streams.keys().copied().chain(self.due.keys().map(|(_, of)| *of)).collect();
        matches!(self.side, Side::Server { .. })
            && !under_way.contains(&frame.stream)
            && under_way.len() >= usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn headers(&mut self, frame: &Received) {
        let (is_server, rate) = match &self.side {
            Side::Client { .. } => (false, None),
            Side::Server { read_rate, .. } => (true, *read_rate),
        };
        let Some(link) = &mut self.link else { return };
        if is_server && !link.streams.contains_key(&frame.stream) {
            let field = |name: &str| frame.fields.iter().find(|(has, _)| has == name).map_or("", |(_, value)| value);
            let request_line = format!("{} {}", field(":method"), field(":path"));
            let delivery = self.notebook.begin_delivery(request_line, frame.fields.clone());
            link.since = Instant::now();
            let path = field(":path").to_owned();
            let log = match &self.side {
                Side::Server { service: Some(service), .. } => service.log_call(&path),
                Side::Client { .. } | Side::Server { service: None, .. } => None,
            };
            link.streams.insert(frame.stream, Stream { rate, path, log, ..Stream::new(delivery) });
            return;
        }
        let Some(stream) = link.streams.get_mut(&frame.stream) else { return };
        let status = frame.fields.iter().find(|(name, _)| name == ":status").and_then(|(_, value)| value.parse().ok());
        match status {
            Some(status @ 200..) => {
                stream.status = Some(status);
                stream.headers.clone_from(&frame.fields);
            }
            Some(_) => {} // informational
            None => stream.trailers.clone_from(&frame.fields),
        }
        if stream.websocket && stream.status == Some(200) {
            self.complete(frame.stream);
        }
    }

    /// A stream's other side has sent everything.
    fn complete(&mut self, number: u32) {
        let Some(mut stream) = self.link.as_mut().and_then(|link| link.end_stream(number)) else { return };
        match &mut self.side {
            Side::Client { .. } => {
                let outcome = match stream.status {
                    Some(status) => Outcome::Response { status, headers: stream.headers, body: stream.body },
                    None => Outcome::Failed("the stream ended without a response".into()),
                };
                self.notebook.conclude(stream.sighting, outcome);
                self.notebook.exchange(stream.sighting, |exchange| exchange.trailers = stream.trailers);
                if let Some(done) = stream.done.take() {
                    drop(done.send(Ok(())));
                }
            }
            Side::Server { reply, first, service, .. } => {
                self.notebook.delivery(stream.sighting, |delivery| {
                    delivery.body = stream.body;
                    delivery.trailers = stream.trailers;
                });
                if let Some(log) = &mut stream.log {
                    let reply = log.reply(true);
                    self.due.extend(reply.map(|reply| ((Instant::now() + reply.after.0, number), reply)));
                } else if self.manner.responds {
                    let of_service = service.as_ref().and_then(|service| service.reply_to(&stream.path));
                    let reply = of_service.or_else(|| first.pop_front()).unwrap_or_else(|| reply.clone());
                    self.due.insert((Instant::now() + reply.after.0, number), reply);
                }
            }
        }
    }

    /// A stream has come to an end that is no response.
    pub(super) fn fail(&mut self, number: u32, why: &str) {
        if let Some(link) = &mut self.link {
            link.flow.forget(number);
        }
        self.due.retain(|(_, stream), _| *stream != number);
        let Some(stream) = self.link.as_mut().and_then(|link| link.end_stream(number)) else { return };
        if let Side::Client { .. } = self.side {
            self.notebook.conclude(stream.sighting, Outcome::Failed(why.into()));
        }
        if let Some(done) = stream.done {
            drop(done.send(Ok(())));
        }
    }

    /// RFC 9113 section 6.8: streams above the last one were not looked at.
    fn goaway(&mut self, last: u32) {
        let Side::Client { .. } = self.side else { return };
        let refused: Vec<u32> = match &self.link {
            Some(link) => link.streams.range(last.saturating_add(1)..).map(|(number, _)| *number).collect(),
            None => Vec::new(),
        };
        for number in refused {
            self.fail(number, "refused by GOAWAY");
        }
    }

    fn record(&mut self, frame: Received) {
        if let Some(at) = self.waiting.iter().position(|(pattern, _)| fits(pattern, &frame)) {
            let (_, done) = self.waiting.remove(at);
            drop(done.send(Ok(())));
            return;
        }
        let Some(link) = &mut self.link else { return };
        if link.received.len() >= RECEIVED_MAX {
            link.received.pop_front();
        }
        link.received.push_back(frame);
    }

    pub(super) async fn respond(&mut self, stream: u32, reply: &Reply) -> io::Result<()> {
        let status = (":status".to_owned(), reply.status.to_string());
        let fields = [status].into_iter().chain(reply.headers.0.iter().cloned()).collect();
        let end = if reply.trailers.0.is_empty() { End::Body } else { End::Trailers(reply.trailers.0.clone()) };
        let sending = Sending { body: reply.body.to_bytes(), end, rate: reply.send_rate };
        self.send_message(stream, fields, sending).await
    }
}
