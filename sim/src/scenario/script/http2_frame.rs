//! HTTP/2 frames by hand (RFC 9113 section 6): to be sent as they stand, or as a pattern that a received frame must fit.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::payload::Payload;
use crate::scenario::Ordered;
use crate::scenario::units::{Hex, Size};
use crate::words::ERROR_NAMES;

/// An HTTP/2 frame. What is left out is left to the sender's habit, or may be anything.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The frame type (RFC 9113 6).
    pub kind: FrameKind,
    /// What is in it.
    pub fields: FrameFields,
}

/// The types of HTTP/2 frames.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// More of a header block.
    Continuation,
    /// Payload.
    Data,
    /// No new streams.
    Goaway,
    /// A header block, or its beginning.
    Headers,
    /// Checks that the peer responds.
    Ping,
    /// Yes.
    PingAck,
    /// What a client sends before its first frame; no frame itself.
    Preface,
    /// Which streams matter more; RFC 9113 section 5.3 has it ignored.
    Priority,
    /// The end of a stream.
    RstStream,
    /// What the sender can take.
    Settings,
    /// The sender will keep to the other's settings.
    SettingsAck,
    /// More may be sent.
    WindowUpdate,
}

/// What is in a frame.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameFields {
    /// The stream; 0 is the connection.
    pub stream: Option<u32>,
    /// Header fields, in order.
    #[serde(default)]
    pub fields: Ordered<String>,
    /// Whether the header block ends here.
    pub end_headers: Option<bool>,
    /// Whether the stream ends here.
    pub end_stream: Option<bool>,
    /// Bytes of padding, besides the one that counts them.
    pub padding: Option<u8>,
    /// The stream that its own depends on (RFC 9113 section 5.3.1).
    pub depends_on: Option<u32>,
    /// Its weight among the streams that depend on the same, from 1 to 256.
    pub weight: Option<u16>,
    /// Whether it is the only one that depends on that stream.
    pub exclusive: Option<bool>,
    /// Payload as text.
    pub text: Option<String>,
    /// Payload of this size.
    pub bytes: Option<Size>,
    /// Payload in hexadecimal digits.
    pub hex: Option<Hex>,
    /// An error code, by name or number.
    pub code: Option<ErrorCode>,
    /// The last stream that GOAWAY lets finish.
    pub last_stream: Option<u32>,
    /// By how much a window grows.
    pub by: Option<u32>,
    /// Settings, by name or number.
    #[serde(skip)]
    pub settings: Ordered<u32>,
}

/// An error code of RFC 9113 section 7.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorCode(pub u32);

/// The settings of RFC 9113 section 6.5.2 and RFC 8441 section 3, with their identifiers.
const SETTING_NAMES: [(&str, u16); 7] = [
    ("header_table_size", 1),
    ("enable_push", 2),
    ("max_concurrent_streams", 3),
    ("initial_window_size", 4),
    ("max_frame_size", 5),
    ("max_header_list_size", 6),
    ("enable_connect_protocol", 8),
];

/// The identifier of a setting, given by name or number.
#[must_use]
pub fn setting(name: &str) -> Option<u16> {
    let known = SETTING_NAMES.iter().find(|(has, _)| *has == name).map(|(_, id)| *id);
    known.or_else(|| number(name)?.try_into().ok())
}

/// `12` or `0xc`.
fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}

impl FrameFields {
    /// The keys that are given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("stream", self.stream.is_some()),
            ("fields", !self.fields.0.is_empty()),
            ("end_headers", self.end_headers.is_some()),
            ("end_stream", self.end_stream.is_some()),
            ("padding", self.padding.is_some()),
            ("depends_on", self.depends_on.is_some()),
            ("weight", self.weight.is_some()),
            ("exclusive", self.exclusive.is_some()),
            ("text", self.text.is_some()),
            ("bytes", self.bytes.is_some()),
            ("hex", self.hex.is_some()),
            ("code", self.code.is_some()),
            ("last_stream", self.last_stream.is_some()),
            ("by", self.by.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key)
    }

    /// Dependency and weight as they are sent, if any of them is given (RFC 9113 section 6.3).
    #[must_use]
    pub fn priority(&self) -> Option<[u8; 5]> {
        if self.depends_on.is_none() && self.weight.is_none() && self.exclusive.is_none() {
            return None;
        }
        let exclusive = if self.exclusive.unwrap_or(false) { 0x8000_0000 } else { 0 };
        let [a, b, c, d] = (self.depends_on.unwrap_or(0) | exclusive).to_be_bytes();
        // A weight of 16 is the default; on the wire it is one less.
        let weight = u8::try_from(self.weight.unwrap_or(16).saturating_sub(1)).unwrap_or(u8::MAX);
        Some([a, b, c, d, weight])
    }

    /// The payload, if one is given.
    #[must_use]
    pub fn payload(&self) -> Option<Vec<u8>> {
        let text = self.text.clone().map(String::into_bytes);
        let bytes = || self.bytes.map(|size| Payload::Binary(size).to_bytes());
        text.or_else(bytes).or_else(|| self.hex.clone().map(|hex| hex.0))
    }
}

impl FrameKind {
    /// As RFC 9113 section 6 numbers them; the preface has no number.
    #[must_use]
    pub fn number(self) -> Option<u8> {
        match self {
            Self::Data => Some(0),
            Self::Headers => Some(1),
            Self::Priority => Some(2),
            Self::RstStream => Some(3),
            Self::Settings | Self::SettingsAck => Some(4),
            Self::Ping | Self::PingAck => Some(6),
            Self::Goaway => Some(7),
            Self::WindowUpdate => Some(8),
            Self::Continuation => Some(9),
            Self::Preface => None,
        }
    }

    fn needs_a_stream(self) -> bool {
        matches!(self, Self::Continuation | Self::Data | Self::Headers | Self::Priority | Self::RstStream)
    }

    /// The fields that apply to it.
    fn has(self) -> &'static [&'static str] {
        match self {
            Self::Continuation => &["stream", "fields", "end_headers", "text", "bytes", "hex"],
            Self::Data => &["stream", "end_stream", "padding", "text", "bytes", "hex"],
            Self::Goaway => &["stream", "last_stream", "code", "text", "bytes", "hex"],
            Self::Headers => &[
                "stream",
                "fields",
                "end_headers",
                "end_stream",
                "padding",
                "depends_on",
                "weight",
                "exclusive",
                "text",
                "bytes",
                "hex",
            ],
            Self::Ping | Self::PingAck => &["stream", "text", "bytes", "hex"],
            Self::Preface => &[],
            Self::Priority => &["stream", "depends_on", "weight", "exclusive"],
            Self::RstStream => &["stream", "code"],
            Self::Settings | Self::SettingsAck => &["stream"],
            Self::WindowUpdate => &["stream", "by"],
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "CONTINUATION",
            Self::Data => "DATA",
            Self::Goaway => "GOAWAY",
            Self::Headers => "HEADERS",
            Self::Ping => "PING",
            Self::PingAck => "PING ack",
            Self::Preface => "the preface",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::SettingsAck => "SETTINGS ack",
            Self::WindowUpdate => "WINDOW_UPDATE",
        })
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, fields } = self;
        write!(f, "{kind}")?;
        if let Some(stream) = fields.stream {
            write!(f, " stream {stream}")?;
        }
        if let Some(last) = fields.last_stream {
            write!(f, " last stream {last}")?;
        }
        if let Some(code) = fields.code {
            write!(f, " {code}")?;
        }
        if let Some(by) = fields.by {
            write!(f, " +{by}")?;
        }
        if let Some(padding) = fields.padding {
            write!(f, " padded by {padding}")?;
        }
        if let Some(depends_on) = fields.depends_on {
            write!(f, " depends on {depends_on}")?;
        }
        if let Some(weight) = fields.weight {
            write!(f, " weight {weight}")?;
        }
        for (name, value) in fields.settings.iter() {
            write!(f, " {name}={value}")?;
        }
        for (name, value) in fields.fields.iter() {
            write!(f, " {name}={value}")?;
        }
        if let Some(payload) = fields.payload() {
            write!(f, " {}", Size(payload.len()))?;
        }
        Ok(())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|code| ERROR_NAMES.get(code)) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = ERROR_NAMES.iter().position(|has| *has == name).and_then(|code| u32::try_from(code).ok());
        let what = || D::Error::custom(format!("`{name}` is not an error code; known are {}", ERROR_NAMES.join(", ")));
        known.or_else(|| number(&name)).map(Self).ok_or_else(what)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindAndFields)
    }
}

struct KindAndFields;

impl<'de> Visitor<'de> for KindAndFields {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame such as `ping` or `rst_stream: { stream: 1, code: CANCEL }`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Frame, E> {
        let kind = FrameKind::deserialize(serde::de::value::StrDeserializer::new(word))?;
        Ok(Frame { kind, fields: FrameFields::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Frame, A::Error> {
        let kind = map.next_key::<FrameKind>()?.ok_or_else(|| A::Error::custom("no frame"))?;
        let fields = if kind == FrameKind::Settings {
            FrameFields { settings: map.next_value()?, ..FrameFields::default() }
        } else {
            map.next_value()?
        };
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("a step has one frame"));
        }
        if let Some((name, _)) = fields.settings.iter().find(|(name, _)| setting(name).is_none()) {
            let known: Vec<&str> = SETTING_NAMES.iter().map(|(name, _)| *name).collect();
            return Err(A::Error::custom(format!(
                "`{name}` is not a setting; known are {}, or a number",
                known.join(", ")
            )));
        }
        let frame = Frame { kind, fields };
        match frame.misfit() {
            Some(what) => Err(A::Error::custom(what)),
            None => Ok(frame),
        }
    }
}

impl Frame {
    /// What it has that no such frame can have, if anything.
    fn misfit(&self) -> Option<String> {
        let has = self.kind.has();
        if let Some(key) = self.fields.given().find(|key| !has.contains(key)) {
            let known = if has.is_empty() { "nothing".into() } else { has.join(", ") };
            return Some(format!("{} has no `{key}`: it has {known}", self.kind));
        }
        let payloads = self.fields.given().filter(|key| ["text", "bytes", "hex", "fields"].contains(key));
        if payloads.count() > 1 {
            return Some("a frame has one of `text`, `bytes`, `hex` and `fields`".into());
        }
        let light = self.fields.weight.is_some_and(|weight| !(1..=256).contains(&weight));
        light.then(|| "`weight` is a number from 1 to 256".into())
    }

    /// What it lacks to be sent, if anything.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        (self.kind.needs_a_stream() && self.fields.stream.is_none()).then_some("stream")
    }
}
