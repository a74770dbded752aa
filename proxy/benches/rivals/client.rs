//! A client that does nothing wrong: one HTTP/1 connection to what is measured.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A response that takes longer is a failure.
const RESPONSE_MAX: Duration = Duration::from_secs(10);

pub(crate) fn connect(at: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(RESPONSE_MAX))?;
    Ok(BufReader::new(stream))
}

/// Reads the head of a response, in lower case; an error unless its status is 200.
pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head += &line;
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(head.to_ascii_lowercase())
}
