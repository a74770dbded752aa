//! Which part of a file a refused word belongs to: a filter with all its options, not the `@type` in them.

use finwait::config::Name;

/// Spellings of the fields that hold the configuration of an extension, with the rest of the path behind them.
const CONFIGS: [&str; 3] = [".typed_config", ".typed_extension_config", ".typed_json_format"];

/// The path of the feature that `name` at `path` is a part of.
pub(super) fn feature(path: &str, name: &Name) -> String {
    let path = path.trim_end_matches("[\"@type\"]");
    let path = CONFIGS.iter().fold(path, |path, config| path.strip_suffix(config).unwrap_or(path));
    let through = |field: &str| path.rfind(field).map(|at| path.get(..at + field.len()).unwrap_or(path));
    let whole = match name {
        Name::Extension { kind: "tracer", .. } => through(".tracing"),
        Name::Extension { kind: "load balancing policy", .. } => through(".load_balancing_policy"),
        Name::Extension { kind: "UDP filter", .. } => listener(path),
        Name::Extension { kind: "health checker", .. } => item_of(path, ".health_checks["),
        Name::Extension { kind: "HTTP filter", .. } if path.contains(".http_filters[") => {
            item_of(path, ".http_filters[")
        }
        Name::Field if path.ends_with(".udp_listener_config") => listener(path),
        Name::Field if path.contains(".sds_config.") => through(".sds_config"),
        Name::Field if path.contains(".eds_cluster_config.") => through(".eds_cluster_config"),
        Name::Value(value) if value.eq_ignore_ascii_case("UDP") => listener(path),
        Name::Extension { .. } | Name::Field | Name::Type(_) | Name::Value(_) => None,
    };
    whole.unwrap_or(path).to_owned()
}

fn listener(path: &str) -> Option<&str> {
    item_of(path, "static_resources.listeners[")
}

/// The path up to the end of the item of a list.
fn item_of<'p>(path: &'p str, list: &str) -> Option<&'p str> {
    let from = path.find(list)? + list.len();
    let end = from + path.get(from..)?.find(']')? + 1;
    path.get(..end)
}

/// The nearest item of a list that `path` is in, or the one around that if `path` is an item itself.
pub(super) fn enclosing(path: &str) -> Option<&str> {
    let within = path.strip_suffix(']').map_or(path, |item| item.rsplit_once('[').map_or(path, |(list, _)| list));
    within.rfind(']').and_then(|end| within.get(..=end))
}

/// Is `path` in the message or list at `outer`, and not the same?
pub(super) fn is_inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_left_out_as_a_whole() {
        let filter = |kind| Name::Extension { kind, name: "it" };
        for (path, name, whole) in [
            ("a.http_filters[1].typed_config[\"@type\"]", filter("HTTP filter"), "a.http_filters[1]"),
            (
                "a.typed_per_filter_config[\"x.y\"][\"@type\"]",
                filter("HTTP filter"),
                "a.typed_per_filter_config[\"x.y\"]",
            ),
            ("a.tracing.provider.typed_config[\"@type\"]", filter("tracer"), "a.tracing"),
            (
                "static_resources.listeners[2].address.socket_address.protocol",
                Name::Value("UDP".into()),
                "static_resources.listeners[2]",
            ),
            (
                "static_resources.clusters[0].lb_policy",
                Name::Value("CLUSTER_PROVIDED".into()),
                "static_resources.clusters[0].lb_policy",
            ),
            ("a.x[0].sds_config.api_config_source", Name::Field, "a.x[0].sds_config"),
            (
                "static_resources.clusters[0].eds_cluster_config.eds_config.ads",
                Name::Field,
                "static_resources.clusters[0].eds_cluster_config",
            ),
        ] {
            assert_eq!(feature(path, &name), whole, "{path}");
        }
    }

    #[test]
    fn what_lacks_its_content_is_the_nearest_item_around_it() {
        for (path, item) in [
            (
                "static_resources.listeners[0].filter_chains[0].filters",
                Some("static_resources.listeners[0].filter_chains[0]"),
            ),
            ("static_resources.listeners[0].filter_chains[0]", Some("static_resources.listeners[0]")),
            ("static_resources.listeners[0].address", Some("static_resources.listeners[0]")),
            ("static_resources.listeners[0]", None),
            ("admin.address", None),
        ] {
            assert_eq!(enclosing(path), item, "{path}");
        }
    }
}
