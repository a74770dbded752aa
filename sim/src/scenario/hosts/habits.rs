//! What clients and apps can be told to do, and which of their keys mean something, by what they speak. What would be
//! overlooked in silence is refused here.

use super::{App, Client, Http2, Role, Speech};
use crate::scenario::script::Action;

/// What is wrong with the settings of an actor, without its name; none if nothing is.
pub(crate) fn misfit(role: &Role) -> Option<String> {
    match role {
        Role::App(app) => of_app(app),
        Role::Client(client) => of_client(client).map(str::to_owned),
        Role::Alb(_) | Role::Proxy { .. } => None,
    }
}

fn of_client(client: &Client) -> Option<&'static str> {
    let speaks_http2 = client.speaks == Speech::Http2;
    if !speaks_http2 && client.http2 != Http2::default() {
        return Some("has `http2`, which needs `speaks: http2`");
    }
    let silent = client.speaks == Speech::Bytes && client.idle_timeout.is_some();
    silent
        .then_some("has `idle_timeout`, which has no effect with `speaks: bytes`: end its connection by the step `fin`")
}

fn of_app(app: &App) -> Option<String> {
    let speech = app.speaks;
    let answers_all = app.answer_bytes.is_some();
    let keys = [
        ("http2", app.http2 != Http2::default(), speech == Speech::Http2),
        ("programs", !app.programs.is_empty(), speech != Speech::Http1),
        ("first", !app.first.is_empty(), speech != Speech::Bytes),
        ("idle_timeout", app.idle_timeout.is_some(), speech != Speech::Bytes),
        ("read_rate", app.read_rate.is_some(), speech != Speech::Bytes),
        ("requests_max", app.requests_max.is_some(), speech == Speech::Http1),
    ];
    for (key, given, means_something) in keys {
        if given && (answers_all || !means_something) {
            let why = if answers_all { "answer_bytes".to_owned() } else { format!("speaks: {speech}") };
            return Some(format!("has `{key}`, which has no effect with `{why}`"));
        }
    }
    if answers_all && speech != Speech::Http1 {
        return Some("has `answer_bytes`, which excludes `speaks`".into());
    }
    app.programs.iter().flatten().find_map(|action| {
        let refused = if matches!(action, Action::Wait(_)) { None } else { refusal(Who::App(speech), action) };
        refused.map(|what| format!("has a program with the step `{action}`: {what}"))
    })
}

/// Who is told something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    App(Speech),
    Client(Speech),
}

/// Why this cannot be done by such an actor, if it cannot.
pub(crate) fn refusal(who: Who, action: &Action) -> Option<String> {
    let speech = match who {
        Who::App(speech) | Who::Client(speech) => speech,
    };
    let is_client = matches!(who, Who::Client(_));
    let fits = match action {
        Action::Fin | Action::HalfClose | Action::Rst | Action::Send { .. } => true,
        Action::Closed(_) => is_client || speech != Speech::Http1,
        Action::Connect | Action::Request(_) => is_client,
        Action::Close | Action::ReceiveWebSocketFrame(_) => is_client && speech != Speech::Http2,
        Action::SendWebSocketFrame(_) => speech == Speech::Http1,
        Action::Pause | Action::Resume | Action::ReceiveFrame(_) | Action::SendFrame { .. } => speech == Speech::Http2,
        Action::Receive { .. } => speech == Speech::Bytes || is_client && speech == Speech::Http1,
        Action::ReceiveRequest(_) | Action::Reply(_) => !is_client && speech == Speech::Bytes,
        Action::Wait(_) => false,
    };
    if fits {
        return None;
    }
    Some(match (action, is_client) {
        (Action::Wait(_), _) => "a wait has no host; write `wait: 2s`".into(),
        (Action::Connect | Action::Request(_), _) => "an app receives requests and sends none".into(),
        (Action::ReceiveRequest(_) | Action::Reply(_), true) => "a client sends requests and receives none".into(),
        (Action::ReceiveRequest(_) | Action::Reply(_) | Action::Receive { .. }, _) => {
            format!("this step needs `speaks: bytes`, not `speaks: {speech}`")
        }
        (Action::Pause | Action::Resume | Action::ReceiveFrame(_) | Action::SendFrame { .. }, _) => {
            format!("this step needs `speaks: http2`, not `speaks: {speech}`")
        }
        (Action::Close | Action::ReceiveWebSocketFrame(_), false) | (Action::Closed(_), _) => {
            "the steps of an app are `send`, `websocket_frame`, `half_close`, `fin` and `rst`; more with `speaks: bytes` \
             and `speaks: http2`"
                .into()
        }
        _ => format!("this step is for WebSockets on HTTP/1, not for `speaks: {speech}`"),
    })
}
