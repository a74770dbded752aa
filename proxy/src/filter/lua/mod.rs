//! `envoy.filters.http.lua`: a script sees the request and the response, and may change, delay and end them.
//!
//! Each way has its own run of a function of the script. A run that wants the whole body, or waits for a call, holds the head; one
//! that wants the body piece by piece, or the trailers, lets the head go on, and may not change it any more. A script that fails
//! changes nothing further: the message goes on as it is, as in Envoy.

mod arguments;
mod calls;
mod host;
mod message;
mod signature;
mod values;

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use self::host::{Body, Seen, Turn, Wanted};
use super::call::{Call, CallEnd};
use super::context::FilterContext;
use super::piece::End;
use super::reply::EndedReply;
use super::{FilterReply, Flow, Piece, Refusal};
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::{Headers, Payload, RequestHead, ResponseHead};
use crate::config::lua::Lua;
use crate::config::script::{Hook, Machine, Run, Step, WaitsFor};

pub(super) struct Scripted<'c> {
    options: &'c Lua,
    request: Way,
    response: Way,
    wanted: Wanted,
    is_route_cleared: bool,
}

/// The message of one direction.
#[derive(Default)]
struct Way {
    state: State,
    body: Body,
    /// What has come of a body that the script wants as a whole.
    gathered: BytesMut,
    /// What the script sees of the stream once its head has gone on.
    later: Option<Box<Later>>,
}

#[derive(Default)]
enum State {
    /// The script has not begun.
    #[default]
    New,
    Waits(Rc<Machine>, Run, WaitsFor),
    /// The script has ended, or there is none.
    Ended,
}

/// A copy of the head and of the stream's facts.
struct Later {
    head: KeptHead,
    info: StreamInfo,
}

enum KeptHead {
    Request(RequestHead),
    Response(ResponseHead),
}

/// What a script has made of a body that it held, and the trailers behind it.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<Headers>,
}

impl Released {
    /// What follows the head for the filters behind: the head has had this.
    pub(crate) fn payload(&self, before: Payload) -> Payload {
        if before == Payload::None && !self.data.is_empty() { Payload::Some } else { before }
    }

    /// Puts it in the place of what a piece has, which is the last.
    pub(crate) fn replace(self, piece: &mut Piece) {
        piece.data = self.data;
        piece.end = End::Complete(self.trailers);
    }
}

impl<'c> Scripted<'c> {
    pub(super) fn new(options: &'c Lua) -> Self {
        let way = |is_seen: bool| Way { state: if is_seen { State::New } else { State::Ended }, ..Way::default() };
        Self {
            options,
            request: way(options.script.sees_requests),
            response: way(options.script.sees_responses),
            wanted: Wanted::default(),
            is_route_cleared: false,
        }
    }

    pub(super) fn clears_route(&self) -> bool {
        self.is_route_cleared
    }

    /// The call that the script waits for, once.
    pub(super) fn take_call(&mut self) -> Option<Box<Call>> {
        self.wanted.call.take()
    }

    /// The calls that the script does not wait for.
    pub(super) fn take_detached(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.wanted.detached)
    }

    /// What the call came to that the script waits for.
    pub(super) fn end_call(&mut self, end: CallEnd) {
        for way in [&mut self.request, &mut self.response] {
            if let State::Waits(.., WaitsFor::Call) = way.state {
                way.body.called = Some(end);
                return;
            }
        }
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Flow<FilterReply> {
        if matches!(self.request.state, State::New) {
            self.request.body.is_complete = payload == Payload::None;
        }
        self.request.turn(self.options, &mut self.wanted, Hook::Request, Seen::Request(request), info, context);
        self.is_route_cleared |= std::mem::take(&mut self.wanted.clears_route);
        if let Some(reply) = self.wanted.reply.take() {
            return reply.end();
        }
        if self.request.holds_head() {
            return Flow::Wait;
        }
        self.request.body.is_continued = true;
        if let Some(unsendable) = self.wanted.unsendable.take() {
            let what = unsendable.describe();
            let details = Details::Unsendable(what.clone().into());
            let reply = EndedReply::new(StatusCode::SERVICE_UNAVAILABLE, "", details);
            return EndedReply { body: what.into(), flag: Some(ResponseFlag::DPE), ..reply }.end();
        }
        self.request.keep_for_later(|| KeptHead::Request(request.clone()), info);
        Flow::Continue
    }

    /// A piece of the request's body has come.
    pub(super) fn on_request_data(&mut self, piece: &mut Piece, context: &FilterContext) -> Flow<Refusal> {
        let flow = self.request.data(piece, context.buffer_bytes_max, Refusal::RequestTooLarge);
        self.request.pass(piece, self.options, &mut self.wanted, context);
        flow
    }

    pub(super) fn on_response(
        &mut self,
        response: &mut ResponseHead,
        payload: Payload,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Flow<Refusal> {
        // What a script has left while the request's body came.
        if let Some(later) = self.request.later.take()
            && later.info.metadata.is_some()
        {
            info.metadata = later.info.metadata;
        }
        if matches!(self.response.state, State::New) {
            self.response.body.is_complete = payload == Payload::None;
        }
        let seen = Seen::Response(response);
        self.response.turn(self.options, &mut self.wanted, Hook::Response, seen, info, context);
        if self.response.holds_head() {
            return Flow::Wait;
        }
        self.response.body.is_continued = true;
        self.response.keep_for_later(|| KeptHead::Response(response.clone()), info);
        Flow::Continue
    }

    /// A piece of the response's body has come.
    pub(super) fn on_response_data(&mut self, piece: &mut Piece, context: &FilterContext) -> Flow<Refusal> {
        let flow = self.response.data(piece, context.buffer_bytes_max, Refusal::ResponseTooLarge);
        self.response.pass(piece, self.options, &mut self.wanted, context);
        flow
    }

    /// What the script has made of the request's body, once.
    pub(super) fn release_request(&mut self) -> Option<Released> {
        self.request.release()
    }

    /// The same of the response's.
    pub(super) fn release_response(&mut self) -> Option<Released> {
        self.response.release()
    }
}

impl Way {
    /// Lets the script run on as far as it can, if what it waits for is there.
    fn turn(
        &mut self,
        options: &Lua,
        wanted: &mut Wanted,
        hook: Hook,
        seen: Seen<'_>,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) {
        let (machine, mut run) = match std::mem::take(&mut self.state) {
            State::New => match begin(options, hook, context) {
                Some(begun) => begun,
                None => return self.state = State::Ended,
            },
            State::Waits(machine, run, WaitsFor::Body) if self.body.is_complete => {
                self.body.content = self.gathered.split().freeze();
                (machine, run)
            }
            State::Waits(machine, run, WaitsFor::Call) if self.body.called.is_some() => (machine, run),
            other @ (State::Waits(..) | State::Ended) => return self.state = other,
        };
        let mut turn = Turn { options, seen, info, body: &mut self.body, wanted, context };
        let step = machine.turn(&mut run, false, &mut turn);
        self.settle(step, machine, run, options, context);
    }

    fn settle(&mut self, step: Step, machine: Rc<Machine>, run: Run, options: &Lua, context: &FilterContext) {
        self.state = match step {
            Step::Ended => State::Ended,
            Step::Failed(why) => {
                fail(&why, options, context);
                State::Ended
            }
            Step::Waits(what) => State::Waits(machine, run, what),
        };
    }

    /// Does the head wait for the script?
    fn holds_head(&self) -> bool {
        match &self.state {
            State::Waits(.., WaitsFor::Body | WaitsFor::Call | WaitsFor::Nothing) => true,
            State::Waits(.., WaitsFor::Chunk | WaitsFor::Trailers) | State::New | State::Ended => false,
        }
    }

    /// The head goes on while the script still waits: it has its copy from now on.
    fn keep_for_later(&mut self, head: impl FnOnce() -> KeptHead, info: &StreamInfo) {
        if let State::Waits(..) = self.state {
            let mut own = StreamInfo::new(info.times.begin, info.started, Rc::clone(&info.downstream));
            own.protocol = info.protocol;
            own.client.clone_from(&info.client);
            own.route_name.clone_from(&info.route_name);
            own.virtual_cluster.clone_from(&info.virtual_cluster);
            own.metadata.clone_from(&info.metadata);
            own.filter_state.clone_from(&info.filter_state);
            self.later = Some(Box::new(Later { head: head(), info: own }));
        }
    }

    /// Takes a piece, if the script wants the body as a whole.
    fn data(&mut self, piece: &mut Piece, bytes_max: usize, refusal: Refusal) -> Flow<Refusal> {
        let State::Waits(.., what) = &self.state else { return Flow::Continue };
        let is_gathered = *what == WaitsFor::Body && !self.body.is_complete;
        self.body.is_seen |= !piece.data.is_empty() || (piece.is_last() && is_gathered && !self.gathered.is_empty());
        if !is_gathered {
            return Flow::Continue;
        }
        if self.gathered.len() + piece.data.len() > bytes_max {
            return Flow::Respond(refusal);
        }
        self.gathered.extend_from_slice(&std::mem::take(&mut piece.data));
        let End::Complete(trailers) = &mut piece.end else { return Flow::Wait };
        self.body.is_complete = true;
        self.body.trailers = trailers.take();
        Flow::Continue
    }

    /// Shows the script a piece that passes, if it waits for one.
    fn pass(&mut self, piece: &mut Piece, options: &Lua, wanted: &mut Wanted, context: &FilterContext) {
        if !matches!(self.state, State::Waits(.., WaitsFor::Chunk | WaitsFor::Trailers)) {
            return;
        }
        let trailers = match &mut piece.end {
            End::Open => None,
            End::Complete(trailers) => Some(trailers.take()),
        };
        let is_whole = matches!(trailers, Some(None));
        self.body.is_complete |= is_whole;
        // As in Envoy, an end without trailers is a piece too.
        if matches!(self.state, State::Waits(.., WaitsFor::Chunk)) && (!piece.data.is_empty() || is_whole) {
            self.body.content = std::mem::take(&mut piece.data);
            self.later_turn(true, options, wanted, context);
            piece.data = std::mem::take(&mut self.body.content);
        }
        if let Some(trailers) = trailers {
            self.body.is_complete = true;
            self.body.trailers = trailers;
            // A script that wants a piece learns that there is none, and may want the trailers then.
            for _ in 0..2 {
                if matches!(self.state, State::Waits(.., WaitsFor::Chunk | WaitsFor::Trailers)) {
                    self.later_turn(false, options, wanted, context);
                }
            }
            piece.end = End::Complete(self.body.trailers.take());
        }
    }

    fn later_turn(&mut self, has_piece: bool, options: &Lua, wanted: &mut Wanted, context: &FilterContext) {
        let State::Waits(machine, mut run, _) = std::mem::take(&mut self.state) else { return };
        let Some(later) = self.later.as_deref_mut() else { return self.state = State::Ended };
        let Later { head, info } = later;
        let seen = match head {
            KeptHead::Request(head) => Seen::Request(head),
            KeptHead::Response(head) => Seen::Response(head),
        };
        let mut turn = Turn { options, seen, info, body: &mut self.body, wanted, context };
        let step = machine.turn(&mut run, has_piece, &mut turn);
        self.settle(step, machine, run, options, context);
    }

    /// What goes on in place of what the script has held, or of nothing.
    fn release(&mut self) -> Option<Released> {
        if self.holds_head() || !self.body.is_complete {
            return None;
        }
        let has_gathered = std::mem::take(&mut self.body.is_held) && !matches!(self.state, State::New);
        let is_replaced = std::mem::take(&mut self.body.is_replaced);
        if !has_gathered && !is_replaced {
            return None;
        }
        // A script may have failed before it saw what was gathered.
        let gathered = self.gathered.split().freeze();
        let content = std::mem::take(&mut self.body.content);
        let data = if content.is_empty() && !is_replaced { gathered } else { content };
        Some(Released { data, trailers: self.body.trailers.take() })
    }
}

/// A run of a function of the script, and its machine.
fn begin(options: &Lua, hook: Hook, context: &FilterContext) -> Option<(Rc<Machine>, Run)> {
    let machine = context.scripts.machine(&options.script, &*context.clock)?;
    if let Some(stats) = context.stats.lua(&options.stat_prefix) {
        stats.executions.inc();
    }
    let run = machine.start(hook).inspect_err(|why| fail(why, options, context)).ok()?;
    Some((machine, run))
}

fn fail(why: &str, options: &Lua, context: &FilterContext) {
    if let Some(stats) = context.stats.lua(&options.stat_prefix) {
        stats.errors.inc();
    }
    tracing::error!("script log: {why}");
}
