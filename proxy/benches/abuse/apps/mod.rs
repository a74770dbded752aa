//! What is behind the proxies: an application that speaks HTTP/1, and one that speaks HTTP/2.

pub(crate) mod http1;
pub(crate) mod http2;

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// The standard library's 128 would have SYNs sent again when an attack's requests come at once.
const BACKLOG: i32 = 4096;
/// Else the kernel copies a thousand large pages into its own buffers while everything else waits for a processor.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Its connections inherit the size of its buffer.
fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let at = listener.local_addr()?;
    Ok((listener, at))
}
