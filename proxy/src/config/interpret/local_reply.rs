//! What `local_reply_config` means.

use std::sync::Arc;

use http::HeaderValue;

use super::access_log::{filter, line_format};
use super::data_source;
use super::mutation;
use crate::config::bootstrap::format_string::SubstitutionFormatString;
use crate::config::bootstrap::listener::{LocalReplyConfig, ResponseMapper};
use crate::config::local_reply::{BodyFormat, LocalReplies, Mapper};
use crate::config::log_format::LineForm;
use crate::config::problem::Problem;
use crate::config::route::{Edits, HeaderEdits};
use crate::config::yaml::{At, Notes};

pub(super) fn local_replies(written: Option<&LocalReplyConfig>, notes: &Notes) -> Result<LocalReplies, Problem> {
    let Some(written) = written else { return Ok(LocalReplies::default()) };
    Ok(LocalReplies {
        mappers: written.mappers.iter().map(|one| mapper(one, notes)).collect::<Result<_, _>>()?,
        format: written.body_format.as_ref().map(body_format).transpose()?,
    })
}

fn mapper(written: &At<ResponseMapper>, notes: &Notes) -> Result<Mapper, Problem> {
    let ResponseMapper { body, body_format_override, filter: filter_of, headers_to_add, status_code } = &written.value;
    let status = status_code.as_ref().map(|status| match u16::try_from(status.value) {
        Ok(code @ 200..600) => Ok(code),
        Ok(_) | Err(_) => Err(status.invalid("a status here is from 200 to 599")),
    });
    let response = mutation::edits(headers_to_add, &[])?;
    let edits = HeaderEdits { request: Edits::default(), response };
    Ok(Mapper {
        filter: filter(filter_of, notes)?,
        status: status.transpose()?,
        body: body.as_ref().map(data_source::text).transpose()?.map(|text| text.value),
        format: body_format_override.as_ref().map(body_format).transpose()?,
        edits: if edits.is_empty() { None } else { Some(Arc::new(edits)) },
    })
}

fn body_format(written: &At<SubstitutionFormatString>) -> Result<BodyFormat, Problem> {
    let format = line_format(written)?;
    let content_type = match written.value.content_type.as_ref().filter(|it| !it.value.is_empty()) {
        Some(written) => {
            HeaderValue::from_str(&written.value).map_err(|_| written.invalid("cannot be the value of a header"))?
        }
        None => HeaderValue::from_static(match format.form {
            LineForm::Json(_) => "application/json",
            LineForm::Text(_) => "text/plain",
        }),
    };
    Ok(BodyFormat { format, content_type })
}
