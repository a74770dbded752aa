//! Where a body is in its messages, each of which is a flag of one byte, a length of four, and as many bytes ("gRPC over HTTP2",
//! Length-Prefixed-Message). The last message of a streaming response of the Connect protocol says how the call ended, in JSON.

use serde_json::{Map, Value};

/// What the last message of a response of Connect may say, in bytes; a longer one counts as a failure.
const END_BYTES_MAX: usize = 64 * 1024;
/// The flag of that message.
const IS_END: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Bytes of the present prefix that have come, the flag among them.
    prefix: u8,
    /// The length, as far as it has come.
    length: u32,
    /// Bytes of the present message that have not come.
    rest: u32,
    /// Those that have begun, without the last of Connect.
    pub(super) begun: u64,
    /// The message that ends a response, as far as it has come.
    end: Option<Vec<u8>>,
    /// Whether there can be one.
    can_end: bool,
}

impl Messages {
    const PREFIX: u8 = 5;

    /// Those of a response.
    pub(super) fn of_response() -> Self {
        Self { can_end: true, ..Self::default() }
    }

    /// How many messages begin in `data`, which follows what came before.
    pub(super) fn begun_in(&mut self, mut data: &[u8]) -> u64 {
        let mut begun = 0;
        loop {
            data = self.pass(data);
            let Some((byte, after)) = data.split_first().filter(|_| !self.is_over()) else {
                self.begun += begun;
                return begun;
            };
            data = after;
            match self.prefix {
                0 if self.can_end && byte & IS_END != 0 => self.end = Some(Vec::new()),
                0 => begun += 1,
                _ => self.length = self.length << 8 | u32::from(*byte),
            }
            self.prefix += 1;
            if self.prefix == Self::PREFIX {
                (self.rest, self.length, self.prefix) = (self.length, 0, 0);
            }
        }
    }

    /// Has a response of Connect said that the call succeeded?
    pub(super) fn has_succeeded(&self) -> bool {
        let said = self.end.as_ref().filter(|_| self.is_over());
        let said: Option<Map<String, Value>> = said.and_then(|said| serde_json::from_slice(said).ok());
        said.is_some_and(|said| !said.contains_key("error"))
    }

    /// Nothing counts behind the message that ends a response.
    fn is_over(&self) -> bool {
        self.end.is_some() && self.prefix == 0 && self.rest == 0
    }

    /// Goes over what `data` has of the present message. Returns what follows.
    fn pass<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let length = usize::try_from(self.rest).unwrap_or(usize::MAX).min(data.len());
        let (passed, after) = data.split_at(length);
        self.rest = self.rest.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
        if let Some(end) = &mut self.end {
            // One byte above the bound makes it no JSON that is whole.
            let room = (END_BYTES_MAX + 1).saturating_sub(end.len());
            end.extend(passed.iter().take(room));
            if end.len() > END_BYTES_MAX {
                end.clear();
                end.resize(END_BYTES_MAX + 1, 0);
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(flags: u8, text: &[u8]) -> Vec<u8> {
        [&[flags][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
    }

    #[test]
    fn messages_are_counted_however_the_body_is_cut() {
        let mut body = [message(0, b""), message(1, b"z"), message(IS_END, &[7; 300])].concat();
        body.push(0); // and the flag of one more
        for size in [1, 2, 3, 5, 7, 100, body.len()] {
            let mut messages = Messages::default();
            let begun: u64 = body.chunks(size).map(|piece| messages.begun_in(piece)).sum();
            assert_eq!((begun, messages.begun), (4, 4), "{size}");
        }
    }

    #[test]
    fn the_last_message_of_connect_says_how_a_call_ended() {
        for (last, has_succeeded) in [
            (message(IS_END, b"{}"), true),
            (message(IS_END, br#"{"metadata": {"a": ["b"]}}"#), true),
            (message(IS_END, br#"{"error": {"code": "internal"}}"#), false),
            (message(IS_END, br#"{"error": null}"#), false),
            (message(IS_END, b"[]"), false),
            (message(IS_END, b""), false),
            (message(IS_END | 1, b"compressed"), false),
            (message(IS_END, format!("{{{}}}", " ".repeat(END_BYTES_MAX)).as_bytes()), false),
            (message(0, b"{}"), false),
            (message(IS_END, b"{}")[..6].to_vec(), false),
        ] {
            let first = message(0, b"x");
            let counted = if last.first().is_some_and(|flags| flags & IS_END != 0) { 1 } else { 2 };
            for size in [1, 3, last.len()] {
                let mut messages = Messages::of_response();
                let begun: u64 = first.chunks(size).chain(last.chunks(size)).map(|it| messages.begun_in(it)).sum();
                assert_eq!((begun, messages.has_succeeded()), (counted, has_succeeded), "{last:?}");
                if has_succeeded {
                    assert_eq!(messages.begun_in(&first), 0, "nothing counts behind it");
                }
            }
        }
    }
}
