//! PROXY headers in front of clear text and of TLS, and clients that are too slow to send what a listener reads first.

use std::io::{Read, Write};

use crate::support::{Client, Proxy, certificate, chain, exchange, responds};

const HEADER: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\x57\x01\xbb";

/// The field in which both chains agree.
const DIRECT: &str = "direct_source_prefix_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }]";

fn filters(options: &str) -> String {
    format!(
        "listener_filters_timeout: 0.2s\n    listener_filters: [{{ name: proxy_protocol, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol, {options} }} }}]"
    )
}

/// A chain for each source: the header's client has one of its own.
fn chains() -> [String; 2] {
    let source = "source_prefix_ranges: [{ address_prefix: 192.0.2.1, prefix_len: 32 }]";
    [
        chain(None, &responds("proxied"), &format!("filter_chain_match: {{ {DIRECT}, {source} }}")),
        chain(None, &responds("direct"), &format!("filter_chain_match: {{ {DIRECT} }}")),
    ]
}

/// What a client gets that sends `first` in front of its request.
fn get(proxy: &Proxy, first: &[u8]) -> String {
    let mut conn = proxy.connect();
    conn.write_all(first).unwrap();
    exchange(conn)
}

#[test]
fn a_proxy_header_says_whose_connection_it_is() {
    let proxy = Proxy::start("proxy-header", &chains(), &filters("disallowed_versions: [V2]"), "");
    assert!(get(&proxy, HEADER.as_bytes()).ends_with("proxied"));
    assert!(get(&proxy, b"PROXY UNKNOWN\r\n").ends_with("direct"));
    for refused in [&b""[..], b"PROXY TCP4 nonsense\r\n", BINARY, b"\r\n\r\n\0\r\nQUIT\n\x2f\0\0\0"] {
        assert_eq!(get(&proxy, refused), "", "{refused:?}");
    }
    // Half a header, and nothing more.
    let mut slow = proxy.connect();
    slow.write_all(b"PROXY TCP4 ").unwrap();
    drop(slow.read(&mut [0; 1]));
    for (stat, expected) in [
        ("proxy_proto.versions.v1.found", 2),
        ("proxy_proto.versions.v1.error", 1),
        ("proxy_proto.versions.v2.disallowed", 1),
        ("proxy_proto.versions.v2.error", 1),
        ("proxy_proto.not_found_disallowed", 1),
        ("downstream_cx_proxy_proto_error", 4),
        ("listener.*downstream_pre_cx_timeout", 1),
    ] {
        proxy.until_stat(stat, expected);
    }
    proxy.stop();
}

#[test]
fn rules_tell_the_client_that_a_proxy_header_names_from_the_sockets_peer() {
    let ids = "{ direct_remote_ip: { address_prefix: 127.0.0.0, prefix_len: 8 } }, { remote_ip: { address_prefix: \
               192.0.2.1, prefix_len: 32 } }, { source_ip: { address_prefix: 192.0.2.1, prefix_len: 32 } }";
    let rules = format!(
        "- filters:\n      - {{ name: rules, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: rules, rules: {{ policies: {{ \
         all: {{ permissions: [{{ any: true }}], principals: [{{ and_ids: {{ ids: [{ids}] }} }}] }} }} }} }} }}"
    );
    let chain = chain(None, &responds("hello"), "").replacen("- filters:", &rules, 1);
    let proxy = Proxy::start("proxy-header-rules", &[chain], &filters(""), "");
    assert!(get(&proxy, HEADER.as_bytes()).ends_with("hello"));
    assert_eq!(get(&proxy, b"PROXY UNKNOWN\r\n"), "");
    for stat in ["rules.rbac.allowed", "rules.rbac.denied"] {
        assert_eq!(proxy.stat(stat), 1, "{stat}");
    }
    proxy.stop();
}

#[test]
fn a_connection_without_a_proxy_header_is_served_where_that_is_allowed() {
    let options = filters("allow_requests_without_proxy_protocol: true, stat_prefix: edge");
    let continues = format!("continue_on_listener_filters_timeout: true\n    {options}");
    let proxy = Proxy::start("no-proxy-header", &chains(), &continues, "");
    assert!(get(&proxy, BINARY).ends_with("proxied"));
    assert!(get(&proxy, b"").ends_with("direct"));
    // What has come is given back, and is no request.
    let mut slow = proxy.connect();
    slow.write_all(b"PROXY ").unwrap();
    proxy.until_stat("listener.*downstream_pre_cx_timeout", 1);
    slow.write_all(b"TCP4\r\n\r\n").unwrap();
    let mut said = String::new();
    slow.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    for (stat, expected) in [("proxy_proto.edge.versions.v2.found", 1), ("proxy_proto.edge.not_found_allowed", 1)] {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    proxy.stop();
}

#[test]
fn a_handshake_that_takes_too_long_is_closed() {
    let tls = format!("common_tls_context: {{ tls_certificates: [{}] }}", certificate("server"));
    let filters = filters("allow_requests_without_proxy_protocol: true");
    let chains = [chain(Some(&tls), &responds("hello"), "transport_socket_connect_timeout: 0.1s")];
    let proxy = Proxy::start("slow-handshake", &chains, &filters, "");
    let mut conn = proxy.connect();
    conn.write_all(HEADER.as_bytes()).unwrap();
    // A whole ClientHello, and nothing behind it.
    let mut hello = Vec::new();
    Client::default().begin("server.test").write_tls(&mut hello).unwrap();
    conn.write_all(&hello).unwrap();
    drop(conn.read_to_end(&mut Vec::new()));
    proxy.until_stat("downstream_cx_transport_socket_connect_timeout", 1);
    assert!(proxy.get(Client::default(), "server.test").unwrap().ends_with("hello"));
    proxy.stop();
}
