//! Words that a scenario uses and a report repeats: names of error codes, of rounds, of the script's host, and sizes.

/// The error codes of RFC 9113 section 7, by number.
pub(crate) const ERROR_NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The host that the script runs on; it has no links.
pub(crate) const SCRIPT_HOST: &str = "script";

const ROUND: &str = "round ";

/// The line that stands where a round of a `repeat` begins.
pub(crate) fn round_heading(number: u32, of: u32) -> String {
    format!("{ROUND}{number} of {of}")
}

/// The number of the round that begins with this heading.
pub(crate) fn round_of(heading: &str) -> Option<u32> {
    heading.strip_prefix(ROUND)?.split(' ').next()?.parse().ok()
}

/// A byte count as people write it.
#[must_use]
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        1 => "1 byte".into(),
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000),
    }
}

/// A peer may send anything: a line end of its must not end a line of the story, nor an escape sequence reach a terminal.
pub(crate) fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// `200, 200, 503` as `2 x 200, 503`: neighbours that are alike are counted.
pub(crate) fn counted(words: &[String]) -> String {
    let mut groups: Vec<(usize, &str)> = Vec::new();
    for word in words {
        match groups.last_mut() {
            Some((times, last)) if last == word => *times += 1,
            _ => groups.push((1, word)),
        }
    }
    let parts = groups.iter().map(|(times, word)| match times {
        1 => (*word).to_owned(),
        _ => format!("{times} x {word}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_counted() {
        let words: Vec<String> = ["200", "200", "503", "200"].map(String::from).to_vec();
        assert_eq!(counted(&words), "2 x 200, 503, 200");
    }
}
