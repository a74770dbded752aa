//! What a cluster's HTTP options mean: `typed_extension_protocol_options`, and the fields of clusters that it has replaced.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{forward_proxy, http2_options, upstream_socket};
use crate::config::bootstrap::Http2ProtocolOptions;
use crate::config::bootstrap::cluster::{
    AutoHttpConfig, Cluster as Written, ExplicitHttpConfig, HttpProtocolOptions, ProtocolSelection,
    TypedHttpProtocolOptions, UpstreamHttp1ProtocolOptions, UpstreamHttpProtocolOptions, UpstreamNameOptions,
    UseDownstreamHttpConfig,
};
use crate::config::cluster::{ClusterProtocol, HttpVersion, UpstreamProtocol};
use crate::config::error::Cause;
use crate::config::problem::Problem;
use crate::config::upstream_name::{HostAsName, HostUses};
use crate::config::yaml::{At, Notes};

/// `HttpProtocolOptions.common_http_protocol_options.idle_timeout`
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The options of each protocol, whatever decides which is spoken.
struct ByVersion<'w> {
    http1: Option<&'w UpstreamHttp1ProtocolOptions>,
    http2: Option<&'w Http2ProtocolOptions>,
}

impl HttpProtocolOptions {
    fn by_version(&self) -> ByVersion<'_> {
        if let Some(At { value: ExplicitHttpConfig { http_protocol_options, http2_protocol_options }, .. }) =
            &self.explicit_http_config
        {
            ByVersion { http1: http_protocol_options.as_ref(), http2: http2_protocol_options.as_ref() }
        } else if let Some(At { value: AutoHttpConfig { http_protocol_options, http2_protocol_options }, .. }) =
            &self.auto_config
        {
            ByVersion { http1: http_protocol_options.as_ref(), http2: http2_protocol_options.as_ref() }
        } else {
            let of_client = self.use_downstream_protocol_config.as_ref().map(|at| &at.value);
            ByVersion {
                http1: of_client.and_then(|options| options.http_protocol_options.as_ref()),
                http2: of_client.and_then(|options| options.http2_protocol_options.as_ref()),
            }
        }
    }
}

impl Written {
    pub(super) fn http_options(&self) -> Option<&At<HttpProtocolOptions>> {
        let extensions = self.typed_extension_protocol_options.as_ref()?;
        extensions.http.as_ref().map(|TypedHttpProtocolOptions::Http(options)| options)
    }

    /// The HTTP/2 options that hold, from wherever they were written.
    pub(super) fn http2_options(&self) -> Option<&Http2ProtocolOptions> {
        match self.http_options() {
            Some(options) => options.value.by_version().http2,
            None => self.http2_protocol_options.as_ref().map(|options| &options.value),
        }
    }
}

/// How it is spoken to.
pub(super) fn protocol(cluster: &Written) -> Result<ClusterProtocol, Problem> {
    let Some(options) = cluster.http_options() else { return older_protocol(cluster) };
    let HttpProtocolOptions { explicit_http_config, auto_config, use_downstream_protocol_config, .. } = &options.value;
    match (explicit_http_config, auto_config, use_downstream_protocol_config) {
        (Some(explicit), None, None) => explicit_protocol(explicit).map(ClusterProtocol::Fixed),
        (None, Some(auto), None) => alpn_protocol(cluster, auto).map(ClusterProtocol::Fixed),
        (None, None, Some(of_client)) => {
            let UseDownstreamHttpConfig { http2_protocol_options, .. } = &of_client.value;
            protocol_of_client(http2_protocol_options.as_ref())
        }
        (None, None, None) => Err(options.problem(Cause::Missing { field: "explicit_http_config" })),
        (explicit, auto, of_client) => {
            let places = [explicit.as_ref().map(|at| &at.place), auto.as_ref().map(|at| &at.place)];
            let places = places.into_iter().flatten().chain(of_client.as_ref().map(|at| &at.place));
            let last = places.last().unwrap_or(&options.place);
            Err(Problem::invalid(
                last,
                "takes exactly one of explicit_http_config, auto_config and use_downstream_protocol_config",
            ))
        }
    }
}

/// As the fields say that came before `typed_extension_protocol_options`.
fn older_protocol(cluster: &Written) -> Result<ClusterProtocol, Problem> {
    let (http1, http2) = (&cluster.http_protocol_options, &cluster.http2_protocol_options);
    if cluster.protocol_selection == Some(ProtocolSelection::OfClient) {
        return protocol_of_client(http2.as_ref().map(|options| &options.value));
    }
    let fixed = match (http2, http1) {
        (Some(_), Some(http1)) => {
            return Err(http1.invalid_but(
                "a cluster speaks one protocol, and has http2_protocol_options too",
                "delete the options of the protocol that its endpoints do not speak",
            ));
        }
        (Some(http2), None) => UpstreamProtocol::Http2(http2_options(&http2.value)?),
        (None, _) => UpstreamProtocol::Http1,
    };
    Ok(ClusterProtocol::Fixed(fixed))
}

/// What is sent without a client is HTTP/2 where that has options.
fn protocol_of_client(written: Option<&Http2ProtocolOptions>) -> Result<ClusterProtocol, Problem> {
    let without_client = if written.is_some() { HttpVersion::Http2 } else { HttpVersion::Http1 };
    let http2 = written.map(http2_options).transpose()?;
    let http2 = http2.map_or_else(|| http2_options(&Http2ProtocolOptions::default()), Ok)?;
    Ok(ClusterProtocol::OfClient { http2, without_client })
}

fn explicit_protocol(explicit: &At<ExplicitHttpConfig>) -> Result<UpstreamProtocol, Problem> {
    match &explicit.value {
        ExplicitHttpConfig { http_protocol_options: Some(_), http2_protocol_options: None } => {
            Ok(UpstreamProtocol::Http1)
        }
        ExplicitHttpConfig { http_protocol_options: None, http2_protocol_options: Some(http2) } => {
            http2_options(http2).map(UpstreamProtocol::Http2)
        }
        ExplicitHttpConfig { http_protocol_options: None, http2_protocol_options: None }
        | ExplicitHttpConfig { http_protocol_options: Some(_), http2_protocol_options: Some(_) } => {
            Err(explicit.invalid("takes exactly one of http_protocol_options and http2_protocol_options"))
        }
    }
}

/// What ALPN decides needs TLS.
fn alpn_protocol(cluster: &Written, auto: &At<AutoHttpConfig>) -> Result<UpstreamProtocol, Problem> {
    if !upstream_socket::encrypts(cluster) {
        let name = &cluster.name.value;
        return Err(auto.invalid_but(
            format!("ALPN configured for cluster {name} which has a non-ALPN transport socket"),
            "write explicit_http_config, or transport_socket with an UpstreamTlsContext",
        ));
    }
    let options = auto.value.http2_protocol_options.as_ref();
    http2_options(options.unwrap_or(&Http2ProtocolOptions::default())).map(UpstreamProtocol::Alpn)
}

/// The HTTP/1 options that hold, from wherever they were written.
pub(super) fn http1_options(cluster: &Written) -> Option<&UpstreamHttp1ProtocolOptions> {
    match cluster.http_options() {
        Some(options) => options.value.by_version().http1,
        None => cluster.http_protocol_options.as_ref().map(|options| &options.value),
    }
}

/// The options that both protocols share, from wherever they were written.
pub(super) fn common_options(cluster: &Written) -> Option<&UpstreamHttpProtocolOptions> {
    match cluster.http_options() {
        Some(options) => options.value.common_http_protocol_options.as_ref(),
        None => cluster.common_http_protocol_options.as_ref().map(|options| &options.value),
    }
}

/// Requests that one connection may carry, said in one of two places.
pub(super) fn requests_per_connection_max(cluster: &Written) -> Result<Option<NonZeroU32>, Problem> {
    let common = common_options(cluster).and_then(|common| common.max_requests_per_connection);
    let max = match (common, &cluster.max_requests_per_connection) {
        (Some(_), Some(second)) => {
            return Err(second.invalid_but(
                "only one of max_requests_per_connection of the cluster and of its HTTP options can be specified",
                "write it in common_http_protocol_options alone",
            ));
        }
        (Some(max), None) => Some(max),
        (None, max) => max.as_ref().map(|max| max.value),
    };
    Ok(max.and_then(NonZeroU32::new))
}

pub(super) fn idle_timeout(cluster: &Written) -> Option<Duration> {
    match common_options(cluster).and_then(|common| common.idle_timeout) {
        Some(timeout) => timeout.unless_zero(),
        None => Some(IDLE_TIMEOUT),
    }
}

/// What the host of a request means for TLS.
pub(super) fn host_as_name(cluster: &Written) -> Result<Option<HostAsName>, Problem> {
    let written = cluster.http_options().and_then(|options| options.value.upstream_http_protocol_options.as_ref());
    let Some(UpstreamNameOptions { auto_san_validation, auto_sni, override_auto_sni_header }) = written else {
        return Ok(forward_proxy::host_as_name(cluster));
    };
    let uses = match (auto_sni, auto_san_validation) {
        (true, true) => HostUses::Both,
        (true, false) => HostUses::ServerName,
        (false, true) => HostUses::Certificate,
        (false, false) => return Ok(None),
    };
    let named = override_auto_sni_header.as_ref().filter(|at| !at.value.is_empty());
    let header = named.map(|at| at.value.parse().map_err(|_| at.invalid("is not the name of a header")));
    Ok(Some(HostAsName { header: header.transpose()?, uses }))
}

/// Options that moved into `typed_extension_protocol_options`, which still work and give way to what stands there.
pub(super) fn note_deprecated(cluster: &Written, notes: &Notes) {
    let places = [
        cluster.common_http_protocol_options.as_ref().map(|options| &options.place),
        cluster.http_protocol_options.as_ref().map(|options| &options.place),
        cluster.http2_protocol_options.as_ref().map(|options| &options.place),
    ];
    for place in places.into_iter().flatten() {
        let effect = if cluster.http_options().is_some() { "and has no effect beside" } else { "in favour of" };
        notes.note(
            place,
            format!(
                "is deprecated {effect} typed_extension_protocol_options with \
                 envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            ),
        );
    }
}
