//! What a domain pattern and a path match accept.

use http::Method;

use crate::codec::RequestHead;
use crate::config::route::{Domain, PathMatch, VirtualHost};

/// The most specific virtual host for `authority`: exact, then the longest suffix, then the longest prefix,
/// then `*`. Envoy's order, independent of the order in the file.
pub(super) fn virtual_host<'a>(hosts: &'a [VirtualHost], authority: &[u8]) -> Option<&'a VirtualHost> {
    let mut best: Option<(Rank, &VirtualHost)> = None;
    for host in hosts {
        for domain in &host.domains {
            let Some(rank) = rank(domain, authority) else { continue };
            if best.is_none_or(|(so_far, _)| rank > so_far) {
                best = Some((rank, host));
            }
        }
    }
    best.map(|(_, host)| host)
}

/// How specific a matching domain is; greater is more so.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Any,
    Prefix(usize),
    Suffix(usize),
    Exact,
}

fn rank(domain: &Domain, authority: &[u8]) -> Option<Rank> {
    match domain {
        Domain::Any => Some(Rank::Any),
        Domain::Exact(name) => authority.eq_ignore_ascii_case(name.as_bytes()).then_some(Rank::Exact),
        // A wildcard stands for at least one character.
        Domain::Prefix(start) => {
            (starts_with(authority, start, false) && authority.len() > start.len()).then_some(Rank::Prefix(start.len()))
        }
        Domain::Suffix(end) => {
            let from = authority.len().checked_sub(end.len()).filter(|from| *from > 0)?;
            authority.get(from..)?.eq_ignore_ascii_case(end.as_bytes()).then_some(Rank::Suffix(end.len()))
        }
    }
}

/// Does this match take the request? A plain CONNECT has no path and is taken by [`PathMatch::Connect`] only.
pub(super) fn takes(matches: &PathMatch, head: &RequestHead) -> bool {
    let path = head.path_only();
    match matches {
        PathMatch::Connect => head.method == Method::CONNECT,
        _ if head.path.is_none() => false,
        PathMatch::Exact { path: wanted, case_sensitive: true } => path == wanted.as_bytes(),
        PathMatch::Exact { path: wanted, case_sensitive: false } => path.eq_ignore_ascii_case(wanted.as_bytes()),
        PathMatch::Prefix { prefix, case_sensitive } => starts_with(path, prefix, *case_sensitive),
        PathMatch::Regex(regex) => std::str::from_utf8(path)
            .is_ok_and(|path| regex.find(path).is_some_and(|found| found.start() == 0 && found.end() == path.len())),
    }
}

fn starts_with(text: &[u8], start: &str, case_sensitive: bool) -> bool {
    let Some(head) = text.get(..start.len()) else { return false };
    if case_sensitive { head == start.as_bytes() } else { head.eq_ignore_ascii_case(start.as_bytes()) }
}
