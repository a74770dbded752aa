//! The messages that a trace names in a connection's bytes: whatever the bytes, each byte belongs to one message, in
//! order, and a message that has arrived is named alike when more follows it.

use finwait_sim::trace::wire::{self, Message};

/// Bytes of the client, then 0xff twice, then bytes of the server.
///
/// # Panics
/// If one of the properties does not hold.
pub fn trace_messages(input: &[u8]) {
    let middle = input.windows(2).position(|pair| pair == [0xff, 0xff]);
    let (client, server) = match middle {
        Some(middle) => (&input[..middle], &input[middle + 2..]),
        None => (input, &b""[..]),
    };
    let whole = wire::read(client, server);
    is_covered(client, &whole.from_client);
    is_covered(server, &whole.from_server);
    assert!(whole.requests <= client.len() && whole.responses <= server.len());
}

/// Messages cover `stream` from front to end.
fn is_covered(stream: &[u8], messages: &[Message]) {
    let mut at = 0;
    for message in messages {
        assert_eq!(message.bytes.start, at, "{messages:?}");
        assert!(message.bytes.end > at, "{messages:?}");
        at = message.bytes.end;
        let fields: usize = message.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(fields <= 64 * 1024 * 1024, "{fields} bytes of fields");
    }
    assert_eq!(at, stream.len(), "{messages:?}");
}
