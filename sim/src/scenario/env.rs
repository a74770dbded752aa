//! Placeholders in a configuration file, as `envsubst` fills them before Envoy reads it: `${NAME}`.

use super::Ordered;

/// The text with a value for each placeholder.
///
/// # Errors
/// The names without a value, in the order of the text, each once.
pub(super) fn fill(text: &str, values: &Ordered<String>) -> Result<String, Vec<String>> {
    let mut filled = String::with_capacity(text.len());
    let mut missing: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        // In a comment a placeholder is an explanation.
        while let Some((before, name, after)) = placeholder(rest).filter(|_| !line.trim_start().starts_with('#')) {
            filled.push_str(before);
            match values.iter().find(|(has, _)| *has == name) {
                Some((_, value)) => filled.push_str(value),
                None if missing.iter().any(|has| has == name) => {}
                None => missing.push(name.to_owned()),
            }
            rest = after;
        }
        filled.push_str(rest);
    }
    if missing.is_empty() { Ok(filled) } else { Err(missing) }
}

/// The text with values that are made up for its placeholders, and those values.
pub(crate) fn placeholders(text: &str) -> (String, Vec<(String, String)>) {
    let Err(names) = fill(text, &Ordered::default()) else { return (text.to_owned(), Vec::new()) };
    let value = |name: &String| match name.to_ascii_uppercase().contains("PORT") {
        true => "8080".to_owned(),
        false => name.to_ascii_lowercase().replace('_', "-"),
    };
    let values: Vec<(String, String)> = names.iter().map(|name| (name.clone(), value(name))).collect();
    let filled = fill(text, &Ordered(values.clone())).unwrap_or_else(|_| text.to_owned());
    (filled, values)
}

/// The first placeholder: what stands before it, its name, what follows.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find("${").map(|at| from + at) {
        let inside = text.get(at + 2..)?;
        let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let (name, after) = inside.split_at_checked(end)?;
        if let Some(after) = after.strip_prefix('}').filter(|_| !name.is_empty()) {
            return Some((text.get(..at)?, name, after));
        }
        from = at + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_those_without_a_value_are_named() {
        let values = Ordered(vec![("PORT".to_owned(), "80".to_owned())]);
        assert_eq!(
            fill("a: ${PORT}\n# ${OTHER}\nb: $x ${ ${PORT", &values),
            Ok("a: 80\n# ${OTHER}\nb: $x ${ ${PORT".into())
        );
        assert_eq!(fill("${A} ${PORT} ${B}${A}", &values), Err(vec!["A".to_owned(), "B".to_owned()]));
    }
}
