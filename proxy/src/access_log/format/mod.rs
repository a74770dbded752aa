//! Renders a stream as a line.
//!
//! The format was parsed with the configuration; here it is only walked. A value that is not known prints
//! `-`, as in every access log since the first web servers, and is `null` in JSON.

mod json;
mod tls;
mod values;

use super::StreamInfo;
use super::time::Second;
use crate::codec::{RequestHead, ResponseHead};
use crate::config::log_filter::LogType;
use crate::config::log_format::{Format, LineForm, LineFormat, MissingValue, Operator, Piece, UNKNOWN};
use crate::net::{Clock, Net, Random};
use crate::protobuf;
use values::value;
pub(super) use values::{end, pseudo_header, request_bytes, response_bytes, wire_bytes};

/// Renders lines of one format.
#[derive(Debug)]
pub struct Renderer {
    format: LineFormat,
    second: Second,
}

/// What a line is made of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) heads: Heads<'a>,
    pub(crate) info: &'a StreamInfo,
    /// `%LOCAL_REPLY_BODY%`
    pub(crate) body: &'a [u8],
    /// `%ACCESS_LOG_TYPE%`
    pub(crate) log_type: LogType,
    /// For `%UNIQUE_ID%`; a header's value has none.
    pub(crate) random: Option<&'a dyn Random>,
}

impl Renderer {
    /// Lines of `format`.
    #[must_use]
    pub fn new(format: LineFormat) -> Self {
        Self { format, second: Second::default() }
    }

    /// With local times as `clock` has them, if it shows some.
    #[must_use]
    pub fn timed_by(mut self, clock: &dyn Clock) -> Self {
        if self.format.any(&Operator::is_local_time) {
            self.second = Second::in_zone(clock.zone());
        }
        self
    }

    /// Appends the line to `out`.
    pub(crate) fn render(&mut self, source: &Source<'_>, out: &mut Vec<u8>) {
        whole(&self.format, source, &mut self.second, out);
    }
}

/// Appends a line or another text.
fn whole(LineFormat { form, missing }: &LineFormat, source: &Source<'_>, second: &mut Second, out: &mut Vec<u8>) {
    match form {
        LineForm::Json(json) => json::render(json, *missing, source, second, out),
        LineForm::Text(format) => text(format, *missing, source, second, out),
    }
}

/// The value of an operator that is about the process; `None` of all others.
pub(crate) fn of_process(operator: &Operator, net: &dyn Net) -> Option<String> {
    match operator {
        operator if *operator == Operator::HostName => Some(net.host_name().unwrap_or_else(|| UNKNOWN.to_owned())),
        operator => operator.variable().map(|(name, or)| net.environment(name).unwrap_or_else(|| or.to_owned())),
    }
}

/// A text in `format` that is no line of a log.
pub(crate) fn line(format: &LineFormat, heads: Heads<'_>, info: &StreamInfo) -> Vec<u8> {
    let mut out = Vec::new();
    let source = Source { heads, info, body: b"", log_type: LogType::NotSet, random: None };
    whole(format, &source, &mut Second::default(), &mut out);
    out
}

/// Appends a text.
fn text(format: &Format, missing: MissingValue, source: &Source<'_>, second: &mut Second, out: &mut Vec<u8>) {
    for piece in &format.0 {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Operator(operator, bytes_max) => {
                let from = out.len();
                match value(operator, source, second, out) {
                    Some(()) => out.truncate(bytes_max.map_or(usize::MAX, |bytes_max| from.saturating_add(bytes_max))),
                    None if missing == MissingValue::Marked => out.push(b'-'),
                    None => {}
                }
            }
        }
    }
}

/// The heads that a format reads from; `None` where there is none (yet).
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) request: Option<&'a RequestHead>,
    pub(crate) response: Option<&'a ResponseHead>,
}

impl<'a> Heads<'a> {
    /// Those of a request that has no response yet.
    pub(crate) fn of_request(request: &'a RequestHead) -> Self {
        Self { request: Some(request), response: None }
    }
}

/// The value of a header in `format`: what is not known is empty there, as in Envoy, and not `-`.
pub(crate) fn header_value(format: &Format, heads: Heads<'_>, info: &StreamInfo) -> Vec<u8> {
    let mut out = Vec::new();
    let source = Source { heads, info, body: b"", log_type: LogType::NotSet, random: None };
    text(format, MissingValue::Omitted, &source, &mut Second::default(), &mut out);
    out
}

/// The value of one operator, as a text of protobuf.
pub(super) fn text_of(operator: &Operator, source: &Source<'_>) -> Option<String> {
    let mut out = Vec::new();
    value(operator, source, &mut Second::default(), &mut out)?;
    Some(protobuf::text(&out))
}

/// The text of a tag: what is not known is empty.
pub(super) fn tag(format: &Format, source: &Source<'_>, second: &mut Second) -> Vec<u8> {
    let mut out = Vec::new();
    text(format, MissingValue::Omitted, source, second, &mut out);
    out
}

#[cfg(test)]
mod tests;
