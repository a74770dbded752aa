//! Regular expressions.

use crate::config::constraints::NonEmpty;
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// A regular expression that must match a whole text.
pub(super) fn whole(written: &At<NonEmpty>) -> Result<regex::Regex, Problem> {
    // First by itself, so that `)(` is an error, and an error speaks of what was written.
    anywhere(written)?;
    compile(written, &format!(r"\A(?:{})\z", &*written.value))
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
