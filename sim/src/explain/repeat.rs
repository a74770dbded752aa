//! Whether sending a failed request again would have been safe.

use std::time::Duration;

use finwait::access_log::ResponseFlag as F;

use super::act::{Act, ActKind};
use super::hop::{Cause, Judged};
use super::{Case, NO_HOST, Retry};
use crate::actor::is_idempotent;
use crate::trace::{Event, HostChange, HostId};

/// Whether the request of a failure could have been sent again.
pub(super) fn retry(case: &Case<'_>, origin: Option<&Judged<'_>>, hops: &[Judged<'_>]) -> Retry {
    let (Some(origin), Some(last)) = (origin, hops.last()) else { return verdict(true, "nothing was sent") };
    let deepest = last.exchange;
    if deepest.is_tunnel() {
        return verdict(false, "bytes may have passed in both directions; only the client can connect again");
    }
    // What an app did is recorded by the hop before it, in the words of the protocol.
    let settings = hops
        .iter()
        .rev()
        .find(|hop| hop.next.is_some() && hop.cause != Cause::Busy)
        .filter(|_| origin.cause == Cause::Own);
    if let Some(why) = unprocessed(&settings.unwrap_or(origin).cause, origin) {
        return verdict(true, why);
    }
    if deepest.path == "-" {
        return verdict(true, "nothing was sent upstream");
    }
    by_method(case, last)
}

fn verdict(is_safe: bool, why: &str) -> Retry {
    Retry { is_safe, why: why.to_owned() }
}

/// The evidence that no app worked on a request, if there is any.
fn unprocessed(cause: &Cause, origin: &Judged<'_>) -> Option<&'static str> {
    match cause {
        Cause::Handshake(_) | Cause::WithoutTls => Some("no request is read on a connection whose handshake failed"),
        Cause::ConnectTimeout(_) | Cause::Refused => Some("the request never left the hop that could not connect"),
        Cause::Admin | Cause::Decision if is_final(origin) => {
            Some("nothing was sent upstream, but the response will be the same")
        }
        Cause::Admin | Cause::Beginning(..) | Cause::Decision | Cause::NoFilterChain(_) => {
            Some("nothing was sent upstream")
        }
        Cause::NextHop { did: Some(ActKind::GoAway { .. }), .. } => {
            Some("the stream is above the last stream of GOAWAY, so it was not processed (RFC 9113 8.7)")
        }
        Cause::NextHop { did: Some(ActKind::Reset { code, .. }), .. } if code == "REFUSED_STREAM" => {
            Some("REFUSED_STREAM means that it was not processed (RFC 9113 8.7)")
        }
        Cause::Busy
        | Cause::Itself
        | Cause::Left
        | Cause::NextHop { .. }
        | Cause::OverLimit(_)
        | Cause::Own
        | Cause::Timeout(_)
        | Cause::Unknown
        | Cause::Unread
        | Cause::Unreadable
        | Cause::WrongProtocol => None,
    }
}

/// Whether a request that may have been worked on may be repeated, which its method decides.
fn by_method(case: &Case<'_>, last: &Judged<'_>) -> Retry {
    let deepest = last.exchange;
    let name = deepest.server.map_or(NO_HOST, |host| case.played.trace.host(host));
    let in_this_run = in_this_run(case, last, name);
    let method = deepest.method.as_str();
    let refused = deepest.response.as_ref().map(|final_response| final_response.status).filter(|_| method == "CONNECT");
    match refused {
        // A tunnel that was refused is none (RFC 9110 9.3.6).
        Some(status) => Retry {
            is_safe: true,
            why: format!("{name} refused the CONNECT with {status}, and no tunnel was opened (RFC 9110 9.3.6)"),
        },
        None if is_idempotent(method) => {
            Retry { is_safe: true, why: format!("{method} is idempotent (RFC 9110 9.2.2); {in_this_run}") }
        }
        None if method == "CONNECT" => Retry {
            is_safe: false,
            why: format!("CONNECT may have opened a tunnel, and is not idempotent (RFC 9110 9.2.2); {in_this_run}"),
        },
        None => Retry { is_safe: false, why: format!("{method} may have been processed; {in_this_run}") },
    }
}

/// How far a request came in this run.
fn in_this_run(case: &Case<'_>, last: &Judged<'_>, name: &str) -> String {
    let deepest = last.exchange;
    let forwarded = last.account.and_then(|account| account.upstream.as_deref());
    let id = deepest.field("x-request-id");
    let deliveries = &case.played.sightings.deliveries;
    let seen = deliveries.iter().filter(|it| id.is_some() && it.request_id.as_deref() == id).count();
    // An app that does not read HTTP counts no requests.
    let (server, trace) = (deepest.server, &case.played.trace);
    let is_proxy = server.and_then(|host| super::role(case.scenario, trace, host)).is_some_and(super::passes_on);
    let ends = |at| case.traffic.acts_on(deepest).filter(move |act| Some(act.by) == server && act.sent.at < at);
    let is_half = |act: &Act| act.kind == ActKind::CloseNotify { with_fin: false };
    let had_closed = |at| ends(at).any(|act| !is_half(act));
    let had_notified = |at| ends(at).any(is_half);
    let had_fallen = |at| server.is_some_and(|host| has_fallen(case, host, deepest.connection, at));
    match (seen, deepest.request.arrived) {
        (1, _) => "in this run an app received it".to_owned(),
        (2.., _) => format!("in this run apps received it {seen} times"),
        (0, None) if deepest.request.head_arrived.is_none() => format!("in this run it never reached {name}"),
        (0, None) => format!("in this run not all of it reached {name}"),
        (0, Some(_)) if is_proxy => match forwarded {
            Some(upstream) => format!("in this run {name} forwarded it to {upstream}"),
            None => "in this run no app received it".into(),
        },
        (0, Some(_)) if deepest.response.is_some() => format!("in this run {name} responded to it"),
        (0, Some(at)) if had_closed(at) => {
            format!("in this run {name} had closed the connection before it arrived, and did not read it")
        }
        (0, Some(at)) if had_notified(at) => {
            format!("in this run {name} had sent close_notify before it arrived, and did not process it")
        }
        (0, Some(at)) if had_fallen(at) => {
            format!("in this run {name} had lost the connection before it arrived, and did not read it")
        }
        (0, Some(_)) => format!("in this run it reached {name}"),
    }
}

/// Whether the same request will have the same response: what a proxy decided by its configuration, and not by what was under
/// way.
fn is_final(origin: &Judged<'_>) -> bool {
    let account = origin.account;
    !account.is_some_and(|account| {
        account
            .flags
            .iter()
            .any(|flag| matches!(flag, F::DC | F::DR | F::OM | F::RL | F::UC | F::UF | F::UH | F::UO | F::UR))
    })
}

/// Whether a host had lost its programs since a connection was made.
fn has_fallen(case: &Case<'_>, host: HostId, connection: usize, until: Duration) -> bool {
    let conversation = case.traffic.conversations.get(connection);
    let opened = conversation.and_then(|it| it.from_client.signals.first()).map(|syn| syn.sent.at);
    case.played.trace.entries().iter().any(|entry| {
        let falls = matches!(
            &entry.event,
            Event::Host { host: of, change: HostChange::Killed | HostChange::PoweredOff } if *of == host
        );
        falls && opened.is_some_and(|opened| opened <= entry.at) && entry.at <= until
    })
}
