//! Envoy's fields and values that finwait knows and does not act on, with what happens to a file that uses them.
//!
//! Tables, so that a reader can see in one place what is missing, and why. A line says: message, field (or
//! enumeration, value), support. A field in neither a table nor [`bootstrap`](super::bootstrap) is an unknown field.

mod downstream;
mod extensions;
mod tls;
mod upstream;

use Support::{Old, Refused};
pub(super) use extensions::{refusal, refusal_by_name};

/// What happens to a file with this field or value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Support {
    /// It loads, with a warning: the field changes nothing that a client or an upstream could notice.
    Ignored(&'static str),
    /// It is refused, with today's spelling: the field belongs to an earlier API.
    Old(&'static str),
    /// It loads if the field has this value, which says what finwait does anyway; else it is refused.
    Only(&'static str, &'static str),
    /// It is refused: without the field, the proxy would behave otherwise than the file says.
    Refused(&'static str),
    /// It loads if each of its fields does, by the lines of this message: those that say what finwait does anyway.
    Within(&'static str),
}

/// What is known about `field` of `message`.
pub(super) fn field(message: &str, field: &str) -> Option<Support> {
    fields().find(|(of, name, _)| *of == message && *name == field).map(|(_, _, support)| *support)
}

/// The fields of `message` about which something is known.
pub(super) fn fields_of(message: &str) -> impl Iterator<Item = &'static str> + use<'_> {
    fields().filter(move |(of, _, _)| *of == message).map(|(_, name, _)| *name)
}

/// The fields that `message` has to have where it stands, be it [`Support::Within`] another.
pub(super) fn required_of(message: &str) -> impl Iterator<Item = &'static str> + use<'_> {
    REQUIRED.iter().filter(move |(of, _)| *of == message).map(|(_, field)| *field)
}

/// The lines of all tables.
fn fields() -> impl Iterator<Item = &'static (&'static str, &'static str, Support)> {
    downstream::FIELDS.iter().chain(tls::FIELDS).chain(upstream::FIELDS)
}

/// What is known about `value` of the enumeration `of`, or about the `@type` `value` where an `of` stands.
pub(super) fn value(of: &str, value: &str) -> Option<Support> {
    if value.starts_with("type.googleapis.com/envoy.api.v2.")
        || value.starts_with("type.googleapis.com/envoy.config.filter.")
    {
        return Some(Old("the v3 type, which begins with type.googleapis.com/envoy.extensions."));
    }
    let value = value.strip_prefix(TYPE_URL).and_then(|it| it.strip_prefix("envoy.extensions.")).unwrap_or(value);
    // Values in any case, as protobuf takes them; types exactly.
    let is_same = |known: &str| known == value || (!known.contains('.') && known.eq_ignore_ascii_case(value));
    VALUES.iter().find(|(name, known, _)| *name == of && is_same(known)).map(|(_, _, support)| *support)
}

/// What Envoy refuses these messages without.
const REQUIRED: &[(&str, &str)] = &[("UuidRequestIdConfig", "@type")];

// Reasons that lines of several tables share.
const DYNAMIC: &str = "the configuration is static; there is no xDS";
const EXTENSION: &str = "there is no such extension here";
const HEADER_EDITS: &str = "headers are edited by routes and by the filter envoy.filters.http.header_mutation alone";
const LOAD_BALANCING: &str = "endpoints are chosen by round robin, least request, random, ring hash or Maglev, within priorities, localities and subsets";
const METADATA: &str = "nothing here reads metadata of listeners, filter chains, route tables and virtual hosts";
const NO_FILTER: &str = "the HTTP filters are basic_auth, buffer, compressor, cors, csrf, decompressor, dynamic_forward_proxy, ext_authz, fault, grpc_stats, grpc_web, header_mutation, header_to_metadata, health_check, jwt_authn, local_ratelimit, lua, ratelimit, rbac, set_filter_state, set_metadata and router";
const RATE_LIMIT: &str = "requests and connections are limited by the filters envoy.filters.http.local_ratelimit, envoy.filters.http.ratelimit and envoy.filters.network.local_ratelimit alone";
const RESOLVER: &str = "names are resolved by the operating system, in the way in which that is configured";
const RESPONSE: &str = "a file says nothing to whom one could respond";
const SOCKET: &str = "sockets are opened with fixed options";
/// How every `@type` begins.
const TYPE_URL: &str = "type.googleapis.com/";
const TLS: &str =
    "of Envoy's transport sockets there are raw_buffer and tls (DownstreamTlsContext, UpstreamTlsContext)";

/// Types stand here without `type.googleapis.com/envoy.extensions.` in front.
#[rustfmt::skip]
const VALUES: &[(&str, &str, Support)] = &[
    ("CheckCodec", "HTTP3", Refused("there is no UDP and no QUIC")),
    ("CollectorEndpointVersion", "GRPC", Refused("spans are sent as JSON; write HTTP_JSON")),
    ("CollectorEndpointVersion", "HTTP_PROTO", Refused("spans are sent as JSON; write HTTP_JSON")),
    ("CodecType", "HTTP3", Refused("there is no UDP and no QUIC")),
    ("DnsResolver", "network.dns_resolver.apple.v3.AppleDnsResolverConfig", Refused(RESOLVER)),
    ("DnsResolver", "network.dns_resolver.hickory.v3.HickoryDnsResolverConfig", Refused(RESOLVER)),
    ("DiscoveryType", "sds", Old("STATIC or STRICT_DNS")),
    ("TlsProtocol", "TLSv1_0", Refused("the oldest version is TLSv1_2 (RFC 8996)")),
    ("TlsProtocol", "TLSv1_1", Refused("the oldest version is TLSv1_2 (RFC 8996)")),
    ("ApiVersion", "V2", Old("V3")),
    ("Protocol", "UDP", Refused("there is no UDP and no QUIC")),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the messages are; a line that names none of them would never be found.
    pub(super) const MESSAGES: [&str; 35] = [
        include_str!("../bootstrap/mod.rs"),
        include_str!("../bootstrap/access_log.rs"),
        include_str!("../bootstrap/balancing.rs"),
        include_str!("../bootstrap/cluster.rs"),
        include_str!("../bootstrap/lua.rs"),
        include_str!("../bootstrap/compression.rs"),
        include_str!("../bootstrap/entry_log.rs"),
        include_str!("../bootstrap/ext_authz.rs"),
        include_str!("../bootstrap/fault.rs"),
        include_str!("../bootstrap/filter.rs"),
        include_str!("../bootstrap/filter_state.rs"),
        include_str!("../bootstrap/format_string.rs"),
        include_str!("../bootstrap/forward_proxy.rs"),
        include_str!("../bootstrap/grpc_service.rs"),
        include_str!("../bootstrap/header_to_metadata.rs"),
        include_str!("../bootstrap/health.rs"),
        include_str!("../bootstrap/jwt_authn.rs"),
        include_str!("../bootstrap/listener.rs"),
        include_str!("../bootstrap/matchers.rs"),
        include_str!("../bootstrap/metadata.rs"),
        include_str!("../bootstrap/network_filter.rs"),
        include_str!("../bootstrap/proxy_protocol.rs"),
        include_str!("../bootstrap/policies.rs"),
        include_str!("../bootstrap/rate_limit.rs"),
        include_str!("../bootstrap/resolver.rs"),
        include_str!("../bootstrap/route.rs"),
        include_str!("../bootstrap/route_match.rs"),
        include_str!("../bootstrap/rule_tree.rs"),
        include_str!("../bootstrap/secret.rs"),
        include_str!("../bootstrap/socket_option.rs"),
        include_str!("../bootstrap/source.rs"),
        include_str!("../bootstrap/stats.rs"),
        include_str!("../bootstrap/tcp_proxy.rs"),
        include_str!("../bootstrap/tls.rs"),
        include_str!("../bootstrap/tracing.rs"),
    ];

    #[test]
    fn every_field_is_of_a_message_that_does_not_have_it() {
        for (message, field, _) in fields().filter(|(message, _, _)| !is_within(message)) {
            let body =
                body(&format!("pub(crate) struct {message} {{")).unwrap_or_else(|| panic!("{message} is no message"));
            assert!(!body.contains(&format!("pub(crate) {field}:")), "{message}.{field} is supported");
        }
    }

    #[test]
    fn every_required_field_has_a_line() {
        for (message, required) in REQUIRED {
            assert!(fields_of(message).any(|field| field == *required), "{message} {required}");
        }
    }

    #[test]
    fn every_message_within_another_has_lines() {
        for (_, _, support) in fields() {
            let Support::Within(message) = support else { continue };
            assert!(fields_of(message).next().is_some(), "{message}");
        }
    }

    /// Are the fields of the message judged, and never read?
    fn is_within(message: &'static str) -> bool {
        fields().any(|(_, _, support)| *support == Support::Within(message))
    }

    #[test]
    fn every_value_is_of_an_enumeration_that_does_not_have_it() {
        for (name, value, _) in VALUES {
            let body =
                body(&format!("pub(crate) enum {name} {{")).unwrap_or_else(|| panic!("{name} is no enumeration"));
            assert!(!body.contains(&format!("{value}\"")), "{name} has {value}");
        }
    }

    #[test]
    fn no_line_stands_twice() {
        let fields: Vec<_> = fields().copied().collect();
        for table in [&fields[..], VALUES] {
            for (index, (of, name, _)) in table.iter().enumerate() {
                let later = table.iter().skip(index + 1).find(|(other, same, _)| other == of && same == name);
                assert_eq!(later, None, "{of} {name}");
            }
        }
    }

    /// What stands between the braces of a declaration.
    fn body(declaration: &str) -> Option<&'static str> {
        let (_, after) = MESSAGES.iter().find_map(|text| text.split_once(declaration))?;
        after.split_once('}').map(|(body, _)| body)
    }
}
