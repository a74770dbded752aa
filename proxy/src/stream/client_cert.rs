//! `x-forwarded-client-cert`: what upstreams get of the client's certificate.

use http::HeaderValue;

use crate::codec::{Headers, names};
use crate::config::client_cert::{ClientCertDetail, ClientCertHeader};
use crate::net::TlsSession;
use crate::net::tls::PeerCertificate;

/// Takes the header off a request, or writes it, for a client whose connection is encrypted as in `tls`.
pub(super) fn forward(headers: &mut Headers, options: &ClientCertHeader, tls: Option<&TlsSession>) {
    let peer = tls.and_then(|tls| Some((tls.own_uri.as_deref(), tls.peer.as_ref()?)));
    match (options, peer) {
        (ClientCertHeader::AlwaysForward, _) | (ClientCertHeader::Forward, Some(_)) => {}
        (ClientCertHeader::Append(details), Some((own_uri, peer))) => {
            let before: Vec<HeaderValue> = headers.get_all(&names::X_FORWARDED_CLIENT_CERT).cloned().collect();
            let mut all: Vec<u8> = before.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b',');
            if !all.is_empty() {
                all.push(b',');
            }
            all.extend(element(own_uri, peer, details).into_bytes());
            set(headers, &all);
        }
        (ClientCertHeader::Set(details), Some((own_uri, peer))) => {
            set(headers, element(own_uri, peer, details).as_bytes());
        }
        (ClientCertHeader::Sanitize, _)
        | (ClientCertHeader::Append(_) | ClientCertHeader::Forward | ClientCertHeader::Set(_), None) => {
            headers.remove(&names::X_FORWARDED_CLIENT_CERT);
        }
    }
}

fn set(headers: &mut Headers, value: &[u8]) {
    match HeaderValue::from_bytes(value) {
        Ok(value) => headers.set(names::X_FORWARDED_CLIENT_CERT.clone(), value),
        // A name with a control character: no header rather than a wrong one.
        Err(_) => {
            headers.remove(&names::X_FORWARDED_CLIENT_CERT);
        }
    }
}

/// The element of one certificate.
fn element(own_uri: Option<&str>, peer: &PeerCertificate, details: &[ClientCertDetail]) -> String {
    let mut parts: Vec<String> = own_uri.into_iter().map(|uri| format!("By={uri}")).collect();
    parts.push(format!("Hash={}", peer.sha256));
    for detail in details {
        match detail {
            ClientCertDetail::Certificate => parts.push(format!("Cert=\"{}\"", peer.url_encoded())),
            ClientCertDetail::Chain => parts.push(format!("Chain=\"{}\"", peer.url_encoded_chain())),
            ClientCertDetail::Subject => parts.push(format!("Subject=\"{}\"", peer.subject)),
            ClientCertDetail::Uris if peer.uris.is_empty() => parts.push("URI=".into()),
            ClientCertDetail::Uris => parts.extend(peer.uris.iter().map(|uri| format!("URI={uri}"))),
            ClientCertDetail::DnsNames => parts.extend(peer.dns_names.iter().map(|name| format!("DNS={name}"))),
        }
    }
    parts.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(options: &ClientCertHeader, peer: Option<&PeerCertificate>) -> Option<String> {
        let mut headers = Headers::default();
        headers.append(names::X_FORWARDED_CLIENT_CERT.clone(), HeaderValue::from_static("By=a;Hash=b"));
        let tls = TlsSession { own_uri: Some("spiffe://us".into()), peer: peer.cloned(), ..TlsSession::default() };
        forward(&mut headers, options, Some(&tls));
        headers.get(&names::X_FORWARDED_CLIENT_CERT).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_header_has_what_is_configured() {
        let peer = PeerCertificate {
            subject: "CN=a,O=b".into(),
            sha256: "00ff".into(),
            dns_names: vec!["a.test".into(), "b.test".into()],
            ..PeerCertificate::default()
        };
        let details = || vec![ClientCertDetail::Subject, ClientCertDetail::Uris, ClientCertDetail::DnsNames];
        let own = "By=spiffe://us;Hash=00ff;Subject=\"CN=a,O=b\";URI=;DNS=a.test;DNS=b.test";
        for (options, with, without) in [
            (ClientCertHeader::AlwaysForward, Some("By=a;Hash=b".to_owned()), Some("By=a;Hash=b".to_owned())),
            (ClientCertHeader::Forward, Some("By=a;Hash=b".to_owned()), None),
            (ClientCertHeader::Sanitize, None, None),
            (ClientCertHeader::Set(details()), Some(own.to_owned()), None),
            (ClientCertHeader::Append(details()), Some(format!("By=a;Hash=b,{own}")), None),
            (ClientCertHeader::Set(Vec::new()), Some("By=spiffe://us;Hash=00ff".to_owned()), None),
        ] {
            assert_eq!(header(&options, Some(&peer)), with, "{options:?}");
            assert_eq!(header(&options, None), without, "{options:?}");
        }
    }
}
