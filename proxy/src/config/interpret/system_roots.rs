//! The certificates of the authorities that the system trusts, in whichever file the system has them.

use std::io;

use super::data_source;
use crate::config::problem::Problem;
use crate::config::surroundings::Content;
use crate::config::yaml::{At, Notes};

/// Where systems have them: Debian and Alpine; Fedora; openSUSE; Red Hat; the BSDs.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// They, in PEM, at the place of what wants them, and the path of their file.
pub(super) fn read<T>(wanted: &At<T>, notes: &Notes) -> Result<(At<Vec<u8>>, &'static str), Problem> {
    for path in SYSTEM_ROOTS {
        let elsewhere = notes.surroundings().read(path, Content::Authorities);
        match elsewhere.unwrap_or_else(|| data_source::read(path)) {
            Ok(value) => return Ok((At { place: wanted.place.clone(), value }, path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(wanted.invalid(format!("cannot read {path:?}: {error}"))),
        }
    }
    Err(wanted.invalid_but(
        format!("the system has no root certificates: there is none of {}", SYSTEM_ROOTS.join(", ")),
        "install the package ca-certificates, or write trusted_ca: { filename: ... }",
    ))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::config::tls::MadeOf;
    use crate::config::{Config, NamedFiles, SecretKind, Surroundings};

    /// A system with one file, which has a certificate.
    struct System(&'static str);

    impl NamedFiles for System {
        fn read(&self, path: &str, _: Content) -> io::Result<Vec<u8>> {
            let pem = || include_bytes!("../../../tests/tls/authority.pem").to_vec();
            (path == self.0).then(pem).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn secret(&self, _: Option<&str>, _: &str, _: SecretKind) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn endpoints(&self, _: &str) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// The file of the authorities that a cluster with this validation context trusts.
    fn trusted(context: &str, file: &'static str) -> Result<Option<String>, String> {
        let text = format!(
            "static_resources: {{ clusters: [{{ name: up, transport_socket: {{ typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {{ \
             {context} }} }} }} }}], secrets: [{{ name: default, validation_context: {{ system_root_certs: {{}} }} }}] }}"
        );
        let surroundings = Surroundings { files: Some(Rc::new(System(file))), ..Surroundings::default() };
        let loaded = Config::from_yaml_within(&text, "up.yaml", &surroundings).map_err(|error| error.to_string())?;
        let tls = loaded.config.clusters[0].sockets().find_map(|socket| socket.tls.clone()).unwrap();
        Ok(tls.current().inventory().trusted.as_ref().and_then(|it| it.origin.path.clone()))
    }

    #[test]
    fn the_authorities_of_the_system_are_trusted_where_no_others_are_named() {
        let fedora = "/etc/pki/tls/certs/ca-bundle.crt";
        let names = "match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: up.test } }]";
        for (context, file, expected) in [
            ("validation_context: { system_root_certs: {} }".to_owned(), fedora, Some(fedora)),
            (format!("validation_context: {{ system_root_certs: {{}}, {names} }}"), fedora, Some(fedora)),
            ("validation_context: { system_root_certs: {}, trusted_ca: { filename: own } }".into(), "own", Some("own")),
            ("validation_context_sds_secret_config: { name: default }".into(), fedora, Some(fedora)),
            ("validation_context: {}".into(), fedora, None),
        ] {
            assert_eq!(trusted(&context, file).unwrap().as_deref(), expected, "{context}");
        }
        let said = trusted("validation_context: { system_root_certs: {} }", "/etc/other.pem").unwrap_err();
        assert!(
            said.contains("system_root_certs: the system has no root certificates: there is none of /etc/ssl/"),
            "{said}"
        );
    }
}
