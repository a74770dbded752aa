//! Where a request for UDP leads (RFC 9298): its path names the target, and the authority is made from it.
//!
//! UDP itself is not proxied here: such a request gets what its route and `upgrade_configs` have for it, like any other
//! upgrade. The path is read because Envoy reads it, and refuses every other path before it looks for a route.

use http::HeaderValue;
use http::header::UPGRADE;

use crate::codec::RequestHead;

/// RFC 9298 3, the default template: `/.well-known/masque/udp/{target_host}/{target_port}/`.
const TEMPLATE: &str = "/.well-known/masque/udp/";

/// What is wrong with the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoTarget;

/// Gives a request for UDP the authority that its path names. Other requests stay as they are.
///
/// # Errors
/// The path is not that of the template.
pub fn set_authority(head: &mut RequestHead) -> Result<(), NoTarget> {
    let is_udp = head.headers.get(&UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"connect-udp"));
    if !is_udp {
        return Ok(());
    }
    let path = head.path.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
    head.authority = Some(target(path).ok_or(NoTarget)?);
    Ok(())
}

/// The host and port that a path names.
fn target(path: &str) -> Option<HeaderValue> {
    let mut parts = path.strip_prefix(TEMPLATE)?.split('/');
    let (Some(host), Some(port), Some(""), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let (host, port) = (decoded(host)?, decoded(port)?);
    let authority = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    HeaderValue::from_str(&authority).ok()
}

/// Undoes percent-encoding (RFC 3986 2.1). Not of what no host and no port has: nothing at all, an IPv6 zone (RFC 9298
/// 3), and whatever would end the authority or the field that it becomes.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, behind) = match (*first, tail) {
            (b'%', [high, low, behind @ ..]) => (hex(*high)? * 16 + hex(*low)?, behind),
            (b'%', _) => return None,
            (byte, behind) => (byte, behind),
        };
        let is_of_host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]".contains(&byte); // RFC 3986 3.2.2
        if !is_of_host {
            return None;
        }
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_template_names_its_target() {
        let cases = [
            ("/.well-known/masque/udp/192.0.2.6/443/", Some("192.0.2.6:443")),
            ("/.well-known/masque/udp/target.example.com/443/", Some("target.example.com:443")),
            ("/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/", Some("[2001:db8::42]:443")),
            ("/.well-known/masque/udp/2001:db8::42/443/", Some("[2001:db8::42]:443")),
            ("/.well-known/masque/udp/[::1]/443/", Some("[::1]:443")),
            ("/.well-known/masque/udp/fe80::1%25eth0/443/", None),
            ("/.well-known/masque/udp/a%0d%0ab/443/", None),
            ("/.well-known/masque/udp/a%20b/443/", None),
            ("/.well-known/masque/udp/a%2fb/443/", None),
            ("/.well-known/masque/udp/%zz/443/", None),
            ("/.well-known/masque/udp/a%4/443/", None),
            ("/.well-known/masque/udp//443/", None),
            ("/.well-known/masque/udp/a//", None),
            ("/.well-known/masque/udp/a/443", None),
            ("/.well-known/masque/udp/a/443/?x=y", None),
            ("/.well-known/masque/udp/a/443/x", None),
            ("/", None),
            ("*", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(target(path).as_ref().and_then(|target| target.to_str().ok()), expected, "{path}");
        }
    }
}
