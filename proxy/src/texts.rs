//! Enums whose values stand for a fixed text, such as Envoy's response-code details: each text is written once, and read
//! back by the same table.

/// The text of a value in pieces, which are written one after the other. Four are enough for a text with two parts of its
/// own, and keep it without an allocation; what is not needed is empty.
pub(crate) type Pieces<'a> = [&'a str; 4];

/// A value that is written as a text and can be read back from it.
pub(crate) trait Text: Sized {
    /// The parts of the text, in order.
    fn pieces(&self) -> Pieces<'_>;

    /// The value that has exactly this text.
    fn read(text: &str) -> Option<Self>;

    /// Every value; of values with a part that is free, one.
    #[cfg(test)]
    fn examples() -> Vec<Self>;
}

/// A text that no value of the enum has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown: {0}")]
pub struct UnknownText(pub(crate) String);

/// Declares an enum with the text of each value, and [`Text`], `Display` and `FromStr` by it. Behind `..` stand values with
/// data, whose type is a [`Text`] itself. Two values with one text do not compile.
macro_rules! text_enum {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $word:ident = $text:literal,)*
            $(.. $($(#[$data_doc:meta])* $data:ident($part:ty),)+)?
        }
    ) => {
        $(#[$about])*
        pub enum $name {
            $($(#[$doc])* $word,)*
            $($($(#[$data_doc])* $data($part),)+)?
        }

        impl $crate::texts::Text for $name {
            fn pieces(&self) -> $crate::texts::Pieces<'_> {
                match self {
                    $(Self::$word => [$text, "", "", ""],)*
                    $($(Self::$data(part) => $crate::texts::Text::pieces(part),)+)?
                }
            }

            #[deny(unreachable_patterns)]
            fn read(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$word),)*
                    _ => None$($(.or_else(|| $crate::texts::Text::read(text).map(Self::$data)))+)?,
                }
            }

            #[cfg(test)]
            fn examples() -> Vec<Self> {
                let words = [$(Self::$word),*].into_iter();
                words$($(.chain(<$part as $crate::texts::Text>::examples().into_iter().map(Self::$data)))+)?.collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::texts::Text::pieces(self).into_iter().try_for_each(|piece| f.write_str(piece))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::texts::UnknownText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::texts::Text::read(text).ok_or_else(|| $crate::texts::UnknownText(text.to_owned()))
            }
        }
    };
}

pub(crate) use text_enum;

/// Fails unless each example has a text of its own, in one word, and that text is read back as the example.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_texts_are_read_back<T: Text + PartialEq + std::fmt::Debug>() {
    let mut texts = std::collections::BTreeSet::new();
    for value in T::examples() {
        let text = value.pieces().concat();
        assert!(!text.contains([' ', '\t', '\n']), "{text:?} is not one word");
        assert_eq!(T::read(&text), Some(value), "{text}");
        assert!(T::read(&format!("{text}?")).is_none_or(|longer| longer.pieces().concat() == format!("{text}?")));
        assert!(texts.insert(text.clone()), "{text} is the text of two values");
    }
}
