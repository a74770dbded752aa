//! The steps and keys that have an effect for clients and apps, by their protocol. Those without effect are refused here.

use super::{App, Client, Http2, PeerProtocol, Role};
use crate::scenario::script::{Action, Request};

/// What is wrong with the settings of an actor, without its name; none if nothing is.
pub(crate) fn misfit(role: &Role) -> Option<String> {
    match role {
        Role::App(app) => of_app(app),
        Role::Client(client) => of_client(client).map(str::to_owned),
        Role::Alb(_) | Role::Proxy { .. } => None,
    }
}

fn of_client(client: &Client) -> Option<&'static str> {
    let is_http2 = client.protocol == PeerProtocol::Http2;
    if !is_http2 && client.http2 != Http2::default() {
        return Some("has `http2`, which needs `protocol: http2`");
    }
    let silent = client.protocol == PeerProtocol::Bytes && client.idle_timeout.is_some();
    silent.then_some(
        "has `idle_timeout`, which has no effect with `protocol: bytes`: end its connection by the step `fin`",
    )
}

fn of_app(app: &App) -> Option<String> {
    let protocol = app.protocol;
    let has_response_bytes = app.response_bytes.is_some();
    let keys = [
        ("http2", app.http2 != Http2::default(), protocol == PeerProtocol::Http2),
        ("programs", !app.programs.is_empty(), !protocol.is_http1()),
        ("first", !app.first.is_empty(), protocol != PeerProtocol::Bytes),
        ("idle_timeout", app.idle_timeout.is_some(), protocol != PeerProtocol::Bytes),
        ("read_rate", app.read_rate.is_some(), protocol != PeerProtocol::Bytes),
        ("reads_bodies", !app.reads_bodies, protocol.is_http1()),
        ("trailers", has_trailers(app), protocol == PeerProtocol::Http2),
        ("requests_max", app.requests_max.is_some(), protocol.is_http1()),
    ];
    for (key, given, means_something) in keys {
        if given && (has_response_bytes || !means_something) {
            let why = if has_response_bytes { "response_bytes".to_owned() } else { format!("protocol: {protocol}") };
            return Some(format!("has `{key}`, which has no effect with `{why}`"));
        }
    }
    if let Some(what) = of_services(app) {
        return Some(what);
    }
    if has_response_bytes && protocol != PeerProtocol::Http1 {
        return Some("has `response_bytes`, which excludes `protocol`".into());
    }
    app.programs.iter().flatten().find_map(|action| {
        let refused = if matches!(action, Action::Wait(_)) { None } else { refusal(Who::App(protocol), action) };
        refused.map(|what| format!("has a program with the step `{action}`: {what}"))
    })
}

/// What is wrong with the services that the app is to be.
fn of_services(app: &App) -> Option<String> {
    let services = [
        ("ext_authz", app.ext_authz.is_some()),
        ("grpc_health", app.grpc_health.is_some()),
        ("jwks", app.jwks.is_some()),
        ("rate_limit", app.rate_limit.is_some()),
        ("access_log_service", app.access_log_service.is_some()),
    ];
    let mut given = services.into_iter().filter(|(_, given)| *given).map(|(key, _)| key);
    let key = given.next()?;
    if let Some(second) = given.next() {
        return Some(format!("has `{key}` and `{second}`: an app is one service"));
    }
    if app.protocol == PeerProtocol::Bytes || app.response_bytes.is_some() {
        return Some(format!("has `{key}`, which needs `protocol: http1` or `protocol: http2`"));
    }
    if ["access_log_service", "grpc_health", "rate_limit"].contains(&key) && app.protocol != PeerProtocol::Http2 {
        return Some(format!("has `{key}`, which needs `protocol: http2`"));
    }
    let has_first = key != "grpc_health" && !app.first.is_empty();
    has_first.then(|| format!("has `first`, which has no effect with `{key}`: write it there"))
}

fn has_trailers(app: &App) -> bool {
    app.first.iter().chain([&app.reply]).any(|reply| !reply.trailers.0.is_empty())
}

/// The actor that a step is for, with its protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    App(PeerProtocol),
    Client(PeerProtocol),
}

/// Why a client of this protocol cannot send the request, if it cannot.
fn of_request(protocol: PeerProtocol, request: &Request) -> Option<&'static str> {
    let is_http2 = protocol == PeerProtocol::Http2;
    if !request.trailers.is_empty() && !is_http2 {
        return Some("`trailers` need `protocol: http2`");
    }
    if request.expect_continue.is_some() && protocol != PeerProtocol::Http1 {
        return Some("`expect_continue` needs `protocol: http1`");
    }
    (request.websocket && protocol == PeerProtocol::Http10).then_some("a WebSocket needs `protocol: http1` or `http2`")
}

/// Why this cannot be done by such an actor, if it cannot.
pub(crate) fn refusal(who: Who, action: &Action) -> Option<String> {
    let protocol = match who {
        Who::App(protocol) | Who::Client(protocol) => protocol,
    };
    let is_client = matches!(who, Who::Client(_));
    let fits = match action {
        Action::Fin | Action::HalfClose | Action::Rst | Action::Send { .. } => true,
        Action::Closed(_) => is_client || !protocol.is_http1(),
        Action::Connect => is_client,
        Action::Request(request) => is_client && of_request(protocol, request).is_none(),
        Action::Close | Action::ReceiveWebSocketFrame(_) => is_client && protocol != PeerProtocol::Http2,
        Action::SendWebSocketFrame(_) => protocol.is_http1(),
        Action::Pause | Action::Resume | Action::ReceiveFrame(_) | Action::SendFrame { .. } => {
            protocol == PeerProtocol::Http2
        }
        Action::Receive { .. } => protocol == PeerProtocol::Bytes || is_client && protocol.is_http1(),
        Action::ReceiveRequest(_) => !is_client && protocol == PeerProtocol::Bytes,
        Action::Reply(reply) => !is_client && protocol == PeerProtocol::Bytes && reply.trailers.0.is_empty(),
        Action::Wait(_) => false,
    };
    if fits {
        return None;
    }
    Some(match (action, is_client) {
        (Action::Wait(_), _) => "a wait has no host; write `wait: 2s`".into(),
        (Action::Request(request), true) => of_request(protocol, request).unwrap_or_default().to_owned(),
        (Action::Reply(reply), false) if protocol == PeerProtocol::Bytes && !reply.trailers.0.is_empty() => {
            "`trailers` need an app with `protocol: http2`; here send the bytes of chunks and trailers".into()
        }
        (Action::Connect | Action::Request(_), _) => "an app receives requests and sends none".into(),
        (Action::ReceiveRequest(_) | Action::Reply(_), true) => "a client sends requests and receives none".into(),
        (Action::ReceiveRequest(_) | Action::Reply(_) | Action::Receive { .. }, _) => {
            format!("this step needs `protocol: bytes`, not `protocol: {protocol}`")
        }
        (Action::Pause | Action::Resume | Action::ReceiveFrame(_) | Action::SendFrame { .. }, _) => {
            format!("this step needs `protocol: http2`, not `protocol: {protocol}`")
        }
        (Action::Close | Action::ReceiveWebSocketFrame(_), false) | (Action::Closed(_), _) => {
            "the steps of an app are `send`, `websocket_frame`, `half_close`, `fin` and `rst`; more with `protocol: bytes` \
             and `protocol: http2`"
                .into()
        }
        _ => format!("this step is for WebSockets on HTTP/1, not for `protocol: {protocol}`"),
    })
}
