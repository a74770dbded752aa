//! Header values that are the same for many messages: `date`, made once a second, and the timeout that is announced
//! to upstreams.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The last `date` made, and its second.
#[derive(Default)]
pub(super) struct DateCache(RefCell<Option<(u64, HeaderValue)>>);

impl DateCache {
    /// `now` as RFC 9110 5.6.7 wants it.
    pub(super) fn at(&self, now: SystemTime) -> HeaderValue {
        // A clock before 1970 has no date worth sending; its epoch is as good as any.
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut cached = self.0.borrow_mut();
        if let Some((of, value)) = &*cached
            && *of == second
        {
            return value.clone();
        }
        let text = httpdate::fmt_http_date(now.max(UNIX_EPOCH));
        let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        *cached = Some((second, value.clone()));
        value
    }
}

/// The last duration written in milliseconds: nearly every request of a listener gets the same one.
#[derive(Default)]
pub(super) struct MillisCache(RefCell<Option<(Duration, HeaderValue)>>);

impl MillisCache {
    /// `duration` in whole milliseconds.
    pub(super) fn header(&self, duration: Duration) -> HeaderValue {
        let mut cached = self.0.borrow_mut();
        if let Some((of, value)) = &*cached
            && *of == duration
        {
            return value.clone();
        }
        let value = HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        *cached = Some((duration, value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_date() {
        let cache = DateCache::default();
        let at = |millis| cache.at(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(1_704_067_200_000), "Mon, 01 Jan 2024 00:00:00 GMT");
        assert_eq!(at(1_704_067_200_999), "Mon, 01 Jan 2024 00:00:00 GMT");
        assert_eq!(at(1_704_067_201_000), "Mon, 01 Jan 2024 00:00:01 GMT");
    }
}
