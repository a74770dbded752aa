//! Which requests a route takes.

use super::fraction::fraction;
use super::metadata;
use super::pattern::{string_match, whole};
use super::template::Template;
use crate::config::bootstrap::matchers::{HeaderMatcher, MetadataMatcher, NumberRange};
use crate::config::bootstrap::route_match::{
    CookieMatcher, FilterStateMatcher, PathMatcher, QueryParameterMatcher, RouteMatch, TlsContextMatchOptions,
};
use crate::config::problem::Problem;
use crate::config::route::{
    CertificateMatch, Condition, CookieMatch, HeaderMatch, HeaderTest, Missing, PathMatch, QueryMatch, QueryTest, Sense,
};
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::yaml::{At, Notes};

pub(super) fn path(written: &At<RouteMatch>) -> Result<PathMatch, Problem> {
    let case_sensitive = written.value.case_sensitive.unwrap_or(true);
    let RouteMatch { connect_matcher, path, path_match_policy, path_separated_prefix, prefix, safe_regex, .. } =
        &written.value;
    let prefix = prefix.iter().map(|prefix| Ok(PathMatch::Prefix { prefix: prefix.clone(), case_sensitive }));
    let path = path.iter().map(|path| Ok(PathMatch::Exact { path: path.clone(), case_sensitive }));
    let regex = safe_regex.iter().map(|safe| whole(&safe.regex).map(PathMatch::Regex));
    let separated = path_separated_prefix.iter().map(|prefix| separated_prefix(prefix, case_sensitive));
    let connect = connect_matcher.iter().map(|_| Ok(PathMatch::Connect));
    let template = path_match_policy.iter().map(|policy| match &policy.typed_config {
        PathMatcher::UriTemplate(template) => Template::parse(&template.path_template)?.regex().map(PathMatch::Regex),
    });
    let mut all = prefix.chain(path).chain(regex).chain(separated).chain(connect).chain(template);
    match (all.next(), all.next()) {
        (Some(matches), None) => matches,
        _ => Err(written.invalid(
            "a match takes exactly one of prefix, path, safe_regex, path_separated_prefix, connect_matcher and \
             path_match_policy",
        )),
    }
}

fn separated_prefix(written: &At<String>, case_sensitive: bool) -> Result<PathMatch, Problem> {
    let prefix = &written.value;
    if prefix.len() < 2 || prefix.ends_with('/') || prefix.contains(['?', '#']) {
        return Err(written.invalid("must be two characters or more, without ? and #, and not end in a slash"));
    }
    Ok(PathMatch::SeparatedPrefix { prefix: prefix.clone(), case_sensitive })
}

pub(super) fn conditions(written: &RouteMatch, notes: &Notes) -> Result<Vec<Condition>, Problem> {
    let fraction = written.runtime_fraction.iter().map(|share| Ok(Condition::Fraction(fraction(share, notes))));
    let grpc = written.grpc.iter().map(|_| Ok(Condition::Grpc));
    let headers = written.headers.iter().map(|header| self::header(header).map(Condition::Header));
    let query = written.query_parameters.iter().map(|query| self::query(query).map(Condition::Query));
    let tls = written.tls_context.iter().map(|wanted| Ok(Condition::ClientCertificate(certificate(*wanted))));
    let cookies = written.cookies.iter().map(|cookie| self::cookie(&cookie.value).map(Condition::Cookie));
    let absent = written.dynamic_metadata.iter().filter_map(|at| dynamic_metadata(at).transpose());
    let state = written.filter_state.iter().map(filter_state);
    fraction.chain(grpc).chain(headers).chain(query).chain(cookies).chain(tls).chain(absent).chain(state).collect()
}

fn cookie(written: &CookieMatcher) -> Result<CookieMatch, Problem> {
    let sense = if written.invert_match { Sense::Inverted } else { Sense::Direct };
    Ok(CookieMatch { name: written.name.to_string(), value: string_match(&written.string_match)?, sense })
}

/// No request has metadata while its route is looked for: as in Envoy, no test of a value succeeds then, not even one for null.
fn dynamic_metadata(at: &At<MetadataMatcher>) -> Result<Option<Condition>, Problem> {
    metadata::matcher(at)?;
    Ok((!at.value.invert).then_some(Condition::Never))
}

/// No request has filter state.
fn filter_state(at: &At<FilterStateMatcher>) -> Result<Condition, Problem> {
    match (&at.value.string_match, &at.value.address_match) {
        (Some(text), None) => string_match(text).map(|_| Condition::Never),
        (None, Some(_)) => Ok(Condition::Never),
        (Some(_), Some(_)) | (None, None) => Err(at.invalid("takes exactly one of string_match and address_match")),
    }
}

fn certificate(written: TlsContextMatchOptions) -> CertificateMatch {
    CertificateMatch { presented: written.presented, validated: written.validated }
}

pub(super) fn header(at: &At<HeaderMatcher>) -> Result<HeaderMatch, Problem> {
    let written = &at.value;
    let exact = |pattern: Pattern| HeaderTest::Text(StringMatch { pattern, ignore_case: false });
    let mut tests = Vec::new();
    // As in Envoy, an empty exact_match requires the header alone.
    tests.extend(written.exact_match.as_ref().map(|text| match text.as_str() {
        "" => HeaderTest::Present,
        text => exact(Pattern::Exact(text.to_owned())),
    }));
    tests.extend(written.prefix_match.as_ref().map(|text| exact(Pattern::Prefix(text.to_string()))));
    tests.extend(written.suffix_match.as_ref().map(|text| exact(Pattern::Suffix(text.to_string()))));
    tests.extend(written.contains_match.as_ref().map(|text| exact(Pattern::Contains(text.to_string()))));
    if let Some(safe) = &written.safe_regex_match {
        tests.push(exact(Pattern::Regex(whole(&safe.regex)?)));
    }
    if let Some(text) = &written.string_match {
        tests.push(HeaderTest::Text(string_match(text)?));
    }
    tests.extend(written.range_match.map(|NumberRange { start, end }| HeaderTest::Range(start..end)));
    tests.extend(written.present_match.map(|wanted| if wanted { HeaderTest::Present } else { HeaderTest::Absent }));
    if tests.len() > 1 {
        return Err(
            at.invalid("a header matcher takes at most one of string_match, range_match, present_match and so on")
        );
    }
    Ok(HeaderMatch {
        name: written.name.to_string(),
        value: tests.pop().unwrap_or(HeaderTest::Present),
        sense: if written.invert_match { Sense::Inverted } else { Sense::Direct },
        missing: if written.treat_missing_header_as_empty { Missing::Empty } else { Missing::Absent },
    })
}

pub(super) fn query(at: &At<QueryParameterMatcher>) -> Result<QueryMatch, Problem> {
    let value = match (&at.value.string_match, at.value.present_match) {
        (Some(_), Some(_)) => {
            return Err(at.invalid("a query parameter matcher takes at most one of string_match and present_match"));
        }
        (Some(text), None) => QueryTest::Text(string_match(text)?),
        (None, Some(false)) => QueryTest::Absent,
        (None, None | Some(true)) => QueryTest::Present,
    };
    Ok(QueryMatch { name: at.value.name.to_string(), value })
}
