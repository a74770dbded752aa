//! What mutations of headers and of query parameters mean.

use crate::config::bootstrap::HeaderValue as WrittenHeader;
use crate::config::bootstrap::filter::{
    AppendAction as WrittenAction, HeaderMutationRule, HeaderValueOption, KeyValueMutation, Mutations as Written,
};
use crate::config::constraints::HeaderName;
use crate::config::filter::{AppendAction, Mutation, Mutations};
use crate::config::log_format::Format;
use crate::config::problem::Problem;
use crate::config::route::Edits;
use crate::config::yaml::At;

/// Headers that tell where a message ends, or that belong to one connection. To change one means that two machines read
/// different messages (RFC 9112 11.2), so these stay as the proxy writes them.
const FIXED: [&str; 6] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Envoy's limit for each list of headers that are added.
const ADDED_MAX: usize = 1000;

pub(super) fn mutations(written: Option<&Written>) -> Result<Mutations, Problem> {
    let Some(written) = written else { return Ok(Mutations::default()) };
    Ok(Mutations {
        query: written.query_parameter_mutations.iter().map(parameter).collect::<Result<_, _>>()?,
        request: written.request_mutations.iter().map(header).collect::<Result<_, _>>()?,
        response: written.response_mutations.iter().map(header).collect::<Result<_, _>>()?,
    })
}

pub(super) fn header(at: &At<HeaderMutationRule>) -> Result<Mutation<http::HeaderName>, Problem> {
    match (&at.value.append, &at.value.remove) {
        (Some(append), None) => added(&append.value),
        (None, Some(remove)) => Ok(Mutation::Remove(header_name(remove)?)),
        (None, None) | (Some(_), Some(_)) => Err(at.invalid("a mutation takes exactly one of append and remove")),
    }
}

fn added(written: &HeaderValueOption) -> Result<Mutation<http::HeaderName>, Problem> {
    let HeaderValueOption { header, keep_empty_value, .. } = written;
    let value = header.value.as_ref().map_or_else(|| Ok(Format::default()), |text| format(text, &text.value))?;
    let (name, action) = (header_name(&header.key)?, header_action(written)?);
    Ok(Mutation::Append { name, value, action, keeps_empty: *keep_empty_value })
}

/// `request_headers_to_add` and `request_headers_to_remove`, or those of responses.
pub(super) fn edits(add: &[At<HeaderValueOption>], remove: &[At<HeaderName>]) -> Result<Edits, Problem> {
    if let Some(one_too_many) = add.get(ADDED_MAX) {
        return Err(one_too_many.invalid(format!("at most {ADDED_MAX} headers can be added")));
    }
    Ok(Edits {
        remove: remove.iter().map(header_name).collect::<Result<_, _>>()?,
        add: add.iter().map(|header| added(&header.value)).collect::<Result<_, _>>()?,
    })
}

/// Headers that take the place of those that are there.
pub(super) fn overwritten(headers: &[At<WrittenHeader>]) -> Result<Edits, Problem> {
    plain(headers, AppendAction::OverwriteIfExistsOrAdd)
}

/// Headers that stand beside those that are there.
pub(super) fn appended(headers: &[At<WrittenHeader>]) -> Result<Edits, Problem> {
    plain(headers, AppendAction::AppendIfExistsOrAdd)
}

fn plain(headers: &[At<WrittenHeader>], action: AppendAction) -> Result<Edits, Problem> {
    let added = |At { value: WrittenHeader { key, value }, .. }: &At<WrittenHeader>| {
        let value = value.as_ref().map_or_else(|| Ok(Format::default()), |text| format(text, &text.value))?;
        Ok(Mutation::Append { name: header_name(key)?, value, action, keeps_empty: false })
    };
    Ok(Edits { remove: Vec::new(), add: headers.iter().map(added).collect::<Result<_, Problem>>()? })
}

fn header_name(written: &At<HeaderName>) -> Result<http::HeaderName, Problem> {
    let name = &*written.value;
    if name.starts_with(':') || name == "host" {
        return Err(written.invalid(":-prefixed or host headers may not be modified"));
    }
    if FIXED.contains(&name) {
        let what =
            format!("{name} decides where a message ends or belongs to one connection, so it cannot be modified");
        return Err(written.invalid(what));
    }
    // Constraints are those of a token.
    http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| written.invalid("is not a header name"))
}

fn header_action(written: &HeaderValueOption) -> Result<AppendAction, Problem> {
    match (&written.append, written.append_action) {
        (Some(append), Some(_)) => Err(append.invalid("both append and append_action are set; write append_action")),
        (Some(append), None) if append.value => Ok(AppendAction::AppendIfExistsOrAdd),
        (Some(_), None) => Ok(AppendAction::OverwriteIfExistsOrAdd),
        (None, action) => Ok(append_action(action)),
    }
}

fn append_action(written: Option<WrittenAction>) -> AppendAction {
    match written {
        None | Some(WrittenAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        Some(WrittenAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Some(WrittenAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        Some(WrittenAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    }
}

fn parameter(at: &At<KeyValueMutation>) -> Result<Mutation<String>, Problem> {
    match (&at.value.append, &at.value.remove) {
        (Some(append), None) => {
            let record = &append.value.record;
            let action = append_action(append.value.action);
            let value = format(&record.value, &record.value.value)?;
            Ok(Mutation::Append { name: record.key.to_string(), value, action, keeps_empty: true })
        }
        (None, Some(remove)) => Ok(Mutation::Remove(remove.value.clone())),
        (None, None) | (Some(_), Some(_)) => Err(at.invalid("a mutation takes exactly one of append and remove")),
    }
}

fn format<T>(at: &At<T>, text: &str) -> Result<Format, Problem> {
    Format::parse_header_value(text).map_err(|error| at.invalid(error.to_string()))
}
