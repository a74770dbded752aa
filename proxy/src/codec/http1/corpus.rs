//! The smuggling corpus: requests with two readings, and which one is ours, or none.
//!
//! Every row is read whole and cut into pieces of several sizes; the result must be the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::testing::{OPTIONS, requests};
use super::{Methods, ServerOptions};

type Row = (&'static str, &'static [u8], &'static [&'static str]);

const CODEC: &[&str] = &["400 http1.codec_error"];
const CHARACTERS: &[&str] = &["400 http1.invalid_characters"];
const AUTHORITY: &[&str] = &["400 http.invalid_authority"];
const URL: &[&str] = &["400 http1.invalid_url"];
const SCHEME: &[&str] = &["400 http1.invalid_scheme"];
const CODING: &[&str] = &["501 http1.invalid_transfer_encoding"];
const BOTH: &[&str] = &["400 http1.content_length_and_chunked_not_allowed"];
const VERSION: &[&str] = &["426 low_version"];
const CONNECTION: &[&str] = &["400 http1.connection_header_rejected"];
const BAD_CHUNK: &[&str] = &["POST a / body: http1.codec_error"];

#[rustfmt::skip] // a row is a line
const CORPUS: &[Row] = &[
    // What is read.
    ("a plain request", b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a /x?y=1"]),
    ("no Host is the caller's business", b"GET / HTTP/1.1\r\n\r\n", &["GET - /"]),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", &["GET  /"]),
    ("a body of a length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &["POST a / \"hello\""]),
    ("a chunked body", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &["POST a / \"hello\""]),
    ("chunked in capitals", b"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n", &["POST a /"]),
    ("trailers are dropped", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &["POST a / \"x\"", "GET a /2"]),
    ("pipelined", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n", &["GET a /1", "GET b /2"]),
    ("pipelined behind a body", b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGETGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &["POST a /1 \"GET\"", "GET a /2"]),
    ("empty lines between requests", b"\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\n\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a /1", "GET a /2"]),
    ("lines that end in LF", b"GET / HTTP/1.1\nHost: a\nX: 1\n\n", &["GET a /"]),
    ("line ends mixed", b"GET / HTTP/1.1\nHost: a\r\nX: 1\n\r\nGET /2 HTTP/1.1\r\n\n", &["GET a /", "GET - /2"]),
    ("TAB and bytes above ASCII in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xfc\tb\r\n\r\n", &["GET a /"]),
    ("odd characters in a path", b"GET /\"<>^`{|} HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a /\\\"<>^`{|}"]),
    ("a fragment is the caller's business", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a /a#b"]),
    ("absolute form wins over Host", b"GET http://abs.test/x?y HTTP/1.1\r\nHost: a\r\n\r\n", &["GET abs.test /x?y (http)"]),
    ("absolute form with https, in capitals", b"GET HTTPS://abs.test:8443/ HTTP/1.1\r\nHost: a\r\n\r\n", &["GET abs.test:8443 / (https)"]),
    ("absolute form without path", b"GET http://abs.test HTTP/1.1\r\nHost: a\r\n\r\n", &["GET abs.test / (http)"]),
    ("absolute form with a query only", b"GET http://abs.test?q HTTP/1.1\r\nHost: a\r\n\r\n", &["GET abs.test ?q (http)"]),
    ("OPTIONS * and more is the caller's business", b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS a *x"]),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS a *"]),
    ("a body on GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", &["GET a / \"hi\""]),
    ("CONNECT ignores Host", b"CONNECT t.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", &["CONNECT t.test:443 -"]),
    ("what follows CONNECT is no request", b"CONNECT t.test:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", &["CONNECT t.test:443 - \"GET / HTTP/1.1\\r\\n\\r\\n\""]),
    ("CONNECT with an empty body", b"CONNECT t.test:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &["CONNECT t.test:443 -"]),
    ("WebDAV", b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", &["PROPFIND a /"]),

    // Two lengths for one body.
    ("CL.TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BOTH),
    ("TE.CL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", BOTH),
    ("TE with a length of zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BOTH),
    ("CL twice, different", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", CODEC),
    ("CL twice, equal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", CODEC),
    ("CL list", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", CODEC),
    ("CL with plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", CODEC),
    ("CL with minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", CODEC),
    ("CL with a blank inside", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\nhello", CODEC),
    ("CL in hexadecimal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", CODEC),
    ("CL with a fraction", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", CODEC),
    ("CL empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nhello", CODEC),
    ("CL beyond 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", CODEC),
    ("CL with blanks around it has one reading", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t 5 \t\r\n\r\nhello", &["POST a / \"hello\""]),
    ("CL with a blank before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", CODEC),
    ("CL behind a bare CR", b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\rContent-Length: 5\r\n\r\nhello", CHARACTERS),
    ("CL behind a bare LF is a field", b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: 5\r\n\r\nhello", &["POST a / \"hello\""]),

    // Transfer codings that some do not recognise.
    ("TE twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    ("TE chunked, then another", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", CODING),
    ("TE another, then chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    ("TE list", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CODING),
    ("TE chunked twice in a list", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", CODING),
    ("TE chunked, identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", CODING),
    ("TE identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", CODING),
    ("TE xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", CODING),
    ("TE chunkedx", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", CODING),
    ("TE in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", CODING),
    ("TE with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", CODING),
    ("TE with a comma", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", CODING),
    ("TE empty", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", CODING),
    ("TE with a vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", CHARACTERS),
    ("TE with a NUL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", CHARACTERS),
    ("TE folded", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("TE with a blank before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("TE with a tab before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("TE with a blank before the name", b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("TE behind a bare CR", b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CHARACTERS),
    ("TE with an underscore is another field", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", &["POST a / \"hi\""]),

    // Chunk framing.
    ("chunk size that is none", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BAD_CHUNK),
    ("chunk size of 2^64", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", BAD_CHUNK),
    ("chunk size with 0x", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk size with a sign", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk line that ends in LF", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n", BAD_CHUNK),
    ("chunk extension that ends in LF", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk extension with a bare CR", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;\rx\r\nxx\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk extensions are skipped", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c\r\nxx\r\n0;d\r\n\r\n", &["POST a / \"xx\""]),
    ("chunk line with two CR", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\r\nhello\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk line with a form feed", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\x0c\r\nhello\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk line with a vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\x0b\r\nhello\r\n0\r\n\r\n", BAD_CHUNK),
    ("last chunk line with two CR", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\r\n\r\n", BAD_CHUNK),
    ("end of the trailers with two CR", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\r\n", BAD_CHUNK),
    ("chunk line with blanks behind the size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2 \t\r\nxx\r\n0\r\n\r\n", &["POST a / \"xx\""]),
    ("chunk longer than its size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", BAD_CHUNK),
    ("chunk without its line end", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n", BAD_CHUNK),
    ("last chunk, then a bare LF", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\nGET / HTTP/1.1\r\n\r\n", BAD_CHUNK),
    ("body cut short", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", &["POST a / body: connection closed by the peer"]),
    ("chunked body cut short", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", &["POST a / body: connection closed by the peer"]),

    // Whose request is it?
    ("Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", AUTHORITY),
    ("Host twice, equal", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", AUTHORITY),
    ("Host with a blank", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", AUTHORITY),
    ("Host with a slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", AUTHORITY),
    ("Host with userinfo", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", AUTHORITY),
    ("Host bad although the URL has one", b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", AUTHORITY),
    ("Host with a blank before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", CODEC),
    ("Host folded", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", CODEC),
    ("absolute form with userinfo", b"GET http://u@abs.test/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a fragment only", b"GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("absolute form without authority", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a backslash", b"GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("absolute form with a port beyond 16 bits", b"GET http://b:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with an empty port", b"GET http://b:/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a port of letters", b"GET http://b:8a/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with two ports", b"GET http://b:80:80/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a port and no host", b"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with an unclosed bracket", b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with empty brackets", b"GET http://[]/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a name in brackets", b"GET http://[zz]/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a zone", b"GET http://[::1%25lo]/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with bytes behind a bracket", b"GET http://[::1]a/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with brackets inside", b"GET http://a[b]/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with an escape in the host", b"GET http://b%41/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with an underscore", b"GET http://b_c/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a comma", b"GET http://b,c/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with a wildcard", b"GET http://*/ HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("absolute form with an IPv6 address", b"GET http://[::1]:80/x HTTP/1.1\r\nHost: a\r\n\r\n", &["GET [::1]:80 /x (http)"]),
    ("absolute form with a port that begins with 0", b"GET http://b:080/x HTTP/1.1\r\nHost: a\r\n\r\n", &["GET b:080 /x (http)"]),
    ("another scheme", b"GET ftp://abs.test/ HTTP/1.1\r\nHost: a\r\n\r\n", SCHEME),
    ("no scheme at all", b"GET ://abs.test/ HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a relative path", b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("GET *", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("connection takes x-forwarded-for away", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\n\r\n", CONNECTION),
    ("connection takes too much away", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", CONNECTION),
    ("CONNECT with a length", b"CONNECT t.test:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", &["400 http1.body_disallowed"]),
    ("CONNECT with a coding", b"CONNECT t.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", CODING),
    ("CONNECT with a path and a coding", b"CONNECT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", CODING),
    ("CONNECT with a path and a length", b"CONNECT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", &["400 http1.body_disallowed"]),
    ("CONNECT with a path", b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("CONNECT *", b"CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n", URL),
    ("CONNECT without a port", b"CONNECT t.test HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with an empty port", b"CONNECT t.test: HTTP/1.1\r\n\r\n", URL),
    ("CONNECT without a host", b"CONNECT :443 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with a port beyond 16 bits", b"CONNECT t.test:65536 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with a signed port", b"CONNECT t.test:+1 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with two ports", b"CONNECT t.test:1:2 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with userinfo", b"CONNECT u@t.test:1 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with an underscore", b"CONNECT t_t:1 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with an unclosed bracket", b"CONNECT [::1 HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with brackets and no port", b"CONNECT [::1] HTTP/1.1\r\n\r\n", URL),
    ("CONNECT with a backslash", b"CONNECT t\\t:1 HTTP/1.1\r\n\r\n", CODEC),
    ("CONNECT to an IPv6 address", b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", &["CONNECT [::1]:443 -"]),
    ("CONNECT to port 0", b"CONNECT t.test:0 HTTP/1.1\r\n\r\n", &["CONNECT t.test:0 -"]),

    // Not HTTP, or not ours.
    ("garbage", b"NOT HTTP\r\n\r\n", CODEC),
    ("a TLS client", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", CODEC),
    ("a PROXY header of version 2", b"\r\n\r\n\x00\r\nQUIT\n", CODEC),
    ("DEL at the front", b"\x7fGET / HTTP/1.1\r\n\r\n", CHARACTERS),
    ("a NUL in the method", b"G\x00T / HTTP/1.1\r\n\r\n", CHARACTERS),
    ("an unknown method", b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a method in small letters", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a blank too many", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a blank in the path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a TAB for a blank", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", CODEC),
    ("bytes above ASCII in the path", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("a NUL in the path", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", CHARACTERS),
    ("DEL in the path", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", CHARACTERS),
    ("a NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", CHARACTERS),
    ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", CHARACTERS),
    ("a bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", CHARACTERS),
    ("a blank in a name", b"GET / HTTP/1.1\r\nHost: a\r\nbad header: 1\r\n\r\n", CODEC),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", CODEC),
    ("a line without colon", b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n", CODEC),
    ("bytes above ASCII in a name", b"GET / HTTP/1.1\r\nHost: a\r\nx\xfc: 1\r\n\r\n", CODEC),
    ("a NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nx\x00: 1\r\n\r\n", CODEC),
    ("a folded value", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", CODEC),
    ("a folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", CODEC),
    ("no version", b"GET /\r\n\r\n", CODEC),
    ("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\n\r\n", VERSION),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/1", b"GET / HTTP/1\r\nHost: a\r\n\r\n", CODEC),
    ("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("HTTP/1.1x", b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n", CODEC),
    ("a head cut short", b"GET / HTTP/1.1\r\nHost: a\r\n", &["head: connection closed by the peer"]),
    ("a version cut short", b"GET / HTTP/2", &["head: connection closed by the peer"]),
    ("nothing", b"", &[]),
];

#[test]
fn every_request_has_one_reading() {
    for (what, input, expected) in CORPUS {
        for step in [usize::MAX, 1, 2, 3, 7] {
            let pieces: Vec<_> = input.chunks(step).collect();
            assert_eq!(requests(&pieces, OPTIONS), *expected, "{what}, by {step}");
        }
    }
}

#[test]
fn every_token_is_a_method_where_custom_methods_are_allowed() {
    let options = ServerOptions { methods: Methods::Tokens, ..OPTIONS };
    for (method, is_served) in [
        ("FOO", true),
        ("get", true),
        ("M-SEARCH", true),
        ("F!O", true),
        ("0", true),
        ("F(O", false),
        ("F/O", false),
        ("F=O", false),
        ("{", false),
        ("\u{e9}", false),
    ] {
        let input = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n");
        let served = format!("{method} a /x");
        let expected = if is_served { served.as_str() } else { "400 http1.codec_error" };
        assert_eq!(requests(&[input.as_bytes()], options), [expected], "{method}");
        let known = requests(&[input.as_bytes()], OPTIONS);
        assert_eq!(known, ["400 http1.codec_error"], "{method}");
    }
}

#[test]
fn http_10_is_served_where_it_is_accepted() {
    let options = ServerOptions { accept_http_10: true, ..OPTIONS };
    let cases: [(&[u8], &[&str]); 4] = [
        (b"GET / HTTP/1.0\r\n\r\n", &["GET - /"]),
        (b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", &["POST - / \"hi\""]),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODEC),
        (b"GET / HTTP/0.9\r\n\r\n", VERSION),
    ];
    for (input, expected) in cases {
        assert_eq!(requests(&[input], options), expected, "{}", input.escape_ascii());
    }
}

#[test]
fn heads_are_bounded() {
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let sized = |bytes: usize| head(&format!("x: {}\r\n", "a".repeat(bytes - head("x: \r\n").len())));
    let counted = |count: usize| head(&"x: 1\r\n".repeat(count - 1)); // Host is one of them
    let too_large: &[&str] = &["431 http1.headers_too_large"];
    let too_many: &[&str] = &["431 http1.too_many_headers"];
    let read: &[&str] = &["GET a /"];
    let cases = [
        (sized(OPTIONS.head_bytes_max), OPTIONS, read),
        (sized(OPTIONS.head_bytes_max + 1), OPTIONS, too_large),
        (sized(OPTIONS.head_bytes_max * 3), OPTIONS, too_large),
        (b"GET /".repeat(20_000), OPTIONS, CODEC), // the blank comes before the limit
        ([b"GET /".as_slice(), &[b'a'; 70_000]].concat(), OPTIONS, too_large),
        (counted(100), OPTIONS, read),
        (counted(101), OPTIONS, too_many),
        (counted(300), ServerOptions { headers_max: 300, ..OPTIONS }, read),
        (counted(301), ServerOptions { headers_max: 300, ..OPTIONS }, too_many),
        (counted(1), ServerOptions { headers_max: 0, ..OPTIONS }, too_many),
    ];
    for (number, (input, options, expected)) in cases.into_iter().enumerate() {
        for step in [usize::MAX, 1000, 7] {
            let pieces: Vec<_> = input.chunks(step).collect();
            assert_eq!(requests(&pieces, options), expected, "case {number} by {step}");
        }
    }
}

/// `input`, cut at `cuts`.
fn cut<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &input[ends[0]..ends[1]]).filter(|piece| !piece.is_empty()).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_the_same_however_they_are_cut(
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        prop_assert_eq!(requests(&cut(&bytes, &cuts), OPTIONS), requests(&[&bytes], OPTIONS));
    }

    #[test]
    fn near_misses_are_read_the_same_however_they_are_cut(
        rows in vec(any::<Index>(), 1..4),
        changes in vec((any::<Index>(), prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), Just(b'0'), any::<u8>()]), 0..6),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = rows.iter().flat_map(|row| row.get(CORPUS).1.iter().copied()).collect::<Vec<_>>();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        prop_assert_eq!(requests(&cut(&bytes, &cuts), OPTIONS), requests(&[&bytes], OPTIONS));
    }
}
