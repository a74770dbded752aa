//! Connections that begin otherwise than their listener has it: without a PROXY header or with one, in clear text or with TLS.

use finwait::config::listener_filter::WithoutHeader;

use super::proposal::{Proposal, set};
use super::settings::{HostSettings, Setting, find, path};
use crate::trace::conversation::Conversation;
use crate::trace::wire;

/// How a connection begins that its listener does not take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beginning {
    /// In clear text, where TLS is wanted.
    ClearText,
    /// Without a PROXY header.
    HeaderMissing,
    /// With one that is taken for a request.
    HeaderUnread,
    /// With a ClientHello, where clear text is wanted.
    Hello,
}

impl Beginning {
    /// Follows what was done.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::ClearText => {
                "because the connection begins in clear text, and the filter chain that takes it wants a ClientHello of TLS"
            }
            Self::HeaderMissing => {
                "because the connection does not begin with a PROXY header, which the listener wants"
            }
            Self::HeaderUnread => "because the connection begins with a PROXY header, which the listener does not read",
            Self::Hello => {
                "because the connection begins with a ClientHello of TLS, and the filter chain that takes it wants clear text"
            }
        }
    }

    /// What the setting is to become.
    pub(super) fn proposal(self) -> Proposal {
        match self {
            Self::ClearText => Proposal::Remove,
            Self::HeaderMissing => set("[]"),
            Self::HeaderUnread => set(
                "[{ name: proxy_protocol, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }]",
            ),
            Self::Hello => set(
                "{ name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: { tls_certificates: [{ certificate_chain: { filename: tried.pem }, private_key: { filename: tried.key } }] } } }",
            ),
        }
    }

    /// What to do about it.
    pub(super) fn change(self) -> &'static str {
        match self {
            Self::ClearText => "connect with TLS, or to a port without it",
            Self::HeaderMissing => {
                "connect through the balancer that writes it, or set allow_requests_without_proxy_protocol of proxy_protocol"
            }
            Self::HeaderUnread => "add the filter proxy_protocol, or have the balancer write no PROXY header",
            Self::Hello => "connect in clear text, or to a port with TLS",
        }
    }
}

impl HostSettings<'_> {
    /// Where a listener says how connections begin, if this one begins otherwise.
    pub(super) fn other_beginning(&self, connection: &Conversation) -> Option<(Beginning, Setting)> {
        let (nth, listener) = self.listener(connection.server_address)?;
        let wants = listener.filters.proxy_protocol.as_ref();
        let bytes = &connection.from_client.bytes;
        let beginning = match (wants, wire::has_proxy_header(bytes)) {
            (None, true) => Beginning::HeaderUnread,
            (Some(filter), false) if filter.without == WithoutHeader::Refused => Beginning::HeaderMissing,
            (Some(_), true) => return None,
            (None | Some(_), false) => return self.other_encryption(connection),
        };
        let setting = self.setting(&path(&format!("static_resources listeners {nth}")), "listener_filters", None);
        Some((beginning, setting))
    }

    /// The same for TLS.
    fn other_encryption(&self, connection: &Conversation) -> Option<(Beginning, Setting)> {
        let chain = self.chain(connection)?;
        let bytes = &connection.from_client.bytes;
        let beginning = match (self.has_tls(&chain), wire::begins_tls(bytes)) {
            // A TCP proxy passes TLS on.
            (false, true) if self.manager(connection).is_some() => Beginning::Hello,
            (true, false) if !bytes.is_empty() => Beginning::ClearText,
            (true | false, _) => return None,
        };
        Some((beginning, self.setting(&chain, "transport_socket", None)))
    }

    /// Whether a filter chain ends TLS.
    fn has_tls(&self, chain: &[String]) -> bool {
        let kind = [chain, &path("transport_socket typed_config @type")].concat();
        let config = self.text();
        let kind = config.as_ref().and_then(|config| find(config, &kind)).and_then(|kind| kind.as_str());
        kind.is_some_and(|kind| kind.ends_with("DownstreamTlsContext"))
    }
}
