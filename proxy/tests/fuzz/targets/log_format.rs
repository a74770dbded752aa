//! Access-log formats: an error names a character of the format, two formats one after the other mean what they mean
//! alone, and a line is written whatever a request holds and whatever the clock says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use finwait::access_log::{AccessLog, Downstream, StreamInfo};
use finwait::codec::{RequestHead, ResponseHead};
use finwait::config::log_format::{Format, FormatError, Piece};
use finwait::net::{Address, LogWriter, Random};
use http::{HeaderName, HeaderValue, StatusCode};

use super::cuts::Draws;

/// The text of a format.
///
/// # Panics
/// If one of the properties does not hold.
pub fn log_format(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Format::parse(text) {
        Ok(format) => {
            assert_eq!(Format::parse(text).as_ref(), Ok(&format));
            writes_lines(&format);
        }
        Err(error) => {
            let (FormatError::Argument { .. }
            | FormatError::Dangling { .. }
            | FormatError::Unknown { .. }
            | FormatError::Unsupported { .. }) = &error;
            if let FormatError::Dangling { at }
            | FormatError::Unknown { at, .. }
            | FormatError::Unsupported { at, .. } = error
            {
                assert_eq!(text.chars().nth(at - 1), Some('%'), "{error}");
            }
        }
    }
    let mut draws = Draws::of(input);
    let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let (left, right) = text.split_at(boundaries[draws.below(boundaries.len())]);
    if let (Ok(Format(left)), Ok(Format(right))) = (Format::parse(left), Format::parse(right)) {
        let whole = Format::parse(text).map(|Format(pieces)| joined(pieces));
        assert_eq!(whole, Ok(joined(left.into_iter().chain(right).collect())));
    }
}

/// With neighbouring literals as one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Literal(before)), Piece::Literal(text)) => before.push_str(&text),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

/// Where lines go.
#[derive(Default)]
struct Lines(RefCell<Vec<Vec<u8>>>);

impl LogWriter for Lines {
    fn write_line(&self, line: &[u8]) {
        self.0.borrow_mut().push(line.to_vec());
    }
}

/// Chance that always has the same.
struct Zeros;

impl Random for Zeros {
    fn next_u64(&self) -> u64 {
        0
    }
}

fn writes_lines(format: &Format) {
    let seconds = [0, 1_795_237_736, 253_402_300_800, 9_000_000_000_000_000_000];
    let after = seconds.map(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, 999_999_999)));
    let before = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(1));
    for started in after.into_iter().chain([before]).flatten() {
        let lines = Rc::new(Lines::default());
        let log = AccessLog::new(format.clone(), Rc::<Lines>::clone(&lines), Rc::new(Zeros));
        let info = stream(started);
        log.write(&info);
        log.write(&info);
        let lines = lines.0.borrow();
        let [first, second] = lines.as_slice() else { panic!("one line for each stream") };
        assert_eq!(first, second, "a line does not depend on the one before");
        let Format(pieces) = format;
        if let [Piece::Literal(text)] = pieces.as_slice() {
            assert_eq!(first, text.as_bytes());
        }
        if let [Piece::Operator(_, Some(bytes_max))] = pieces.as_slice() {
            assert!(first.len() <= *bytes_max, "{} bytes", first.len());
        }
    }
}

/// A stream of which everything is known that a request brings along.
fn stream(started: SystemTime) -> StreamInfo {
    let at = Address::Internal("peer".into());
    let begin = tokio::time::Instant::now();
    let mut info = StreamInfo::new(begin, started, Rc::new(Downstream::new(1, at.clone(), at.clone())));
    let odd = HeaderValue::from_bytes(b"\xff\t\"%REQ(x)%\\").expect("a value may hold all of this");
    let mut request = RequestHead { path: Some(odd.clone()), authority: Some(odd.clone()), ..RequestHead::default() };
    request.headers.append(HeaderName::from_static("x"), odd.clone());
    request.headers.append(HeaderName::from_static("x"), odd.clone());
    info.request = Some(request);
    let mut response = ResponseHead::new(StatusCode::OK);
    response.headers.append(HeaderName::from_static("x"), odd);
    info.response = Some(response);
    info.response_code = Some(200);
    info.upstream_host = Some(at);
    info.bytes_sent = u64::MAX;
    info.finish(begin + Duration::from_millis(7));
    info
}
