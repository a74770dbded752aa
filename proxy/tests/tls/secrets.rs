//! Certificates from secrets, and certificates that change while they are in use.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{Client, Proxy, certificate, chain, file, folder, responds};

/// Certificates that replace each other under load.
const RENEWALS: usize = 100;
const CLIENTS: usize = 4;

/// Puts the certificate of this name into the files `certificate.pem` and `certificate.key` of a folder, each at once.
fn put(folder: &Path, name: &str) {
    for kind in ["key", "pem"] {
        let fresh = folder.join(format!("fresh.{kind}"));
        fs::copy(file(&format!("{name}.{kind}")), &fresh).unwrap();
        fs::rename(fresh, folder.join(format!("certificate.{kind}"))).unwrap();
    }
}

fn tls_of(secrets: &str) -> String {
    format!("common_tls_context: {{ {secrets} }}")
}

#[test]
fn certificates_come_from_static_secrets() {
    let secrets = format!(
        "secrets: [{{ name: ours, tls_certificate: {} }}, {{ name: theirs, validation_context: {{ trusted_ca: {{ filename: {} }} }} }}]",
        certificate("server"),
        file("authority.pem")
    );
    let named = "tls_certificate_sds_secret_configs: [{ name: ours }], combined_validation_context: { \
                 default_validation_context: { match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: client.test } }] }, \
                 validation_context_sds_secret_config: { name: theirs } }";
    let tls = format!("require_client_certificate: true, {}", tls_of(named));
    let chains = [chain(Some(&tls), &responds("hello"), "")];
    let proxy = Proxy::start_in(folder("static-secrets"), &chains, "", "", &secrets);
    let shows = |certificate| Client { certificate: Some(certificate), ..Client::default() };
    assert!(proxy.get(shows("client"), "server.test").unwrap().ends_with("hello"));
    // Signed by the authority, but of another name.
    assert!(proxy.get(shows("other"), "server.test").is_err());
    proxy.until_stat("listener.*fail_verify_san", 1);
    proxy.stop();
}

#[test]
fn a_certificate_that_has_changed_is_used_without_a_signal() {
    let folder = folder("watched");
    put(&folder, "server");
    let secret = "resources: [{ '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: ours, \
                  tls_certificate: { certificate_chain: { filename: certificate.pem }, private_key: { filename: certificate.key } } }]";
    fs::write(folder.join("secrets.yaml"), secret).unwrap();
    let tls = tls_of(
        "tls_certificate_sds_secret_configs: [{ name: ours, sds_config: { path_config_source: { path: secrets.yaml } } }]",
    );
    let mut proxy = Proxy::start_in(folder.clone(), &[chain(Some(&tls), &responds("hello"), "")], "", "", "");
    assert!(proxy.get(Client::default(), "server.test").is_ok());
    assert!(proxy.get(Client::default(), "other.test").is_err());
    let mut kept = proxy.open(Client::default(), "server.test");
    assert!(kept.get().is_ok());
    put(&folder, "other");
    proxy.finwait.as_mut().unwrap().until("files were read again and are in use: listener web").unwrap();
    assert!(proxy.get(Client::default(), "other.test").is_ok());
    assert!(proxy.get(Client::default(), "server.test").is_err());
    assert!(kept.get().unwrap().ends_with("hello"), "a connection that was there keeps its certificate");
    // A key that does not fit is refused, and what was there stays in use.
    fs::copy(file("server.key"), folder.join("certificate.key")).unwrap();
    proxy.finwait.as_mut().unwrap().until("what it held before stays in use: secret ours: ").unwrap();
    assert!(proxy.get(Client::default(), "other.test").is_ok());
    for (stat, expected) in [
        ("sds.ours.update_attempt", 1),
        ("sds.ours.update_success", 1),
        ("sds.ours.update_rejected", 0),
        ("sds.ours.key_rotation_failed", 1),
        ("ssl_context_update_by_sds", 2),
    ] {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    proxy.stop();
}

#[test]
fn a_file_of_a_secret_that_is_of_no_use_concerns_its_secret_alone() {
    let folder = folder("two-secrets");
    let put = |name: &str, text: &str| {
        fs::write(folder.join("fresh"), text).unwrap();
        fs::rename(folder.join("fresh"), folder.join(name)).unwrap();
    };
    let ours = |name: &str| {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        format!(
            "{{ version_info: '1', resources: [{{ '@type': {kind}, name: ours, tls_certificate: {} }}] }}",
            certificate(name)
        )
    };
    let theirs = |authority: &str| {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        let context = format!("{{ trusted_ca: {{ filename: {} }} }}", file(authority));
        format!("{{ resources: [{{ '@type': {kind}, name: theirs, validation_context: {context} }}] }}")
    };
    put("ours.yaml", &ours("server"));
    put("theirs.yaml", &theirs("authority.pem"));
    let source = |path: &str| format!("sds_config: {{ path_config_source: {{ path: {path} }} }}");
    let secrets = format!(
        "tls_certificate_sds_secret_configs: [{{ name: ours, {} }}], validation_context_sds_secret_config: {{ name: theirs, {} }}",
        source("ours.yaml"),
        source("theirs.yaml")
    );
    let tls = format!("require_client_certificate: true, {}", tls_of(&secrets));
    let mut proxy = Proxy::start_in(folder.clone(), &[chain(Some(&tls), &responds("hello"), "")], "", "", "");
    let shows = |certificate| Client { certificate: Some(certificate), ..Client::default() };
    assert!(proxy.get(shows("client"), "server.test").is_ok());
    let until = |proxy: &mut Proxy, text: &str| drop(proxy.finwait.as_mut().unwrap().until(text).unwrap());
    put("theirs.yaml", "resources: [");
    until(&mut proxy, "what it held before stays in use: secret theirs: in the file of secrets: theirs.yaml:1:12");
    put("ours.yaml", &ours("other"));
    until(&mut proxy, "files were read again and are in use: listener web");
    assert!(proxy.get(shows("client"), "other.test").is_ok(), "the other secret is renewed all the same");
    put("theirs.yaml", &theirs("absent.pem"));
    until(&mut proxy, "what it held before stays in use: secret theirs: ");
    assert!(proxy.get(shows("client"), "other.test").is_ok());
    put("theirs.yaml", &theirs("stranger.pem"));
    until(&mut proxy, "files were read again and are in use: listener web");
    assert!(proxy.get(shows("foreigner"), "other.test").is_ok());
    assert!(proxy.get(shows("client"), "other.test").is_err());
    for (stat, expected) in [
        ("sds.ours.update_attempt", 2),
        ("sds.ours.update_success", 2),
        ("sds.theirs.update_attempt", 4),
        ("sds.theirs.update_success", 2),
        ("sds.theirs.update_failure", 1),
        ("sds.theirs.update_rejected", 1),
        ("sds.theirs.key_rotation_failed", 0),
        ("ssl_context_update_by_sds", 3),
    ] {
        assert_eq!(proxy.stat(stat), expected, "{stat}");
    }
    assert!(proxy.stat("sds.ours.version") != proxy.stat("sds.theirs.version"));
    assert!(proxy.stat("sds.ours.update_time") > 0);
    // What the configuration names is refused as a whole when it is read again.
    put("ours.yaml", "{}");
    until(&mut proxy, "what it held before stays in use: secret ours: ");
    proxy.finwait.as_ref().unwrap().signal("HUP").unwrap();
    until(&mut proxy, "the configuration is refused, and the one before it stays in force");
    assert!(proxy.get(shows("foreigner"), "other.test").is_ok());
    proxy.stop();
}

#[test]
fn renewed_certificates_fail_no_request() {
    let folder = folder("renewed");
    put(&folder, "server");
    let tls = tls_of(
        "tls_certificates: [{ certificate_chain: { filename: certificate.pem }, private_key: { filename: certificate.key } }]",
    );
    let proxy = Proxy::start_in(folder.clone(), &[chain(Some(&tls), &responds("hello"), "")], "", "", "");
    let (failures, requests) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let (at, mut proxy) = (proxy.at, proxy);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // One connection for two requests, so that a renewal falls between them as well.
                    let mut client = Client::default().open(at, "server.test");
                    for response in [client.get(), client.get()] {
                        requests.fetch_add(1, Ordering::Relaxed);
                        match response {
                            Ok(text) if text.ends_with("hello") => {}
                            other => failures.lock().unwrap().push(format!("{other:?}")),
                        }
                    }
                }
            });
        }
        let finwait = proxy.finwait.as_mut().unwrap();
        for nth in 0..RENEWALS {
            put(&folder, if nth % 2 == 0 { "renewed" } else { "server" });
            finwait.signal("HUP").unwrap();
            finwait.until("files were read again and are in use: listener web").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
    assert!(requests.load(Ordering::Relaxed) > RENEWALS);
    assert_eq!(proxy.stat("server.config_version"), 1, "the configuration is the same");
    proxy.stop();
}

#[test]
fn a_revoked_certificate_is_refused_as_soon_as_the_list_is_there() {
    let folder = folder("revoked");
    let list = |name: &str| {
        fs::copy(file(name), folder.join("fresh.crl")).unwrap();
        fs::rename(folder.join("fresh.crl"), folder.join("lister.crl")).unwrap();
    };
    list("before.crl");
    let context = format!(
        "trusted_ca: {{ filename: {} }}, crl: {{ filename: lister.crl }}, watched_directory: {{ path: . }}",
        file("lister.pem")
    );
    let options = format!(
        "require_client_certificate: true, common_tls_context: {{ tls_certificates: [{}], validation_context: {{ {context} }} }}",
        certificate("server")
    );
    let chains = [chain(Some(&options), &responds("hello"), "")];
    let mut proxy = Proxy::start_in(folder.clone(), &chains, "", "", "");
    let shows = |certificate| Client { certificate: Some(certificate), ..Client::default() };
    assert!(proxy.get(shows("revoked"), "server.test").unwrap().ends_with("hello"));
    let renewed = |proxy: &mut Proxy, name: &str| {
        list(name);
        proxy.finwait.as_mut().unwrap().until("files were read again and are in use: listener web").unwrap();
    };
    renewed(&mut proxy, "after.crl");
    assert!(proxy.get(shows("revoked"), "server.test").unwrap_err().contains("CertificateRevoked"));
    assert!(proxy.get(shows("kept"), "server.test").unwrap().ends_with("hello"));
    proxy.until_stat("ssl.fail_verify_error", 1);
    // A list whose end has passed rules out everybody.
    renewed(&mut proxy, "late.crl");
    assert!(proxy.get(shows("kept"), "server.test").is_err());
    proxy.until_stat("ssl.fail_verify_error", 2);
    proxy.stop();
}
