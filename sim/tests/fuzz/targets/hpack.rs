//! The trace's HPACK, against that of the h2 crate: what the proxy reads from a header block, the trace reads too.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use finwait::codec::RequestHead;
use finwait::codec::http2::{Counting, ListLimit, MessageErrorScope, ServerConnection};

use finwait::config::listener::Http2Options;
use finwait::stats::{Http2Stats, Registry};
use finwait_sim::trace::wire::{self, Message};

use super::peer::{Then, connect};

/// More than any input of a fuzzer holds.
const LIMIT: ListLimit = ListLimit { bytes: 1024 * 1024, fields: 1000 };

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS with nothing in it.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// How often the block is sent: the second may refer to what the first has put into the table.
const REQUESTS: u8 = 3;

/// A header block.
///
/// # Panics
/// If one of the properties does not hold.
pub fn hpack(input: &[u8]) {
    if input.len() > 16 * 1024 {
        return; // more than a frame holds
    }
    let length = u32::try_from(input.len()).expect("at most 16 KiB").to_be_bytes();
    let mut sent = [PREFACE, SETTINGS].concat();
    for number in 0..REQUESTS {
        // HEADERS that ends its block and its stream.
        sent.extend([&length[1..], &[1, 5, 0, 0, 0, 1 + 2 * number], input].concat());
    }
    let named = wire::read(&sent, &[]).from_client;
    let heads: Vec<&Message> = named.iter().skip(1).collect();
    for (head, message) in requests(&sent).iter().zip(heads) {
        let context = || format!("{head:?} is told as {message:?}");
        assert_eq!(message.field(":method"), Some(head.method.as_str()), "{}", context());
        let path = head.path.as_ref().map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned());
        if let Some(path) = &path {
            // The http crate has "/" for an empty path, and no fragment.
            let told = message.field(":path").unwrap_or_default().split('#').next().unwrap_or_default();
            assert!(told == path || format!("/{told}") == *path, "{}", context());
        }
        for (name, value) in head.headers.iter().filter(|(name, _)| name.as_str() != "cookie") {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let told = message.fields.iter().filter(|(told, _)| told == name.as_str()).map(|(_, value)| value.as_str());
            let told: Vec<&str> = told.collect();
            // Some fields are joined to one, as in Envoy.
            assert!(told.contains(&value.as_str()) || told.join(",") == value, "{name}: {}", context());
        }
    }
}

/// The requests that the proxy reads.
fn requests(sent: &[u8]) -> Vec<RequestHead> {
    let (conn, _) = connect(&[sent], Then::Fin);
    let (options, stats) = (Http2Options::default(), Http2Stats::downstream(&Registry::new()));
    let handshake = ServerConnection::handshake(
        conn,
        Bytes::new(),
        &options,
        MessageErrorScope::Stream,
        LIMIT,
        &stats,
        Counting::Off,
    );
    let mut server = poll_often(handshake).expect("the peer is there").expect("the handshake is right");
    let mut heads = Vec::new();
    let mut open = Vec::new();
    while let Some(Some(Ok((head, incoming, responder)))) = poll_often(server.accept()) {
        heads.push(head);
        open.push((incoming, responder));
    }
    heads
}

/// `None`: it waits for something that does not come.
fn poll_often<F: Future>(future: F) -> Option<F::Output> {
    let (mut future, mut cx) = (pin!(future), Context::from_waker(Waker::noop()));
    (0..200).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}
