//! What is behind the proxies: a page, a large page, and a reader of bodies. A thread for each connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

/// The standard library's 128 would have everybody wait for SYNs to be sent again when an attack's requests come at once.
const BACKLOG: i32 = 4096;
/// Else the kernel copies a thousand large pages into its own buffers while everybody else waits for a processor.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// `/large`, in one place however many ask for it.
static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];

/// Serves until the process ends.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?; // its connections inherit it
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let at = listener.local_addr()?;
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
        let (mut length, mut is_large, mut line) = (0, false, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            is_large |= line.starts_with("GET /large ");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        let body: &[u8] = if is_large { &LARGE } else { b"hello" };
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
        reader.get_mut().write_all(body)?;
    }
}
