//! How a client opens connections: to whom, and whether it encrypts them.

use std::io;

use finwait::net::{Address, Conn, ConnectOptions, Outside};

use crate::scenario;
use crate::tls::ClientEnd;

/// Whom a client connects to.
pub(super) struct Dialling {
    /// Whom its requests are for, unless they name another.
    pub(super) authority: String,
    /// `host:port`
    to: String,
    /// How TLS is used; clear text if absent.
    tls: Option<ClientEnd>,
}

impl Dialling {
    /// That of a client.
    pub(super) fn new(manner: &scenario::Client, tls: Option<ClientEnd>) -> Self {
        let to = manner.connect.clone();
        let host = || to.rsplit_once(':').map_or(to.as_str(), |(name, _)| name).to_owned();
        let server_name = manner.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Self { authority: server_name.unwrap_or_else(host), to, tls }
    }

    /// That of a load balancer, which passes on whom a request is for.
    pub(super) fn of_balancer(to: &str, tls: Option<ClientEnd>) -> Self {
        Self { authority: to.into(), to: to.into(), tls }
    }

    /// The scheme of what is requested.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Opens a connection, and does the handshake of TLS.
    ///
    /// # Errors
    /// There is no such host, it refuses the connection, or the handshake fails.
    pub(super) async fn dial(&self, outside: &Outside) -> io::Result<Conn> {
        let to = &self.to;
        let not_an_address = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{to}` is not host:port"));
        let (name, port) = to.rsplit_once(':').ok_or_else(not_an_address)?;
        let port: u16 = port.parse().map_err(|_| not_an_address())?;
        let unknown = |_| io::Error::new(io::ErrorKind::NotFound, format!("no host is called {name:?}"));
        // As in a URI, an address of IPv6 stands in brackets (RFC 3986 3.2.2).
        let name = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
        let addresses = outside.net.resolve(name).await.map_err(unknown)?;
        let ip = addresses.first().ok_or(io::ErrorKind::NotFound)?;
        let conn = outside.net.connect(&Address::Socket((*ip, port).into()), &ConnectOptions::default()).await?;
        match &self.tls {
            None => Ok(conn),
            Some(tls) => tls
                .connect(conn)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("the TLS handshake fails: {error}"))),
        }
    }
}
