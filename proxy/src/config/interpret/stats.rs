//! What `stats_config` means.

use super::pattern::string_match;
use crate::config::bootstrap::stats::{
    HistogramBucketSettings, ListStringMatcher, StatsConfig, StatsMatcher, TagSpecifier,
};
use crate::config::problem::Problem;
use crate::config::stats::{DefaultTag, OwnTag, SILENT_TAGS, ShownStats, StatsOptions, TagValue, Tags};
use crate::config::string_match::StringMatch;
use crate::config::yaml::At;

pub(super) fn options(written: Option<&StatsConfig>) -> Result<StatsOptions, Problem> {
    let Some(written) = written else { return Ok(StatsOptions::default()) };
    Ok(StatsOptions {
        shown: written.stats_matcher.as_ref().map_or(Ok(ShownStats::All), shown)?,
        tags: tags(written)?,
        buckets: written.histogram_bucket_settings.iter().map(buckets).collect::<Result<_, _>>()?,
    })
}

fn shown(written: &At<StatsMatcher>) -> Result<ShownStats, Problem> {
    let StatsMatcher { exclusion_list, inclusion_list, reject_all } = &written.value;
    match (exclusion_list, inclusion_list, reject_all) {
        (Some(list), None, None) => patterns(list).map(ShownStats::AllBut),
        (None, Some(list), None) => patterns(list).map(ShownStats::Only),
        (None, None, Some(true)) => Ok(ShownStats::None),
        (None, None, Some(false)) => Ok(ShownStats::All),
        _ => Err(written.invalid("takes exactly one of reject_all, exclusion_list and inclusion_list")),
    }
}

fn patterns(written: &At<ListStringMatcher>) -> Result<Vec<StringMatch>, Problem> {
    if written.value.patterns.is_empty() {
        return Err(written.invalid("takes one pattern or more"));
    }
    written.value.patterns.iter().map(string_match).collect()
}

fn tags(written: &StatsConfig) -> Result<Tags, Problem> {
    let mut tags = match written.use_all_default_tags {
        None | Some(true) => Tags::default(),
        Some(false) => Tags { default: Vec::new(), own: Vec::new() },
    };
    for tag in &written.stats_tags {
        let TagSpecifier { fixed_value, regex, tag_name } = &tag.value;
        let known = DefaultTag::ALL.into_iter().find(|known| known.name() == *tag_name);
        let value = match (fixed_value, regex.as_ref().filter(|regex| !regex.value.is_empty()), known) {
            (Some(_), Some(regex), _) => return Err(regex.invalid("a tag has either a regex or a fixed_value")),
            (Some(value), None, _) => TagValue::Fixed(value.clone()),
            (None, Some(written), _) => TagValue::Taken(taken(written)?),
            (None, None, Some(known)) => {
                if !tags.default.contains(&known) {
                    tags.default.push(known);
                }
                continue;
            }
            (None, None, None) if SILENT_TAGS.contains(&tag_name.as_str()) => continue,
            (None, None, None) => {
                let what = format!("No regex specified for tag specifier and no default regex for name: '{tag_name}'");
                return Err(tag.invalid(what));
            }
        };
        if known.is_some() {
            return Err(tag.invalid(format!("{tag_name} is a tag of Envoy's; write another name")));
        }
        tags.own.push(OwnTag { name: tag_name.clone(), value });
    }
    Ok(tags)
}

fn taken(written: &At<String>) -> Result<regex::Regex, Problem> {
    let regex = regex::Regex::new(&written.value).map_err(|error| {
        let said = error.to_string();
        let reason = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        written.invalid(format!("invalid regular expression: {reason}"))
    })?;
    // Groups are counted with the whole match as the first.
    if regex.captures_len() < 2 {
        return Err(written.invalid("needs a group: what it takes is taken out of the name, and is the value"));
    }
    Ok(regex)
}

fn buckets(written: &At<HistogramBucketSettings>) -> Result<(StringMatch, Vec<f64>), Problem> {
    let HistogramBucketSettings { bins, buckets, r#match } = &written.value;
    if let Some(bins) = bins.as_ref().filter(|bins| bins.value != 0) {
        return Err(bins.invalid("the precision of histograms is fixed; write buckets"));
    }
    if buckets.is_empty() || buckets.iter().any(|bound| *bound <= 0.0) {
        return Err(written.invalid("takes one bucket or more, each above 0"));
    }
    let mut bounds = buckets.clone();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    Ok((string_match(r#match)?, bounds))
}
