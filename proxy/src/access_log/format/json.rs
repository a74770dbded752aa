//! Lines of JSON.

use super::Source;
use super::values::{found, object, value};
use crate::access_log::time::Second;
use crate::config::filter_state::FieldNames;
use crate::config::log_format::{Format, Json, MissingValue, Operator, Piece, StateForm};
use crate::config::metadata::{Found, Value};

/// Appends an object and a newline.
pub(super) fn render(json: &Json, missing: MissingValue, source: &Source<'_>, second: &mut Second, out: &mut Vec<u8>) {
    let mut writer = Writer { missing, source, second, scratch: Vec::new(), out };
    if writer.value(json) == Written::Nothing {
        writer.out.extend_from_slice(b"{}");
    }
    out.push(b'\n');
}

/// What has come of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    /// It is omitted.
    Nothing,
    Value,
}

struct Writer<'a, 's> {
    missing: MissingValue,
    source: &'a Source<'s>,
    second: &'a mut Second,
    /// A value before it is quoted.
    scratch: Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Writer<'_, '_> {
    fn value(&mut self, json: &Json) -> Written {
        match json {
            Json::List(items) => self.list(items),
            Json::Literal(text) => self.push(text),
            Json::Map(members) => return self.map(members),
            Json::Null if self.missing == MissingValue::Omitted => return Written::Nothing,
            Json::Null => self.push("null"),
            Json::Text(format) => self.text(format),
            Json::Value(operator, bytes_max) => return self.operator(operator, *bytes_max),
        }
        Written::Value
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// An object without members is omitted, but a list without items stays: Envoy's rule.
    fn map(&mut self, members: &[(String, Json)]) -> Written {
        let from = self.out.len();
        self.out.push(b'{');
        let mut is_empty = true;
        for (key, value) in members {
            let before = self.out.len();
            if !is_empty {
                self.out.push(b',');
            }
            self.push(key);
            self.out.push(b':');
            match self.value(value) {
                Written::Nothing => self.out.truncate(before),
                Written::Value => is_empty = false,
            }
        }
        if is_empty && self.missing == MissingValue::Omitted {
            self.out.truncate(from);
            return Written::Nothing;
        }
        self.out.push(b'}');
        Written::Value
    }

    fn list(&mut self, items: &[Json]) {
        self.out.push(b'[');
        let mut is_empty = true;
        for item in items {
            let before = self.out.len();
            if !is_empty {
                self.out.push(b',');
            }
            match self.value(item) {
                Written::Nothing => self.out.truncate(before),
                Written::Value => is_empty = false,
            }
        }
        self.out.push(b']');
    }

    fn operator(&mut self, operator: &Operator, bytes_max: Option<usize>) -> Written {
        self.scratch.clear();
        if let Operator::FilterState { of, key, form: StateForm::Typed } = operator {
            let json = object(*of, key, self.source.info).and_then(|object| object.json(FieldNames::AsDeclared));
            return self.typed(json);
        }
        match value(operator, self.source, self.second, &mut self.scratch) {
            Some(()) if operator.is_number() || self.is_typed(operator) => self.out.extend_from_slice(&self.scratch),
            Some(()) => {
                self.scratch.truncate(bytes_max.unwrap_or(usize::MAX));
                self.out.push(b'"');
                escape(&self.scratch, self.out);
                self.out.push(b'"');
            }
            None => return self.typed(None),
        }
        Written::Value
    }

    /// A value that is JSON already, and is not cut.
    fn typed(&mut self, json: Option<String>) -> Written {
        match json {
            Some(json) => self.push(&json),
            None if self.missing == MissingValue::Omitted => return Written::Nothing,
            None => self.push("null"),
        }
        Written::Value
    }

    /// Does it stand for a value of metadata other than a text? That is JSON already, and is not cut.
    fn is_typed(&self, operator: &Operator) -> bool {
        found(operator, self.source.info).is_some_and(|found| !matches!(found, Found::Value(Value::Text(_))))
    }

    fn text(&mut self, format: &Format) {
        self.out.push(b'"');
        for piece in &format.0 {
            match piece {
                Piece::Literal(text) => escape(text.as_bytes(), self.out),
                Piece::Operator(operator, bytes_max) => {
                    self.scratch.clear();
                    match value(operator, self.source, self.second, &mut self.scratch) {
                        Some(()) => {
                            self.scratch.truncate(bytes_max.unwrap_or(usize::MAX));
                            escape(&self.scratch, self.out);
                        }
                        None if self.missing == MissingValue::Marked => self.out.push(b'-'),
                        None => {}
                    }
                }
            }
        }
        self.out.push(b'"');
    }
}

/// Appends a text as it stands between quotation marks (RFC 8259 7). As in Envoy, each byte of a text that is not UTF-8 is
/// written as if it were Latin-1.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| (b' '..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\');
    let Ok(text) = std::str::from_utf8(bytes) else {
        for byte in bytes {
            if is_plain(byte) { out.push(*byte) } else { out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()) }
        }
        return;
    };
    if bytes.iter().all(is_plain) {
        return out.extend_from_slice(bytes);
    }
    let quoted = serde_json::Value::from(text).to_string();
    out.extend_from_slice(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().as_bytes());
}
