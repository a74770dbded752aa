//! What several filters read of the fields of a request.

use std::borrow::Borrow;

use http::HeaderValue;

use crate::codec::{RequestHead, names};

/// How much of a path the realm of a challenge has at most, as in Envoy.
const REALM_PATH_BYTES_MAX: usize = 256;

/// The scheme of the request: that of its URI, or what was said of the connection to another proxy.
pub(super) fn scheme(request: &RequestHead) -> Option<&HeaderValue> {
    request.scheme.as_ref().or_else(|| request.headers.get(&names::X_FORWARDED_PROTO))
}

/// The URL that the client has requested, as a challenge names it.
pub(super) fn realm(request: &RequestHead) -> Vec<u8> {
    let bytes = |value: Option<&HeaderValue>| value.map_or(Vec::new(), |value| value.as_bytes().to_vec());
    let path = request.headers.get(&names::X_ENVOY_ORIGINAL_PATH).or(request.path.as_ref());
    let mut path = bytes(path);
    path.truncate(REALM_PATH_BYTES_MAX);
    let scheme = bytes(request.headers.get(&names::X_FORWARDED_PROTO));
    [scheme, b"://".to_vec(), bytes(request.authority.as_ref()), path].concat()
}

/// The values of one name behind one another, as Envoy joins them; those of `cookie` as well.
pub(super) fn joined<T: Borrow<str>>(values: &[T]) -> String {
    values.join(",")
}
