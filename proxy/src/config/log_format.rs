//! Access-log format strings, parsed once.

use super::constraints::is_header_name;
use super::problem::nearest;

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

/// A `%...%` operator. Unset values print `-`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operator {
    /// `%BYTES_RECEIVED%`: body bytes.
    BytesReceived,
    /// `%BYTES_SENT%`: body bytes.
    BytesSent,
    /// `%CONNECTION_ID%`
    ConnectionId,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    ConnectionTerminationDetails,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%`: the socket's peer, whatever a header says.
    DownstreamDirectRemoteAddress,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%`
    DownstreamDirectRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`
    DownstreamLocalAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%`
    DownstreamLocalAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_PORT%`
    DownstreamLocalPort,
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`
    DownstreamRemoteAddressWithoutPort,
    /// `%DURATION%`: milliseconds from the head's first byte to the last byte out.
    Duration,
    /// `%PROTOCOL%`
    Protocol,
    /// `%REQUEST_DURATION%`: milliseconds from the head's first byte to the request's last.
    RequestDuration,
    /// `%REQ(NAME?ALTERNATIVE)%`; names in lower case.
    RequestHeader {
        /// First choice.
        name: String,
        /// Second choice.
        or: Option<String>,
    },
    /// `%RESP(NAME?ALTERNATIVE)%`; names in lower case.
    ResponseHeader {
        /// First choice.
        name: String,
        /// Second choice.
        or: Option<String>,
    },
    /// `%RESPONSE_CODE%`
    ResponseCode,
    /// `%RESPONSE_CODE_DETAILS%`
    ResponseCodeDetails,
    /// `%RESPONSE_DURATION%`: milliseconds from the head's first byte to the upstream's first.
    ResponseDuration,
    /// `%RESPONSE_FLAGS%`
    ResponseFlags,
    /// `%RESPONSE_FLAGS_LONG%`
    ResponseFlagsLong,
    /// `%RESPONSE_TX_DURATION%`: milliseconds from the upstream's first byte to the last byte out.
    ResponseTxDuration,
    /// `%ROUTE_NAME%`
    RouteName,
    /// `%START_TIME%`, with an optional strftime format.
    StartTime(Option<String>),
    /// `%UPSTREAM_CLUSTER%`
    UpstreamCluster,
    /// `%UPSTREAM_HOST%`
    UpstreamHost,
    /// `%UPSTREAM_LOCAL_ADDRESS%`
    UpstreamLocalAddress,
    /// `%UPSTREAM_PROTOCOL%`
    UpstreamProtocol,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`
    UpstreamRequestAttemptCount,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    UpstreamTransportFailureReason,
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
        reason: &'static str,
    },
    /// A percent sign that begins no operator.
    #[error("a % at character {at} begins no operator; a literal percent sign is written %%")]
    Dangling {
        /// Counted from one.
        at: usize,
    },
    /// An operator that Envoy has and finwait has not, or that neither has. The words are Envoy's.
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

    /// Parses Envoy's format language: `%NAME%` or `%NAME(argument)%`, either with `:bytes` before the closing percent
    /// sign, and `%%` for a percent sign.
    ///
    /// # Errors
    ///
    /// An unknown operator, an argument that its operator does not take, or a percent sign that begins no operator.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Self::parse_with(text, ALWAYS)
    }

    /// The same, for the value of a header.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn parse_header_value(text: &str) -> Result<Self, FormatError> {
        Self::parse_with(text, ALWAYS_IN_HEADERS)
    }

    fn parse_with(text: &str, always: &'static [(&str, &str)]) -> Result<Self, FormatError> {
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
            match written.operator(at, always)? {
                Said::Always(value) => literal.push_str(cut(value, written.bytes_max)),
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

/// Operators without an argument.
const PLAIN: &[(&str, Operator)] = &[
    ("BYTES_RECEIVED", Operator::BytesReceived),
    ("BYTES_SENT", Operator::BytesSent),
    ("CONNECTION_ID", Operator::ConnectionId),
    ("CONNECTION_TERMINATION_DETAILS", Operator::ConnectionTerminationDetails),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Operator::DownstreamDirectRemoteAddress),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Operator::DownstreamDirectRemoteAddressWithoutPort),
    ("DOWNSTREAM_LOCAL_ADDRESS", Operator::DownstreamLocalAddress),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Operator::DownstreamLocalAddressWithoutPort),
    ("DOWNSTREAM_LOCAL_PORT", Operator::DownstreamLocalPort),
    ("DOWNSTREAM_REMOTE_ADDRESS", Operator::DownstreamRemoteAddress),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Operator::DownstreamRemoteAddressWithoutPort),
    ("DURATION", Operator::Duration),
    ("PROTOCOL", Operator::Protocol),
    ("REQUEST_DURATION", Operator::RequestDuration),
    ("RESPONSE_CODE", Operator::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Operator::ResponseCodeDetails),
    ("RESPONSE_DURATION", Operator::ResponseDuration),
    ("RESPONSE_FLAGS", Operator::ResponseFlags),
    ("RESPONSE_FLAGS_LONG", Operator::ResponseFlagsLong),
    ("RESPONSE_TX_DURATION", Operator::ResponseTxDuration),
    ("ROUTE_NAME", Operator::RouteName),
    ("UPSTREAM_CLUSTER", Operator::UpstreamCluster),
    ("UPSTREAM_HOST", Operator::UpstreamHost),
    ("UPSTREAM_LOCAL_ADDRESS", Operator::UpstreamLocalAddress),
    ("UPSTREAM_PROTOCOL", Operator::UpstreamProtocol),
    // It differs from the host only where a proxy stands between, which cannot be here.
    ("UPSTREAM_REMOTE_ADDRESS", Operator::UpstreamHost),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Operator::UpstreamRequestAttemptCount),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Operator::UpstreamTransportFailureReason),
];

/// Operators that say the same in every line.
const ALWAYS: &[(&str, &str)] = &[
    // Every stream is logged once, at its end.
    ("ACCESS_LOG_TYPE", "DownstreamEnd"),
    // There is no TLS and there are no virtual clusters, so these never have a value.
    ("REQUESTED_SERVER_NAME", "-"),
    ("VIRTUAL_CLUSTER_NAME", "-"),
];

/// The same in the value of a header, where what has no value is empty.
const ALWAYS_IN_HEADERS: &[(&str, &str)] =
    &[("ACCESS_LOG_TYPE", "NotSet"), ("REQUESTED_SERVER_NAME", ""), ("VIRTUAL_CLUSTER_NAME", "")];

/// An operator as it stands between its percent signs.
#[derive(Clone, Copy, Debug)]
struct Written<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    bytes_max: Option<usize>,
}

/// What an operator stands for.
enum Said {
    /// The same text in every line.
    Always(&'static str),
    /// A value that depends on the stream.
    Sometimes(Operator),
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

    fn operator(self, at: usize, always: &'static [(&str, &str)]) -> Result<Said, FormatError> {
        match self.name {
            "REQ" => {
                let (name, or) = self.headers()?;
                return Ok(Said::Sometimes(Operator::RequestHeader { name, or }));
            }
            "RESP" => {
                let (name, or) = self.headers()?;
                return Ok(Said::Sometimes(Operator::ResponseHeader { name, or }));
            }
            "START_TIME" => return Ok(Said::Sometimes(Operator::StartTime(self.argument.map(str::to_owned)))),
            _ => {}
        }
        let always = always.iter().find(|(name, _)| *name == self.name).map(|(_, value)| Said::Always(value));
        let plain = PLAIN.iter().find(|(name, _)| *name == self.name);
        let Some(said) = always.or_else(|| plain.map(|(_, operator)| Said::Sometimes(operator.clone()))) else {
            let known: Vec<&'static str> = PLAIN.iter().map(|(name, _)| *name).collect();
            let nearest = nearest(self.name, &known);
            return Err(FormatError::Unknown { operator: self.name.to_owned(), at, nearest });
        };
        match self.argument {
            None => Ok(said),
            Some(_) => Err(self.misused("takes no argument")),
        }
    }

    /// The argument of `REQ` and `RESP`: `name` or `name?alternative`. Header names are compared ignoring case.
    fn headers(self) -> Result<(String, Option<String>), FormatError> {
        let argument = self.argument.ok_or_else(|| self.misused("needs the name of a header"))?;
        let (name, or) = argument.split_once('?').map_or((argument, None), |(name, or)| (name, Some(or)));
        if name.is_empty() || or.is_some_and(|or| or.is_empty() || or.contains('?')) {
            return Err(self.misused("takes one name, or two with a ? between them"));
        }
        if !is_header_name(name) || or.is_some_and(|or| !is_header_name(or)) {
            return Err(self.misused("takes the name of a header, which is a token such as x-name"));
        }
        Ok((name.to_ascii_lowercase(), or.map(str::to_ascii_lowercase)))
    }

    fn misused(self, reason: &'static str) -> FormatError {
        FormatError::Argument { operator: self.name.to_owned(), reason }
    }
}

/// At most `bytes_max` bytes of an ASCII text.
fn cut(text: &str, bytes_max: Option<usize>) -> &str {
    bytes_max.and_then(|bytes_max| text.get(..bytes_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, or: Option<&str>) -> Operator {
        Operator::RequestHeader { name: name.to_owned(), or: or.map(str::to_owned) }
    }

    #[test]
    fn formats_become_pieces() {
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
            ("<%ACCESS_LOG_TYPE%>", vec![text("<DownstreamEnd>")]),
            ("%ACCESS_LOG_TYPE:4%", vec![text("Down")]),
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
            ("%PROTOCOL:x%", "a % at character 1 begins no operator; a literal percent sign is written %%"),
            ("%REQ(a%", "a % at character 1 begins no operator; a literal percent sign is written %%"),
        ] {
            assert_eq!(Format::parse(written).unwrap_err().to_string(), message, "{written}");
        }
    }

    #[test]
    fn the_default_line_parses_and_ends_the_line() {
        let Format(pieces) = Format::default_line();
        assert_eq!(pieces.first(), Some(&Piece::Literal("[".to_owned())));
        assert_eq!(pieces.last(), Some(&Piece::Literal("\"\n".to_owned())));
        assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Operator(..))).count(), 15);
    }
}
