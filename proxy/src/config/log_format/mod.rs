//! Formats of access logs, of headers and of the bodies of local replies, parsed once: texts with operators in them, and
//! trees of JSON whose texts are such formats.

mod json;
mod operator;
mod table;

pub use json::Json;
pub use operator::{
    AddressPart, ByteKind, ClusterNaming, End, FingerprintKind, GrpcStatusForm, Hop, Operator, PathChoice, Query,
    StateForm, StateOwner, TimePoint, TimeUnit, TlsPart, TlsPeer, UNKNOWN, ValidityEnd, Way,
};
use table::{Purpose, Said, look_up};

/// What a line of an access log, or the body of a local reply, is made by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineFormat {
    /// Text or JSON.
    pub form: LineForm,
    /// What stands for a value that is not there.
    pub missing: MissingValue,
}

/// The form of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LineForm {
    /// A JSON object, and a newline.
    Json(Json),
    /// `text_format`.
    Text(Format),
}

/// What stands for a value that is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingValue {
    /// `-` in a text, `null` in JSON.
    Marked,
    /// `omit_empty_values`: nothing, and in JSON no member.
    Omitted,
}

impl From<Format> for LineFormat {
    fn from(format: Format) -> Self {
        Self { form: LineForm::Text(format), missing: MissingValue::Marked }
    }
}

impl LineFormat {
    /// Writes the text that `said` has for an operator in its place, in all lines the same; an empty one is no value.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        match &mut self.form {
            LineForm::Json(json) => json.resolve(said),
            LineForm::Text(format) => format.resolve(said),
        }
    }

    /// Is one of its operators such?
    #[must_use]
    pub fn any(&self, is: &dyn Fn(&Operator) -> bool) -> bool {
        match &self.form {
            LineForm::Json(json) => json.any(is),
            LineForm::Text(format) => format.any(is),
        }
    }
}

/// A parsed format: literals and operators in turn.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Format(pub Vec<Piece>);

/// One piece of a format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Text as it stands.
    Literal(String),
    /// A value, cut to at most so many bytes.
    Operator(Operator, Option<usize>),
}

/// Why a format is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// An operator without its argument, or with one that it does not take.
    #[error("operator %{operator}%: {reason}")]
    Argument {
        /// As written, without the percent signs.
        operator: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A percent sign that begins no operator.
    #[error("a % at character {at} begins no operator; a literal percent sign is written %%")]
    Dangling {
        /// Counted from one.
        at: usize,
    },
    /// An operator that neither Envoy nor finwait has. The words are Envoy's.
    #[error(
        "Not supported field in StreamInfo: {operator} (at character {at} of the format){}",
        nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
    )]
    Unknown {
        /// As written, without the percent signs.
        operator: String,
        /// Counted from one.
        at: usize,
        /// The known operator most like it.
        nearest: Option<&'static str>,
    },
    /// An operator that Envoy has and finwait has not.
    #[error("operator %{operator}% (at character {at} of the format) is not supported: {reason}")]
    Unsupported {
        /// As written, without the percent signs.
        operator: String,
        /// Counted from one.
        at: usize,
        /// What to write instead.
        reason: &'static str,
    },
}

/// Envoy's default line.
const DEFAULT_LINE: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
     %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
     \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl Format {
    /// The format that holds where a log has none. It ends in a newline.
    #[must_use]
    pub fn default_line() -> Self {
        Self::parse(DEFAULT_LINE).expect("DEFAULT_LINE is in the language that parse reads; a test holds them together")
    }

    /// Writes the text that `said` has for an operator in its place; an empty one is no value.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        for piece in &mut self.0 {
            let Piece::Operator(operator, bytes_max) = piece else { continue };
            match said(operator) {
                None => {}
                Some(text) if text.is_empty() => *piece = Piece::Operator(Operator::Never, *bytes_max),
                Some(text) => *piece = Piece::Literal(cut(text, *bytes_max)),
            }
        }
    }

    /// Is one of its operators such?
    #[must_use]
    pub fn any(&self, is: &dyn Fn(&Operator) -> bool) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Operator(operator, _) if is(operator)))
    }

    /// Parses Envoy's format language: `%NAME%` or `%NAME(argument)%`, either with `:bytes` before the closing percent
    /// sign, and `%%` for a percent sign.
    ///
    /// # Errors
    ///
    /// An unknown operator, an argument that its operator does not take, or a percent sign that begins no operator.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Self::parse_with(text, Purpose::Line)
    }

    /// The same, for the value of a header.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn parse_header_value(text: &str) -> Result<Self, FormatError> {
        Self::parse_with(text, Purpose::Header)
    }

    fn parse_with(text: &str, purpose: Purpose) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let at = text.chars().count() - after.chars().count();
            let (written, after) = Written::split(after).ok_or(FormatError::Dangling { at })?;
            match look_up(written, at, purpose)? {
                Said::Always(value) => literal.push_str(value),
                Said::Sometimes(operator) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Operator(operator, written.bytes_max));
                }
            }
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }
}

/// At most `bytes_max` bytes of a text, whole characters of it.
fn cut(mut text: String, bytes_max: Option<usize>) -> String {
    let end = bytes_max.map_or(text.len(), |bytes_max| text.floor_char_boundary(bytes_max));
    text.truncate(end);
    text
}

/// An operator as it stands between its percent signs.
#[derive(Clone, Copy, Debug)]
struct Written<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    bytes_max: Option<usize>,
}

impl<'a> Written<'a> {
    /// The operator at the beginning of `text`, and what follows its closing percent sign. An argument may hold percent
    /// signs itself, as a time format does.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let name_end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let (name, mut rest) = text.split_at(name_end);
        let mut argument = None;
        if let Some(after) = rest.strip_prefix('(') {
            let ends = |(at, _): &(usize, &str)| after.get(at + 1..).is_some_and(|next| next.starts_with([':', '%']));
            let (end, _) = after.match_indices(')').find(ends)?;
            argument = after.get(..end);
            rest = after.get(end + 1..)?;
        }
        let mut bytes_max = None;
        if let Some(after) = rest.strip_prefix(':') {
            let (digits, _) = after.split_once('%')?;
            bytes_max = Some(digits.parse().ok()?);
            rest = after.get(digits.len()..)?;
        }
        let rest = rest.strip_prefix('%').filter(|_| !name.is_empty())?;
        Some((Self { name, argument, bytes_max }, rest))
    }

    /// The argument, which must be there.
    fn needed(self, what: &'static str) -> Result<&'a str, FormatError> {
        let argument = self.argument.filter(|argument| !argument.is_empty());
        argument
            .ok_or_else(|| FormatError::Argument { operator: self.name.to_owned(), reason: format!("needs {what}") })
    }

    fn without_argument(self) -> Result<Self, FormatError> {
        match self.argument {
            None => Ok(self),
            Some(_) => Err(self.misused("takes no argument")),
        }
    }

    fn without_length(self) -> Result<Self, FormatError> {
        match self.bytes_max {
            None => Ok(self),
            Some(_) => Err(self.misused("takes no length")),
        }
    }

    fn misused(self, reason: &'static str) -> FormatError {
        FormatError::Argument { operator: self.name.to_owned(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, or: Option<&str>) -> Operator {
        Operator::RequestHeader { name: name.to_owned(), or: or.map(str::to_owned) }
    }

    fn state(key: &str, form: StateForm) -> Operator {
        Operator::FilterState { of: StateOwner::Downstream, key: key.to_owned(), form }
    }

    #[test]
    fn formats_are_parsed_into_pieces() {
        let text = |text: &str| Piece::Literal(text.to_owned());
        let value = |operator| Piece::Operator(operator, None);
        for (written, pieces) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("100%%", vec![text("100%")]),
            ("%PROTOCOL%", vec![value(Operator::Protocol)]),
            (
                "a%PROTOCOL%%DURATION%b",
                vec![text("a"), value(Operator::Protocol), value(Operator::Duration), text("b")],
            ),
            ("%REQ(:PATH):3%", vec![Piece::Operator(request(":path", None), Some(3))]),
            ("%REQ(X-A?B)%", vec![value(request("x-a", Some("b")))]),
            ("%START_TIME(%Y-%m)%", vec![value(Operator::StartTime(Some("%Y-%m".to_owned())))]),
            ("%START_TIME()%", vec![value(Operator::StartTime(None))]),
            (
                "%UPSTREAM_HEADER_BYTES_SENT%",
                vec![value(Operator::WireBytes { hop: Hop::Upstream, kind: ByteKind::Header, way: Way::Sent })],
            ),
            ("%EMIT_TIME_LOCAL(%Z)%", vec![value(Operator::EmitTimeLocal(Some("%Z".to_owned())))]),
            ("<%ACCESS_LOG_TYPE%>", vec![text("<"), value(Operator::AccessLogType), text(">")]),
            ("%FILTER_STATE(a:PLAIN):1%", vec![Piece::Operator(state("a", StateForm::Plain), Some(1))]),
            ("%FILTER_STATE(a)%", vec![value(state("a", StateForm::Typed))]),
            ("%FILTER_STATE(a:FIELD:b:c)%", vec![value(state("a", StateForm::Field("b:c".to_owned())))]),
            (
                "%UPSTREAM_FILTER_STATE(a:PLAIN)%",
                vec![value(Operator::FilterState {
                    of: StateOwner::Upstream,
                    key: "a".to_owned(),
                    form: StateForm::Plain,
                })],
            ),
            ("%GRPC_STATUS(SNAKE_STRING)%", vec![value(Operator::GrpcStatus(GrpcStatusForm::Snake))]),
            (
                "%PATH(NQ:ORIG):4%",
                vec![Piece::Operator(Operator::Path { query: Query::Without, of: PathChoice::Original }, Some(4))],
            ),
            (
                "%COMMON_DURATION(DS_RX_END:XX:us)%",
                vec![value(Operator::CommonDuration {
                    from: TimePoint::RequestEnd,
                    to: TimePoint::Never,
                    unit: TimeUnit::Microseconds,
                })],
            ),
        ] {
            assert_eq!(Format::parse(written), Ok(Format(pieces)), "{written}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (written, message) in [
            ("a %NOPE%", "Not supported field in StreamInfo: NOPE (at character 3 of the format)"),
            ("100% sure", "a % at character 4 begins no operator; a literal percent sign is written %%"),
            (
                "%UPSTREAM_HSOT%",
                "Not supported field in StreamInfo: UPSTREAM_HSOT (at character 1 of the format); did you mean \
                 UPSTREAM_HOST?",
            ),
            ("%REQ%", "operator %REQ%: needs the name of a header"),
            ("%REQ(?a)%", "operator %REQ%: takes one name, or two with a ? between them"),
            ("%REQ(a b)%", "operator %REQ%: takes the name of a header, which is a token such as x-name"),
            ("%RESP(a?é)%", "operator %RESP%: takes the name of a header, which is a token such as x-name"),
            ("%PROTOCOL(x)%", "operator %PROTOCOL%: takes no argument"),
            ("%PROTOCOL:3%", "operator %PROTOCOL%: takes no length"),
            ("%START_TIME(%s):3%", "operator %START_TIME%: takes no length"),
            ("%CLUSTER_METADATA(a):3%", "operator %CLUSTER_METADATA%: takes no length"),
            ("%QUERY_PARAM%", "operator %QUERY_PARAM%: needs the name of a parameter"),
            ("%PATH(x)%", "operator %PATH%: takes WQ or NQ, and behind a colon ORIG, PATH or ORIG_OR_PATH"),
            ("%GRPC_STATUS(x)%", "operator %GRPC_STATUS%: takes CAMEL_STRING, SNAKE_STRING or NUMBER"),
            ("%COMMON_DURATION(a:b:s)%", "operator %COMMON_DURATION%: counts in ms, us or ns"),
            (
                "%UPSTREAM_HOSTS_ATTEMPTED%",
                "operator %UPSTREAM_HOSTS_ATTEMPTED% (at character 1 of the format) is not supported: write \
                 UPSTREAM_HOST, the last of them",
            ),
            ("%DOWNSTREAM_WIRE_BYTES_SENT(x)%", "operator %DOWNSTREAM_WIRE_BYTES_SENT%: takes no argument"),
            ("%START_TIME_LOCAL:3%", "operator %START_TIME_LOCAL%: takes no length"),
            ("%PROTOCOL:x%", "a % at character 1 begins no operator; a literal percent sign is written %%"),
            ("%REQ(a%", "a % at character 1 begins no operator; a literal percent sign is written %%"),
        ] {
            assert_eq!(Format::parse(written).unwrap_err().to_string(), message, "{written}");
        }
    }

    #[test]
    fn a_header_value_has_placeholders_for_operators_without_a_value() {
        let format = Format::parse_header_value("[%ACCESS_LOG_TYPE%%DOWNSTREAM_TLS_SESSION_ID%%BYTES_RETRANSMITTED%]");
        assert_eq!(format, Ok(Format(vec![Piece::Literal("[NotSet0]".to_owned())])));
        for (of_logs, message) in [
            ("%UNIQUE_ID%", "operator %UNIQUE_ID%: makes a line unique; write %REQ(X-REQUEST-ID)% in a header"),
            (
                "%UPSTREAM_WIRE_BYTES_SENT%",
                "operator %UPSTREAM_WIRE_BYTES_SENT%: is for access logs: the bytes of a stream are known when it is over",
            ),
            (
                "%START_TIME_LOCAL%",
                "operator %START_TIME_LOCAL%: is for access logs; headers have times in UTC: write START_TIME or EMIT_TIME",
            ),
        ] {
            assert_eq!(Format::parse_header_value(of_logs).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_known_once_is_written_into_the_format() {
        let known = |operator: &Operator| {
            let texts = [(Operator::HostName, "straße"), (Operator::FilterChainName, "")];
            let text = texts.iter().find(|(known, _)| known == operator).map(|(_, text)| (*text).to_owned());
            text.or_else(|| operator.variable().map(|(name, _)| name.to_lowercase()))
        };
        let text = "%HOSTNAME% %ENVIRONMENT(USER):2% %FILTER_CHAIN_NAME% %LISTENER_NAME%";
        let mut format = LineFormat::from(Format::parse(text).unwrap());
        format.resolve(&known);
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let (never, listener) = (Operator::Never, Operator::ListenerName);
        let [blank, again, last] = [literal(" "), literal(" "), literal(" ")];
        let pieces = vec![
            literal("straße"),
            blank,
            literal("us"),
            again,
            Piece::Operator(never, None),
            last,
            Piece::Operator(listener, None),
        ];
        assert_eq!(format, Format(pieces).into());
        let member = |text: &str| ("k".to_owned(), Json::parse(text).unwrap());
        let mut json = Json::object(vec![member("%HOSTNAME%")]);
        json.resolve(&known);
        assert_eq!(json, Json::Map(vec![("\"k\"".to_owned(), Json::Literal("\"straße\"".to_owned()))]));
    }

    #[test]
    fn the_default_line_parses_and_ends_the_line() {
        let Format(pieces) = Format::default_line();
        assert_eq!(pieces.first(), Some(&Piece::Literal("[".to_owned())));
        assert_eq!(pieces.last(), Some(&Piece::Literal("\"\n".to_owned())));
        assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Operator(..))).count(), 15);
    }
}
