//! Why a request is traced, as its id says it.

/// Why a request is traced, as its id says it: the 15th character.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Its client wants it.
    Client,
    /// A service wants it.
    Forced,
    /// It is not.
    NotTraced,
    /// It was drawn.
    Sampled,
}

impl Reason {
    /// Where the id says it.
    pub const AT: usize = 14;

    /// What this digit says.
    #[must_use]
    pub fn of_digit(digit: u8) -> Self {
        match digit {
            b'9' => Self::Sampled,
            b'a' => Self::Forced,
            b'b' => Self::Client,
            _ => Self::NotTraced,
        }
    }

    /// The digit that says it.
    #[must_use]
    pub fn digit(self) -> u8 {
        match self {
            Self::Client => b'b',
            Self::Forced => b'a',
            Self::NotTraced => b'4',
            Self::Sampled => b'9',
        }
    }
}
