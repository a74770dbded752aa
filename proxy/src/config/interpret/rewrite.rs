//! What rewrites and redirects mean.

use http::HeaderValue;

use super::pattern;
use super::template::Template;
use crate::config::bootstrap::matchers::RegexMatchAndSubstitute;
use crate::config::bootstrap::route::{
    PathRewritePolicy, PathRewriter, RedirectAction, RedirectResponseCode, RouteAction,
};
use crate::config::bootstrap::route_match::{PathMatchPolicy, PathMatcher, RouteMatch};
use crate::config::constraints::HeaderText;
use crate::config::log_format::Format;
use crate::config::problem::Problem;
use crate::config::rewrite::{
    ForwardedHost, HostRewrite, NewHost, PathRewrite, Piece, Redirect, RedirectPath, RedirectQuery, RedirectStatus,
    RegexRewrite, Rewrites, Substitution, is_host, is_part_of_target,
};
use crate::config::yaml::At;

pub(super) fn redirect(at: &At<RedirectAction>) -> Result<Redirect, Problem> {
    let written = &at.value;
    let path = match (&written.path_redirect, &written.prefix_rewrite, &written.regex_rewrite) {
        (None, None, None) => RedirectPath::Kept,
        (Some(path), None, None) => text(path).map_or(RedirectPath::Kept, RedirectPath::Replaced),
        (None, Some(prefix), None) => {
            text(prefix).map_or(RedirectPath::Kept, |prefix| RedirectPath::Rewritten(PathRewrite::Prefix(prefix)))
        }
        (None, None, Some(regex)) => RedirectPath::Rewritten(PathRewrite::Regex(self::regex(regex)?)),
        _ => return Err(at.invalid("a redirect takes at most one of path_redirect, prefix_rewrite and regex_rewrite")),
    };
    let port = match &written.port_redirect {
        None | Some(At { value: 0, .. }) => None,
        Some(port) => Some(u16::try_from(port.value).map_err(|_| port.invalid("is not a port; the largest is 65535"))?),
    };
    let scheme = match (written.https_redirect, &written.scheme_redirect) {
        (None | Some(false), None) => None,
        (Some(true), None) => Some("https".to_owned()),
        (None, Some(scheme)) => self::scheme(scheme)?,
        (Some(_), Some(scheme)) => {
            return Err(scheme.invalid("a redirect takes at most one of https_redirect and scheme_redirect"));
        }
    };
    let query = if written.strip_query { RedirectQuery::Stripped } else { RedirectQuery::Kept };
    let host = written.host_redirect.as_ref().and_then(text);
    Ok(Redirect { host, path, port, scheme, status: status(written.response_code), query })
}

/// What a route changes in the target of the requests that `matched` takes, if anything.
pub(super) fn rewrites(at: &At<RouteAction>, matched: &RouteMatch) -> Result<Option<Rewrites>, Problem> {
    let (host, path) = (host(at)?, path(at, matched)?);
    Ok((host.is_some() || path.is_some()).then_some(Rewrites { host, path }))
}

fn path(at: &At<RouteAction>, matched: &RouteMatch) -> Result<Option<PathRewrite>, Problem> {
    let written = &at.value;
    let prefix = written.prefix_rewrite.iter().filter(|prefix| !prefix.value.is_empty()).map(prefix);
    let regex = written.regex_rewrite.iter().map(|written| {
        let regex = regex(&written.value)?;
        check_substitution(written, &regex, is_part_of_target, NOT_IN_A_TARGET)?;
        Ok(PathRewrite::Regex(regex))
    });
    let format = written.path_rewrite.iter().filter(|format| !format.value.is_empty());
    let format = format.map(|format| parsed(format).map(PathRewrite::Format));
    let template = written.path_rewrite_policy.iter().map(|policy| template(policy, matched));
    let mut all = prefix.chain(regex).chain(format).chain(template);
    match (all.next(), all.next()) {
        (rewrite, None) => rewrite.transpose(),
        // Envoy's words.
        (_, Some(_)) => Err(at.invalid("specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy")),
    }
}

fn prefix(prefix: &At<String>) -> Result<PathRewrite, Problem> {
    if !prefix.value.starts_with('/') {
        return Err(prefix.invalid("must begin with /, as the path of a request does"));
    }
    if !is_part_of_target(prefix.value.as_bytes()) {
        return Err(prefix.invalid(NOT_IN_A_TARGET));
    }
    Ok(PathRewrite::Prefix(prefix.value.clone()))
}

/// A rewrite by a template is a substitution in what the route's template matches.
fn template(policy: &PathRewritePolicy, matched: &RouteMatch) -> Result<PathRewrite, Problem> {
    let PathRewriter::UriTemplate(rewrite) = &policy.typed_config;
    let rewrite = &rewrite.path_template_rewrite;
    let Some(PathMatchPolicy { typed_config: PathMatcher::UriTemplate(of_match), .. }) = &matched.path_match_policy
    else {
        return Err(rewrite.invalid("needs a path_match_policy with a URI template in the route's match"));
    };
    let template = Template::parse(&of_match.path_template)?;
    let substitution = template.substitution(rewrite)?;
    let is_wrong = |piece: &Piece| matches!(piece, Piece::Literal(text) if !is_part_of_target(text.as_bytes()));
    if substitution.0.iter().any(is_wrong) {
        return Err(rewrite.invalid(NOT_IN_A_TARGET));
    }
    Ok(PathRewrite::Regex(RegexRewrite { pattern: template.regex()?, substitution }))
}

fn host(at: &At<RouteAction>) -> Result<Option<HostRewrite>, Problem> {
    let written = &at.value;
    let literal = written.host_rewrite_literal.iter().filter_map(|literal| literal_host(literal).transpose());
    let literal = literal.map(|host| host.map(NewHost::Literal));
    let header = written.host_rewrite_header.iter().map(|header| Ok(NewHost::Header(header.value.to_string())));
    let path = written.host_rewrite_path_regex.iter().map(|written| {
        let regex = regex(&written.value)?;
        check_substitution(written, &regex, is_host, NOT_A_HOST)?;
        Ok(NewHost::Path(regex))
    });
    let format = written.host_rewrite.iter().filter(|format| !format.value.is_empty());
    let format = format.map(|format| parsed(format).map(NewHost::Format));
    let endpoint = written.auto_host_rewrite.then_some(Ok(NewHost::Endpoint));
    let mut all = literal.chain(header).chain(path).chain(format).chain(endpoint);
    let host = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(host), None) => host?,
        (Some(_), Some(_)) => return Err(at.invalid("a route action has one rewrite of the host")),
    };
    let forwarded_host = if written.append_x_forwarded_host { ForwardedHost::Appended } else { ForwardedHost::Kept };
    Ok(Some(HostRewrite { host, forwarded_host }))
}

fn parsed(written: &At<String>) -> Result<Format, Problem> {
    Format::parse_header_value(&written.value).map_err(|error| written.invalid(error.to_string()))
}

/// `host_rewrite_literal`; an empty one is none.
pub(super) fn literal_host(written: &At<String>) -> Result<Option<HeaderValue>, Problem> {
    if written.value.is_empty() {
        return Ok(None);
    }
    let host = HeaderValue::from_str(&written.value).ok().filter(|host| is_host(host.as_bytes()));
    host.map(Some).ok_or_else(|| written.invalid(NOT_A_HOST))
}

const NOT_IN_A_TARGET: &str =
    "cannot be sent in the target of a request; write blanks, # and other such characters as %20, %23, ...";
const NOT_A_HOST: &str = "is not a host; write a name or an address, and a port if it is not the default";

/// Refuses literal text that would stand where it cannot be sent.
fn check_substitution(
    at: &At<RegexMatchAndSubstitute>,
    regex: &RegexRewrite,
    is_allowed: fn(&[u8]) -> bool,
    otherwise: &str,
) -> Result<(), Problem> {
    let is_wrong = |piece: &Piece| matches!(piece, Piece::Literal(text) if !is_allowed(text.as_bytes()));
    match &at.value.substitution {
        Some(written) if regex.substitution.0.iter().any(is_wrong) => Err(written.invalid(otherwise)),
        Some(_) | None => Ok(()),
    }
}

/// Text that is not empty: to set an empty one is to set none, as everywhere in protobuf.
fn text(written: &HeaderText) -> Option<String> {
    Some(String::from_utf8_lossy(written.0.as_bytes()).into_owned()).filter(|text| !text.is_empty())
}

fn scheme(written: &At<HeaderText>) -> Result<Option<String>, Problem> {
    let Some(scheme) = text(&written.value) else { return Ok(None) };
    // RFC 3986 3.1
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err(written.invalid(format!("{scheme:?} is not a scheme; write one such as https")));
    }
    Ok(Some(scheme))
}

fn status(written: Option<RedirectResponseCode>) -> RedirectStatus {
    match written {
        None | Some(RedirectResponseCode::MovedPermanently) => RedirectStatus::MovedPermanently,
        Some(RedirectResponseCode::Found) => RedirectStatus::Found,
        Some(RedirectResponseCode::SeeOther) => RedirectStatus::SeeOther,
        Some(RedirectResponseCode::TemporaryRedirect) => RedirectStatus::TemporaryRedirect,
        Some(RedirectResponseCode::PermanentRedirect) => RedirectStatus::PermanentRedirect,
    }
}

pub(super) fn regex(written: &RegexMatchAndSubstitute) -> Result<RegexRewrite, Problem> {
    let pattern = pattern::anywhere(&written.pattern.regex)?;
    let Some(at) = &written.substitution else {
        return Ok(RegexRewrite { pattern, substitution: Substitution(Vec::new()) });
    };
    let text = String::from_utf8_lossy(at.value.0.as_bytes());
    let substitution = substitution(&text, pattern.captures_len()).map_err(|error| at.invalid(error))?;
    Ok(RegexRewrite { pattern, substitution })
}

/// RE2's form: `\0` to `\9` are groups, `\\` is a backslash. `groups`: how many there are, the whole match among them.
fn substitution(text: &str, groups: usize) -> Result<Substitution, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            literal.push(next);
            continue;
        }
        match rest.next().map(|after| (after, after.to_digit(10))) {
            Some((_, Some(digit))) => {
                let number = usize::try_from(digit).unwrap_or(usize::MAX);
                if number >= groups {
                    return Err(format!("\\{number} names a group that the expression does not have"));
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Group(number));
            }
            Some(('\\', None)) => literal.push('\\'),
            Some((_, None)) | None => {
                return Err(
                    r"a backslash stands before a digit, or before another backslash: write \\ for one".to_owned()
                );
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Substitution(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substitution_names_groups_by_their_numbers() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        for (text, expected) in [
            ("", Some(vec![])),
            (r"/\2/\1", Some(vec![literal("/"), Piece::Group(2), literal("/"), Piece::Group(1)])),
            (r"\0\\0", Some(vec![Piece::Group(0), literal(r"\0")])),
            (r"\12", Some(vec![Piece::Group(1), literal("2")])),
            ("$1 é", Some(vec![literal("$1 é")])),
            (r"\3", None),
            (r"\x", None),
            ("\\", None),
        ] {
            assert_eq!(substitution(text, 3).ok(), expected.map(Substitution), "{text}");
        }
    }
}
