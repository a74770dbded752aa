//! Formats that are JSON: a tree whose texts are formats of their own.

use super::{Format, FormatError, Operator, Piece, cut};

/// A value of such a format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Json {
    /// A JSON array.
    List(Vec<Self>),
    /// A number, a flag, or a text without operators, as JSON writes it.
    Literal(String),
    /// An object, in the order of its keys, which are as JSON writes texts.
    Map(Vec<(String, Self)>),
    /// `null`
    Null,
    /// A text with something besides one operator in it.
    Text(Format),
    /// One operator, whose value keeps its type, cut to at most so many bytes.
    Value(Operator, Option<usize>),
}

impl Json {
    /// A text of the configuration, which is a format.
    ///
    /// # Errors
    /// As [`Format::parse`].
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let Format(pieces) = Format::parse(text)?;
        Ok(match pieces.as_slice() {
            [] => Self::Literal("\"\"".to_owned()),
            [Piece::Literal(text)] => Self::Literal(quoted(text)),
            [Piece::Operator(operator, bytes_max)] => Self::Value(operator.clone(), *bytes_max),
            _ => Self::Text(Format(pieces)),
        })
    }

    /// An object of these members.
    #[must_use]
    pub fn object(mut members: Vec<(String, Self)>) -> Self {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self::Map(members.into_iter().map(|(key, value)| (quoted(&key), value)).collect())
    }

    pub(super) fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        match self {
            Self::List(items) => items.iter_mut().for_each(|item| item.resolve(said)),
            Self::Map(members) => members.iter_mut().for_each(|(_, value)| value.resolve(said)),
            Self::Literal(_) | Self::Null => {}
            Self::Text(format) => format.resolve(said),
            Self::Value(operator, bytes_max) => match said(operator) {
                None => {}
                Some(text) if text.is_empty() => *self = Self::Null,
                Some(text) => *self = Self::Literal(quoted(&cut(text, *bytes_max))),
            },
        }
    }

    /// Is one of its operators such?
    pub(super) fn any(&self, is: &dyn Fn(&Operator) -> bool) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| item.any(is)),
            Self::Map(members) => members.iter().any(|(_, value)| value.any(is)),
            Self::Literal(_) | Self::Null => false,
            Self::Text(format) => format.any(is),
            Self::Value(operator, _) => is(operator),
        }
    }
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
