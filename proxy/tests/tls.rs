//! TLS on real sockets, towards clients and upstreams: what is agreed upon, what is refused, and what logs and stats say of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where a step fails")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a process is tested from outside")]

#[path = "tls/key_log.rs"]
mod key_log;
#[path = "tls/ocsp.rs"]
mod ocsp;
#[path = "tls/peers.rs"]
mod peers;
#[path = "support/process.rs"]
mod process;
#[path = "tls/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "tls/secrets.rs"]
mod secrets;
#[path = "tls/support.rs"]
mod support;
#[path = "tls/tickets.rs"]
mod tickets;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{KeyLog, NoKeyLog, ServerConfig, ServerConnection, StreamOwned};
use support::{Client, INSPECTOR, Newest, Proxy, certificate, chain, file, responds};

/// The validity of `server.pem`, in seconds since 1970.
const SERVER_BEGINS: u64 = 1_796_013_388;
const SERVER_EXPIRES: u64 = 4_949_613_388;

#[test]
fn a_client_gets_a_response_over_tls_and_the_log_says_what_was_agreed_upon() {
    let tls = format!(
        "common_tls_context: {{ alpn_protocols: [h2, http/1.1], tls_certificates: [{}] }}",
        certificate("server")
    );
    let proxy = Proxy::start("basic", &[chain(Some(&tls), &responds("hello"), "")], INSPECTOR, "");
    let client = Client { alpn: &["http/1.1"], ..Client::default() };
    assert!(proxy.get(client, "server.test").unwrap().ends_with("hello"));
    // Without a common protocol HTTP/1 is spoken all the same.
    assert!(proxy.get(Client { alpn: &["imap"], ..client }, "server.test").unwrap().ends_with("hello"));
    assert!(proxy.get(Client::default(), "127.0.0.1").unwrap().ends_with("hello"));
    // HTTP in clear text is no TLS: closed without an alert, which its client could not read.
    assert_eq!(proxy.get_plain(), "");
    drop(proxy.connect());
    // What begins like TLS and is none counts as clear text, and fails in its handshake.
    let mut other = proxy.connect();
    other.write_all(&[22, 3, 1, 0, 4, 9, 9, 9, 9]).unwrap();
    drop(other.read_to_end(&mut Vec::new()));
    let mut waiting = proxy.connect();
    waiting.write_all(&[22, 3]).unwrap();
    proxy.until_stat("listener.*downstream_pre_cx_active", 1);
    drop(waiting);
    proxy.until_stat("listener.*downstream_pre_cx_active", 0);
    for (stat, expected) in [
        ("ssl.handshake", 3),
        ("ssl.no_certificate", 3),
        ("ssl.connection_error", 2),
        ("ssl.ciphers.TLS_AES_256_GCM_SHA384", 3),
        ("ssl.curves.X25519", 3),
        ("ssl.versions.TLSv1.3", 3),
        ("ssl.session_reused", 0),
        ("ssl.certificate.unnamed_cert_e3b0c442.expiration_unix_time_seconds", SERVER_EXPIRES),
        ("downstream_listener_filter_remote_close", 2),
        ("downstream_listener_filter_error", 0),
        ("http.web.downstream_cx_destroy", 5),
        ("http.web.downstream_cx_ssl_total", 5),
        ("http.web.downstream_cx_ssl_active", 0),
        ("tls_inspector.tls_found", 3),
        ("tls_inspector.tls_not_found", 2),
        ("tls_inspector.alpn_found", 2),
        ("tls_inspector.alpn_not_found", 1),
        ("tls_inspector.sni_found", 2),
        ("tls_inspector.sni_not_found", 1),
    ] {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    assert!(proxy.stat("server.days_until_first_cert_expiring") < (SERVER_EXPIRES - SERVER_BEGINS) / 86_400);
    let certs: serde_json::Value = serde_json::from_str(&proxy.admin("/certs")).unwrap();
    let [context] = certs["certificates"].as_array().unwrap().as_slice() else { panic!("{certs}") };
    assert_eq!(context["ca_cert"], serde_json::json!([]));
    let mut shown = context["cert_chain"][0].clone();
    assert!(shown["path"].as_str().unwrap().ends_with("server.pem"), "{shown}");
    let left = shown.as_object_mut().unwrap().remove("days_until_expiration").unwrap();
    assert!(left.as_str().unwrap().parse::<u64>().unwrap() > 0, "{left}");
    shown.as_object_mut().unwrap().remove("path");
    let expected = serde_json::json!({
        "serial_number": "5730206b68d31850a0b8e6ec765be75e08591617",
        "subject_alt_names": [{ "dns": "server.test" }, { "dns": "*.wild.test" }, { "ip_address": "127.0.0.1" }],
        "valid_from": "2026-11-30T04:36:28Z",
        "expiration_time": "2126-11-06T04:36:28Z",
    });
    assert_eq!(shown, expected);
    let agreed = "TLSv1.3 TLS_AES_256_GCM_SHA384 to - - -";
    let lines = proxy.stop();
    let expected = ["server.test", "server.test", "-"].map(|name| format!("200 - sni {name} from - {agreed}"));
    assert_eq!(lines, expected);
}

#[test]
fn a_client_certificate_is_required_and_checked() {
    let tls = format!(
        "require_client_certificate: true, common_tls_context: {{ tls_certificates: [{}], validation_context: {{ trusted_ca: \
         {{ filename: {} }} }} }}",
        certificate("server"),
        file("authority.pem")
    );
    let proxy = Proxy::start("client", &[chain(Some(&tls), &responds("hello"), "")], "", "");
    let shows = |certificate| Client { certificate, ..Client::default() };
    assert!(proxy.get(shows(Some("client")), "server.test").unwrap().ends_with("hello"));
    assert!(proxy.get(shows(None), "server.test").unwrap_err().contains("CertificateRequired"));
    let older = Client { newest: Newest::Tls12, ..shows(None) };
    assert!(proxy.get(older, "server.test").unwrap_err().contains("HandshakeFailure"), "RFC 5246 7.4.6");
    assert!(proxy.get(shows(Some("foreigner")), "server.test").unwrap_err().contains("UnknownCA"));
    for (stat, expected) in
        [("ssl.handshake", 1), ("ssl.no_certificate", 0), ("fail_verify_no_cert", 2), ("fail_verify_error", 1)]
    {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    let lines = proxy.stop();
    assert!(lines.iter().any(|line| line.contains(" from CN=client,O=finwait TLSv1.3 ")), "{lines:?}");
}

#[test]
fn the_server_name_chooses_the_chain_and_the_certificate() {
    let of = |name: &str| format!("common_tls_context: {{ tls_certificates: [{}] }}", certificate(name));
    let both =
        format!("common_tls_context: {{ tls_certificates: [{}, {}] }}", certificate("server"), certificate("other"));
    let names = |names: &str| format!("filter_chain_match: {{ server_names: [{names}] }}");
    let chains = [
        chain(Some(&of("server")), &responds("wild"), &names("\"*.wild.test\"")),
        chain(Some(&both), &responds("exact"), &names("server.test, other.test")),
        chain(None, &responds("plain"), "filter_chain_match: { transport_protocol: raw_buffer }"),
    ];
    let proxy = Proxy::start("names", &chains, INSPECTOR, "");
    for (name, expected) in [("a.wild.test", "wild"), ("server.test", "exact"), ("other.test", "exact")] {
        assert!(proxy.get(Client::default(), name).unwrap().ends_with(expected), "{name}");
    }
    assert!(proxy.get_plain().ends_with("plain"));
    assert!(proxy.get(Client::default(), "wild.test").is_err());
    assert_eq!(proxy.stat("no_filter_chain_match"), 1);
    proxy.stop();
}

/// Envoy 1.40 does not add the listener filter by itself.
#[test]
fn without_tls_inspector_no_server_name_chooses_a_chain() {
    let tls = format!("common_tls_context: {{ tls_certificates: [{}] }}", certificate("server"));
    let chains = [chain(Some(&tls), &responds("named"), "filter_chain_match: { server_names: [server.test] }")];
    let proxy = Proxy::start("unseen", &chains, "", "");
    assert!(proxy.get(Client::default(), "server.test").is_err());
    assert_eq!(proxy.stat("no_filter_chain_match"), 1);
    proxy.stop();
}

/// An application that speaks TLS, with this certificate.
fn app(name: &str) -> u16 {
    app_with(name, Arc::new(NoKeyLog))
}

/// The same, which hands its secrets on.
fn app_with(name: &str, key_log: Arc<dyn KeyLog>) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.key_log = key_log;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), conn);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\napp"));
            }
        }
    });
    port
}

fn cluster(name: &str, port: u16, names: &str) -> String {
    format!(
        "{{ name: {name}, load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ \
         socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}] }}, transport_socket: {{ name: tls, \
         typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: \
         server.test, common_tls_context: {{ validation_context: {{ trusted_ca: {{ filename: {} }}{names} }} }} }} }} }}",
        file("authority.pem")
    )
}

#[test]
fn an_upstream_is_spoken_to_over_tls_and_its_certificate_is_checked() {
    let names = ", match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: server.test } }]";
    for (certificate, status, line, stat) in [
        ("server", "200", "200 - sni - from - - - to TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 -", "ssl.handshake"),
        (
            "other",
            "503",
            "503 UF sni - from - - - to - - TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
             verify_cert_failed:_SAN_matcher,_certificate_SANs_are_[other.test]:TLS_error_end",
            "ssl.fail_verify_san",
        ),
        (
            "foreigner",
            "503",
            "503 UF sni - from - - - to - - TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
             verify_cert_failed:_X509_verify_cert:_certificate_verification_error_at_depth_0:_unable_to_get_local_issuer_\
             certificate:TLS_error_end",
            "ssl.fail_verify_error",
        ),
    ] {
        let clusters = cluster("app", app(certificate), names);
        let proxy = Proxy::start(certificate, &[chain(None, "route: { cluster: app }", "")], "", &clusters);
        let response = proxy.get_plain();
        assert_eq!(response.split(' ').nth(1), Some(status), "{response}");
        assert_eq!(proxy.stat(stat), 1, "{stat}");
        assert_eq!(proxy.stop(), [line]);
    }
}

#[test]
fn an_upstream_whose_certificate_was_revoked_is_a_503_with_the_reason() {
    let of_lister = |list: &str| {
        let more = format!(", crl: {{ filename: {} }}, only_verify_leaf_cert_crl: true", file(list));
        cluster("app", app("revoked"), &more).replace("authority.pem", "lister.pem")
    };
    let ruled_out = "503 UF sni - from - - - to - - TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
                     verify_cert_failed:_X509_verify_cert:_certificate_verification_error_at_depth_0:_certificate_revocation_check_\
                     against_provided_CRLs_failed:_";
    for (list, status, words, failures) in [
        ("before.crl", "200", None, 0),
        ("after.crl", "503", Some("certificate_revoked:TLS_error_end"), 1),
        ("late.crl", "503", Some("CRL_has_expired:TLS_error_end"), 1),
    ] {
        let proxy = Proxy::start(list, &[chain(None, "route: { cluster: app }", "")], "", &of_lister(list));
        let response = proxy.get_plain();
        assert_eq!(response.split(' ').nth(1), Some(status), "{list}: {response}");
        assert_eq!(proxy.stat("cluster.app.ssl.fail_verify_error"), failures, "{list}");
        let lines = proxy.stop();
        assert!(words.is_none_or(|words| lines == [format!("{ruled_out}{words}")]), "{list}: {lines:?}");
    }
}

#[test]
fn an_upstream_without_tls_is_a_503_with_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut conn in listener.incoming().flatten() {
            drop(conn.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
            drop(conn.read(&mut [0; 4096]));
        }
    });
    let proxy = Proxy::start("none", &[chain(None, "route: { cluster: app }", "")], "", &cluster("app", port, ""));
    assert_eq!(proxy.get_plain().split(' ').nth(1), Some("503"));
    let reason = "TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end";
    assert_eq!(proxy.stat("cluster.app.ssl.connection_error"), 1);
    assert_eq!(proxy.stop(), [format!("503 UF sni - from - - - to - - {reason}")]);
}
