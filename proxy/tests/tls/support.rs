//! What the tests of TLS have in common: the proxy in a folder of its own, and clients.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::process::Finwait;

/// No step takes longer, on however busy a machine.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(30);
pub(crate) const LINE: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% sni %REQUESTED_SERVER_NAME% from %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_TLS_VERSION% \
                    %DOWNSTREAM_TLS_CIPHER% to %UPSTREAM_TLS_VERSION% %UPSTREAM_TLS_CIPHER% \
                    %UPSTREAM_TRANSPORT_FAILURE_REASON%";
pub(crate) const INSPECTOR: &str = "listener_filters: [{ name: inspector, typed_config: { \"@type\": \
                         type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]";

/// A file of the tests.
pub(crate) fn file(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn certificate(name: &str) -> String {
    format!(
        "{{ certificate_chain: {{ filename: {} }}, private_key: {{ filename: {} }} }}",
        file(&format!("{name}.pem")),
        file(&format!("{name}.key"))
    )
}

/// A filter chain of a connection manager, with `options` of its TLS, if there is any, and more fields of its own.
pub(crate) fn chain(tls: Option<&str>, route: &str, more: &str) -> String {
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

pub(crate) fn responds(with: &str) -> String {
    format!("direct_response: {{ status: 200, body: {{ inline_string: {with} }} }}")
}

/// A folder of its own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("finwait-tls-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The proxy, in a folder of its own, and where it listens.
pub(crate) struct Proxy {
    pub(crate) folder: PathBuf,
    pub(crate) finwait: Option<Finwait>,
    pub(crate) at: u16,
    pub(crate) admin: u16,
}

impl Proxy {
    /// With one listener of these chains and more fields.
    pub(crate) fn start(name: &str, chains: &[String], listener: &str, clusters: &str) -> Self {
        Self::start_in(folder(name), chains, listener, clusters, "")
    }

    /// The same in a folder that has been prepared, and with more static resources.
    pub(crate) fn start_in(folder: PathBuf, chains: &[String], listener: &str, clusters: &str, more: &str) -> Self {
        let local = "address: { socket_address: { address: 127.0.0.1, port_value: 0 } }";
        let yaml = format!(
            "admin: {{ {local} }}\nstatic_resources:\n  listeners:\n  - name: web\n    {local}\n    {listener}\n    \
             filter_chains:{}\n  clusters: [{clusters}]\n  {more}\n",
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

    pub(crate) fn connect(&self) -> TcpStream {
        let conn = TcpStream::connect(("127.0.0.1", self.at)).unwrap();
        conn.set_read_timeout(Some(STEP_MAX)).unwrap();
        conn
    }

    /// What a request in clear text gets.
    pub(crate) fn get_plain(&self) -> String {
        exchange(self.connect())
    }

    /// What a request over TLS gets, or why there is no TLS.
    pub(crate) fn get(&self, client: Client, name: &'static str) -> Result<String, String> {
        let tls = client.begin(name);
        let mut stream = StreamOwned::new(tls, self.connect());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").map_err(|it| it.to_string())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(response).unwrap())
    }

    /// A connection over TLS that stays open.
    pub(crate) fn open(&self, client: Client, name: &'static str) -> Open {
        client.open(self.at, name)
    }

    /// Stops it, and sees that it ends as it should; the lines of its access log.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let finwait = self.finwait.take().unwrap();
        finwait.signal("INT").unwrap();
        let (status, said) = finwait.end(STEP_MAX).unwrap();
        assert!(status.success(), "{said}");
        let log = fs::read_to_string(self.folder.join("access.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// What the admin interface has at this path.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut conn = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        write!(conn, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        conn.read_to_string(&mut response).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) fn stat(&self, name: &str) -> u64 {
        let body = self.admin(&format!("/stats?filter={name}$"));
        let response = &body;
        let line = body.lines().find(|line| line.contains(": ")).unwrap_or_else(|| panic!("no {name}: {response}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asks for a stat until it has this value.
    pub(crate) fn until_stat(&self, name: &str, value: u64) {
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

pub(crate) fn exchange(mut conn: TcpStream) -> String {
    conn.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    drop(conn.read_to_end(&mut response)); // an RST says as much as a FIN here
    String::from_utf8(response).unwrap()
}

/// A client: what it shows, offers and speaks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Client {
    pub(crate) certificate: Option<&'static str>,
    pub(crate) alpn: &'static [&'static str],
    pub(crate) newest: Newest,
}

/// The newest version of TLS that a client speaks.
#[derive(Clone, Copy, Default)]
pub(crate) enum Newest {
    #[default]
    Tls13,
    Tls12,
}

/// A connection over TLS that stays open.
pub(crate) struct Open(StreamOwned<ClientConnection, TcpStream>);

impl Open {
    /// The response to a request: that of [`responds`], whose body is five bytes long.
    pub(crate) fn get(&mut self) -> std::io::Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\nhello") {
            let mut piece = [0; 1024];
            match self.0.read(&mut piece)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => response.extend_from_slice(&piece[..read]),
            }
        }
        Ok(String::from_utf8(response).unwrap())
    }
}

impl Client {
    pub(crate) fn begin(self, name: &'static str) -> ClientConnection {
        ClientConnection::new(Arc::new(self.config()), ServerName::try_from(name).unwrap()).unwrap()
    }

    pub(crate) fn open(self, at: u16, name: &'static str) -> Open {
        let tls = self.begin(name);
        let conn = TcpStream::connect(("127.0.0.1", at)).unwrap();
        conn.set_read_timeout(Some(STEP_MAX)).unwrap();
        Open(StreamOwned::new(tls, conn))
    }

    pub(crate) fn config(self) -> ClientConfig {
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
