//! Random frames on one stream of a connection, steady streams beside it: the others end as they would have.
//!
//! The frames are drawn from those that are no error of the connection: what breaks the framing itself ends it (RFC 9113
//! 5.4.1). `FINWAIT_HTTP2_SESSIONS` is how many sessions are tried for each role.

use proptest::prelude::*;

use super::super::frames::PADDED;
use super::*;

const POST: &[(&str, &str)] = &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
const OK: &[(&str, &str)] = &[(":status", "200")];
/// The stream in trouble, between its neighbours.
const TROUBLED: u32 = 3;
const NEIGHBOURS: [u32; 2] = [1, 5];
/// Each is an error of its stream: a name in upper case, a field of the connection, a pseudo field, a value with LF.
const MALFORMED: [&[(&str, &str)]; 4] =
    [&[("T", "v")], &[("connection", "close")], &[(":path", "/")], &[("t", "a\nb")]];

/// What the peer sends on the stream in trouble.
#[derive(Clone, Debug)]
enum Trouble {
    Data { len: usize, padding: Option<u8> },
    End { len: usize },
    MalformedTrailers { which: usize },
    Priority { on: u32 },
    PriorityOfLength { len: usize },
    Reset { code: u32 },
    Trailers,
    Unknown { kind: u8, len: usize },
    Window { by: u32 },
}

/// What our side does with the stream in trouble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    Reads,
    Stalls,
    /// Drops both halves after so many steps.
    DropsAfter(usize),
}

fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let trouble = prop_oneof![
        6 => (0_usize..40, prop::option::of(0_u8..255)).prop_map(|(len, padding)| Trouble::Data { len, padding }),
        1 => (0_usize..40).prop_map(|len| Trouble::End { len }),
        1 => (0..MALFORMED.len()).prop_map(|which| Trouble::MalformedTrailers { which }),
        1 => (3_u32..9).prop_map(|on| Trouble::Priority { on }),
        1 => (0_usize..9).prop_map(|len| Trouble::PriorityOfLength { len }),
        1 => (0_u32..20).prop_map(|code| Trouble::Reset { code }),
        1 => Just(Trouble::Trailers),
        1 => (10_u8..255, 0_usize..40).prop_map(|(kind, len)| Trouble::Unknown { kind, len }),
        1 => prop_oneof![Just(0), 1_u32..1000].prop_map(|by| Trouble::Window { by }),
    ];
    prop::collection::vec(trouble, 1..60)
}

/// A reader that keeps the stream to its end.
fn staying() -> impl Strategy<Value = Reader> {
    prop_oneof![Just(Reader::Reads), Just(Reader::Stalls)]
}

fn any_reader() -> impl Strategy<Value = Reader> {
    prop_oneof![2 => staying(), 1 => (0_usize..30).prop_map(Reader::DropsAfter)]
}

/// The peer's side of the stream in trouble, which keeps to what is no error of the connection.
#[derive(Default)]
struct Sender {
    has_ended: bool,
    was_reset: bool,
    was_empty: bool,
    windows: u32,
}

impl Sender {
    async fn send(&mut self, raw: &mut Raw, trouble: &Trouble) {
        match *trouble {
            // RFC 9113 5.1: after END_STREAM these are errors of the connection; after a reset DATA may be under way.
            Trouble::Data { .. } | Trouble::End { .. } if self.has_ended => {}
            Trouble::Trailers | Trouble::MalformedTrailers { .. } if self.has_ended || self.was_reset => {}
            Trouble::Data { len: 0, .. } if self.was_empty => {} // two in a row are a flood, by Envoy's limit
            Trouble::Data { len, padding: None } => {
                self.was_empty = len == 0;
                raw.send(DATA, 0, TROUBLED, &vec![7; len]).await;
            }
            Trouble::Data { len, padding: Some(padding) } => {
                self.was_empty = len == 0;
                let payload = [vec![padding], vec![7; len], vec![0; usize::from(padding)]].concat();
                raw.send(DATA, PADDED, TROUBLED, &payload).await;
            }
            Trouble::End { len } => {
                self.has_ended = true;
                raw.send(DATA, END_STREAM, TROUBLED, &vec![7; len]).await;
            }
            Trouble::Priority { on } => raw.send(PRIORITY, 0, TROUBLED, &[&on.to_be_bytes()[..], &[16]].concat()).await,
            Trouble::PriorityOfLength { len } => raw.send(PRIORITY, 0, TROUBLED, &vec![0; len]).await,
            Trouble::Reset { code } => {
                self.was_reset = true;
                raw.send(RST_STREAM, 0, TROUBLED, &code.to_be_bytes()).await;
            }
            Trouble::Trailers => {
                self.has_ended = true;
                raw.send(HEADERS, END_HEADERS | END_STREAM, TROUBLED, &block(&[("t", "v")])).await;
            }
            Trouble::MalformedTrailers { which } => {
                self.has_ended = true;
                raw.send(HEADERS, END_HEADERS | END_STREAM, TROUBLED, &block(MALFORMED[which])).await;
            }
            Trouble::Unknown { kind, len } => raw.send(kind, 0, TROUBLED, &vec![7; len]).await,
            Trouble::Window { .. } if self.windows > 2 => {} // more are a flood, by Envoy's limit
            Trouble::Window { by } => {
                self.windows += 1;
                raw.send(WINDOW_UPDATE, 0, TROUBLED, &by.to_be_bytes()).await;
            }
        }
    }
}

/// Gives our side of the stream in trouble its turn.
fn look_after(troubled: &mut Option<(Incoming, Outgoing)>, reader: Reader, step: usize) {
    match reader {
        Reader::Stalls => {}
        Reader::DropsAfter(steps) if step >= steps => *troubled = None,
        Reader::Reads | Reader::DropsAfter(_) => {
            let Some((incoming, _)) = troubled else { return };
            let mut cx = Context::from_waker(std::task::Waker::noop());
            while let Poll::Ready(Some(Ok(_))) = incoming.poll_frame(&mut cx) {}
        }
    }
}

/// The proxy serves, and its client sends.
async fn from_a_client(troubles: Vec<Trouble>, reader: Reader) {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(SETTINGS, ACK, 0, &[]).await;
    let mut accepted = Vec::new();
    for stream in [1, TROUBLED, 5] {
        raw.send(HEADERS, END_HEADERS, stream, &block(POST)).await;
        accepted.push(server.accept().await.unwrap().unwrap());
    }
    let (_, incoming, responder) = accepted.remove(1);
    let outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    let (mut troubled, mut sender) = (Some((incoming, outgoing)), Sender::default());
    for (step, trouble) in troubles.iter().enumerate() {
        sender.send(&mut raw, trouble).await;
        raw.send(DATA, 0, NEIGHBOURS[step % 2], b"n").await;
        sender.was_empty = false; // the count is of the connection
        assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "nothing new, and no end");
        look_after(&mut troubled, reader, step);
    }
    for stream in NEIGHBOURS {
        raw.send(DATA, END_STREAM, stream, b"end").await;
    }
    let mut got = 0;
    for (_, mut incoming, responder) in accepted {
        let (body, _) = while_serving(&mut server, read_all(&mut incoming)).await.unwrap();
        got += body.len();
        let mut response = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
        response.write(Bytes::from_static(b"response"));
        response.finish(None);
        while_serving(&mut server, poll_fn(|cx| response.poll_flush(cx))).await.unwrap();
    }
    assert_eq!(got, troubles.len() + 2 * b"end".len());
    for _ in NEIGHBOURS {
        while raw.frame_of(DATA).await.flags & END_STREAM == 0 {}
    }
    assert!(!raw.seen.iter().any(|frame| frame.kind == GOAWAY));
}

/// The proxy sends requests, and its upstream responds.
async fn from_a_server(troubles: Vec<Trouble>, reader: Reader) {
    let (mut raw, mut client) = raw_server().await;
    raw.send(SETTINGS, 0, 0, &[]).await;
    raw.send(SETTINGS, ACK, 0, &[]).await;
    let mut responses = Vec::new();
    for stream in [1, TROUBLED, 5] {
        let (body, response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
        assert_eq!(raw.frame_of(HEADERS).await.stream, stream);
        raw.send(HEADERS, END_HEADERS, stream, &block(OK)).await;
        responses.push((body, response));
    }
    let (body, mut response) = responses.remove(1);
    let (_, incoming) = response.head().await.unwrap();
    drop(response);
    let (mut troubled, mut sender) = (Some((incoming, body)), Sender::default());
    for (step, trouble) in troubles.iter().enumerate() {
        sender.send(&mut raw, trouble).await;
        raw.send(DATA, 0, NEIGHBOURS[step % 2], b"n").await;
        sender.was_empty = false;
        tokio::time::sleep(Duration::from_millis(1)).await;
        look_after(&mut troubled, reader, step);
    }
    for stream in NEIGHBOURS {
        raw.send(DATA, END_STREAM, stream, b"end").await;
    }
    let mut got = 0;
    for (_, mut response) in responses {
        let (_, mut incoming) = response.head().await.unwrap();
        got += read_all(&mut incoming).await.unwrap().0.len();
    }
    assert_eq!(got, troubles.len() + 2 * b"end".len());
    assert!(client.is_available(), "another request may follow");
}

#[expect(clippy::disallowed_methods, reason = "who runs the tests sets how long they may take")]
fn sessions() -> ProptestConfig {
    let cases = std::env::var("FINWAIT_HTTP2_SESSIONS").ok().and_then(|count| count.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(200),
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..Default::default()
    }
}

fn run(session: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, session);
}

proptest! {
    #![proptest_config(sessions())]

    #[test]
    fn neighbours_of_a_stream_are_unaffected_by_frames_of_a_client(troubles in troubles(), reader in any_reader()) {
        run(from_a_client(troubles, reader));
    }

    #[test]
    fn neighbours_of_a_stream_are_unaffected_by_frames_of_a_server(troubles in troubles(), reader in any_reader()) {
        run(from_a_server(troubles, reader));
    }
}

#[test]
fn frames_after_our_reset_do_not_affect_other_streams() {
    let empty = || Trouble::Data { len: 0, padding: None };
    let malformed = || Trouble::MalformedTrailers { which: 0 };
    let byte = || Trouble::Data { len: 1, padding: None };
    let sessions = [
        (2, vec![empty(), empty(), empty(), Trouble::Reset { code: 0 }, byte()]),
        (2, vec![empty(), empty(), empty(), malformed()]),
        (0, vec![empty(), empty(), empty(), empty(), empty(), malformed()]),
        (100, vec![byte(), Trouble::Reset { code: 8 }, byte(), byte()]),
    ];
    for (steps, troubles) in sessions {
        run(from_a_client(troubles.clone(), Reader::DropsAfter(steps)));
        run(from_a_server(troubles, Reader::DropsAfter(steps)));
    }
}
