//! A client made of frames: it sends what a case tells it and waits for what the case expects.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frame::{
    ACK, DATA, END_STREAM, FRAME_HEAD_LEN, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, number,
    settings,
};

/// Silence of this length is an answer too. Nothing that passes waits for it.
const SILENCE: Duration = Duration::from_secs(10);
/// `:status` in HPACK's static table.
const STATUS_200: u8 = 0x88;

/// What has to come, whatever else comes before it.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// HEADERS that say 200, on this stream.
    Answer(u32),
    /// The last frame of the answer on this stream.
    AnswerEnds(u32),
    /// The end of the connection.
    Closed,
    /// RFC 9113 5.4.1: GOAWAY with one of these codes. An endpoint may also close without a word.
    ConnectionError(&'static [u32]),
    /// DATA of this length, as the first on this stream since the last step.
    DataOf(u32, usize),
    /// GOAWAY with this code, and not just the end.
    GoAway(u32),
    /// PING with ACK and this payload.
    PingAck([u8; 8]),
    /// The same, or the end of the connection.
    PingAckOrClosed([u8; 8]),
    /// RST_STREAM on this stream with this code, and nothing less gentle.
    Reset(u32, u32),
    /// SETTINGS, not an acknowledgement, as the very first frame.
    SettingsFirst,
    /// SETTINGS with ACK.
    SettingsAck,
    /// RFC 9113 5.4.2: RST_STREAM on this stream with one of these codes, or the same as a connection error.
    StreamError(u32, &'static [u32]),
    /// Not HTTP/2: these bytes, then the end.
    TextThenClosed(&'static str),
}

/// What came.
#[derive(Debug)]
enum Event {
    Closed,
    Frame(Frame),
    Silence,
}

/// What an event means to somebody who waits.
enum Verdict {
    Met,
    NotYet,
    Wrong,
}

pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn connect(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Self(stream))
    }

    /// Preface and SETTINGS both ways, acknowledged both ways.
    pub(crate) fn shake_hands(&mut self) -> Result<(), String> {
        self.send(&[PREFACE, &settings(&[])].concat());
        self.expect(&Expect::SettingsFirst)?;
        self.send(&frame(SETTINGS, ACK, 0, &[]));
        self.expect(&Expect::SettingsAck)
    }

    /// A connection that the other end has given up takes nothing; what was read before that decides.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes));
    }

    /// Reads until it has come, or something that excludes it.
    pub(crate) fn expect(&mut self, expected: &Expect) -> Result<(), String> {
        if let Expect::TextThenClosed(text) = expected {
            return self.expect_text(text);
        }
        let mut seen = Vec::new();
        loop {
            let event = self.next();
            match expected.judge(&event) {
                Verdict::Met => return Ok(()),
                Verdict::NotYet => seen.push(event),
                Verdict::Wrong => {
                    return Err(format!("expected {expected:?}, got {event:?}, and before that {seen:?}"));
                }
            }
        }
    }

    fn expect_text(&mut self, text: &str) -> Result<(), String> {
        let mut all = Vec::new();
        let ended = self.0.read_to_end(&mut all);
        let said = String::from_utf8_lossy(&all);
        let is_over = !matches!(&ended, Err(error) if is_timeout(error));
        if said.starts_with(text) && is_over {
            Ok(())
        } else {
            Err(format!("expected {text:?}, got {said:?}, {ended:?}"))
        }
    }

    fn next(&mut self) -> Event {
        let mut head = [0; FRAME_HEAD_LEN];
        if let Err(error) = self.0.read_exact(&mut head) {
            return Event::from(&error);
        }
        let [len_high, len_middle, len_low, kind, flags, stream @ ..] = head;
        let len = usize::try_from(number(&[len_high, len_middle, len_low])).expect("24 bits");
        let mut payload = vec![0; len];
        match self.0.read_exact(&mut payload) {
            Err(error) => Event::from(&error),
            Ok(()) => Event::Frame(Frame { kind, flags, stream: number(&stream), payload }),
        }
    }
}

impl From<&std::io::Error> for Event {
    fn from(error: &std::io::Error) -> Self {
        if is_timeout(error) { Self::Silence } else { Self::Closed }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

impl Expect {
    fn judge(&self, event: &Event) -> Verdict {
        match event {
            Event::Closed => self.judge_end(),
            Event::Silence => Verdict::Wrong,
            Event::Frame(frame) => self.judge_frame(frame),
        }
    }

    fn judge_end(&self) -> Verdict {
        match self {
            Self::Closed | Self::ConnectionError(_) | Self::PingAckOrClosed(_) | Self::StreamError(..) => Verdict::Met,
            _ => Verdict::Wrong,
        }
    }

    fn judge_frame(&self, frame: &Frame) -> Verdict {
        let is_on = |stream: u32| frame.stream == stream;
        let is_one_of = |codes: &[u32]| frame.code().is_some_and(|code| codes.contains(&code));
        match (self, frame.kind) {
            (Self::Answer(stream), HEADERS) if is_on(*stream) => met_if(frame.payload.first() == Some(&STATUS_200)),
            (Self::AnswerEnds(stream), HEADERS | DATA) if is_on(*stream) && frame.has(END_STREAM) => Verdict::Met,
            (Self::DataOf(stream, len), DATA) if is_on(*stream) => met_if(frame.payload.len() == *len),
            (Self::PingAck(payload) | Self::PingAckOrClosed(payload), PING) => {
                met_if(frame.has(ACK) && frame.payload == payload)
            }
            (Self::SettingsFirst, kind) => met_if(kind == SETTINGS && !frame.has(ACK)),
            (Self::SettingsAck, SETTINGS) if frame.has(ACK) => met_if(frame.payload.is_empty()),
            (Self::ConnectionError(codes) | Self::StreamError(_, codes), GOAWAY) => met_if(is_one_of(codes)),
            (Self::StreamError(stream, codes), RST_STREAM) if is_on(*stream) => met_if(is_one_of(codes)),
            (Self::GoAway(code), GOAWAY) => met_if(is_one_of(&[*code])),
            (Self::Reset(stream, code), RST_STREAM) if is_on(*stream) => met_if(is_one_of(&[*code])),
            (Self::Answer(stream) | Self::AnswerEnds(stream) | Self::DataOf(stream, _), RST_STREAM)
                if is_on(*stream) =>
            {
                Verdict::Wrong
            }
            // A drain or an error that nobody asked for.
            (Self::Answer(_) | Self::AnswerEnds(_) | Self::PingAck(_) | Self::SettingsAck, GOAWAY) => Verdict::Wrong,
            _ => Verdict::NotYet,
        }
    }
}

fn met_if(met: bool) -> Verdict {
    if met { Verdict::Met } else { Verdict::Wrong }
}
