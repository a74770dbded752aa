//! Headers that tell a client of limits ("RateLimit Header Fields for HTTP", draft 03).

use http::{HeaderName, HeaderValue};

use super::message::{DescriptorStatus, Limit};
use super::{LimitedMark, OVER_LIMIT};
use crate::codec::Headers;
use crate::config::rate_limit::BucketHeaders;

const LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// Adds those about the limits. `shown`: whether the descriptor at the same place has some; what a service says beyond those is
/// shown as `by_default` has it.
pub(super) fn add_limits(
    headers: &mut Headers,
    statuses: &[DescriptorStatus],
    shown: &[BucketHeaders],
    by_default: BucketHeaders,
) {
    let shown = shown.iter().copied().chain(std::iter::repeat(by_default));
    let limited = || {
        let pairs = statuses.iter().zip(shown.clone());
        pairs.filter_map(|(status, shown)| status.current_limit.as_ref().map(|limit| (status, limit, shown)))
    };
    // The first of those that have the least left. As in Envoy, it hides the others if it is not shown.
    let Some((least, limit, BucketHeaders::Draft03)) = limited().min_by_key(|(status, ..)| status.limit_remaining)
    else {
        return;
    };
    let quotas = limited().filter(|(.., shown)| *shown == BucketHeaders::Draft03);
    let quotas: String = quotas.filter_map(|(_, limit, _)| quota(limit)).collect();
    // A service's name for a limit may hold anything; without a value there is no header.
    if let Ok(value) = HeaderValue::try_from(format!("{}{quotas}", limit.requests_per_unit)) {
        headers.append(HeaderName::from_static("x-ratelimit-limit"), value);
    }
    headers.append(HeaderName::from_static("x-ratelimit-remaining"), least.limit_remaining.into());
    headers.append(HeaderName::from_static("x-ratelimit-reset"), seconds(least).into());
}

/// The limit with its window; one without a unit has none.
fn quota(limit: &Limit) -> Option<String> {
    const DAY: u64 = 24 * 3600;
    let unit = match limit.unit {
        1 => 1,
        2 => 60,
        3 => 3600,
        4 => DAY,
        5 => 30 * DAY,
        6 => 365 * DAY,
        7 => 7 * DAY,
        _ => return None,
    };
    let window = limit.unit_multiplier.map_or(1, |multiplier| multiplier.value).saturating_mul(unit);
    let name = if limit.name.is_empty() { String::new() } else { format!(";name=\"{}\"", limit.name) };
    Some(format!(", {};w={window}{name}", limit.requests_per_unit))
}

/// Says when to come back: when the last of the limits is reset that have been reached.
pub(super) fn add_retry_after(headers: &mut Headers, statuses: &[DescriptorStatus]) {
    let reached = statuses.iter().filter(|status| status.code == OVER_LIMIT);
    if let Some(seconds) = reached.map(seconds).max() {
        headers.set(http::header::RETRY_AFTER, seconds.max(1).into());
    }
}

/// Says that a limit was reached.
pub(super) fn mark(headers: &mut Headers, mark: LimitedMark) {
    match mark {
        LimitedMark::Set => headers.set(LIMITED, HeaderValue::from_static("true")),
        LimitedMark::Unset => {}
    }
}

fn seconds(status: &DescriptorStatus) -> i64 {
    status.duration_until_reset.map_or(0, |span| span.seconds)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Number, Span};
    use super::*;
    use BucketHeaders::{Draft03, Off};

    fn status(code: i32, requests_per_unit: u32, unit: i32, limit_remaining: u32, seconds: i64) -> DescriptorStatus {
        let limit = Limit { requests_per_unit, unit, ..Limit::default() };
        let duration_until_reset = Some(Span { seconds });
        DescriptorStatus { code, current_limit: Some(limit), limit_remaining, duration_until_reset }
    }

    fn lines(headers: &Headers) -> String {
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        headers.iter().map(line).collect::<Vec<_>>().join(" | ").replace("x-ratelimit-", "")
    }

    /// Each row as Envoy 1.40 has it.
    #[test]
    fn the_limit_with_the_least_left_is_told_of_with_all_windows() {
        let named = |mut status: DescriptorStatus, name: &str, times: Option<u64>| {
            let limit = status.current_limit.as_mut().unwrap();
            limit.name = name.to_owned();
            limit.unit_multiplier = times.map(|value| Number { value });
            status
        };
        let none = DescriptorStatus { current_limit: None, ..status(1, 0, 0, 1, 5) };
        let (ten, twenty) = (status(1, 10, 1, 1, 10), status(1, 20, 2, 4, 20));
        let many = [
            named(status(1, 10, 2, 4, 33), "ten", None),
            status(1, 100, 3, 3, 3000),
            none.clone(),
            named(status(2, 7, 7, 2, 9), "wk \"q\"", None),
            named(status(1, 8, 4, 9, 1), "", Some(3)),
        ];
        let all = "limit: 7, 10;w=60;name=\"ten\", 100;w=3600, 7;w=604800;name=\"wk \"q\"\", 8;w=259200 | remaining: 2 | reset: 9";
        let (first, second) =
            ("limit: 10, 10;w=1 | remaining: 1 | reset: 10", "limit: 20, 20;w=60 | remaining: 4 | reset: 20");
        let both = "limit: 10, 10;w=1, 20;w=60 | remaining: 1 | reset: 10";
        let later = status(1, 10, 1, 5, 10);
        for (statuses, shown, by_default, expected) in [
            (&many[..], &[Draft03][..], Draft03, all),
            (&[none][..], &[Draft03][..], Draft03, ""),
            (&[status(1, 10, 0, 5, 10)][..], &[Draft03][..], Draft03, "limit: 10 | remaining: 5 | reset: 10"),
            (&[ten.clone(), twenty.clone()][..], &[Draft03, Draft03][..], Draft03, both),
            (&[ten.clone(), twenty.clone()][..], &[Draft03, Off][..], Draft03, first),
            (&[ten.clone(), twenty.clone()][..], &[Off, Draft03][..], Draft03, ""),
            (&[later.clone(), twenty.clone()][..], &[Off, Draft03][..], Off, second),
            (&[later, twenty.clone()][..], &[Draft03, Off][..], Off, ""),
            (&[ten.clone(), ten, twenty][..], &[Off][..], Off, ""),
        ] {
            let mut headers = Headers::default();
            add_limits(&mut headers, statuses, shown, by_default);
            assert_eq!(lines(&headers), expected, "{statuses:?}");
        }
    }

    #[test]
    fn a_client_comes_back_when_the_last_limit_is_reset_that_it_has_reached() {
        for (statuses, expected) in [
            (&[status(2, 10, 1, 5, 10), status(2, 20, 2, 4, 20), status(1, 30, 3, 3, 30)][..], "retry-after: 20"),
            (&[status(2, 10, 1, 0, 0)][..], "retry-after: 1"),
            (&[status(1, 10, 1, 0, 3)][..], ""),
            (&[][..], ""),
        ] {
            let mut headers = Headers::default();
            add_retry_after(&mut headers, statuses);
            assert_eq!(lines(&headers), expected);
        }
    }
}
