//! An authorisation service that speaks gRPC: `envoy.service.auth.v3.Authorization`.

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::attributes::check_request;
use super::changes::{Changes, InResponse, QueryChanges, is_part_of_query};
use super::message::{Allowed, CheckResponse, Denied, HeaderOption, HttpResponse};
use super::{Answer, CheckBody, RESPONSE_BYTES_MAX, Verdict, is_of_message, is_removable};
use crate::access_log::StreamInfo;
use crate::codec::{Headers, RequestHead};
use crate::config::ext_authz::ExtAuthz;
use crate::config::filter::AppendAction;
use crate::config::metadata::Struct;
use crate::config::rewrite::{is_host, is_part_of_target};
use crate::config::service::GrpcService;
use crate::filter::call::{Call, CallEnd};
use crate::filter::grpc;
use crate::filter::header_mutation::escaped;

const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The status OK, of a call and in a message.
const OK: i32 = 0;

/// The call to the service. `id`: a number that no other request has.
pub(super) fn check(
    options: &ExtAuthz,
    service: &GrpcService,
    request: &RequestHead,
    body: CheckBody,
    info: &StreamInfo,
    id: u64,
) -> Call {
    let message = check_request(options, request, body, info, id);
    grpc::call(service, METHOD, &message, RESPONSE_BYTES_MAX, request, info)
}

/// What a response means.
pub(super) fn verdict(options: &ExtAuthz, end: CallEnd) -> Verdict {
    let Some(response) = grpc::message(end) else { return Verdict::Error(None) };
    judged(options, response).unwrap_or(Verdict::Invalid)
}

/// `None` if something of the response cannot be sent.
fn judged(options: &ExtAuthz, response: CheckResponse) -> Option<Verdict> {
    let CheckResponse { status, http, dynamic_metadata } = response;
    let is_allowed = status.is_none_or(|status| status.code == OK);
    let metadata = dynamic_metadata.map(Struct::from).unwrap_or_default();
    match (is_allowed, http) {
        (true, Some(HttpResponse::Ok(mut allowed))) => {
            // Deprecated, and in force where it is set.
            let metadata = allowed.dynamic_metadata.take().map_or(metadata, Struct::from);
            Some(Verdict::Allowed(Box::new(changes(options, allowed, metadata)?)))
        }
        (true, None | Some(HttpResponse::Denied(_) | HttpResponse::Error(_))) => {
            Some(Verdict::Allowed(Box::new(Changes { metadata, ..Changes::default() })))
        }
        (false, Some(HttpResponse::Error(error))) => Some(Verdict::Error(Some(Box::new(answer(error, metadata)?)))),
        (false, Some(HttpResponse::Denied(denied))) => Some(Verdict::Denied(Box::new(answer(denied, metadata)?))),
        (false, None | Some(HttpResponse::Ok(_))) => {
            Some(Verdict::Denied(Box::new(Answer { metadata, ..Answer::default() })))
        }
    }
}

fn answer(written: Denied, metadata: Struct) -> Option<Answer> {
    let status = match written.status.map_or(0, |status| status.code) {
        0 => None,
        code => Some(StatusCode::from_u16(u16::try_from(code).ok()?).ok()?),
    };
    let mut headers = Headers::default();
    // Those that are to be appended meet nothing they could be appended to, and Envoy leaves them out.
    for option in written.headers.iter().filter(|option| !is_appended(option)) {
        let (name, value) = field(option)?;
        if !is_of_message(&name) {
            headers.append(name, value);
        }
    }
    Some(Answer { status, headers, body: written.body.into(), metadata })
}

fn changes(options: &ExtAuthz, written: Allowed, metadata: Struct) -> Option<Changes> {
    let mut changes = Changes { metadata, ..Changes::default() };
    for option in &written.headers {
        set(&mut changes, option)?;
    }
    let removed = written.headers_to_remove.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    changes.removed = removed.filter(is_removable).collect();
    changes.query = QueryChanges {
        set: written.query_parameters_to_set.into_iter().map(|it| (it.key, it.value)).collect(),
        removed: written.query_parameters_to_remove,
    };
    let is_sent = |text: &String| {
        is_part_of_query(text) && (!options.validates_mutations || escaped(text.as_bytes()) == text.as_bytes())
    };
    if !changes.query.set.iter().all(|(name, value)| is_sent(name) && is_sent(value) && !name.contains('=')) {
        return None;
    }
    let mut in_response = Vec::new();
    for option in &written.response_headers_to_add {
        let (name, value) = field(option)?;
        if !is_of_message(&name) {
            in_response.push((action(option), name, value));
        }
    }
    changes.in_response = InResponse::new(in_response);
    Some(changes)
}

/// What one option changes in the request. Whatever its `append_action`, it takes the place of what is there; with `append` it is
/// joined to it. Envoy 1.40 does the same.
fn set(changes: &mut Changes, option: &HeaderOption) -> Option<()> {
    let header = option.header.as_ref()?;
    let bytes = header.value.as_bytes();
    let is_appended = is_appended(option);
    if header.key.starts_with(':') && is_appended {
        return None;
    }
    match header.key.to_ascii_lowercase().as_str() {
        ":authority" | "host" => changes.set.set(HOST, HeaderValue::from_bytes(bytes).ok().filter(|_| is_host(bytes))?),
        ":method" => changes.method = Some(Method::from_bytes(bytes).ok()?),
        ":path" => {
            let is_path = bytes.starts_with(b"/") && is_part_of_target(bytes);
            changes.path = Some(HeaderValue::from_bytes(bytes).ok().filter(|_| is_path)?);
        }
        ":scheme" => {
            changes.scheme = Some(Scheme::try_from(bytes).ok().filter(|it| [Scheme::HTTP, Scheme::HTTPS].contains(it))?)
        }
        _ => {
            let (name, value) = field(option)?;
            match (is_of_message(&name), is_appended) {
                (true, _) => {}
                (false, true) => changes.joined.append(name, value),
                (false, false) => changes.set.set(name, value),
            }
        }
    }
    Some(())
}

/// `append: true`, from before `append_action`.
fn is_appended(option: &HeaderOption) -> bool {
    option.append.is_some_and(|append| append.value)
}

fn action(option: &HeaderOption) -> AppendAction {
    match (option.append, option.append_action) {
        (Some(append), _) if append.value => AppendAction::AppendIfExistsOrAdd,
        (Some(_), _) => AppendAction::OverwriteIfExistsOrAdd,
        (None, 0) => AppendAction::AppendIfExistsOrAdd,
        (None, 1) => AppendAction::AddIfAbsent,
        (None, 3) => AppendAction::OverwriteIfExists,
        // 2, and, as in Envoy, numbers without a meaning.
        (None, _) => AppendAction::OverwriteIfExistsOrAdd,
    }
}

fn field(option: &HeaderOption) -> Option<(HeaderName, HeaderValue)> {
    let header = option.header.as_ref()?;
    let name = HeaderName::from_bytes(header.key.as_bytes()).ok()?;
    Some((name, HeaderValue::from_bytes(header.value.as_bytes()).ok()?))
}
