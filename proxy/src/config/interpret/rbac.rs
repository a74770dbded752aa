//! What rules about connections and requests mean.

use super::address::cidr;
use super::pattern::string_match;
use super::rule_tree::{self, Scope, action};
use super::template::Template;
use super::{matching, metadata, secret};
use crate::config::bootstrap::filter::{HttpRbac, RbacPerRoute};
use crate::config::bootstrap::matchers::{HeaderMatcher, MetadataMatcher};
use crate::config::bootstrap::network_filter::{
    Authenticated, CustomPrincipal, CustomPrincipalConfig, MetadataSource as WrittenSource, MutuallyAuthenticated,
    Permission, Principal, Rbac as WrittenRules, RbacPolicy, SourcedMetadata, UrlPath,
};
use crate::config::bootstrap::route_match::{FilterStateMatcher, PathMatchPolicy, PathMatcher};
use crate::config::bootstrap::rule_tree::UnifiedMatcher;
use crate::config::filter::{Rbac, RbacPrefixes};
use crate::config::judge::Judge;
use crate::config::problem::Problem;
use crate::config::rbac::{MetadataSource, Policy, Rule, Rules};
use crate::config::route::Sense;
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::yaml::At;

/// The rules of the HTTP filter, or of a route for it.
pub(super) fn of_requests_alone(written: &HttpRbac) -> Result<Rbac, Problem> {
    let prefixes = RbacPrefixes {
        rules: written.rules_stat_prefix.clone(),
        shadow_rules: written.shadow_rules_stat_prefix.clone(),
    };
    Ok(Rbac {
        rules: judge(written.rules.as_ref(), written.matcher.as_deref(), Scope::Requests)?,
        shadow_rules: judge(written.shadow_rules.as_ref(), written.shadow_matcher.as_deref(), Scope::Requests)?,
        of_filter: prefixes.clone(),
        prefixes,
        counts_policies: written.track_per_rule_stats,
    })
}

/// What a route says; `None` has nothing judged.
pub(super) fn of_route(written: &RbacPerRoute) -> Result<Option<Rbac>, Problem> {
    written.rbac.as_ref().map(of_requests_alone).transpose()
}

/// The rules of a route for this filter.
pub(super) fn below(filter: &Rbac, of_route: &Rbac) -> Rbac {
    let or = |own: &String, other: &String| if own.is_empty() { other.clone() } else { own.clone() };
    let (own, others) = (&of_route.prefixes, &filter.prefixes);
    let prefixes = RbacPrefixes {
        rules: or(&own.rules, &others.rules),
        shadow_rules: or(&own.shadow_rules, &others.shadow_rules),
    };
    Rbac { prefixes, of_filter: others.clone(), ..of_route.clone() }
}

/// Rules or a tree of matchers, whichever is written.
pub(super) fn judge(
    written: Option<&WrittenRules>,
    matcher: Option<&At<UnifiedMatcher>>,
    scope: Scope,
) -> Result<Option<Judge>, Problem> {
    match (written, matcher) {
        (Some(_), Some(matcher)) => {
            Err(matcher.invalid_but("rules have no effect beside a matcher", "write one of the two"))
        }
        (Some(written), None) => rules(written, scope).map(|rules| Some(Judge::Policies(rules))),
        (None, Some(matcher)) => rule_tree::tree(matcher, scope).map(|tree| Some(Judge::Matcher(Box::new(tree)))),
        (None, None) => Ok(None),
    }
}

fn rules(written: &WrittenRules, scope: Scope) -> Result<Rules, Problem> {
    let policies = written.policies.iter().map(|(name, RbacPolicy { permissions, principals })| {
        Ok(Policy {
            name: name.clone(),
            permissions: permissions.iter().map(|rule| permission(rule, scope)).collect::<Result<_, _>>()?,
            principals: principals.iter().map(|id| principal(id, scope)).collect::<Result<_, _>>()?,
        })
    });
    Ok(Rules { action: action(written.action), policies: policies.collect::<Result<_, Problem>>()? })
}

/// Envoy takes `any: true` alone.
fn anything(any: bool) -> Option<Rule> {
    any.then_some(Rule::Anything)
}

fn permission(written: &At<Permission>, scope: Scope) -> Result<Rule, Problem> {
    let Permission {
        and_rules,
        any,
        destination_ip,
        destination_port,
        destination_port_range,
        header,
        metadata,
        not_rule,
        or_rules,
        requested_server_name,
        sourced_metadata,
        uri_template,
        url_path,
    } = &written.value;
    let each = |rules: &[At<Permission>]| rules.iter().map(|it| permission(it, scope)).collect::<Result<_, Problem>>();
    let port = |at: &At<u32>| Ok(Rule::DestinationPort(at.value..at.value.saturating_add(1)));
    let found = [
        and_rules.as_ref().map(|set| each(&set.rules).map(Rule::All)),
        any.and_then(anything).map(Ok),
        destination_ip.as_ref().map(|range| cidr(range).map(Rule::Destination)),
        destination_port.as_ref().map(port),
        destination_port_range.as_ref().map(|at| Ok(Rule::DestinationPort(at.value.start..at.value.end))),
        header.as_ref().map(|at| self::header(at, scope)),
        metadata.as_ref().map(|at| self::metadata(at, scope)),
        not_rule.as_ref().map(|rule| permission(rule, scope).map(|rule| Rule::Not(Box::new(rule)))),
        or_rules.as_ref().map(|set| each(&set.rules).map(Rule::Any)),
        requested_server_name.as_ref().map(|name| string_match(name).map(Rule::ServerName)),
        sourced_metadata.as_ref().map(|at| self::sourced_metadata(at, scope)),
        uri_template.as_ref().map(|at| self::uri_template(at, scope)),
        url_path.as_ref().map(|at| path(at, scope)),
    ];
    exactly_one(found, || written.invalid("a permission takes exactly one kind of rule"))
}

fn principal(written: &At<Principal>, scope: Scope) -> Result<Rule, Problem> {
    let Principal {
        and_ids,
        any,
        authenticated,
        custom,
        direct_remote_ip,
        filter_state,
        header,
        metadata,
        not_id,
        or_ids,
        remote_ip,
        source_ip,
        sourced_metadata,
        url_path,
    } = &written.value;
    let each = |ids: &[At<Principal>]| ids.iter().map(|it| principal(it, scope)).collect::<Result<_, Problem>>();
    let found = [
        and_ids.as_ref().map(|set| each(&set.ids).map(Rule::All)),
        any.and_then(anything).map(Ok),
        authenticated.as_ref().map(|at| self::authenticated(at, scope)),
        custom.as_ref().map(|at| self::custom(at, scope)),
        direct_remote_ip.as_ref().map(|range| cidr(range).map(Rule::DirectSource)),
        filter_state.as_ref().map(|at| self::filter_state(at, scope)),
        header.as_ref().map(|at| self::header(at, scope)),
        metadata.as_ref().map(|at| self::metadata(at, scope)),
        not_id.as_ref().map(|rule| principal(rule, scope).map(|rule| Rule::Not(Box::new(rule)))),
        or_ids.as_ref().map(|set| each(&set.ids).map(Rule::Any)),
        remote_ip.as_ref().map(|range| cidr(range).map(Rule::Client)),
        source_ip.as_ref().map(|range| cidr(range).map(Rule::Source)),
        sourced_metadata.as_ref().map(|at| self::sourced_metadata(at, scope)),
        url_path.as_ref().map(|at| path(at, scope)),
    ];
    exactly_one(found, || written.invalid("a principal takes exactly one kind of rule"))
}

/// A rule that connections do not have.
fn of_requests<T>(at: &At<T>, scope: Scope) -> Result<&T, Problem> {
    match scope {
        Scope::Connections => Err(
            at.invalid("rules for connections are about addresses, ports and the server name; others are for requests")
        ),
        Scope::Requests => Ok(&at.value),
    }
}

fn header(at: &At<HeaderMatcher>, scope: Scope) -> Result<Rule, Problem> {
    of_requests(at, scope)?;
    matching::header(at).map(Rule::Header)
}

fn metadata(at: &At<MetadataMatcher>, scope: Scope) -> Result<Rule, Problem> {
    of_requests(at, scope)?;
    metadata_of(MetadataSource::Filters, at)
}

fn sourced_metadata(at: &At<SourcedMetadata>, scope: Scope) -> Result<Rule, Problem> {
    let SourcedMetadata { metadata_matcher, metadata_source } = of_requests(at, scope)?;
    let source = match metadata_source {
        None | Some(WrittenSource::Dynamic) => MetadataSource::Filters,
        Some(WrittenSource::Route) => MetadataSource::Route,
    };
    metadata_of(source, metadata_matcher)
}

fn metadata_of(source: MetadataSource, at: &At<MetadataMatcher>) -> Result<Rule, Problem> {
    let sense = if at.value.invert { Sense::Inverted } else { Sense::Direct };
    let (path, value) = metadata::matcher(at)?;
    Ok(Rule::Metadata { source, path, value, sense })
}

fn filter_state(at: &At<FilterStateMatcher>, scope: Scope) -> Result<Rule, Problem> {
    let FilterStateMatcher { address_match, key, string_match: text } = of_requests(at, scope)?;
    match (text, address_match) {
        (Some(text), None) => Ok(Rule::State(Box::from(&**key), string_match(text)?)),
        // No filter leaves an address.
        (None, Some(_)) => Ok(Rule::Any(Vec::new())),
        (Some(_), Some(_)) | (None, None) => Err(at.invalid("takes exactly one of string_match and address_match")),
    }
}

fn uri_template(at: &At<PathMatchPolicy>, scope: Scope) -> Result<Rule, Problem> {
    let PathMatcher::UriTemplate(template) = &of_requests(at, scope)?.typed_config;
    let pattern = Pattern::Regex(Template::parse(&template.path_template)?.regex()?);
    Ok(Rule::Path(StringMatch { pattern, ignore_case: false }))
}

fn path(at: &At<UrlPath>, scope: Scope) -> Result<Rule, Problem> {
    string_match(&of_requests(at, scope)?.path).map(Rule::Path)
}

fn authenticated(at: &At<Authenticated>, scope: Scope) -> Result<Rule, Problem> {
    of_requests(at, scope)?.principal_name.as_ref().map(string_match).transpose().map(Rule::Authenticated)
}

fn custom(at: &At<CustomPrincipal>, scope: Scope) -> Result<Rule, Problem> {
    let CustomPrincipalConfig::MutuallyAuthenticated(wanted) = &of_requests(at, scope)?.typed_config;
    let MutuallyAuthenticated { any_validated_client_certificate, san_matcher } = wanted;
    match (any_validated_client_certificate, san_matcher) {
        (_, Some(name)) => secret::peer_name(name).map(|name| Rule::MutuallyAuthenticated(Some(name))),
        (true, None) => Ok(Rule::MutuallyAuthenticated(None)),
        (false, None) => Err(at.invalid("takes one of any_validated_client_certificate: true and san_matcher")),
    }
}

fn exactly_one<const N: usize>(
    found: [Option<Result<Rule, Problem>>; N],
    otherwise: impl FnOnce() -> Problem,
) -> Result<Rule, Problem> {
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(rule), None) => rule,
        (None, _) | (Some(_), Some(_)) => Err(otherwise()),
    }
}
