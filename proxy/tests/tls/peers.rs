//! Which certificates of clients are accepted: those that are known in advance, expired ones, those of one name.

use crate::support::{Client, Proxy, certificate, chain, file, responds};

/// The SHA-256 of `client.pem`, and that of its key.
const CERTIFICATE: &str = "9d4b08b36ad308cebad6a64a647b8eb76a78c3a70789e70135678b05e9b6ef9d";
const KEY: &str = "zuOHTxXnk2NWV8sf1i97lW+l1/UoXC8phjAdqDECRo4=";
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What clients get that show these certificates, or none, where `context` judges them.
fn outcomes(name: &str, context: &str, stats: &[(&str, u64)], shown: &[(Option<&'static str>, bool)]) {
    let options = format!(
        "common_tls_context: {{ tls_certificates: [{}], validation_context: {{ {context} }} }}",
        certificate("server")
    );
    let proxy = Proxy::start(name, &[chain(Some(&options), &responds("hello"), "")], "", "");
    for (certificate, is_accepted) in shown {
        let got = proxy.get(Client { certificate: *certificate, ..Client::default() }, "server.test");
        assert_eq!(got.as_ref().is_ok_and(|response| response.ends_with("hello")), *is_accepted, "{context} {got:?}");
    }
    for (stat, expected) in stats {
        proxy.until_stat(stat, *expected);
    }
    proxy.stop();
}

#[test]
fn certificates_and_keys_that_are_known_in_advance_need_no_authority() {
    let shown = [(Some("client"), true), (Some("other"), false), (Some("foreigner"), false), (None, false)];
    let stats = [
        ("ssl.handshake", 1),
        ("ssl.fail_verify_cert_hash", 2),
        ("ssl.fail_verify_no_cert", 1),
        ("ssl.fail_verify_error", 0),
    ];
    let colons: Vec<&str> = (0..32).filter_map(|at| CERTIFICATE.get(2 * at..2 * at + 2)).collect();
    for (name, context) in [
        ("hash", format!("verify_certificate_hash: [{CERTIFICATE}]")),
        ("colons", format!("verify_certificate_hash: [\"{}\"]", colons.join(":").to_uppercase())),
        ("spki", format!("verify_certificate_spki: [\"{KEY}\"]")),
        ("either", format!("verify_certificate_hash: [\"{NOBODY}\"], verify_certificate_spki: [\"{KEY}\"]")),
    ] {
        outcomes(&format!("known-{name}"), &context, &stats, &shown);
    }
    let signed = format!("trusted_ca: {{ filename: {} }}, verify_certificate_spki: [\"{KEY}\"]", file("authority.pem"));
    let stats = [
        ("ssl.handshake", 1),
        ("ssl.fail_verify_cert_hash", 1),
        ("ssl.fail_verify_no_cert", 1),
        ("ssl.fail_verify_error", 1),
    ];
    outcomes("known-signed", &signed, &stats, &shown);
}

#[test]
fn an_expired_certificate_is_accepted_where_that_is_configured_if_its_authority_is_trusted() {
    let authority = file("former.pem");
    let shown = |is_accepted| [(Some("lapsed"), is_accepted), (Some("foreigner"), false)];
    let context = format!("trusted_ca: {{ filename: {authority} }}");
    outcomes("expired-refused", &context, &[("ssl.fail_verify_error", 2)], &shown(false));
    let context = format!("{context}, allow_expired_certificate: true");
    outcomes("expired-accepted", &context, &[("ssl.fail_verify_error", 1)], &shown(true));
}

#[test]
fn a_name_of_any_kind_is_enough_for_the_deprecated_matcher() {
    let authority = file("authority.pem");
    let shown = [(Some("client"), true), (Some("other"), false)];
    for (name, matcher) in [("dns", "exact: client.test"), ("uri", "prefix: \"spiffe://test/\"")] {
        let context = format!("trusted_ca: {{ filename: {authority} }}, match_subject_alt_names: [{{ {matcher} }}]");
        outcomes(&format!("any-{name}"), &context, &[("ssl.fail_verify_san", 1)], &shown);
    }
}
