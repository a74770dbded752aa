//! The application behind the proxy: it answers every request, whole, with the same page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Longer than any window that a case opens.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, peer\n";

/// Serves until the test ends.
pub(crate) fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(at)
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        match read_head(&mut reader)? {
            Body::Chunked => while read_chunk(&mut reader)? {},
            Body::Sized(len) => reader.read_exact(&mut vec![0; len])?,
        }
        stream.write_all(ANSWER)?;
    }
}

enum Body {
    Chunked,
    Sized(usize),
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Body> {
    let mut body = Body::Sized(0);
    loop {
        let line = read_line(reader)?;
        match line.trim_end().split_once(": ") {
            Some(("transfer-encoding", "chunked")) => body = Body::Chunked,
            Some(("content-length", len)) => body = Body::Sized(len.parse().map_err(std::io::Error::other)?),
            Some(_) => {}
            None if line == "\r\n" => return Ok(body),
            None => {}
        }
    }
}

/// Does another chunk follow? Trailers, which end with an empty line, are read with the last one.
fn read_chunk(reader: &mut impl BufRead) -> std::io::Result<bool> {
    let len = usize::from_str_radix(read_line(reader)?.trim_end(), 16).map_err(std::io::Error::other)?;
    if len > 0 {
        reader.read_exact(&mut vec![0; len + 2])?;
        return Ok(true);
    }
    while read_line(reader)? != "\r\n" {}
    Ok(false)
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}
