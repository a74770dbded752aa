//! The application over HTTP/1. A thread for each connection, most of them there from the start.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// `/large`, in one place however many requests there are for it.
static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];
/// The value of one field of `/heads`: most of the 60 KiB that a proxy takes by default.
const HEAD_VALUE_BYTES: usize = 58_000;
/// How long `/unread` leaves a body unread; longer than any attack.
const UNREAD: Duration = Duration::from_secs(30);
/// The extension of each chunk of `/chunks`, which holds one byte.
const EXTENSION_BYTES: usize = 4000;
/// The `link` of each response of `/hints`.
const HINT_BYTES: usize = 4000;
/// How long `/early` keeps its connection after its response.
const EARLY: Duration = Duration::from_millis(20);

/// Threads that wait for connections from the start: to begin a thread for each of a thousand connections that come at once
/// would take longer than everything that is measured.
const THREADS: usize = 1_100;
/// Of each of them. Bytes.
const STACK_BYTES: usize = 128 * 1024;

/// Serves until the process ends.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let (listener, at) = super::listen()?;
    let listener = Arc::new(listener);
    for _ in 0..THREADS {
        let listener = Arc::clone(&listener);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(serve(stream)); // a proxy that closes early is no failure
            }
        })?;
    }
    // Connections beyond those.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(at)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut is_chunked, mut path, mut line) = (0, false, String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            }
            is_chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        match path.as_str() {
            "/unread" => {
                thread::sleep(UNREAD);
                return Ok(());
            }
            "/chunks" => return send_chunks(reader.get_mut()),
            "/hints" => return send_hints(reader.get_mut()),
            "/early" => {
                // The response ends before the request does; what is sent of that later has nowhere to go.
                respond(reader.get_mut(), &path)?;
                thread::sleep(EARLY);
                return Ok(());
            }
            _ if is_chunked => read_chunks(&mut reader)?,
            _ => io::copy(&mut reader.by_ref().take(length), &mut io::sink())?,
        };
        respond(reader.get_mut(), &path)?;
    }
}

/// Informational responses, until the connection is closed.
fn send_hints(to: &mut TcpStream) -> io::Result<()> {
    let hint = format!("HTTP/1.1 103 Early Hints\r\nlink: <{}>\r\n\r\n", "l".repeat(HINT_BYTES));
    loop {
        to.write_all(hint.as_bytes())?;
    }
}

/// To the last chunk; trailers are not expected. The bytes of payload.
fn read_chunks(reader: &mut BufReader<TcpStream>) -> io::Result<u64> {
    let (mut bytes, mut line) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let len = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        io::copy(&mut reader.by_ref().take(len + 2), &mut io::sink())?;
        bytes += len;
        if len == 0 {
            return Ok(bytes);
        }
    }
}

fn respond(to: &mut TcpStream, path: &str) -> io::Result<()> {
    let body: &[u8] = if path == "/large" { &LARGE } else { b"hello" };
    let more = if path == "/heads" { format!("x-long: {}\r\n", "h".repeat(HEAD_VALUE_BYTES)) } else { String::new() };
    write!(to, "HTTP/1.1 200 OK\r\n{more}content-length: {}\r\n\r\n", body.len())?;
    to.write_all(body)
}

/// A byte in each chunk, and a long extension, until the connection is closed.
fn send_chunks(to: &mut TcpStream) -> io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(EXTENSION_BYTES));
    let batch = chunk.repeat(16);
    loop {
        to.write_all(batch.as_bytes())?;
    }
}
