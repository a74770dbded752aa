//! What scripts can do: the operations of the prelude, on the message, the stream and the world of one turn.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use mlua::{Lua as Machine, MultiValue, Value};

use super::arguments::Arguments;
use super::calls;
use super::message::{Existing, Message, Unsendable};
use super::values::{from_lua, one, table, text, to_lua};
use crate::access_log::format::{Heads, header_value};
use crate::access_log::{Details, StreamInfo};
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::log_format::Format;
use crate::config::lua::Lua;
use crate::config::metadata::{Metadata, Struct};
use crate::config::script::Host;
use crate::filter::call::{Call, CallEnd};
use crate::filter::context::FilterContext;
use crate::filter::reply::EndedReply;

/// The heads that a turn sees.
pub(super) enum Seen<'t> {
    Request(&'t mut RequestHead),
    Response(&'t mut ResponseHead),
}

/// The body of a message, as far as a script has to do with it.
#[derive(Default)]
pub(super) struct Body {
    /// What the script may read and replace: the whole, or one piece.
    pub(super) content: Bytes,
    /// The script has replaced it.
    pub(super) is_replaced: bool,
    /// The script sees the body as a whole.
    pub(super) is_held: bool,
    /// Some of the body has come.
    pub(super) is_seen: bool,
    /// The message has come to its end.
    pub(super) is_complete: bool,
    /// The head has gone on.
    pub(super) is_continued: bool,
    pub(super) trailers: Option<Headers>,
    /// What the last call came to, until the script gets it.
    pub(super) called: Option<CallEnd>,
    /// Does the script want several values of a header of that response?
    pub(super) wants_duplicates: bool,
}

/// What a script wants done.
#[derive(Default)]
pub(super) struct Wanted {
    /// A call that the script waits for.
    pub(super) call: Option<Box<Call>>,
    /// Calls that the script does not wait for.
    pub(super) detached: Vec<Call>,
    pub(super) reply: Option<EndedReply>,
    /// What the head got that cannot be sent.
    pub(super) unsendable: Option<Unsendable>,
    /// The route is to be looked for again.
    pub(super) clears_route: bool,
}

/// One turn of a script.
pub(super) struct Turn<'t> {
    pub(super) options: &'t Lua,
    pub(super) seen: Seen<'t>,
    pub(super) info: &'t mut StreamInfo,
    pub(super) body: &'t mut Body,
    pub(super) wanted: &'t mut Wanted,
    pub(super) context: &'t FilterContext,
}

type Answer = Result<MultiValue, String>;

impl Host for Turn<'_> {
    fn answer(&mut self, lua: &Machine, operation: &str, arguments: MultiValue) -> Answer {
        let mut arguments = Arguments::new(arguments);
        match operation {
            "values" | "list" | "add" | "replace" | "remove" | "reason" | "may_change" => {
                self.fields(lua, operation, &mut arguments)
            }
            "begin_body" | "has_body" | "begin_chunks" | "is_complete" | "trailers" | "length" | "bytes"
            | "set_bytes" => self.body(lua, operation, &mut arguments),
            "metadata" | "all_metadata" | "dynamic" | "all_dynamic" | "set_dynamic" | "state" | "context" => {
                self.metadata(lua, operation, &mut arguments)
            }
            "info" | "has_ssl" | "ssl" => self.connection(lua, operation, &mut arguments),
            "call" | "called" | "may_respond" | "respond" => self.message(lua, operation, &mut arguments),
            "log" => {
                log(&arguments.text(), &arguments.text());
                Ok(MultiValue::new())
            }
            "now" => {
                let since = self.context.clock.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Ok(one(Value::Number(since.as_secs_f64().mul_add(1e6, 0.0).floor())))
            }
            "base64" => Ok(one(text(lua, STANDARD.encode(arguments.bytes()))?)),
            "clear_route" => {
                self.wanted.clears_route = true;
                Ok(MultiValue::new())
            }
            "import_key" => Ok(one(text(lua, super::signature::imported(arguments.bytes()))?)),
            "verify" => {
                let [hash, key, signature, data] = std::array::from_fn(|_| arguments.bytes());
                match super::signature::verify(&hash, &key, &signature, &data) {
                    Ok(()) => Ok([Value::Boolean(true), Value::Nil].into_iter().collect()),
                    Err(why) => Ok([Value::Boolean(false), text(lua, why)?].into_iter().collect()),
                }
            }
            "override_host" => Err("setUpstreamOverrideHost() is not supported: endpoints are chosen by the load \
                                    balancer; write a subset or a cluster for the host"
                .to_owned()),
            _ => Err(format!("there is no operation {operation}")),
        }
    }
}

impl Turn<'_> {
    fn message_of(&mut self, part: &[u8]) -> Result<Message<'_>, String> {
        if part == b"trailers" {
            return self
                .body
                .trailers
                .as_mut()
                .map(Message::Trailers)
                .ok_or_else(|| "there are no trailers".to_owned());
        }
        Ok(match &mut self.seen {
            Seen::Request(head) => Message::Request(head),
            Seen::Response(head) => Message::Response(head),
        })
    }

    fn fields(&mut self, lua: &Machine, operation: &str, arguments: &mut Arguments) -> Answer {
        if operation == "may_change" {
            if !self.body.is_continued && self.options.clears_route {
                self.wanted.clears_route = true;
            }
            return if self.body.is_continued { Err(String::new()) } else { Ok(MultiValue::new()) };
        }
        if operation == "reason" {
            return self.reason();
        }
        let part = arguments.bytes();
        let mut message = self.message_of(&part)?;
        let list = match operation {
            "values" => message.values(&arguments.bytes()),
            "list" => message.all().into_iter().flat_map(|(name, value)| [name, value]).collect(),
            "remove" => {
                message.remove(&arguments.name());
                return Ok(MultiValue::new());
            }
            _ => {
                let existing = if operation == "add" { Existing::Kept } else { Existing::Replaced };
                let set = message.set(&arguments.name(), &arguments.name(), existing);
                if let Err(unsendable) = set {
                    // Of a request, Envoy learns it when it is about to be sent.
                    match &self.seen {
                        Seen::Request(_) => drop(self.wanted.unsendable.get_or_insert(unsendable)),
                        Seen::Response(_) => return Err(unsendable.describe()),
                    }
                }
                return Ok(MultiValue::new());
            }
        };
        let values = list.iter().map(|value| text(lua, value)).collect::<Result<Vec<_>, _>>()?;
        lua.create_sequence_from(values).map(|list| one(Value::Table(list))).map_err(|error| error.to_string())
    }

    /// Reason phrases are those of the status here.
    fn reason(&self) -> Answer {
        match &self.seen {
            Seen::Request(_) => Ok(MultiValue::new()),
            Seen::Response(_) => {
                Err("setHttp1ReasonPhrase() is not supported: the phrase is that of the status".to_owned())
            }
        }
    }

    fn body(&mut self, lua: &Machine, operation: &str, arguments: &mut Arguments) -> Answer {
        let body = &mut *self.body;
        let word = |word: &str| Ok(one(text(lua, word)?));
        match operation {
            "begin_body" if body.is_complete && !body.is_held && body.is_seen => {
                Err("cannot call body() after body has been streamed".to_owned())
            }
            "begin_body" if body.is_complete => word("ready"),
            "begin_body" if body.is_seen => Err("cannot call body() after body streaming has started".to_owned()),
            "begin_body" => {
                body.is_held = true;
                word("wait")
            }
            "has_body" => {
                let is_there = (body.is_held && body.is_seen) || !body.content.is_empty() || arguments.flag();
                Ok(one(Value::Boolean(is_there)))
            }
            "begin_chunks" if body.is_seen => Err("cannot call bodyChunks after body processing has begun".to_owned()),
            "begin_chunks" => Ok(MultiValue::new()),
            "is_complete" => Ok(one(Value::Boolean(body.is_complete))),
            "trailers" if body.trailers.is_some() => word("present"),
            "trailers" => word(if body.is_complete { "none" } else { "wait" }),
            "length" => Ok(one(size(body.content.len()))),
            "bytes" => {
                let range = arguments.index().zip(arguments.index());
                let range = range.and_then(|(from, count)| Some(from..from.checked_add(count)?));
                let bytes = range.and_then(|range| body.content.get(range)).ok_or_else(|| {
                    "index/length must be >= 0 and (index + length) must be <= buffer size".to_owned()
                })?;
                Ok(one(text(lua, bytes)?))
            }
            _ => {
                (body.content, body.is_replaced) = (arguments.bytes().into(), true);
                let length = body.content.len();
                if !body.is_continued {
                    let headers = match &mut self.seen {
                        Seen::Request(head) => &mut head.headers,
                        Seen::Response(head) => &mut head.headers,
                    };
                    headers.set(CONTENT_LENGTH, HeaderValue::from(length));
                }
                Ok(one(size(length)))
            }
        }
    }

    fn metadata(&mut self, lua: &Machine, operation: &str, arguments: &mut Arguments) -> Answer {
        let failed = |error: mlua::Error| error.to_string();
        let of_stream =
            |info: &StreamInfo| info.metadata.as_deref().map(|Metadata(all)| all.clone()).unwrap_or_default();
        let found = |value: Option<mlua::Result<Value>>| match value {
            Some(value) => Ok([Value::Boolean(true), value.map_err(failed)?].into_iter().collect()),
            None => Ok(one(Value::Boolean(false))),
        };
        match operation {
            "metadata" => {
                let value = self.options.metadata.get(&arguments.text());
                found(value.map(|value| to_lua(lua, value)))
            }
            "all_metadata" => listed(lua, self.options.metadata.iter().map(|(key, value)| (key, to_lua(lua, value)))),
            "dynamic" => {
                let namespaces = of_stream(self.info);
                let value = namespaces.get(&arguments.text());
                found(value.map(|members| table(lua, members).map(Value::Table)))
            }
            "all_dynamic" => {
                let all = of_stream(self.info);
                listed(lua, all.iter().map(|(key, members)| (key, table(lua, members).map(Value::Table))))
            }
            "set_dynamic" => {
                let (namespace, key, value) = (arguments.text(), arguments.text(), from_lua(&arguments.value())?);
                self.info.leave(&namespace, &Struct::from([(key, value)]));
                Ok(MultiValue::new())
            }
            "state" => {
                let object = self.info.state(&arguments.text()).and_then(|object| object.plain());
                found(object.map(|bytes| lua.create_string(bytes).map(Value::String)))
            }
            _ => table(lua, &self.options.context).map(|table| one(Value::Table(table))).map_err(failed),
        }
    }

    fn connection(&mut self, lua: &Machine, operation: &str, arguments: &mut Arguments) -> Answer {
        if operation == "has_ssl" {
            return Ok(one(Value::Boolean(self.info.downstream.tls.is_some())));
        }
        let name = arguments.text();
        let peer = self.info.downstream.tls.as_ref().and_then(|tls| tls.peer.as_ref());
        match name.as_str() {
            "peerCertificatePresented" | "peerCertificateValidated" => return Ok(one(Value::Boolean(peer.is_some()))),
            "routeName" => return Ok(one(text(lua, self.info.route_name.as_deref().unwrap_or_default())?)),
            "virtualClusterName" => {
                return Ok(one(text(lua, self.info.virtual_cluster.as_deref().unwrap_or_default())?));
            }
            _ => {}
        }
        let (_, format, form) =
            FACTS.iter().find(|(known, ..)| *known == name).ok_or_else(|| format!("there is no {name}"))?;
        let value = header_value(format, Heads { request: None, response: None }, self.info);
        match form {
            Form::Text => Ok(one(text(lua, value)?)),
            Form::Number => {
                let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
                Ok(one(Value::Number(number)))
            }
            Form::List => {
                let names = value.split(|byte| *byte == b',').filter(|name| !name.is_empty());
                let names = names.map(|name| text(lua, name)).collect::<Result<Vec<_>, _>>()?;
                lua.create_sequence_from(names).map(|list| one(Value::Table(list))).map_err(|error| error.to_string())
            }
        }
    }

    fn message(&mut self, lua: &Machine, operation: &str, arguments: &mut Arguments) -> Answer {
        match operation {
            "call" => {
                let (call, options) = calls::call(arguments, self.context)?;
                self.body.wants_duplicates = options.wants_duplicates;
                if options.is_detached {
                    self.wanted.detached.push(call);
                } else if self.body.is_continued {
                    return Err("httpCall() is not supported once the headers have gone on: call before bodyChunks() \
                                and trailers()"
                        .to_owned());
                } else {
                    self.wanted.call = Some(Box::new(call));
                }
                Ok(MultiValue::new())
            }
            "called" => {
                let duplicates = self.body.wants_duplicates;
                self.body.called.take().map_or(Ok(MultiValue::new()), |end| calls::called(lua, end, duplicates))
            }
            "may_respond" => {
                if self.body.is_continued {
                    Err(String::new())
                } else {
                    Ok(MultiValue::new())
                }
            }
            _ => {
                if matches!(self.seen, Seen::Response(_)) {
                    return Err("respond not currently supported in the response path".to_owned());
                }
                self.wanted.reply = Some(reply(arguments)?);
                Ok(MultiValue::new())
            }
        }
    }
}

/// A response that a script has made.
fn reply(arguments: &mut Arguments) -> Result<EndedReply, String> {
    const NO_STATUS: &str = ":status must be between 200-599";
    let fields = calls::fields(&arguments.value())?;
    let status = fields.iter().find(|(name, _)| name == b":status");
    let status = status.and_then(|(_, value)| StatusCode::from_bytes(value).ok());
    let status = status.filter(|status| (200..600).contains(&status.as_u16())).ok_or(NO_STATUS)?;
    let mut headers = Headers::default();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let mut head = ResponseHead::new(status);
        let mut message = Message::Response(&mut head);
        message.set(name, value, Existing::Kept).map_err(|unsendable| unsendable.describe())?;
        head.headers.iter().for_each(|(name, value)| headers.append(name.clone(), value.clone()));
    }
    // The length is that of the body.
    headers.remove(&CONTENT_LENGTH);
    let mut reply = EndedReply::new(status, "", Details::LuaResponse);
    (reply.headers, reply.body) = (headers, arguments.bytes().into());
    Ok(reply)
}

/// How a fact is a value of Lua.
enum Form {
    List,
    Number,
    Text,
}

/// The facts of a stream and its connection that access logs have too, by the names of their methods.
static FACTS: LazyLock<Vec<(&'static str, Format, Form)>> = LazyLock::new(|| {
    let facts = [
        ("ciphersuiteString", "%DOWNSTREAM_TLS_CIPHER%", Form::Text),
        ("dnsSansLocalCertificate", "%DOWNSTREAM_LOCAL_DNS_SAN%", Form::List),
        ("dnsSansPeerCertificate", "%DOWNSTREAM_PEER_DNS_SAN%", Form::List),
        ("downstreamDirectLocalAddress", "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%", Form::Text),
        ("downstreamDirectRemoteAddress", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", Form::Text),
        ("downstreamLocalAddress", "%DOWNSTREAM_LOCAL_ADDRESS%", Form::Text),
        ("downstreamRemoteAddress", "%DOWNSTREAM_REMOTE_ADDRESS%", Form::Text),
        ("expirationPeerCertificate", "%DOWNSTREAM_PEER_CERT_V_END(%s)%", Form::Number),
        ("issuerPeerCertificate", "%DOWNSTREAM_PEER_ISSUER%", Form::Text),
        ("protocol", "%PROTOCOL%", Form::Text),
        ("requestedServerName", "%REQUESTED_SERVER_NAME%", Form::Text),
        ("serialNumberPeerCertificate", "%DOWNSTREAM_PEER_SERIAL%", Form::Text),
        ("sha256PeerCertificateDigest", "%DOWNSTREAM_PEER_FINGERPRINT_256%", Form::Text),
        ("subjectLocalCertificate", "%DOWNSTREAM_LOCAL_SUBJECT%", Form::Text),
        ("subjectPeerCertificate", "%DOWNSTREAM_PEER_SUBJECT%", Form::Text),
        ("tlsVersion", "%DOWNSTREAM_TLS_VERSION%", Form::Text),
        ("uriSanLocalCertificate", "%DOWNSTREAM_LOCAL_URI_SAN%", Form::List),
        ("uriSanPeerCertificate", "%DOWNSTREAM_PEER_URI_SAN%", Form::List),
        ("urlEncodedPemEncodedPeerCertificate", "%DOWNSTREAM_PEER_CERT%", Form::Text),
        ("validFromPeerCertificate", "%DOWNSTREAM_PEER_CERT_V_START(%s)%", Form::Number),
    ];
    let parsed = |(name, format, form)| Some((name, Format::parse(format).ok()?, form));
    facts.into_iter().filter_map(parsed).collect()
});

/// Keys and values in turns.
fn listed<'k>(lua: &Machine, pairs: impl Iterator<Item = (&'k String, mlua::Result<Value>)>) -> Answer {
    let list = pairs.map(|(key, value)| Ok([Value::String(lua.create_string(key)?), value?]));
    let list: mlua::Result<Vec<[Value; 2]>> = list.collect();
    let list = list.and_then(|list| lua.create_sequence_from(list.into_iter().flatten()));
    list.map(|list| one(Value::Table(list))).map_err(|error| error.to_string())
}

/// A size as Lua counts.
fn size(bytes: usize) -> Value {
    Value::Number(u32::try_from(bytes).map_or(f64::from(u32::MAX), f64::from))
}

fn log(level: &str, message: &str) {
    match level {
        "trace" => tracing::trace!("script log: {message}"),
        "debug" => tracing::debug!("script log: {message}"),
        "info" => tracing::info!("script log: {message}"),
        "warn" => tracing::warn!("script log: {message}"),
        _ => tracing::error!("script log: {message}"),
    }
}
