//! What access logs, their filters and formats mean.

use super::data_source;
use super::entry_log;
use super::matching;
use super::metadata;
use crate::config::bootstrap::access_log::{
    AccessLog as WrittenLog, AccessLogConfig, AccessLogFilter, AccessLogType, ComparisonFilterHolder, ComparisonOp,
    FileAccessLog, FilterList, MetadataFilter, ResponseFlagFilter, RuntimeFilter,
};
use crate::config::bootstrap::format_string::SubstitutionFormatString;
use crate::config::bootstrap::{DenominatorType, FractionalPercent};
use crate::config::listener::{AccessLog, LogForm, LogPath};
use crate::config::log_filter::{Choice, Comparison, ComparisonOperator, Draw, FLAGS, LogFilter, LogType, Share};
use crate::config::log_format::{Format, Json, LineForm, LineFormat, MissingValue};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes, Tree};

pub(super) fn access_log(written: WrittenLog, notes: &Notes) -> Result<AccessLog, Problem> {
    let filter = written.filter.as_ref().map_or(Ok(LogFilter::Always), |written| filter(written, notes))?;
    let (to, format) = match written.typed_config {
        AccessLogConfig::File(file) => (path(&file.path, notes)?, file_format(&file)?),
        AccessLogConfig::HttpGrpc(log) => {
            return Ok(AccessLog { filter, form: LogForm::Entries(entry_log::http(&log, notes)?) });
        }
        AccessLogConfig::Stderr(stream) => (LogPath::Stderr, log_format(stream.log_format.as_ref())?),
        AccessLogConfig::Stdout(stream) => (LogPath::Stdout, log_format(stream.log_format.as_ref())?),
        AccessLogConfig::TcpGrpc(log) => {
            return Ok(AccessLog { filter, form: LogForm::Entries(entry_log::tcp(&log, notes)?) });
        }
    };
    Ok(AccessLog { filter, form: LogForm::Lines { to, format } })
}

fn path(written: &At<String>, notes: &Notes) -> Result<LogPath, Problem> {
    match written.value.as_str() {
        "" => Err(written.invalid("must not be empty")),
        "/dev/stdout" => Ok(LogPath::Stdout),
        "/dev/stderr" => Ok(LogPath::Stderr),
        path => {
            notes.needs_log("access log", written.clone());
            Ok(LogPath::File(path.to_owned()))
        }
    }
}

/// The format of a file, which has two older spellings besides that of all logs.
fn file_format(file: &FileAccessLog) -> Result<LineFormat, Problem> {
    let FileAccessLog { format, json_format, log_format: newest, typed_json_format, .. } = file;
    let places = [
        format.as_ref().map(|it| &it.place),
        json_format.as_ref().map(|it| &it.place),
        newest.as_ref().map(|it| &it.place),
        typed_json_format.as_ref().map(|it| &it.place),
    ];
    if let Some(second) = places.into_iter().flatten().nth(1) {
        return Err(Problem::invalid(
            second,
            "a file has one of log_format, format, json_format and typed_json_format; write log_format",
        ));
    }
    match (format, json_format.as_ref().or(typed_json_format.as_ref())) {
        // An empty text is no text, as protobuf cannot tell them apart.
        (Some(text), _) if !text.value.is_empty() => parsed(text).map(LineFormat::from),
        (_, Some(object)) => Ok(LineFormat { form: json(object)?, missing: MissingValue::Marked }),
        (_, None) => log_format(newest.as_ref()),
    }
}

fn log_format(written: Option<&At<SubstitutionFormatString>>) -> Result<LineFormat, Problem> {
    written.map_or_else(|| Ok(Format::default_line().into()), line_format)
}

/// The format of a line, or of the body of a local reply.
pub(super) fn line_format(written: &At<SubstitutionFormatString>) -> Result<LineFormat, Problem> {
    let SubstitutionFormatString { json_format, omit_empty_values, text_format, text_format_source, .. } =
        &written.value;
    let form = match (json_format, text_format, text_format_source) {
        (Some(object), None, None) => json(object)?,
        (None, Some(text), None) => LineForm::Text(parsed(text)?),
        (None, None, Some(source)) => LineForm::Text(parsed(&data_source::text(source)?)?),
        (None, None, None) => {
            return Err(written.invalid_but(
                "a format is one of text_format_source, json_format and text_format",
                "delete log_format for Envoy's default line",
            ));
        }
        _ => {
            return Err(written.invalid("a format is only one of text_format_source, json_format and text_format"));
        }
    };
    let missing = if *omit_empty_values { MissingValue::Omitted } else { MissingValue::Marked };
    Ok(LineFormat { form, missing })
}

fn parsed(text: &At<String>) -> Result<Format, Problem> {
    Format::parse(&text.value).map_err(|error| text.invalid(error.to_string()))
}

fn json(written: &At<Tree>) -> Result<LineForm, Problem> {
    match &written.value {
        Tree::Map(_) => value(written).map(LineForm::Json),
        Tree::Flag(_) | Tree::List(_) | Tree::Null | Tree::Number(_) | Tree::Text(_) => {
            Err(written.invalid("a JSON format is a mapping"))
        }
    }
}

fn value(written: &At<Tree>) -> Result<Json, Problem> {
    Ok(match &written.value {
        Tree::Flag(flag) => Json::Literal(flag.to_string()),
        Tree::List(items) => Json::List(items.iter().map(value).collect::<Result<_, _>>()?),
        Tree::Map(members) => {
            let member = |(key, written): &(String, At<Tree>)| Ok((key.clone(), value(written)?));
            Json::object(members.iter().map(member).collect::<Result<_, Problem>>()?)
        }
        Tree::Null => Json::Null,
        Tree::Number(number) => Json::Literal(number.to_string()),
        Tree::Text(text) => Json::parse(text).map_err(|error| written.invalid(error.to_string()))?,
    })
}

/// Which streams a filter takes.
pub(super) fn filter(written: &At<AccessLogFilter>, notes: &Notes) -> Result<LogFilter, Problem> {
    let mut filters = tests(&written.value, notes)?;
    if let Some(traceable) = &written.value.traceable_filter {
        notes.note(&traceable.place, "takes no stream: there is no distributed tracing");
        filters.push(LogFilter::Never);
    }
    match (filters.pop(), filters.is_empty()) {
        (Some(filter), true) => Ok(filter),
        (None, _) => Err(written.invalid("an empty filter; write status_code_filter, header_filter and the like")),
        (Some(_), false) => {
            Err(written.invalid("a filter is one of its kinds; write and_filter or or_filter for several"))
        }
    }
}

fn tests(written: &AccessLogFilter, notes: &Notes) -> Result<Vec<LogFilter>, Problem> {
    let mut filters = Vec::new();
    if let Some(list) = &written.and_filter {
        filters.push(LogFilter::All(several(list, notes)?));
    }
    if let Some(list) = &written.or_filter {
        filters.push(LogFilter::Any(several(list, notes)?));
    }
    filters.extend(written.duration_filter.as_ref().map(|it| LogFilter::Duration(comparison(it, notes))));
    filters.extend(written.status_code_filter.as_ref().map(|it| LogFilter::StatusCode(comparison(it, notes))));
    if let Some(header) = &written.header_filter {
        filters.push(LogFilter::Header(matching::header(&header.header)?));
    }
    filters.extend(written.grpc_status_filter.as_ref().map(|it| {
        // The values of the enumeration are in the order of their numbers.
        let statuses = it.statuses.iter().map(|status| *status as u16).collect();
        LogFilter::GrpcStatus(choice(it.exclude, statuses))
    }));
    filters.extend(written.log_type_filter.as_ref().map(|it| {
        let types = it.types.iter().copied().filter_map(log_type).collect();
        LogFilter::LogType(choice(it.exclude, types))
    }));
    if let Some(flags) = &written.response_flag_filter {
        filters.push(LogFilter::ResponseFlag(response_flags(flags)?));
    }
    filters.extend(written.runtime_filter.as_ref().map(|it| LogFilter::Runtime(share(it, notes))));
    // No filter here answers health checks, so that no request is one.
    filters.extend(written.not_health_check_filter.as_ref().map(|_| LogFilter::NotHealthCheck));
    if let Some(written) = &written.metadata_filter {
        filters.push(metadata_filter(written)?);
    }
    Ok(filters)
}

/// As in Envoy, its `invert` changes nothing, and without a matcher no key is found.
fn metadata_filter(written: &MetadataFilter) -> Result<LogFilter, Problem> {
    let missing = match written.match_if_key_not_found {
        None | Some(true) => LogFilter::Always,
        Some(false) => LogFilter::Never,
    };
    let Some(matcher) = &written.matcher else { return Ok(missing) };
    let (path, value) = metadata::matcher(matcher)?;
    Ok(LogFilter::Metadata { path, value, missing: Box::new(missing) })
}

fn several(written: &At<FilterList>, notes: &Notes) -> Result<Vec<LogFilter>, Problem> {
    if written.value.filters.len() < 2 {
        return Err(written.invalid("takes two filters or more"));
    }
    written.value.filters.iter().map(|one| filter(one, notes)).collect()
}

fn comparison(written: &ComparisonFilterHolder, notes: &Notes) -> Comparison {
    let value = &written.comparison.value;
    notes.reads(&value.runtime_key);
    Comparison {
        operator: match written.comparison.op {
            None | Some(ComparisonOp::Eq) => ComparisonOperator::Equal,
            Some(ComparisonOp::Ge) => ComparisonOperator::GreaterOrEqual,
            Some(ComparisonOp::Le) => ComparisonOperator::LessOrEqual,
            Some(ComparisonOp::Ne) => ComparisonOperator::NotEqual,
        },
        value: value.default_value,
        key: value.runtime_key.clone(),
    }
}

fn choice<T>(exclude: bool, values: Vec<T>) -> Choice<T> {
    if exclude { Choice::AllBut(values) } else { Choice::These(values) }
}

/// The occasions that there are; others never come.
fn log_type(written: AccessLogType) -> Option<LogType> {
    match written {
        AccessLogType::DownstreamEnd => Some(LogType::DownstreamEnd),
        AccessLogType::DownstreamPeriodic => Some(LogType::DownstreamPeriodic),
        AccessLogType::NotSet => Some(LogType::NotSet),
        AccessLogType::DownstreamStart => Some(LogType::DownstreamStart),
        AccessLogType::DownstreamTunnelSuccessfullyEstablished => {
            Some(LogType::DownstreamTunnelSuccessfullyEstablished)
        }
        AccessLogType::TcpConnectionEnd => Some(LogType::TcpConnectionEnd),
        AccessLogType::TcpConnectionStart => Some(LogType::TcpConnectionStart),
        AccessLogType::TcpPeriodic => Some(LogType::TcpPeriodic),
        AccessLogType::TcpUpstreamConnected => Some(LogType::TcpUpstreamConnected),
        AccessLogType::UdpPeriodic
        | AccessLogType::UdpSessionEnd
        | AccessLogType::UdpTunnelUpstreamConnected
        | AccessLogType::UpstreamEnd
        | AccessLogType::UpstreamPeriodic
        | AccessLogType::UpstreamPoolReady => None,
    }
}

fn response_flags(written: &ResponseFlagFilter) -> Result<Vec<&'static str>, Problem> {
    let flag = |written: &At<String>| {
        let known = FLAGS.into_iter().find(|known| *known == written.value);
        known.ok_or_else(|| {
            written.invalid(format!(
                "there is no response flag {:?}; the flags are {}",
                written.value,
                FLAGS.join(", ")
            ))
        })
    };
    written.flags.iter().map(flag).collect()
}

fn share(written: &RuntimeFilter, notes: &Notes) -> Share {
    notes.reads(&written.runtime_key);
    let percent = written.percent_sampled.unwrap_or(FractionalPercent { denominator: None, numerator: 0 });
    Share {
        key: written.runtime_key.to_string(),
        numerator: percent.numerator,
        denominator: match percent.denominator {
            None | Some(DenominatorType::Hundred) => 100,
            Some(DenominatorType::TenThousand) => 10_000,
            Some(DenominatorType::Million) => 1_000_000,
        },
        draw: if written.use_independent_randomness { Draw::Chance } else { Draw::RequestId },
    }
}
