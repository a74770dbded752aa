//! `/stats?histogram_buckets=`: histograms by their buckets instead of their quantiles.

use serde_json::{Value, json};

use crate::config::stats::StatsOptions;
use crate::stats::Recorded;
use crate::stats::histogram::{Distribution, QUANTILES};

/// How histograms are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Buckets {
    /// How many values are in or below each bucket of the configuration.
    Cumulative,
    /// The buckets in which they are counted, and the quantiles.
    Detailed,
    /// How many values are in each bucket of the configuration.
    Disjoint,
    /// Quantiles, as Envoy's `summary`.
    Summary,
}

impl Buckets {
    /// As a query has it.
    pub(super) fn parse(word: Option<&str>) -> Option<Self> {
        match word {
            None | Some("none" | "summary") => Some(Self::Summary),
            Some("cumulative") => Some(Self::Cumulative),
            Some("detailed") => Some(Self::Detailed),
            Some("disjoint") => Some(Self::Disjoint),
            Some(_) => None,
        }
    }

    /// A histogram behind its name and a colon.
    pub(super) fn text(self, recorded: &Recorded, options: &StatsOptions) -> String {
        match self {
            Self::Summary => format!(" {}", quantiles(recorded)),
            _ if recorded.total.is_empty() => " No recorded values".to_owned(),
            Self::Cumulative | Self::Disjoint => {
                let buckets = self.counts(recorded, options.buckets(&recorded.name));
                buckets.iter().map(|(bound, interval, total)| format!(" B{bound}({interval},{total})")).collect()
            }
            Self::Detailed => format!(
                "\n  totals={}\n  intervals={}\n  summary={}",
                bins(&recorded.total),
                bins(&recorded.interval),
                quantiles(recorded)
            ),
        }
    }

    /// All histograms, as the last of the stats.
    pub(super) fn json(self, histograms: &[Recorded], options: &StatsOptions) -> Value {
        let quantile = |quantile: &f64| number(Some(percent(*quantile)));
        match self {
            Self::Cumulative | Self::Disjoint => {
                let bucket = |(bound, interval, total): &(f64, u64, u64)| json!({ "upper_bound": number(Some(*bound)), "interval": interval, "cumulative": total });
                let histogram = |recorded: &Recorded| {
                    let buckets = self.counts(recorded, options.buckets(&recorded.name));
                    json!({ "name": recorded.name, "buckets": buckets.iter().map(bucket).collect::<Vec<_>>() })
                };
                histograms.iter().map(histogram).collect()
            }
            Self::Detailed => json!({
                "supported_percentiles": QUANTILES.iter().map(quantile).collect::<Vec<_>>(),
                "details": histograms.iter().map(|recorded| json!({
                    "name": recorded.name,
                    "totals": bins_json(&recorded.total),
                    "intervals": bins_json(&recorded.interval),
                    "percentiles": values(recorded),
                })).collect::<Vec<_>>(),
            }),
            Self::Summary => json!({
                "supported_quantiles": QUANTILES.iter().map(quantile).collect::<Vec<_>>(),
                "computed_quantiles": histograms.iter().map(|recorded| {
                    json!({ "name": recorded.name, "values": values(recorded) })
                }).collect::<Vec<_>>(),
            }),
        }
    }

    /// Each bound with the values of the last interval and of all time.
    fn counts(self, recorded: &Recorded, bounds: &[f64]) -> Vec<(f64, u64, u64)> {
        let (mut interval_below, mut total_below) = (0, 0);
        let count = |bound: &f64| {
            let (interval, total) = (recorded.interval.count_up_to(*bound), recorded.total.count_up_to(*bound));
            let counts = (*bound, interval - interval_below, total - total_below);
            if self == Self::Disjoint {
                (interval_below, total_below) = (interval, total);
            }
            counts
        };
        bounds.iter().map(count).collect()
    }
}

/// `4,0.1:1, 50,1:1`: where each bin begins, its width, and how many values are in it.
fn bins(distribution: &Distribution) -> String {
    let bins: Vec<String> =
        distribution.bins().map(|(begin, width, count)| format!("{begin},{width}:{count}")).collect();
    bins.join(", ")
}

fn bins_json(distribution: &Distribution) -> Vec<Value> {
    let bin = |(begin, width, count)| json!({ "lower_bound": number(Some(begin)), "width": number(Some(width)), "count": count });
    distribution.bins().map(bin).collect()
}

fn values(recorded: &Recorded) -> Vec<Value> {
    let value = |quantile: &f64| {
        json!({
            "cumulative": number(recorded.total.quantile(*quantile)),
            "interval": number(recorded.interval.quantile(*quantile)),
        })
    };
    QUANTILES.iter().map(value).collect()
}

/// `P0(interval,total) P25(interval,total) ...`
fn quantiles(recorded: &Recorded) -> String {
    if recorded.total.is_empty() {
        return "No recorded values".to_owned();
    }
    let show = |value: Option<f64>| value.map_or_else(|| "nan".to_owned(), |value| value.to_string());
    let pair = |quantile: &f64| {
        let (interval, total) = (recorded.interval.quantile(*quantile), recorded.total.quantile(*quantile));
        format!("P{}({},{})", percent(*quantile), show(interval), show(total))
    };
    QUANTILES.iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// A number as Envoy writes it: without a fraction where it has none. Nothing is `null`.
fn number(value: Option<f64>) -> Value {
    value.and_then(|value| serde_json::from_str(&value.to_string()).ok()).unwrap_or(Value::Null)
}

/// Rounded to a tenth, since 0.999 times 100 is not 99.9 in binary.
fn percent(quantile: f64) -> f64 {
    (quantile * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::stats::StatsOptions;
    use crate::stats::Registry;

    /// As Envoy 1.40 shows such values.
    #[test]
    fn histograms_are_shown_by_their_buckets() {
        let registry = Registry::new();
        let histogram = registry.histogram("x");
        [4, 50, 100].iter().for_each(|value| histogram.record(*value));
        let recorded = registry.snapshot().histograms.remove(0);
        let bounds: &[f64] = &[1.0, 10.0, 100.5];
        assert_eq!(Buckets::Cumulative.counts(&recorded, bounds), [(1.0, 0, 0), (10.0, 0, 1), (100.5, 0, 3)]);
        assert_eq!(Buckets::Disjoint.counts(&recorded, bounds), [(1.0, 0, 0), (10.0, 0, 1), (100.5, 0, 2)]);
        let detailed = Buckets::Detailed.text(&recorded, &StatsOptions::default());
        assert!(
            detailed.starts_with("\n  totals=4,0.1:1, 50,1:1, 100,10:1\n  intervals=\n  summary=P0("),
            "{detailed}"
        );
        let empty = registry.histogram("y");
        drop(empty);
        let recorded = registry.snapshot().histograms.remove(1);
        assert_eq!(Buckets::Cumulative.text(&recorded, &StatsOptions::default()), " No recorded values");
    }
}
