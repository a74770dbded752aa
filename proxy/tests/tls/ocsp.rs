//! Responses of OCSP that go with certificates, to the clients that ask for them.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::support::{Client, Newest, Proxy, certificate, chain, file, folder, responds};

/// Why a client was refused.
const LOG: &str = "access_log: [{ name: log, typed_config: { \"@type\": \
                   type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: access.log, log_format: { \
                   text_format_source: { inline_string: \"%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_TLS_VERSION%\\n\" } } } }]";

/// Keeps the response that came with a certificate, which it accepts.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Kept {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = Some(response.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The response of OCSP that a client gets, or why there is no TLS: rustls asks for one in every ClientHello.
fn staple(proxy: &Proxy, newest: Newest) -> Result<Vec<u8>, String> {
    let kept = Arc::new(Kept::default());
    let mut config = Client { newest, ..Client::default() }.config();
    config.dangerous().set_certificate_verifier(Arc::<Kept>::clone(&kept));
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("server.test").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, proxy.connect());
    let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    stream.write_all(request).map_err(|error| error.to_string())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).map_err(|error| error.to_string())?;
    assert!(response.ends_with(b"hello"));
    Ok(kept.0.lock().unwrap().take().unwrap())
}

fn tls(policy: &str, certificates: &[String]) -> String {
    format!("{policy} common_tls_context: {{ tls_certificates: [{}] }}", certificates.join(", "))
}

/// A certificate with its response.
fn stapled(name: &str, response: &str) -> String {
    let with = format!("{{ ocsp_staple: {{ filename: {} }}, ", file(response));
    certificate(name).replacen("{ ", &with, 1)
}

#[test]
fn a_response_goes_with_a_certificate_until_it_expires() {
    let response = std::fs::read(file("server.ocsp")).unwrap();
    let strict = "ocsp_staple_policy: STRICT_STAPLING,";
    let must = "ocsp_staple_policy: MUST_STAPLE,";
    let rejected = "TLS_error:|268435589:SSL_routines:OPENSSL_internal:CONNECTION_REJECTED:TLS_error_end TLSv1.2";
    for (name, policy, certificates, got, stats) in [
        ("ocsp-given", "", vec![stapled("server", "server.ocsp")], Some(&response[..]), [0, 0, 2, 2]),
        ("ocsp-none", strict, vec![certificate("server")], Some(b""), [0, 2, 2, 0]),
        ("ocsp-late", "", vec![stapled("server", "late.ocsp")], Some(b""), [0, 2, 2, 0]),
        ("ocsp-strict", strict, vec![stapled("server", "late.ocsp")], None, [2, 0, 2, 0]),
        ("ocsp-must", must, vec![stapled("server", "endless.ocsp")], None, [2, 0, 2, 0]),
        // A certificate that is permitted comes before one that is not.
        (
            "ocsp-next",
            strict,
            vec![stapled("server", "late.ocsp"), stapled("server", "server.ocsp")],
            Some(&response),
            [0, 0, 2, 2],
        ),
        ("ocsp-feature", "", vec![stapled("must", "must.ocsp")], Some(include_bytes!("must.ocsp")), [0, 0, 2, 2]),
    ] {
        let chains = [chain(Some(&tls(policy, &certificates)), &responds("hello"), "")];
        let proxy = Proxy::start_in(folder(name), &chains, LOG, "", "");
        for newest in [Newest::Tls13, Newest::Tls12] {
            match (staple(&proxy, newest), got) {
                (Ok(staple), Some(got)) => assert_eq!(staple, got, "{name}"),
                (Err(error), None) => assert!(error.contains("HandshakeFailure"), "{name}: {error}"),
                (staple, _) => panic!("{name}: {staple:?}"),
            }
        }
        for (stat, value) in ["failed", "omitted", "requests", "responses"].into_iter().zip(stats) {
            proxy.until_stat(&format!("ssl.ocsp_staple_{stat}"), value);
        }
        let left = proxy.stat("server.seconds_until_first_ocsp_response_expiring");
        assert_eq!(left > 1_000_000_000, ["ocsp-given", "ocsp-feature"].contains(&name), "{name}: {left}");
        let lines = proxy.stop();
        assert_eq!(lines.iter().filter(|line| *line == rejected).count() == 2, got.is_none(), "{lines:?}");
    }
}

#[test]
fn operators_see_how_long_a_response_is_of_use() {
    let chains = [chain(Some(&tls("", &[stapled("server", "server.ocsp")])), &responds("hello"), "")];
    let proxy = Proxy::start("ocsp-shown", &chains, "", "");
    let certs: serde_json::Value = serde_json::from_str(&proxy.admin("/certs")).unwrap();
    let expected = serde_json::json!({ "valid_from": "2026-11-30T00:00:00Z", "expiration": "2125-06-24T00:00:00Z" });
    assert_eq!(certs["certificates"][0]["cert_chain"][0]["ocsp_details"], expected);
    drop(proxy.get(Client::default(), "server.test"));
    proxy.stop();
}
