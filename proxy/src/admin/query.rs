//! The part of a request line behind the `?`.

/// Parameters, in the order they were given.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(split.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// All of them.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the first parameter of this name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Is there a parameter of this name, with or without a value?
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// Undoes percent-encoding (RFC 3986 2.1). What is not encoded correctly stays as it is. `+` is a plus: people
/// type regular expressions here.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let encoded = if *first == b'%' { tail.split_first_chunk::<2>() } else { None };
        match encoded.and_then(|(digits, behind)| Some((hex(*digits)?, behind))) {
            Some((byte, behind)) => {
                bytes.push(byte);
                rest = behind;
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? * 16 + digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let cases = [
            ("filter=a%2Eb", Some("a.b")),
            ("filter=^up.*rq+", Some("^up.*rq+")),
            ("usedonly&filter=x=y&filter=z", Some("x=y")),
            ("filter", Some("")),
            ("filter=%zz%4", Some("%zz%4")),
            ("filter=%C3%BC", Some("ü")),
            ("filter=%ff", Some("\u{fffd}")),
            ("&&=&", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(Query::parse(text).value("filter"), want, "{text}");
        }
    }
}
