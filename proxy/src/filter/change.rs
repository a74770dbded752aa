//! What one mutation does to the headers of a message.

use http::{HeaderName, HeaderValue};

use crate::codec::Headers;
use crate::config::filter::{AppendAction, Mutation};
use crate::config::log_format::Format;

/// A mutation that has something to do.
pub(super) enum Change<'m> {
    Append(&'m HeaderName, HeaderValue),
    Remove(&'m HeaderName),
    Replace(&'m HeaderName, HeaderValue),
}

impl<'m> Change<'m> {
    /// What `mutation` does to `headers`; `value` renders a format.
    pub(super) fn of(
        mutation: &'m Mutation<HeaderName>,
        headers: &Headers,
        value: impl Fn(&Format) -> Vec<u8>,
    ) -> Option<Self> {
        let (name, format, action, keeps_empty) = match mutation {
            Mutation::Remove(name) => return Some(Self::Remove(name)),
            Mutation::Append { name, value, action, keeps_empty } => (name, value, *action, *keeps_empty),
        };
        let replaces = decide(action, headers.contains(name))?;
        let rendered = value(format);
        if rendered.is_empty() && !keeps_empty {
            return None;
        }
        // The name of a route may hold what cannot stand in a header.
        let value = HeaderValue::from_bytes(&rendered).ok()?;
        Some(match replaces {
            Existing::Kept => Self::Append(name, value),
            Existing::Replaced => Self::Replace(name, value),
        })
    }

    pub(super) fn apply(self, headers: &mut Headers, is_joined: fn(&str) -> bool) {
        match self {
            Self::Append(name, value) => headers.append_or_join(name, value, is_joined),
            Self::Remove(name) => headers.remove(name),
            Self::Replace(name, value) => {
                headers.remove(name);
                headers.append(name.clone(), value);
            }
        }
    }
}

/// What happens to values that are there when one is added.
pub(super) enum Existing {
    Kept,
    Replaced,
}

/// `None` if nothing is added.
pub(super) fn decide(action: AppendAction, exists: bool) -> Option<Existing> {
    match (action, exists) {
        (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => None,
        (AppendAction::AddIfAbsent, false) | (AppendAction::AppendIfExistsOrAdd, _) => Some(Existing::Kept),
        (AppendAction::OverwriteIfExists, true) | (AppendAction::OverwriteIfExistsOrAdd, _) => Some(Existing::Replaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::is_joined_in_requests;
    use crate::filter::testing::literal;

    #[test]
    fn each_append_action_treats_existing_values_as_documented() {
        use AppendAction as Action;
        for (action, absent, present) in [
            (Action::AddIfAbsent, "x: n", "x: 1, x: 2"),
            (Action::AppendIfExistsOrAdd, "x: n", "x: 1, x: 2, x: n"),
            (Action::OverwriteIfExists, "", "x: n"),
            (Action::OverwriteIfExistsOrAdd, "x: n", "x: n"),
        ] {
            let name = HeaderName::from_static("x");
            for (before, expected) in [(&[][..], absent), (&["1", "2"][..], present)] {
                let mut headers = Headers::default();
                before.iter().for_each(|value| headers.append(name.clone(), HeaderValue::from_static(value)));
                let value = Format::parse_header_value("n").unwrap();
                let mutation = Mutation::Append { name: name.clone(), value, action, keeps_empty: false };
                if let Some(change) = Change::of(&mutation, &headers, literal) {
                    change.apply(&mut headers, is_joined_in_requests);
                }
                let all: Vec<String> =
                    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
                assert_eq!(all.join(", "), expected, "{action:?}");
            }
        }
    }

    #[test]
    fn a_value_joins_that_of_a_header_which_is_a_list_for_envoy() {
        let mut headers = Headers::default();
        for value in ["a", "b"] {
            let name = HeaderName::from_static("accept");
            Change::Append(&name, HeaderValue::from_static(value)).apply(&mut headers, is_joined_in_requests);
        }
        assert_eq!((headers.len(), headers.get_str("accept")), (1, Some(&HeaderValue::from_static("a,b"))));
    }
}
