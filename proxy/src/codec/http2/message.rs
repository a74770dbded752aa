//! Which header sections are well-formed (RFC 9113 8.1 to 8.3, 8.5; RFC 8441 4), judged before h2 sees them.
//!
//! The rules are Envoy's: each was tried with Envoy. What h2 or the http crate cannot hold although it is well-formed
//! is [`WellFormed::odd`].

use bytes::Bytes;

use super::fields::{FieldKind, content_length, is_plain_authority, is_plain_path};
use super::hpack::{Block, Field};

/// The place of a header section in its message, which decides what it has to hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SectionKind {
    Request {
        may_have_protocol: bool,
    },
    Response {
        /// Its request was HEAD or CONNECT, so a content-length does not describe its content (RFC 9110 9.3.2, 9.3.6).
        ignores_length: bool,
    },
    Trailers {
        /// The content-length of the head, if that is the length of its content.
        head_length: Option<u64>,
        /// Bytes of content that have come.
        content_bytes: u64,
    },
}

/// What is wrong with a header section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MessageError {
    /// It breaks the rules: its stream cannot go on (RFC 9113 8.1.1).
    Malformed,
    /// Each of its fields keeps to the rules, but not together or not beside what else came on the stream, which cannot go on
    /// either.
    Misplaced,
    /// It is an extended CONNECT, which our SETTINGS did not permit (RFC 8441 3).
    NotPermitted,
}

/// A header section that keeps to the rules.
#[derive(Debug, Default)]
pub(super) struct WellFormed {
    /// A response that has no content whatever it was requested with: 204 or 304 (RFC 9110 15.3.5, 15.4.5).
    pub(super) excludes_content: bool,
    /// Of the content that follows.
    pub(super) content_length: Option<u64>,
    /// An informational response, which another header section follows.
    pub(super) is_informational: bool,
    /// h2 cannot hold the section as it is; see [`stand_in`].
    pub(super) is_odd: bool,
}

/// The values that a stand-in has replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Original {
    pub(super) authority: Option<Bytes>,
    pub(super) path: Option<Bytes>,
}

/// Judges a header section, after which the stream ends or not.
pub(super) fn judge(section: SectionKind, block: &Block, is_end: bool) -> Result<WellFormed, MessageError> {
    let seen = FieldSummary::of(block)?;
    match section {
        SectionKind::Request { may_have_protocol } => seen.as_request(may_have_protocol, is_end),
        SectionKind::Response { ignores_length } => seen.as_response(ignores_length, is_end),
        SectionKind::Trailers { head_length, content_bytes } => seen.as_trailers(head_length, content_bytes, is_end),
    }
}

/// What h2 is shown in the place of an odd section, field by field: placeholders that the http crate can hold. `original`
/// gets what they replace.
pub(super) fn stand_in<'b>(field: Field<'b>, original: &mut Original) -> (&'b [u8], &'b [u8]) {
    let (slot, placeholder): (&mut Option<Bytes>, &[u8]) =
        if field.kind == FieldKind::Authority && !is_plain_authority(field.value) {
            (&mut original.authority, b"odd")
        } else if field.kind == FieldKind::Path && !is_plain_path(field.value) {
            (&mut original.path, b"/")
        } else if field.kind == FieldKind::Te {
            return (field.name, b"trailers");
        } else {
            return (field.name, field.value);
        };
    *slot = Some(Bytes::copy_from_slice(field.value));
    (field.name, placeholder)
}

/// The fields that matter to the rules.
#[derive(Default)]
struct FieldSummary<'b> {
    authority: Option<&'b [u8]>,
    content_length: Option<u64>,
    has_pseudo: bool,
    host: Option<&'b [u8]>,
    is_odd: bool,
    method: Option<&'b [u8]>,
    path: Option<&'b [u8]>,
    protocol: Option<&'b [u8]>,
    scheme: Option<&'b [u8]>,
    status: Option<&'b [u8]>,
}

impl<'b> FieldSummary<'b> {
    /// Rules that hold for each section: valid values, nothing twice that may come once, pseudo-header fields first.
    fn of(block: &'b Block) -> Result<Self, MessageError> {
        let mut seen = Self::default();
        let mut is_past_pseudo = false;
        for field in block.fields() {
            if !field.is_valid {
                return Err(MessageError::Malformed);
            }
            let once = match field.kind {
                FieldKind::Authority => &mut seen.authority,
                FieldKind::Method => &mut seen.method,
                FieldKind::Path => &mut seen.path,
                FieldKind::Protocol => &mut seen.protocol,
                FieldKind::Scheme => &mut seen.scheme,
                FieldKind::Status => &mut seen.status,
                FieldKind::ContentLength => {
                    is_past_pseudo = true;
                    let length = content_length(field.value).ok_or(MessageError::Malformed)?;
                    if seen.content_length.replace(length).is_some() {
                        return Err(MessageError::Malformed);
                    }
                    continue;
                }
                FieldKind::Host => {
                    is_past_pseudo = true;
                    if seen.host.replace(field.value).is_some() {
                        return Err(MessageError::Malformed);
                    }
                    continue;
                }
                FieldKind::Te => {
                    is_past_pseudo = true;
                    seen.is_odd |= field.value != b"trailers";
                    continue;
                }
                FieldKind::HopByHop | FieldKind::Impossible | FieldKind::UnknownPseudo => {
                    return Err(MessageError::Malformed);
                }
                FieldKind::Regular => {
                    is_past_pseudo = true;
                    continue;
                }
            };
            if is_past_pseudo || once.replace(field.value).is_some() {
                return Err(MessageError::Malformed);
            }
            seen.has_pseudo = true;
        }
        Ok(seen)
    }

    fn as_request(&self, may_have_protocol: bool, is_end: bool) -> Result<WellFormed, MessageError> {
        if self.status.is_some() {
            return Err(MessageError::Malformed);
        }
        let method = self.method.ok_or(MessageError::Misplaced)?;
        let has_authority = self.authority.or(self.host).is_some();
        if !has_authority || is_end && self.content_length.is_some_and(|length| length > 0) {
            return Err(MessageError::Misplaced);
        }
        let is_sound = match (method, self.protocol) {
            (b"CONNECT", None) => self.scheme.is_none() && self.path.is_none(),
            (b"CONNECT", Some(_)) => self.has_target(method),
            (_, None) => self.has_target(method),
            (_, Some(_)) => false,
        };
        let is_odd = self.is_odd
            || self.authority.is_some_and(|authority| !is_plain_authority(authority))
            || self.path.is_some_and(|path| !is_plain_path(path));
        match is_sound {
            false => Err(MessageError::Misplaced),
            true if self.protocol.is_some() && !may_have_protocol => Err(MessageError::NotPermitted),
            true => Ok(WellFormed { content_length: self.content_length, is_odd, ..WellFormed::default() }),
        }
    }

    /// A scheme and a path. Of `http` and `https` the path is in origin-form, or in asterisk-form for OPTIONS; of another scheme
    /// it may be any text (RFC 9113 8.3.1), and is no path that a route can have.
    fn has_target(&self, method: &[u8]) -> bool {
        let (Some(scheme), Some(path)) = (self.scheme, self.path) else { return false };
        let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        !is_http || path.starts_with(b"/") || path == b"*" && method == b"OPTIONS"
    }

    fn as_response(&self, ignores_length: bool, is_end: bool) -> Result<WellFormed, MessageError> {
        let status = self.status.filter(|_| self.has_only_status()).ok_or(MessageError::Malformed)?;
        let is_informational = status.starts_with(b"1");
        let is_sound = match status {
            // RFC 9113 8.6.
            b"101" => false,
            _ if is_informational => !is_end && self.content_length.is_none(),
            b"204" => self.content_length.is_none_or(|length| length == 0),
            _ => true,
        };
        let excludes_content = matches!(status, b"204" | b"304");
        let content_length = self.content_length.filter(|_| !ignores_length && !excludes_content);
        if is_sound && is_end && content_length.is_some_and(|length| length > 0) {
            return Err(MessageError::Misplaced);
        }
        let good = WellFormed { excludes_content, content_length, is_informational, is_odd: self.is_odd };
        is_sound.then_some(good).ok_or(MessageError::Malformed)
    }

    /// RFC 9113 8.1: trailers end the stream and have no pseudo-header fields. A content-length is one that the head could
    /// have had.
    fn as_trailers(
        &self,
        head_length: Option<u64>,
        content_bytes: u64,
        is_end: bool,
    ) -> Result<WellFormed, MessageError> {
        if self.has_pseudo || head_length.is_some() && self.content_length.is_some() {
            return Err(MessageError::Malformed);
        }
        if !is_end || head_length.or(self.content_length).is_some_and(|length| length != content_bytes) {
            return Err(MessageError::Misplaced);
        }
        Ok(WellFormed { is_odd: self.is_odd, ..WellFormed::default() })
    }

    fn has_only_status(&self) -> bool {
        let others = [self.authority, self.method, self.path, self.protocol, self.scheme];
        others.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::hpack::{Decoder, ListLimit, write_literal};
    use super::*;

    const RESPONSE: SectionKind = SectionKind::Response { ignores_length: false };

    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "http");
    const PATH: (&str, &str) = (":path", "/");
    const AUTHORITY: (&str, &str) = (":authority", "a");
    const CONNECT: (&str, &str) = (":method", "CONNECT");
    const WEBSOCKET: (&str, &str) = (":protocol", "websocket");
    const REQUEST: SectionKind = SectionKind::Request { may_have_protocol: true };

    /// Names and values.
    type Fields<'f> = &'f [(&'f str, &'f str)];
    /// Is it informational, and is it odd?
    type Judged = Result<(bool, bool), MessageError>;

    fn judged(section: SectionKind, fields: Fields<'_>, is_end: bool) -> Judged {
        let mut coded = BytesMut::new();
        fields.iter().for_each(|(name, value)| write_literal(name.as_bytes(), value.as_bytes(), &mut coded));
        let mut block = Block::default();
        let limit = ListLimit { bytes: usize::MAX, fields: usize::MAX };
        Decoder::new(0, limit).decode(&coded, &mut block).unwrap();
        judge(section, &block, is_end).map(|good| (good.is_informational, good.is_odd))
    }

    #[test]
    fn requests_are_judged_as_envoy_judges_them() {
        let (plain, odd) = (Ok((false, false)), Ok((false, true)));
        let cases: [(Fields<'_>, Judged); 31] = [
            (&[METHOD, SCHEME, PATH, AUTHORITY], plain),
            (&[METHOD, SCHEME, PATH, ("host", "a")], plain),
            (&[METHOD, SCHEME, PATH, AUTHORITY, ("host", "b")], plain),
            (&[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "0")], plain),
            (&[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY], plain),
            (&[CONNECT, AUTHORITY], plain),
            (&[CONNECT, SCHEME, PATH, AUTHORITY, WEBSOCKET], plain),
            (&[METHOD, SCHEME, (":path", "/<x>"), AUTHORITY], odd),
            (&[METHOD, SCHEME, (":path", "/a#b"), AUTHORITY], odd),
            (&[METHOD, SCHEME, PATH, (":authority", "[::1]:80")], odd),
            (&[METHOD, SCHEME, PATH, AUTHORITY, ("te", "Trailers")], odd),
            (&[METHOD, SCHEME, PATH], Err(MessageError::Misplaced)),
            (&[METHOD, SCHEME, PATH, ("host", "a"), ("host", "a")], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, PATH, AUTHORITY, ("host", "a"), ("host", "a")], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, PATH, (":authority", "u@a")], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, (":path", "*"), AUTHORITY], Err(MessageError::Misplaced)),
            (&[METHOD, SCHEME, (":path", "a"), AUTHORITY], Err(MessageError::Misplaced)),
            (&[METHOD, (":scheme", "HTTPS"), (":path", "a"), AUTHORITY], Err(MessageError::Misplaced)),
            (&[METHOD, (":scheme", "ftp"), (":path", "a"), AUTHORITY], odd),
            (&[METHOD, SCHEME, AUTHORITY], Err(MessageError::Misplaced)),
            (&[METHOD, PATH, AUTHORITY], Err(MessageError::Misplaced)),
            (&[SCHEME, PATH, AUTHORITY], Err(MessageError::Misplaced)),
            (&[METHOD, SCHEME, PATH, AUTHORITY, METHOD], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, PATH, ("x", "y"), AUTHORITY], Err(MessageError::Malformed)),
            (&[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "5")], Err(MessageError::Misplaced)),
            (
                &[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "0"), ("content-length", "0")],
                Err(MessageError::Malformed),
            ),
            (&[METHOD, SCHEME, PATH, AUTHORITY, WEBSOCKET], Err(MessageError::Misplaced)),
            (&[CONNECT, SCHEME, PATH, AUTHORITY], Err(MessageError::Misplaced)),
            (&[CONNECT], Err(MessageError::Misplaced)),
            (&[CONNECT, SCHEME, PATH, AUTHORITY, (":protocol", "a\r\nb: c")], Err(MessageError::Malformed)),
        ];
        for (fields, expected) in cases {
            assert_eq!(judged(REQUEST, fields, true), expected, "{fields:?}");
        }
        let websocket = [CONNECT, SCHEME, PATH, AUTHORITY, WEBSOCKET];
        let unannounced = SectionKind::Request { may_have_protocol: false };
        assert_eq!(judged(unannounced, &websocket, false), Err(MessageError::NotPermitted));
    }

    #[test]
    fn responses_and_trailers_are_judged_as_envoy_judges_them() {
        let (good, informational) = (Ok((false, false)), Ok((true, false)));
        let length = ("content-length", "5");
        let trailers = SectionKind::Trailers { head_length: None, content_bytes: 5 };
        let trailers_behind_a_length = SectionKind::Trailers { head_length: Some(5), content_bytes: 5 };
        let cases: [(SectionKind, Fields<'_>, bool, Judged); 20] = [
            (RESPONSE, &[(":status", "200"), ("x", "y")], true, good),
            (RESPONSE, &[(":status", "304"), length], true, good),
            (RESPONSE, &[(":status", "200"), length], true, Err(MessageError::Misplaced)),
            (SectionKind::Response { ignores_length: true }, &[(":status", "200"), length], true, good),
            (
                SectionKind::Trailers { head_length: Some(6), content_bytes: 5 },
                &[("x", "y")],
                true,
                Err(MessageError::Misplaced),
            ),
            (RESPONSE, &[(":status", "103")], false, informational),
            (RESPONSE, &[(":status", "103")], true, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "100"), length], false, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "101")], false, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "204"), length], true, Err(MessageError::Malformed)),
            (RESPONSE, &[("x", "y")], true, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "200"), PATH], true, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "200"), ("connection", "close")], true, Err(MessageError::Malformed)),
            (RESPONSE, &[(":status", "200"), ("x", "a\r\nb: c")], true, Err(MessageError::Malformed)),
            (trailers, &[("x", "y"), length], true, good),
            (trailers, &[("content-length", "4")], true, Err(MessageError::Misplaced)),
            (trailers_behind_a_length, &[length], true, Err(MessageError::Malformed)),
            (trailers, &[("x", "y")], false, Err(MessageError::Misplaced)),
            (trailers, &[(":status", "200")], true, Err(MessageError::Malformed)),
            (trailers, &[("transfer-encoding", "chunked")], true, Err(MessageError::Malformed)),
        ];
        for (section, fields, is_end, expected) in cases {
            assert_eq!(judged(section, fields, is_end), expected, "{section:?} {fields:?}");
        }
    }

    #[test]
    fn a_stand_in_has_placeholders_that_http_can_hold() {
        let mut original = Original::default();
        let odd = |kind, value| Field { name: b"n", value, kind, is_valid: true };
        assert_eq!(stand_in(odd(FieldKind::Authority, b"[::1]"), &mut original), (&b"n"[..], &b"odd"[..]));
        assert_eq!(stand_in(odd(FieldKind::Path, b"/<"), &mut original), (&b"n"[..], &b"/"[..]));
        assert_eq!(stand_in(odd(FieldKind::Te, b"Trailers"), &mut original), (&b"n"[..], &b"trailers"[..]));
        assert_eq!(stand_in(odd(FieldKind::Regular, b"a"), &mut original), (&b"n"[..], &b"a"[..]));
        assert_eq!((original.authority.as_deref(), original.path.as_deref()), (Some(&b"[::1]"[..]), Some(&b"/<"[..])));
    }
}
