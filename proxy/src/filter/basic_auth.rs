//! `envoy.filters.http.basic_auth`: a request needs the name and the password of a user (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use sha1::{Digest, Sha1};

use super::fields::realm;
use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::{Details, StreamInfo};
use crate::codec::RequestHead;
use crate::config::basic_auth::{BasicAuth, User};
use crate::config::metadata::{Metadata, Struct, Value, merge};

/// Padding is optional, as in Envoy.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// The credentials are not those of a user.
    Credential,
    /// They are no credentials.
    Format,
    /// There are none.
    Missing,
    /// They are of another scheme.
    Scheme,
}

/// A request's head has come.
pub(super) fn on_request(
    options: &BasicAuth,
    request: &mut RequestHead,
    info: &mut StreamInfo,
    context: &FilterContext,
) -> Flow<FilterReply> {
    let stats = context.stats.basic_auth.as_ref();
    match user(options, request) {
        Ok(user) => {
            stats.inspect(|stats| stats.allowed.inc());
            if let Some(header) = &options.username_header {
                request.headers.set(header.clone(), user.name.clone());
            }
            if let Some(namespace) = &options.metadata_namespace {
                let name = String::from_utf8_lossy(user.name.as_bytes()).into_owned();
                let values = Struct::from([("username".to_owned(), Value::Text(name))]);
                let Metadata(all) = &mut **info.metadata.get_or_insert_default();
                merge(all.entry(namespace.clone()).or_default(), &values);
            }
            Flow::Continue
        }
        Err(Failure::Missing | Failure::Scheme) if options.allows_missing => Flow::Continue,
        Err(failure) => {
            stats.inspect(|stats| stats.denied.inc());
            refuse(failure, request)
        }
    }
}

/// The user whose credentials the request has.
fn user<'o>(options: &'o BasicAuth, request: &RequestHead) -> Result<&'o User, Failure> {
    let said = request.headers.get(&options.header).ok_or(Failure::Missing)?;
    // Of the scheme's name this spelling counts alone, as in Envoy.
    let credentials = said.as_bytes().strip_prefix(b"Basic ").ok_or(Failure::Scheme)?;
    let credentials = BASE64.decode(credentials).map_err(|_| Failure::Format)?;
    let colon = credentials.iter().position(|byte| *byte == b':').ok_or(Failure::Format)?;
    let (name, password) = credentials.split_at(colon);
    let password = password.get(1..).unwrap_or_default();
    let user = options.users.named(name).ok_or(Failure::Credential)?;
    (STANDARD.encode(Sha1::digest(password)) == user.hash).then_some(user).ok_or(Failure::Credential)
}

fn refuse(failure: Failure, request: &RequestHead) -> Flow<FilterReply> {
    let (body, details) = match failure {
        Failure::Credential => {
            ("User authentication failed. Invalid username/password combination.", Details::BasicAuthInvalidCredential)
        }
        Failure::Format => {
            ("User authentication failed. Invalid basic credential format.", Details::BasicAuthInvalidFormat)
        }
        Failure::Missing => {
            ("User authentication failed. Missing username and password.", Details::BasicAuthNoCredential)
        }
        Failure::Scheme => {
            ("User authentication failed. Expected 'Basic' authentication scheme.", Details::BasicAuthInvalidScheme)
        }
    };
    let mut reply = EndedReply::new(StatusCode::UNAUTHORIZED, body, details);
    let challenge = [b"Basic realm=\"", &*realm(request), b"\""].concat();
    // Parts of header values make a header value.
    if let Ok(challenge) = HeaderValue::from_bytes(&challenge) {
        reply.headers.append(WWW_AUTHENTICATE, challenge);
    }
    reply.end()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::AUTHORIZATION;

    use super::*;
    use crate::codec::Headers;
    use crate::config::Config;
    use crate::config::filter::Filter;

    /// The filter of a configuration with these options.
    fn options(options: &str) -> Result<Arc<BasicAuth>, String> {
        let text = format!(
            "static_resources: {{ listeners: [{{ name: in, address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, filter_chains: [{{ filters: [{{ name: m, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: in, route_config: {{ virtual_hosts: [{{ name: all, domains: ['*'], routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200 }} }}] }}] }}, http_filters: [{{ name: ba, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth, {options} }} }}, {{ name: r, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}] }} }}] }}] }}] }}"
        );
        let config = Config::from_yaml(&text, "it.yaml").map_err(|error| error.to_string())?.config;
        let manager = config.listeners[0].managers().next().unwrap();
        match &manager.filters.default.filters[..] {
            [Filter::BasicAuth(options)] => Ok(Arc::clone(options)),
            others => Err(format!("{others:?}")),
        }
    }

    const ALICE: &str = "users: { inline_string: \"# who may\\n\\nalice:{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=\\n\" }"; // test1

    /// As Envoy 1.40 decides.
    #[test]
    fn credentials_are_those_of_a_user() {
        let options = options(ALICE).unwrap();
        for (said, expected) in [
            (None, Err(Failure::Missing)),
            (Some("Basic YWxpY2U6dGVzdDE="), Ok("alice")),
            (Some("Basic YWxpY2U6dGVzdDE"), Ok("alice")),
            (Some("Basic YWxpY2U6dGVzdDI="), Err(Failure::Credential)),
            (Some("Basic Ym9iOnRlc3Qx"), Err(Failure::Credential)),
            (Some("Basic YWxpY2U="), Err(Failure::Format)),
            (Some("Basic !!!"), Err(Failure::Format)),
            (Some("Basic  YWxpY2U6dGVzdDE="), Err(Failure::Format)),
            (Some("Basic YWxpY2U6dGVzdDE=,Basic YWxpY2U6dGVzdDE="), Err(Failure::Format)),
            (Some("basic YWxpY2U6dGVzdDE="), Err(Failure::Scheme)),
            (Some("Basic"), Err(Failure::Scheme)),
            (Some("Bearer x"), Err(Failure::Scheme)),
            (Some(""), Err(Failure::Scheme)),
        ] {
            let mut headers = Headers::default();
            said.into_iter().for_each(|said| headers.append(AUTHORIZATION, HeaderValue::from_str(said).unwrap()));
            let request = RequestHead { headers, ..RequestHead::default() };
            let found = user(&options, &request).map(|user| user.name.to_str().unwrap());
            assert_eq!(found, expected, "{said:?}");
        }
    }

    #[test]
    fn a_file_of_users_that_envoy_refuses_is_refused_in_its_words() {
        let hash = "{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=";
        for (users, error) in [
            ("abc".to_owned(), "invalid htpasswd format, username:password is expected"),
            ("  # c".into(), "invalid htpasswd format, username:password is expected"),
            (format!(":{hash}"), "empty user name or password"),
            ("a:".into(), "empty user name or password"),
            ("a:b".into(), "unsupported htpasswd format: please use {SHA}"),
            ("a:$apr1$x".into(), "unsupported htpasswd format: please use {SHA}"),
            ("a:{SHA}".into(), "invalid htpasswd format, invalid SHA hash length"),
            ("a:{SHA}xx".into(), "invalid htpasswd format, invalid SHA hash length"),
            (format!("a:{hash}\\r"), "invalid htpasswd format, invalid SHA hash length"),
            (format!("a:{hash}\\na:{hash}"), "duplicate users"),
        ] {
            let said = options(&format!("users: {{ inline_string: \"{users}\" }}")).expect_err(&users);
            assert!(said.contains(error), "{users}: {said}");
        }
    }
}
