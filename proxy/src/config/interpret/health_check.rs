//! The filter `envoy.filters.http.health_check`.

use super::matching;
use crate::config::bootstrap::filter::HealthCheckFilter;
use crate::config::error::Place;
use crate::config::filter::{HealthCheck, HealthResponder};
use crate::config::problem::Problem;

pub(super) fn interpret(written: &HealthCheckFilter, place: &Place) -> Result<HealthCheck, Problem> {
    let percentages = written.cluster_min_healthy_percentages.iter();
    let responder = match (written.pass_through_mode, &written.cache_time) {
        (true, cache_time) => {
            HealthResponder::Upstream { cache_time: cache_time.as_ref().and_then(|time| time.value.unless_zero()) }
        }
        (false, Some(time)) if !time.value.0.is_zero() => {
            return Err(time.invalid("cache_time must not be set when pass_through_mode is disabled"));
        }
        (false, _) => HealthResponder::Proxy {
            clusters: percentages.map(|(name, percent)| (name.clone(), percent.value.0)).collect(),
        },
    };
    let headers = written.headers.iter().map(matching::header).collect::<Result<_, _>>()?;
    Ok(HealthCheck { place: place.path.clone(), headers, responder })
}
