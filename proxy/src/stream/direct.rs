//! Responses that routes have ready: direct responses and redirects.

use http::HeaderValue;

use super::local_reply::LocalReply;
use crate::access_log::StreamInfo;
use crate::codec::RequestHead;
use crate::config::filter::RouterOptions;
use crate::config::rewrite::{Redirect, RedirectPath, RedirectStatus};
use crate::config::route::PathMatch;
use crate::router::{redirect, rewrite};

/// A configured direct response.
pub(super) fn direct(status: u16, body: &str, request: &RequestHead) -> LocalReply {
    // RFC 9110 15.3.2 and 15.4: these have a location. Envoy names what was requested.
    let has_location = status == 201 || (300..400).contains(&status);
    let location = if has_location { redirect::location(&Redirect::default(), request) } else { None };
    LocalReply::Direct { status, body: body.to_owned(), location }
}

/// A redirect. As in Envoy, one that rewrites the path rewrites that of the request, which the access log shows.
pub(super) fn redirect(
    to: &Redirect,
    matches: &PathMatch,
    router: &RouterOptions,
    request: &mut RequestHead,
    info: &StreamInfo,
) -> LocalReply {
    if let RedirectPath::Rewritten(change) = &to.path {
        rewrite::rewrite_path(change, matches, router, request, info);
    }
    redirected(to.status.code(), redirect::location(to, request))
}

/// A redirect to the same place over TLS.
pub(super) fn redirect_to_tls(request: &RequestHead) -> LocalReply {
    redirected(RedirectStatus::MovedPermanently.code(), redirect::location_over_tls(request))
}

fn redirected(status: u16, location: Option<HeaderValue>) -> LocalReply {
    LocalReply::Direct { status, body: String::new(), location }
}
