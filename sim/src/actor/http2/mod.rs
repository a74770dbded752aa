//! A peer of HTTP/2 (RFC 9113) with prior knowledge, on either side. It requests and responds by itself, and sends any
//! frame the script orders, however wrong: those keep to no window and to no state.

mod flow;
mod frames;
mod incoming;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use finwait::net::{Conn, Outside};
use tokio::io::AsyncWriteExt;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use self::flow::{End, Flow, Sending};
use self::frames::{PREFACE, encode, fits, head};
use self::streams::{Done, Link, Stream, fields, opening};
use super::dialling::Dialling;
use super::service::Service;
use super::{Notebook, Order, Orders, Outcome, by_hand, http1};
use crate::scenario::{Action, Ending, Frame, FrameFields, FrameKind, Http2, Payload, Rate, Reply, Request, Time};

/// How much of a flood of frames is written at once. Bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Which side of the connection the peer is.
pub(super) enum Side {
    Client {
        outside: Outside,
        dialling: Rc<Dialling>,
        name: Option<String>,
    },
    /// Responds like this, the first requests like those, and reads their bodies so fast.
    Server {
        reply: Reply,
        first: VecDeque<Reply>,
        read_rate: Option<Rate>,
        /// What the app is besides, for all its connections.
        service: Option<Rc<Service>>,
    },
}

/// The peer and the connection it has.
pub(super) struct Peer {
    side: Side,
    manner: Http2,
    /// Closes a connection without streams after this long; never if absent.
    idle_timeout: Option<Time>,
    notebook: Notebook,
    link: Option<Link>,
    reading: bool,
    /// Orders that wait for a frame.
    waiting: Vec<(Frame, Done)>,
    /// Orders that wait for the end.
    closing: Vec<(Option<Ending>, Done)>,
    /// What a server will respond, and on which stream.
    due: BTreeMap<(Instant, u32), Reply>,
}

impl Peer {
    pub(super) fn new(side: Side, manner: Http2, idle_timeout: Option<Time>, notebook: Notebook) -> Self {
        let (waiting, closing, due) = Default::default();
        Self { side, manner, idle_timeout, notebook, link: None, reading: true, waiting, closing, due }
    }

    /// Follows orders until there are no more.
    pub(super) async fn run(mut self, mut orders: Orders) {
        while let Some(order) = orders.recv().await {
            self.obey(order).await;
            while self.link.as_ref().is_some_and(|link| link.conn.is_some()) {
                if !self.turn(&mut orders).await {
                    return;
                }
            }
        }
    }

    /// Serves one connection until it ends or there are no more orders.
    pub(super) async fn serve(mut self, conn: Conn, program: Vec<Action>, mut orders: Orders) {
        if self.open(conn).await.is_err() {
            return; // a peer that is gone already needs nothing
        }
        for action in program {
            self.notebook.note(action.to_string());
            let (done, mut result) = oneshot::channel();
            if let Action::Wait(time) = action {
                self.due_turns(Instant::now() + time.0, &mut orders).await;
                continue;
            }
            self.obey(Order { connection: None, action, done }).await;
            while result.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                if !self.turn(&mut orders).await {
                    return;
                }
            }
        }
        // What has been read may still be expected after the end.
        loop {
            let open = self.link.as_ref().is_some_and(|link| link.conn.is_some());
            let goes_on = if open { self.turn(&mut orders).await } else { self.next_order(&mut orders).await };
            if !goes_on {
                return;
            }
        }
    }

    async fn next_order(&mut self, orders: &mut Orders) -> bool {
        let Some(order) = orders.recv().await else { return false };
        self.obey(order).await;
        true
    }

    /// Takes turns until `until`.
    async fn due_turns(&mut self, until: Instant, orders: &mut Orders) {
        loop {
            select! {
                biased;
                () = sleep_until(until) => return,
                goes_on = self.turn(orders) => if !goes_on { return },
            }
        }
    }

    /// One thing that happens: an order, something to read, or something that is due. False: there are no more orders.
    async fn turn(&mut self, orders: &mut Orders) -> bool {
        let (response, idle) = (self.due.first_key_value().map(|((at, _), _)| *at), self.idle_at());
        let Some(link) = &mut self.link else { return self.next_order(orders).await };
        let (body, opening) = (link.flow.next(), link.openings.first_key_value().map(|((at, _), _)| *at));
        let Some(conn) = &mut link.conn else { return self.next_order(orders).await };
        let due = [response, body, opening, idle].into_iter().flatten().min();
        // The script comes first: what it orders happens before what arrives in the same instant. What has arrived comes
        // before the time that has passed.
        let read = select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => {
                    self.obey(order).await;
                    return true;
                }
                None => return false,
            },
            read = http1::more(conn, &mut link.unread), if self.reading => read,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                drop(self.do_what_is_due().await); // a connection that is gone shows by itself
                return true;
            }
        };
        match read {
            Ok(true) => self.read_frames().await,
            Ok(false) => self.ended(Ending::Fin),
            Err(_) => self.ended(Ending::Rst),
        }
        true
    }

    /// When a connection without streams will have been idle for too long.
    fn idle_at(&self) -> Option<Instant> {
        let (timeout, link) = (self.idle_timeout?, self.link.as_ref()?);
        let is_idle = link.streams.is_empty() && self.due.is_empty() && link.flow.is_empty();
        is_idle.then(|| link.since + timeout.0)
    }

    async fn do_what_is_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, stream), reply) = first.remove_entry();
            return self.respond(stream, &reply).await;
        }
        if let Some(link) = &mut self.link
            && let Some(first) = link.openings.first_entry().filter(|first| first.key().0 <= now)
        {
            let ((_, stream), by) = first.remove_entry();
            return self.write(&opening(stream, by)).await;
        }
        if self.idle_at().is_some_and(|at| at <= now) {
            self.notebook.note("idle for too long: fin");
            drop(self.leave(drop)); // a connection that is gone already is idle no more
            return Ok(());
        }
        self.pump().await
    }

    /// Sends of the bodies under way what can be sent.
    async fn pump(&mut self) -> io::Result<()> {
        let frames = self.link.as_mut().map(|link| link.flow.take()).unwrap_or_default();
        if frames.is_empty() { Ok(()) } else { self.write(&frames).await }
    }

    async fn obey(&mut self, order: Order) {
        let Order { action, done, .. } = order;
        let result = match action {
            Action::Request(request) => match self.request(&request, done).await {
                Ok(()) => return,
                Err((done, why)) => {
                    drop(done.send(Err(why)));
                    return;
                }
            },
            Action::ReceiveFrame(pattern) => match self.connect_first().await {
                Ok(()) => return self.receive(pattern, done),
                Err(why) => Err(why),
            },
            Action::Closed(expected) => return self.wait_for_end(expected, done),
            Action::Connect => self.connect().await,
            Action::SendFrame { frame, times } => self.send(&frame, times).await,
            Action::Fin => self.leave(drop),
            Action::Rst => self.leave(Conn::abort),
            Action::HalfClose => match self.conn() {
                Ok(conn) => conn.shutdown().await.map_err(by_hand::cannot_send),
                Err(why) => Err(why),
            },
            Action::Send { message, rate } => match self.conn() {
                Ok(conn) => by_hand::send(conn, &message.to_bytes(), rate).await.map_err(by_hand::cannot_send),
                Err(why) => Err(why),
            },
            Action::Pause => {
                self.reading = false;
                Ok(())
            }
            Action::Resume => {
                self.reading = true;
                Ok(())
            }
            Action::Close
            | Action::Receive { .. }
            | Action::ReceiveRequest(_)
            | Action::ReceiveWebSocketFrame(_)
            | Action::Reply(_)
            | Action::SendWebSocketFrame(_)
            | Action::Wait(_) => Err(format!("an HTTP/2 connection cannot: {action}")),
        };
        drop(done.send(result)); // no receiver is left only when the run is over
    }

    fn conn(&mut self) -> Result<&mut Conn, String> {
        let conn = self.link.as_mut().and_then(|link| link.conn.as_mut());
        conn.ok_or_else(|| "there is no open connection".into())
    }

    /// Opens a connection, unless there is one.
    async fn connect(&mut self) -> Result<(), String> {
        if self.link.as_ref().is_some_and(|link| link.conn.is_some()) {
            return Ok(());
        }
        let Side::Client { outside, dialling, .. } = &self.side else { return Err("the connection is closed".into()) };
        let conn = dialling.dial(outside).await.map_err(|error| format!("cannot connect: {error}"))?;
        self.open(conn).await.map_err(by_hand::cannot_send)
    }

    /// Opens a connection, unless there is or was one: what came over that may still be expected.
    async fn connect_first(&mut self) -> Result<(), String> {
        if self.link.is_some() { Ok(()) } else { self.connect().await }
    }

    async fn open(&mut self, conn: Conn) -> io::Result<()> {
        self.link = Some(Link::new(conn, Flow::new(self.manner.respects_windows)));
        if !self.manner.sends_preface {
            return Ok(());
        }
        let settings = FrameFields { settings: self.manner.settings.clone(), ..FrameFields::default() };
        let mut greeting = if matches!(self.side, Side::Client { .. }) { PREFACE.to_vec() } else { Vec::new() };
        greeting.extend(encode(&Frame { kind: FrameKind::Settings, fields: settings }));
        self.write(&greeting).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.link.as_mut().and_then(|link| link.conn.as_mut()) {
            Some(conn) => conn.write_all(bytes).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn send(&mut self, frame: &Frame, times: u32) -> Result<(), String> {
        self.connect().await?;
        if let (FrameKind::Headers, Some(stream), Some(link)) = (frame.kind, frame.fields.stream, &mut self.link) {
            link.next_stream = link.next_stream.max(stream.saturating_add(2));
        }
        let bytes = encode(frame);
        let at_once = u32::try_from(WRITE_BYTES / bytes.len().max(1)).unwrap_or(u32::MAX).max(1);
        let mut left = times;
        while left > 0 {
            let now = left.min(at_once);
            let written = self.write(&bytes.repeat(usize::try_from(now).unwrap_or(1))).await;
            written.map_err(by_hand::cannot_send)?;
            left -= now;
        }
        Ok(())
    }

    /// Sends a request; the order is done with the response. A response that does not come is a sighting too, not a broken script.
    async fn request(&mut self, request: &Request, done: Done) -> Result<(), (Done, String)> {
        let Side::Client { dialling, name, .. } = &self.side else {
            return Err((done, "an app sends no requests".into()));
        };
        let authority = dialling.authority.clone();
        let scheme = dialling.scheme();
        let exchange = self.notebook.begin_exchange(name.as_deref(), request.to_string());
        if let Err(why) = self.connect().await {
            self.notebook.conclude(exchange, Outcome::Failed(why));
            drop(done.send(Ok(())));
            return Ok(());
        }
        let Some(link) = &mut self.link else { return Err((done, "there is no connection".into())) };
        let stream = link.next_stream;
        link.next_stream += 2;
        link.since = Instant::now();
        link.exchanges.push(exchange);
        let (websocket, rate) = (request.websocket, request.rate);
        link.streams.insert(stream, Stream { websocket, rate, done: Some(done), ..Stream::new(exchange) });
        let body = request.body.as_ref().map(Payload::to_bytes).unwrap_or_default();
        let end = match &request.trailers[..] {
            _ if websocket => End::Open,
            [] => End::Body,
            trailers => End::Trailers(trailers.to_vec()),
        };
        let sending = Sending { body, end, rate: request.send_rate };
        if let Err(error) = self.send_message(stream, fields(request, scheme, authority), sending).await {
            self.fail(stream, &by_hand::cannot_send(error));
        }
        Ok(())
    }

    /// Sends a message: its head, and as much of its body as can be sent.
    async fn send_message(&mut self, stream: u32, fields: Vec<(String, String)>, sending: Sending) -> io::Result<()> {
        let mut frames = head(stream, fields, sending.body.is_empty() && sending.end == End::Body);
        if let Some(link) = &mut self.link {
            link.flow.add(stream, sending);
            frames.extend(link.flow.take());
        }
        self.write(&frames).await
    }

    fn receive(&mut self, pattern: Frame, done: Done) {
        let Some(link) = &mut self.link else {
            drop(done.send(Err("there is no connection".into())));
            return;
        };
        if let Some(at) = link.received.iter().position(|frame| fits(&pattern, frame)) {
            link.received.remove(at);
            drop(done.send(Ok(())));
        } else if link.conn.is_none() {
            drop(done.send(Err(format!("expected {pattern}, got the end of the connection"))));
        } else {
            self.waiting.push((pattern, done));
        }
    }

    fn wait_for_end(&mut self, expected: Option<Ending>, done: Done) {
        match self.link.as_ref().map(|link| link.ended) {
            None => drop(done.send(Err("there is no connection".into()))),
            Some(Some(ending)) => drop(done.send(by_hand::expect_ending(expected, ending))),
            Some(None) => self.closing.push((expected, done)),
        }
    }

    fn leave(&mut self, how: impl FnOnce(Conn)) -> Result<(), String> {
        let conn = self.link.as_mut().and_then(|link| link.conn.take()).ok_or("there is no open connection")?;
        how(conn);
        self.over(Ending::Local, "closed before the response");
        Ok(())
    }

    /// The peer has ended the connection; ours ends with it.
    fn ended(&mut self, ending: Ending) {
        if let Some(link) = &mut self.link {
            link.conn = None;
        }
        let how = if ending == Ending::Rst { "reset by the peer" } else { "closed by the peer" };
        self.over(ending, how);
    }

    fn over(&mut self, ending: Ending, why: &str) {
        let Some(link) = &mut self.link else { return };
        link.ended = Some(ending);
        link.openings.clear();
        self.due.clear();
        let now = self.notebook.now();
        for exchange in std::mem::take(&mut link.exchanges) {
            self.notebook.exchange(exchange, |exchange| exchange.ended = Some((ending, now)));
        }
        let streams: Vec<u32> = link.streams.keys().copied().collect();
        for stream in streams {
            self.fail(stream, why);
        }
        for (pattern, done) in std::mem::take(&mut self.waiting) {
            drop(done.send(Err(format!("expected {pattern}, got the end of the connection"))));
        }
        for (expected, done) in std::mem::take(&mut self.closing) {
            drop(done.send(by_hand::expect_ending(expected, ending)));
        }
    }
}
