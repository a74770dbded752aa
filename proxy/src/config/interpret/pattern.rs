//! Patterns that texts are held against.

use crate::config::bootstrap::StringMatcher;
use crate::config::constraints::NonEmpty;
use crate::config::problem::Problem;
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::yaml::At;

/// A regular expression that must match a whole text.
pub(super) fn whole(written: &At<NonEmpty>) -> Result<regex::Regex, Problem> {
    // First by itself, so that `)(` is an error, and an error speaks of what was written.
    anywhere(written)?;
    compile(written, &format!(r"\A(?:{})\z", &*written.value))
}

/// The same for an expression that was made of what was written.
pub(super) fn whole_of(written: &At<NonEmpty>, expression: &str) -> Result<regex::Regex, Problem> {
    compile(written, &format!(r"\A(?:{expression})\z"))
}

/// A regular expression that is looked for anywhere in a text.
pub(super) fn anywhere(written: &At<NonEmpty>) -> Result<regex::Regex, Problem> {
    compile(written, &written.value)
}

fn compile(written: &At<NonEmpty>, text: &str) -> Result<regex::Regex, Problem> {
    regex::Regex::new(text).map_err(|error| {
        // The last line says what is wrong; those above draw the expression, which the excerpt shows anyway.
        let said = error.to_string();
        let reason = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        written.invalid(format!("invalid regular expression: {reason}"))
    })
}

pub(super) fn string_match(written: &At<StringMatcher>) -> Result<StringMatch, Problem> {
    let StringMatcher { contains, exact, ignore_case, prefix, safe_regex, suffix } = &written.value;
    let ignore_case = ignore_case.unwrap_or(false);
    let text = |text: &At<NonEmpty>| text.value.to_string();
    let pattern = match (contains, exact, prefix, safe_regex, suffix) {
        (Some(part), None, None, None, None) => Pattern::Contains(text(part)),
        (None, Some(whole), None, None, None) => Pattern::Exact(whole.value.clone()),
        (None, None, Some(start), None, None) => Pattern::Prefix(text(start)),
        (None, None, None, Some(safe), None) if ignore_case => {
            return Err(safe.regex.invalid("a regular expression has no ignore_case; begin it with (?i)"));
        }
        (None, None, None, Some(safe), None) => Pattern::Regex(whole(&safe.regex)?),
        (None, None, None, None, Some(end)) => Pattern::Suffix(text(end)),
        _ => return Err(written.invalid("takes exactly one of exact, prefix, suffix, safe_regex and contains")),
    };
    Ok(StringMatch { pattern, ignore_case })
}
