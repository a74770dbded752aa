//! Whether a stream belongs into an access log, or a local reply to a mapper.

use crate::access_log::StreamInfo;
use crate::access_log::format::Heads;
use crate::access_log::grpc_status::GrpcStatus;
use crate::codec::matching::header_holds;
use crate::codec::{RequestHead, names};
use crate::config::log_filter::{Choice, Comparison, ComparisonOperator, Draw, LogFilter as Options, LogType, Share};
use crate::config::metadata::{MetadataPath, ValueMatch};
use crate::config::route::HeaderMatch;
use crate::net::Random;
use crate::runtime::{Runtime, Watched};

/// A filter with the numbers of the runtime that it reads.
pub(super) enum LogFilter {
    All(Vec<Self>),
    Always,
    Any(Vec<Self>),
    Duration(Compared),
    GrpcStatus(Choice<u16>),
    Header(HeaderMatch),
    LogType(Choice<LogType>),
    Metadata { path: MetadataPath, value: ValueMatch, missing: Box<Self> },
    Never,
    NotHealthCheck,
    ResponseFlag(Vec<&'static str>),
    Runtime(Drawn),
    StatusCode(Compared),
}

pub(super) struct Compared {
    operator: ComparisonOperator,
    value: Watched,
}

pub(super) struct Drawn {
    numerator: Watched,
    denominator: u32,
    draw: Draw,
}

/// What a filter judges.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) heads: Heads<'a>,
    pub(super) info: &'a StreamInfo,
    pub(super) log_type: LogType,
    pub(super) random: &'a dyn Random,
}

impl LogFilter {
    /// The filter of these options.
    pub(super) fn new(options: &Options, runtime: &Runtime) -> Self {
        let several = |filters: &[Options]| filters.iter().map(|filter| Self::new(filter, runtime)).collect();
        match options {
            Options::All(filters) => Self::All(several(filters)),
            Options::Always => Self::Always,
            Options::Any(filters) => Self::Any(several(filters)),
            Options::Duration(comparison) => Self::Duration(Compared::new(comparison, runtime)),
            Options::GrpcStatus(statuses) => Self::GrpcStatus(statuses.clone()),
            Options::Header(matcher) => Self::Header(matcher.clone()),
            Options::LogType(types) => Self::LogType(types.clone()),
            Options::Metadata { path, value, missing } => Self::Metadata {
                path: path.clone(),
                value: value.clone(),
                missing: Box::new(Self::new(missing, runtime)),
            },
            Options::Never => Self::Never,
            Options::NotHealthCheck => Self::NotHealthCheck,
            Options::ResponseFlag(flags) => Self::ResponseFlag(flags.clone()),
            Options::Runtime(share) => Self::Runtime(Drawn::new(share, runtime)),
            Options::StatusCode(comparison) => Self::StatusCode(Compared::new(comparison, runtime)),
        }
    }

    pub(super) fn takes(&self, subject: &Subject<'_>) -> bool {
        let Subject { heads, info, log_type, random } = subject;
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.takes(subject)),
            Self::Always => true,
            Self::Any(filters) => filters.iter().any(|filter| filter.takes(subject)),
            Self::Duration(compared) => {
                compared.holds(u64::try_from(info.times.duration().as_millis()).unwrap_or(u64::MAX))
            }
            Self::GrpcStatus(statuses) => {
                // What is no status of gRPC is none that a filter can name.
                let status = GrpcStatus::of_any(heads.response, info).and_then(|status| status.0);
                let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(u16::MAX);
                statuses.has(&status)
            }
            Self::Header(matcher) => {
                let nothing = RequestHead::default();
                header_holds(matcher, heads.request.unwrap_or(&nothing))
            }
            Self::LogType(types) => types.has(log_type),
            Self::Metadata { path, value, missing } => {
                let found = info.metadata.as_ref().and_then(|metadata| metadata.get(path));
                found.map_or_else(|| missing.takes(subject), |found| value.takes(found))
            }
            Self::Never => false,
            Self::NotHealthCheck => !info.is_health_check,
            Self::ResponseFlag(flags) if flags.is_empty() => info.flags.iter().next().is_some(),
            Self::ResponseFlag(flags) => info.flags.iter().any(|flag| flags.contains(&flag.short())),
            Self::Runtime(drawn) => drawn.takes(heads.request, *random),
            Self::StatusCode(compared) => compared.holds(info.response_code.unwrap_or(0).into()),
        }
    }
}

impl Compared {
    fn new(comparison: &Comparison, runtime: &Runtime) -> Self {
        Self { operator: comparison.operator, value: watched(runtime, &comparison.key, comparison.value) }
    }

    fn holds(&self, number: u64) -> bool {
        self.operator.holds(number, self.value.get().into())
    }
}

impl Drawn {
    fn new(share: &Share, runtime: &Runtime) -> Self {
        let numerator = watched(runtime, &share.key, share.numerator);
        Self { numerator, denominator: share.denominator, draw: share.draw }
    }

    fn takes(&self, request: Option<&RequestHead>, random: &dyn Random) -> bool {
        let of_request = || request.filter(|_| self.draw == Draw::RequestId).and_then(number_of_id);
        let number = of_request().unwrap_or_else(|| random.next_u64());
        number % u64::from(self.denominator) < self.numerator.get().into()
    }
}

/// The number that a filter compares with; an empty key is none.
fn watched(runtime: &Runtime, key: &str, default: u32) -> Watched {
    if key.is_empty() { Watched::fixed(default) } else { runtime.watch(key.to_owned(), default) }
}

/// The first 32 bits of a request's id that is a UUID: Envoy's number for it.
fn number_of_id(request: &RequestHead) -> Option<u64> {
    let id = request.headers.get(&names::X_REQUEST_ID)?.to_str().ok()?;
    u64::from_str_radix(id.get(..8)?, 16).ok()
}
