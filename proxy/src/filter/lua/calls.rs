//! Requests that scripts make: what is sent, and what a script gets of the response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use mlua::{Lua as Machine, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::message::{Existing, Message};
use super::values::{number, text};
use crate::codec::RequestHead;
use crate::config::service::Service;
use crate::filter::call::{Call, CallEnd, Sender};
use crate::filter::context::FilterContext;

/// The largest body of a response that a script gets.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// How a call is made, besides where and what.
pub(super) struct CallOptions {
    pub(super) is_detached: bool,
    pub(super) wants_duplicates: bool,
}

/// A name and a value.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// The names and values of a table, whose values are texts or lists of texts.
///
/// # Errors
/// Something else is in it.
pub(super) fn fields(value: &Value) -> Result<Vec<Field>, String> {
    let Value::Table(table) = value else { return Ok(Vec::new()) };
    let mut fields = BTreeMap::<Vec<u8>, Vec<Vec<u8>>>::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair.map_err(|error| error.to_string())?;
        let values = if let Value::Table(list) = &value {
            list.sequence_values().collect::<mlua::Result<_>>().map_err(|why| why.to_string())?
        } else {
            vec![value]
        };
        let values = values.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
        fields.entry(bytes(&name)?).or_default().extend(values);
    }
    // A table has no order of its own: here it is that of the names.
    Ok(fields
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
        .collect())
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    if let Value::String(text) = value {
        return Ok(text.as_bytes().to_vec());
    }
    let number = number(value).map(|number| number.to_string().into_bytes());
    number.ok_or_else(|| format!("string expected, got {}", value.type_name()))
}

/// The call that a script wants.
///
/// # Errors
/// It cannot be made, in Envoy's words.
pub(super) fn call(arguments: &mut Arguments, context: &FilterContext) -> Result<(Call, CallOptions), String> {
    let (cluster, headers) = (arguments.text(), arguments.value());
    let body = arguments.value();
    let options = arguments.table();
    let timeout = number(&option(options.as_ref(), "timeout_ms")).unwrap_or(0.0);
    if timeout < 0.0 {
        return Err("http call timeout must be >= 0".to_owned());
    }
    if (context.health.membership)(&cluster).is_none() {
        return Err("http call cluster invalid. Must be configured".to_owned());
    }
    let mut head = RequestHead::default();
    let fields = fields(&headers)?;
    for name in [&b":path"[..], b":method", b":authority"] {
        if !fields.iter().any(|(known, _)| known == name) {
            return Err("http call headers must include ':path', ':method', and ':authority'".to_owned());
        }
    }
    for (name, value) in &fields {
        let set = Message::Request(&mut head).set(name, value, Existing::Kept);
        set.map_err(|unsendable| unsendable.describe())?;
    }
    let body = if let Value::String(body) = &body {
        head.headers.set(CONTENT_LENGTH, HeaderValue::from(body.as_bytes().len()));
        Bytes::copy_from_slice(&body.as_bytes())
    } else {
        Bytes::new()
    };
    // No timeout is longer than a number of milliseconds can say.
    let timeout = Duration::try_from_secs_f64(timeout.floor() / 1000.0).unwrap_or(Duration::MAX);
    let to =
        Service { cluster: cluster.as_str().into(), timeout: Some(timeout).filter(|it| !it.is_zero()), retry: None };
    let flag = |name| option(options.as_ref(), name).as_boolean();
    let sender = if flag("send_xff").unwrap_or(true) { Sender::Forwarded } else { Sender::Hidden };
    let call = Call { to: Arc::new(to), head, body, bytes_max: RESPONSE_BYTES_MAX, sender };
    let options = CallOptions {
        is_detached: flag("asynchronous").unwrap_or(false),
        wants_duplicates: flag("return_duplicate_headers").unwrap_or(false),
    };
    Ok((call, options))
}

fn option(options: Option<&Table>, name: &str) -> Value {
    options.and_then(|options| options.raw_get(name).ok()).unwrap_or(Value::Nil)
}

/// What a script gets of a response: its headers, and its body, if it has one.
///
/// # Errors
/// There is no memory for it.
pub(super) fn called(lua: &Machine, end: CallEnd, wants_duplicates: bool) -> Result<MultiValue, String> {
    let failed = |error: mlua::Error| error.to_string();
    let (mut head, body) = match end {
        CallEnd::Response { head, body, .. } => (head, body),
        CallEnd::Failed(unanswered) => unanswered.into_response(),
    };
    let table = lua.create_table().map_err(failed)?;
    let mut values = BTreeMap::<Vec<u8>, Vec<Value>>::new();
    for (name, value) in Message::Response(&mut head).all() {
        values.entry(name).or_default().push(text(lua, value)?);
    }
    for (name, mut values) in values {
        let value = match values.pop() {
            Some(last) if values.is_empty() || !wants_duplicates => last,
            Some(last) => {
                values.push(last);
                Value::Table(lua.create_sequence_from(values).map_err(failed)?)
            }
            None => Value::Nil,
        };
        table.raw_set(lua.create_string(name).map_err(failed)?, value).map_err(failed)?;
    }
    let body = if body.is_empty() { Value::Nil } else { text(lua, body)? };
    Ok([Value::Table(table), body].into_iter().collect())
}
