//! HTTP/1.1 by hand, for clients and applications that share their test's event loop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use finwait::net::{Accept, Address, Conn, ListenOptions, Outside};
use tokio::io::AsyncReadExt;

/// Listens on loopback; also returns the port.
pub(crate) fn listen(world: &Outside) -> io::Result<(Box<dyn Accept>, u16)> {
    let any = Address::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listener = world.net.listen(&any, &ListenOptions::default())?;
    let port = listener.local().port().ok_or(io::ErrorKind::Unsupported)?;
    Ok((listener, port))
}

/// Everything to the empty line.
pub(crate) async fn read_head(conn: &mut Conn) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(conn.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
