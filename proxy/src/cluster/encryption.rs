//! The handshake of TLS with an endpoint, and what is counted of it: for requests and for health checks alike.

use crate::config::tls::{Carries, ClientTls};
use crate::config::upstream_name::RequestedNames;
use crate::net::{Conn, Logs, tls};
use crate::stats::HandshakeStats;

/// Does the handshake of TLS.
///
/// # Errors
/// Why it failed, as Envoy words it.
pub(super) async fn encrypt(
    conn: Conn,
    context: &ClientTls,
    (names, carries): (&RequestedNames, Carries),
    (stats, logs): (&HandshakeStats, &dyn Logs),
) -> Result<Conn, String> {
    match tls::connect(conn, &context.current(), (names, carries), logs).await {
        Ok(conn) => {
            if let Some(session) = &conn.tls {
                stats.count(session.with_upstream());
            }
            Ok(conn)
        }
        Err(error) => {
            stats.count_failure(tls::failure::kind(&error));
            Err(tls::failure::reason(&error).unwrap_or_default())
        }
    }
}
