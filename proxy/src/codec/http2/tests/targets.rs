//! Requests whose target h2 cannot carry, on their way out.

use super::super::hpack::{Block, Decoder};
use super::*;

/// Names and values in the order they came.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

struct Reader(Decoder);

impl Reader {
    fn new(table_bytes_max: u32) -> Self {
        Self(Decoder::new(table_bytes_max, ListLimit { bytes: usize::MAX, fields: usize::MAX }))
    }

    /// The next header section, and the lengths of its frames.
    async fn section(&mut self, raw: &mut Raw) -> (Fields, Vec<usize>) {
        let mut frame = raw.frame_of(HEADERS).await;
        let (mut coded, mut lengths) = (frame.payload.clone(), vec![frame.payload.len()]);
        while frame.flags & END_HEADERS == 0 {
            frame = raw.frame().await;
            assert_eq!(frame.kind, CONTINUATION);
            lengths.push(frame.payload.len());
            coded.extend_from_slice(&frame.payload);
        }
        let mut block = Block::default();
        self.0.decode(&coded, &mut block).unwrap();
        (block.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect(), lengths)
    }
}

fn to(method: &str, authority: &[u8], path: &[u8]) -> RequestHead {
    RequestHead {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        authority: Some(HeaderValue::from_bytes(authority).unwrap()),
        path: Some(HeaderValue::from_bytes(path).unwrap()),
        ..request(Method::GET, None)
    }
}

fn pseudo(fields: &Fields) -> Vec<(&str, &[u8])> {
    let named = fields.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap(), &value[..]));
    named.filter(|(name, _)| name.starts_with(':')).collect()
}

#[tokio::test(start_paused = true)]
async fn targets_that_no_uri_has_are_sent_as_they_are() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            // A smaller table, so that the next header block begins with a change of size.
            raw.send(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 64]).await;
            raw.frame_of(SETTINGS).await;
            raw.frame_of(SETTINGS).await;
            let mut reader = Reader::new(4096);
            for method in ["GET", "POST", "FOO", "FOO", "OPTIONS"] {
                for (authority, path) in [
                    (&b"a"[..], &b"/<x>`"[..]),
                    (b"a", b"/plain"),
                    (b"[::1", b"/"),
                    (b"", b"/\x80\xff"),
                    (b"a:99999", b"/a#b"),
                    (b"a", b"/<x>`"),
                ] {
                    let (_body, _response) = client.send(&to(method, authority, path), Payload::None).unwrap();
                    let (fields, lengths) = reader.section(&mut raw).await;
                    let mut pseudo = pseudo(&fields);
                    pseudo.sort_unstable();
                    let expected = [
                        (":authority", authority),
                        (":method", method.as_bytes()),
                        (":path", path),
                        (":scheme", b"http"),
                    ];
                    assert_eq!(pseudo, expected);
                    assert_eq!(fields.len(), 7, "the other fields are those of the request");
                    assert_eq!(lengths.len(), 1);
                }
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_odd_target_has_its_scheme_and_connect_has_none() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let mut reader = Reader::new(4096);
            for scheme in ["http", "https", "a+b"] {
                let head = RequestHead { scheme: Some(HeaderValue::from_static(scheme)), ..to("GET", b"a", b"/<") };
                let (_body, _response) = client.send(&head, Payload::None).unwrap();
                let (fields, _) = reader.section(&mut raw).await;
                assert!(pseudo(&fields).contains(&(":scheme", scheme.as_bytes())));
            }
            let (_body, _response) = client.send(&to("CONNECT", b"a[b]:80", b"/"), Payload::Some).unwrap();
            let (fields, _) = reader.section(&mut raw).await;
            assert_eq!(pseudo(&fields), [(":method", &b"CONNECT"[..]), (":authority", b"a[b]:80")]);
            let websocket =
                RequestHead { protocol: Some(HeaderValue::from_static("websocket")), ..to("CONNECT", b"a", b"/<") };
            let (_body, _response) = client.send(&websocket, Payload::Some).unwrap();
            let (fields, _) = reader.section(&mut raw).await;
            assert!(pseudo(&fields).contains(&(":protocol", b"websocket")), "{fields:?}");
            assert!(pseudo(&fields).contains(&(":path", b"/<")), "{fields:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_long_odd_head_is_split_into_frames_that_every_peer_takes() {
    const FRAME: usize = 1 << 14;
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let mut reader = Reader::new(4096);
            // Around one frame, with h2's own CONTINUATION behind ours, and with more than one of ours.
            for (path_len, value_len) in
                [(FRAME - 100, 0), (FRAME - 1, 0), (FRAME, 0), (3 * FRAME, 10), (20, 2 * FRAME), (FRAME, 3 * FRAME)]
            {
                let path = [b"/<", &vec![b'p'; path_len][..]].concat();
                let mut head = to("GET", b"a", &path);
                let value = HeaderValue::from_bytes(&vec![b'~'; value_len]).unwrap();
                head.headers.append(HeaderName::from_static("x-long"), value.clone());
                let (mut body, _response) = client.send(&head, Payload::Some).unwrap();
                body.write(Bytes::from_static(b"body"));
                body.finish(Some(Headers::of(&[("t", "v")])));
                let reading = reader.section(&mut raw);
                let (flushed, (fields, lengths)) = tokio::join!(poll_fn(|cx| body.poll_flush(cx)), reading);
                assert_eq!(flushed, Ok(()));
                assert!(pseudo(&fields).contains(&(":path", &path)));
                assert_eq!(fields.last().unwrap(), &(b"x-long".to_vec(), value.as_bytes().to_vec()));
                assert!(lengths.iter().all(|len| *len <= FRAME), "{lengths:?}");
                assert_eq!(raw.frame_of(DATA).await.payload, b"body");
                let (trailers, _) = reader.section(&mut raw).await;
                assert_eq!(trailers, [(b"t".to_vec(), b"v".to_vec())]);
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_request_that_is_dropped_at_once_sends_no_other_target() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            drop(client.send(&to("GET", b"a", b"/<dropped>"), Payload::None).unwrap());
            let (_body, _response) = client.send(&to("GET", b"a", b"/<kept>"), Payload::None).unwrap();
            let mut reader = Reader::new(4096);
            loop {
                let (fields, _) = reader.section(&mut raw).await;
                let path = pseudo(&fields).into_iter().find(|(name, _)| *name == ":path").unwrap().1;
                assert!(path.starts_with(b"/<"), "{path:?}");
                if path == b"/<kept>" {
                    break;
                }
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_odd_path_beside_a_method_that_could_fill_a_frame_is_refused() {
    LocalSet::new()
        .run_until(async {
            let (_raw, mut client) = raw_server().await;
            let head = to(&"M".repeat(1025), b"a", b"/<");
            assert_eq!(
                client.send(&head, Payload::None).err(),
                Some(ExchangeError::Malformed(Violation::InvalidHeaderField))
            );
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn odd_targets_arrive_through_pipes_of_any_width() {
    for pipe in [24, 37, PIPE_BYTES_MAX] {
        LocalSet::new()
            .run_until(async move {
                let (mut client, mut requests, _tasks) = both_ends(pipe, &Http2Options::default()).await;
                for path in [&b"/<x>"[..], b"/plain", b"/\xc3\xa4"] {
                    let (_body, _response) = client.send(&to("GET", b"[::1]:80", path), Payload::None).unwrap();
                    let (head, _incoming, _responder) = requests.next().await.unwrap();
                    assert_eq!(head.path.unwrap().as_bytes(), path);
                    assert_eq!(head.authority.unwrap(), "[::1]:80");
                }
            })
            .await;
    }
}
