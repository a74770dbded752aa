//! Why a proxy says that it did what it did: `%RESPONSE_CODE_DETAILS%` in its log lines.

/// The word of `%RESPONSE_CODE_DETAILS%` in a log line, if the line has one.
pub(super) fn details(line: &str) -> Option<String> {
    const BEGINNINGS: [&str; 24] = [
        "absolute_path_rejected",
        "cluster_not_found",
        "direct_response",
        "downstream_remote_disconnect",
        "http.",
        "http1.",
        "http2.",
        "low_version",
        "max_duration_timeout",
        "missing_host_header",
        "no_healthy_upstream",
        "path_normalization_failed",
        "request_header_timeout",
        "request_overall_timeout",
        "request_timeout",
        "response_timeout",
        "route_not_found",
        "stream_idle_timeout",
        "upgrade_failed",
        "upstream_per_try_",
        "upstream_reset_after_response_started",
        "upstream_reset_before_response_started",
        "upstream_response_timeout",
        "via_upstream",
    ];
    let is_details = |word: &&str| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning));
    line.split([' ', '"', ',']).find(is_details).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_found_wherever_a_format_has_them() {
        assert_eq!(details("504 UT response_timeout GET / HTTP/1.1").as_deref(), Some("response_timeout"));
        assert_eq!(details("{\"details\":\"route_not_found\"}").as_deref(), Some("route_not_found"));
        assert_eq!(details("GET / 200"), None);
    }
}
