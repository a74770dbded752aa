//! TLS on real sockets, towards clients and upstreams: what is agreed upon, what is refused, and what logs and stats say of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where a step fails")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a process is tested from outside")]

#[path = "support/process.rs"]
mod process;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use process::Finwait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// No step takes longer, on however busy a machine.
const STEP_MAX: Duration = Duration::from_secs(30);
const LINE: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% sni %REQUESTED_SERVER_NAME% from %DOWNSTREAM_TLS_VERSION% \
                    %DOWNSTREAM_TLS_CIPHER% to %UPSTREAM_TLS_VERSION% %UPSTREAM_TLS_CIPHER% \
                    %UPSTREAM_TRANSPORT_FAILURE_REASON%";
const INSPECTOR: &str = "listener_filters: [{ name: inspector, typed_config: { \"@type\": \
                         type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]";

/// A file of the tests.
fn file(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn certificate(name: &str) -> String {
    format!(
        "{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}",
        file(&format!("{name}.pem")),
        file(&format!("{name}.key"))
    )
}

/// A filter chain of a connection manager, with `options` of its TLS, if there is any, and more fields of its own.
fn chain(tls: Option<&str>, route: &str, more: &str) -> String {
    let socket = tls.map(|options| {
        format!(
            "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, {options} }} }}"
        )
    });
    format!(
        r#"
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: access.log
              log_format: {{ text_format_source: {{ inline_string: "{LINE}\n" }} }}
          route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, {route} }}] }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
      {}
      {more}"#,
        socket.unwrap_or_default()
    )
}

fn responds(with: &str) -> String {
    format!("direct_response: {{ status: 200, body: {{ inline_string: {with} }} }}")
}

/// The proxy, in a folder of its own, and where it listens.
struct Proxy {
    folder: PathBuf,
    finwait: Option<Finwait>,
    at: u16,
    admin: u16,
}

impl Proxy {
    /// With one listener of these chains and more fields.
    fn start(name: &str, chains: &[String], listener: &str, clusters: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("finwait-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let local = "address: { socket_address: { address: 127.0.0.1, port_value: 0 } }";
        let yaml = format!(
            "admin: {{ {local} }}\nstatic_resources:\n  listeners:\n  - name: web\n    {local}\n    {listener}\n    \
             filter_chains:{}\n  clusters: [{clusters}]\n",
            chains.concat()
        );
        fs::write(folder.join("envoy.yaml"), yaml).unwrap();
        let mut finwait = Finwait::start(&folder, &["-c", "envoy.yaml", "--concurrency", "1"]).unwrap();
        let port = |said: String| said.rsplit(':').next().unwrap().trim().parse().unwrap();
        let admin = port(finwait.until("admin interface listening on ").unwrap());
        let at = port(finwait.until("listening on ").unwrap());
        finwait.until("ready").unwrap();
        Self { folder, finwait: Some(finwait), at, admin }
    }

    fn connect(&self) -> TcpStream {
        let conn = TcpStream::connect(("127.0.0.1", self.at)).unwrap();
        conn.set_read_timeout(Some(STEP_MAX)).unwrap();
        conn
    }

    /// What a request in clear text gets.
    fn get_plain(&self) -> String {
        exchange(self.connect())
    }

    /// What a request over TLS gets, or why there is no TLS.
    fn get(&self, client: Client, name: &'static str) -> Result<String, String> {
        let tls = ClientConnection::new(Arc::new(client.config()), ServerName::try_from(name).unwrap()).unwrap();
        let mut stream = StreamOwned::new(tls, self.connect());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").map_err(|it| it.to_string())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(response).unwrap())
    }

    /// Stops it, and sees that it ends as it should; the lines of its access log.
    fn stop(mut self) -> Vec<String> {
        let finwait = self.finwait.take().unwrap();
        finwait.signal("INT").unwrap();
        let (status, said) = finwait.end(STEP_MAX).unwrap();
        assert!(status.success(), "{said}");
        let log = fs::read_to_string(self.folder.join("access.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn stat(&self, name: &str) -> u64 {
        let mut conn = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        write!(conn, "GET /stats?filter={name}$ HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        conn.read_to_string(&mut response).unwrap();
        let body = response.split_once("\r\n\r\n").unwrap().1;
        let line = body.lines().find(|line| line.contains(": ")).unwrap_or_else(|| panic!("no {name}: {response}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asks for a stat until it has this value.
    fn until_stat(&self, name: &str, value: u64) {
        let begun = Instant::now();
        while self.stat(name) != value {
            assert!(begun.elapsed() < STEP_MAX, "{name} does not become {value}");
            thread::yield_now();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn exchange(mut conn: TcpStream) -> String {
    conn.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    drop(conn.read_to_end(&mut response)); // an RST says as much as a FIN here
    String::from_utf8(response).unwrap()
}

/// A client: what it shows, offers and speaks.
#[derive(Clone, Copy, Default)]
struct Client {
    certificate: Option<&'static str>,
    alpn: &'static [&'static str],
    newest: Newest,
}

/// The newest version of TLS that a client speaks.
#[derive(Clone, Copy, Default)]
enum Newest {
    #[default]
    Tls13,
    Tls12,
}

impl Client {
    fn config(self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = match self.newest {
            Newest::Tls13 => rustls::ALL_VERSIONS,
            Newest::Tls12 => &[&rustls::version::TLS12],
        };
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match self.certificate {
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

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
    // Clear text is no TLS: closed without a word.
    assert_eq!(proxy.get_plain(), "");
    drop(proxy.connect());
    // What begins like TLS and is none ends before there is a chain for it.
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
        ("ssl.connection_error", 1),
        ("downstream_listener_filter_remote_close", 2),
        ("downstream_listener_filter_error", 1),
        ("http.web.downstream_cx_destroy", 4),
        ("http.web.downstream_cx_ssl_total", 4),
        ("http.web.downstream_cx_ssl_active", 0),
        ("tls_inspector.tls_found", 3),
        ("tls_inspector.tls_not_found", 1),
        ("tls_inspector.alpn_found", 2),
        ("tls_inspector.alpn_not_found", 1),
        ("tls_inspector.sni_found", 2),
        ("tls_inspector.sni_not_found", 1),
    ] {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    let agreed = "TLSv1.3 TLS_AES_256_GCM_SHA384 to - - -";
    let lines = proxy.stop();
    let expected = ["server.test", "server.test", "-"].map(|name| format!("200 - sni {name} from {agreed}"));
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
    proxy.stop();
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
    let proxy = Proxy::start("names", &chains, "", "");
    for (name, expected) in [("a.wild.test", "wild"), ("server.test", "exact"), ("other.test", "exact")] {
        assert!(proxy.get(Client::default(), name).unwrap().ends_with(expected), "{name}");
    }
    assert!(proxy.get_plain().ends_with("plain"));
    assert!(proxy.get(Client::default(), "wild.test").is_err());
    assert_eq!(proxy.stat("no_filter_chain_match"), 1);
    proxy.stop();
}

/// An application that speaks TLS, with this certificate.
fn app(name: &str) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
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
        ("server", "200", "200 - sni - from - - to TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 -", "ssl.handshake"),
        (
            "other",
            "503",
            "503 UF sni - from - - to - - TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
             verify_cert_failed:_verify_SAN_list:TLS_error_end",
            "ssl.fail_verify_san",
        ),
        (
            "foreigner",
            "503",
            "503 UF sni - from - - to - - TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
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
    assert_eq!(proxy.stop(), [format!("503 UF sni - from - - to - - {reason}")]);
}
