//! What options of sockets mean.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::bootstrap::socket_option::{
    SocketOption as Written, SocketState as WrittenState, TcpKeepalive, WrittenSocket,
};
use crate::config::error::Cause;
use crate::config::problem::Problem;
use crate::config::socket_option::{Flag, LINGER, Number, Setting, SocketOption, SocketState, Text, known};
use crate::config::yaml::At;

/// Everything that is set on a socket of this family, in Envoy's order.
pub(super) fn of_socket(written: WrittenSocket<'_>, is_ipv6: bool) -> Result<Vec<SocketOption>, Problem> {
    let WrittenSocket { options, keepalive, freebind, transparent } = written;
    let mut all: Vec<SocketOption> = keepalive.into_iter().flat_map(probes).collect();
    let mut add = |wanted: bool, v4: Flag, v6: Flag, states: &[SocketState]| {
        let setting = Setting::Flag(if is_ipv6 { v6 } else { v4 }, true);
        let states = states.iter().filter(|_| wanted);
        all.extend(states.map(|when| SocketOption { setting: setting.clone(), when: *when }));
    };
    add(freebind, Flag::FreebindV4, Flag::FreebindV6, &[SocketState::Prebind]);
    let both = [SocketState::Prebind, SocketState::Bound];
    add(transparent, Flag::TransparentV4, Flag::TransparentV6, &both);
    for option in options {
        all.extend(self::option(option)?);
    }
    Ok(all)
}

/// `tcp_keepalive`: a number that is not given is the system's own.
fn probes(written: TcpKeepalive) -> impl Iterator<Item = SocketOption> {
    let TcpKeepalive { keepalive_interval, keepalive_probes, keepalive_time } = written;
    let numbers = [
        (Number::KeepaliveCount, keepalive_probes),
        (Number::KeepaliveIdle, keepalive_time),
        (Number::KeepaliveInterval, keepalive_interval),
    ];
    let numbers = numbers.into_iter().filter_map(|(number, value)| Some(Setting::Number(number, value?)));
    let settings = std::iter::once(Setting::Flag(Flag::Keepalive, true)).chain(numbers);
    settings.map(|setting| SocketOption { setting, when: SocketState::Prebind })
}

/// One option; `None` if it is for other sockets.
fn option(written: &At<Written>) -> Result<Option<SocketOption>, Problem> {
    let Written { level, name, state, r#type, .. } = &written.value;
    if written.value.int_value.is_none() && written.value.buf_value.is_none() {
        return Err(written.problem(Cause::Missing { field: "int_value" }));
    }
    // As in Envoy, what is for datagrams does not concern TCP.
    if r#type.as_ref().is_some_and(|kind| kind.stream.is_none() && kind.datagram.is_some()) {
        return Ok(None);
    }
    let when = match state {
        None | Some(WrittenState::Prebind) => SocketState::Prebind,
        Some(WrittenState::Bound) => SocketState::Bound,
        Some(WrittenState::Listening) => SocketState::Listening,
    };
    setting(written, (*level, *name)).map(|setting| Some(SocketOption { setting, when }))
}

fn setting(written: &At<Written>, numbers: (i64, i64)) -> Result<Setting, Problem> {
    fn find<T: Copy>(all: &[(T, i64, i64)], numbers: (i64, i64)) -> Option<T> {
        all.iter().find(|(_, level, name)| (*level, *name) == numbers).map(|(one, _, _)| *one)
    }
    if numbers == LINGER {
        return bytes(written).and_then(|bytes| linger(written, &bytes));
    }
    if let Some(flag) = find(Flag::ALL, numbers) {
        return integer(written).map(|value| Setting::Flag(flag, value != 0));
    }
    if let Some(number) = find(Number::ALL, numbers) {
        return integer(written).map(|value| Setting::Number(number, value));
    }
    match find(Text::ALL, numbers) {
        Some(text) => bytes(written).map(|bytes| Setting::Text(text, bytes)),
        None => Err(written.invalid_but(
            format!("option {} of level {} cannot be set here", numbers.1, numbers.0),
            format!("one of these, by level/name: {}", known()),
        )),
    }
}

/// `int_value`, or its bytes.
fn integer(written: &At<Written>) -> Result<u32, Problem> {
    let value = match (written.value.int_value, &written.value.buf_value) {
        (Some(value), None) => u32::try_from(value).ok(),
        (None, Some(_)) => bytes(written)?.try_into().ok().map(u32::from_ne_bytes),
        _ => return Err(written.invalid("takes exactly one of int_value and buf_value")),
    };
    value.ok_or_else(|| written.invalid("this option takes a number from 0 to 4294967295"))
}

/// `buf_value`.
fn bytes(written: &At<Written>) -> Result<Vec<u8>, Problem> {
    match (written.value.int_value, &written.value.buf_value) {
        (None, Some(coded)) => {
            STANDARD.decode(&coded.value).map_err(|error| coded.invalid(format!("no base64: {error}")))
        }
        (Some(_), Some(_)) => Err(written.invalid("takes exactly one of int_value and buf_value")),
        _ => Err(written.invalid("this option takes a buf_value")),
    }
}

/// `struct linger`: two numbers, whether a close waits and for how many seconds.
fn linger(written: &At<Written>, bytes: &[u8]) -> Result<Setting, Problem> {
    let (Some((on, [])), Some((_, seconds))) = (
        bytes.split_first_chunk::<4>().map(|(on, rest)| (on, rest.get(4..).unwrap_or(rest))),
        bytes.split_last_chunk::<4>(),
    ) else {
        return Err(written.invalid("this option takes two numbers, in 8 bytes"));
    };
    let limit = Duration::from_secs(u32::from_ne_bytes(*seconds).into());
    Ok(Setting::Linger((u32::from_ne_bytes(*on) != 0).then_some(limit)))
}
