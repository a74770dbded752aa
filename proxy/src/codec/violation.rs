//! How a message, or a whole connection, breaks the rules of HTTP: each way with Envoy's response-code details for it.

use crate::texts::text_enum;

text_enum! {
    /// A request that is not forwarded because its bytes are wrong or ambiguous: found in an HTTP/1 head.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Refusal {
        /// CONNECT with a content-length.
        BodyDisallowed = "http1.body_disallowed",
        /// Not HTTP, or framed in a way that has two readings. Also of a body.
        Codec = "http1.codec_error",
        /// `connection` names headers that are not the client's to remove.
        ConnectionHeader = "http1.connection_header_rejected",
        /// The head has more bytes than the limit.
        HeadersTooLarge = "http1.headers_too_large",
        /// `host` is not a host, or there are several.
        InvalidAuthority = "http.invalid_authority",
        /// A control character.
        InvalidCharacters = "http1.invalid_characters",
        /// An absolute URI that is neither http nor https.
        InvalidScheme = "http1.invalid_scheme",
        /// A request target that is not a URL.
        InvalidUrl = "http1.invalid_url",
        /// Content-length together with transfer-encoding.
        LengthAndChunked = "http1.content_length_and_chunked_not_allowed",
        /// An HTTP version below 1.1, or one that does not exist.
        LowVersion = "low_version",
        /// The head has more fields than the limit.
        TooManyHeaders = "http1.too_many_headers",
        /// A name with an underscore, where these are not permitted.
        Underscore = "http1.unexpected_underscore",
        /// A transfer coding other than one `chunked`.
        TransferEncoding = "http1.invalid_transfer_encoding",
    }
}

text_enum! {
    /// How a message or a connection breaks the rules. The values without "Http1" are of HTTP/2.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Violation {
        /// An HTTP/1 message that ended before it was complete.
        Http1CutShort = "http1.message_cut_short",
        /// The stream that sent too many consecutive frames with an empty payload.
        EmptyFramesFlood = "http2.inbound_empty_frames_flood",
        /// A head over its limit of bytes.
        HeaderListTooLarge = "http2.header_list_size_too_large",
        /// A head that RFC 9113 8.2 forbids.
        InvalidHeaderField = "http2.invalid.header.field",
        /// A message that breaks another rule.
        MessagingRule = "http2.violation.of.messaging.rule",
        /// A server that sends something else than HTTP/2.
        NotHttp2 = "Remote_peer_returned_unexpected_data_while_we_expected_SETTINGS_frame",
        /// Frames that break the protocol, and the streams beside a malformed message.
        Protocol = "codec_error:The_user_callback_function_failed",
        /// A body that does not have its content-length. Envoy has the same details for a stream that its peer reset.
        RemoteReset = "http2.remote_reset",
        /// More CONTINUATION frames than one head may have.
        TooManyContinuations = "codec_error:Too_many_CONTINUATION_frames_following_a_HEADER_frame",
        /// More consecutive frames with an empty payload than the limit; of the streams beside the one that sent them.
        TooManyEmptyFrames = "codec_error:Too_many_consecutive_frames_with_an_empty_payload",
        /// A head over its limit of fields.
        TooManyHeaders = "http2.too_many_headers",
        /// More PRIORITY frames than the limit.
        TooManyPriorities = "codec_error:Too_many_PRIORITY_frames",
        /// More streams reset by the client early than the limit.
        TooManyResets = "too_many_premature_resets",
        /// The stream of a frame that may not come, or not with its value.
        Unknown = "http2.unknown.nghttp2.error",
        /// A name with an underscore, where these are not permitted.
        Underscore = "http2.unexpected_underscore",
        /// More WINDOW_UPDATE frames than the limit.
        TooManyWindowUpdates = "codec_error:Too_many_WINDOW_UPDATE_frames",
        ..
        /// An HTTP/1 message whose head or framing was refused.
        Http1(Refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::assert_texts_are_read_back;

    #[test]
    fn violations_are_read_back_from_their_text() {
        assert_texts_are_read_back::<Violation>();
    }
}
