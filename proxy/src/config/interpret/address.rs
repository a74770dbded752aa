//! What an address means, and which of its forms may stand where.

use std::net::{IpAddr, SocketAddr};

use crate::config::address::{Address, Binding, InternalAddress, Pipe};
use crate::config::bootstrap::{
    Address as Written, CidrRange, EnvoyInternalAddress, Pipe as WrittenPipe, SocketAddress,
};
use crate::config::error::Cause;
use crate::config::problem::Problem;
use crate::config::trust::Cidr;
use crate::config::yaml::At;

/// What an address says: one of its forms.
enum Form<'w> {
    Internal(&'w At<EnvoyInternalAddress>),
    Pipe(&'w WrittenPipe),
    Socket(&'w SocketAddress),
}

fn form(written: &At<Written>) -> Result<Form<'_>, Problem> {
    let Written { envoy_internal_address, pipe, socket_address } = &written.value;
    match (envoy_internal_address, pipe, socket_address) {
        (Some(internal), None, None) => Ok(Form::Internal(internal)),
        (None, Some(pipe), None) => Ok(Form::Pipe(pipe)),
        (None, None, Some(socket)) => Ok(Form::Socket(socket)),
        (None, None, None) => Err(written.problem(Cause::Missing { field: "socket_address" })),
        _ => Err(written.invalid("takes exactly one of envoy_internal_address, pipe and socket_address")),
    }
}

/// Where a listener or the admin interface listens.
pub(super) fn bound(written: &At<Written>) -> Result<Binding, Problem> {
    match form(written)? {
        Form::Internal(internal) => Err(internal.invalid_but(
            "use internal_listener field instead of address for internal listeners",
            "write internal_listener: {} and no address; the name of the listener is what endpoints find it by",
        )),
        Form::Pipe(pipe) => self::pipe(pipe).map(|pipe| Address::Pipe(pipe).into()),
        Form::Socket(socket) => {
            let at = number(socket, "only endpoints of a cluster with type STRICT_DNS or LOGICAL_DNS may be names")?;
            let compat = socket.ipv4_compat.as_ref().filter(|compat| compat.value);
            match compat {
                Some(compat) if !maps_ipv4(&at) => Err(compat.invalid(format!(
                    "Only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat: {at}"
                ))),
                Some(_) => Ok(Binding { takes_ipv4: true, ..at.into() }),
                None => Ok(at.into()),
            }
        }
    }
}

/// A static endpoint.
pub(super) fn endpoint(written: &At<Written>) -> Result<Address, Problem> {
    match form(written)? {
        Form::Internal(internal) => {
            let EnvoyInternalAddress { endpoint_id, server_listener_name: name } = &internal.value;
            Ok(Address::Internal(InternalAddress { name: name.clone(), endpoint_id: endpoint_id.clone() }))
        }
        // The permissions are those of a socket that is made.
        Form::Pipe(pipe) => self::pipe(pipe).map(|pipe| Address::Pipe(Pipe { mode: None, ..pipe })),
        Form::Socket(socket) => {
            number(socket, "write type: STRICT_DNS or LOGICAL_DNS in the cluster if this is a name")
        }
    }
}

/// An endpoint from DNS.
pub(super) fn name_and_port(written: &At<Written>) -> Result<(String, u16), Problem> {
    match form(written)? {
        Form::Internal(internal) => Err(internal.invalid_but(
            "an internal listener has no name that DNS could resolve",
            "write type: STATIC in the cluster, or leave the type out",
        )),
        Form::Pipe(pipe) => Err(pipe.path.invalid_but(
            "a pipe has no name that DNS could resolve",
            "write type: STATIC in the cluster, or leave the type out",
        )),
        Form::Socket(socket) if socket.address.value.is_empty() => {
            Err(socket.address.invalid("an endpoint must have a name or an address"))
        }
        Form::Socket(socket) => Ok((socket.address.value.clone(), socket.port_value)),
    }
}

/// Is it an address at which a socket of IPv6 can take connections over IPv4?
fn maps_ipv4(at: &Address) -> bool {
    match at.ip() {
        Some(IpAddr::V6(ip)) => ip.is_unspecified() || ip.to_ipv4_mapped().is_some(),
        Some(IpAddr::V4(_)) | None => false,
    }
}

/// Where connections to endpoints come from.
pub(super) fn source(written: &SocketAddress) -> Result<SocketAddr, Problem> {
    let ip = written.address.value.parse::<IpAddr>();
    let ip = ip.map_err(|_| written.address.invalid(format!("malformed IP address: {:?}", written.address.value)))?;
    Ok(SocketAddr::new(ip, written.port_value))
}

/// An address that is a number; `but` says what to write if it is a name.
fn number(socket: &SocketAddress, but: &'static str) -> Result<Address, Problem> {
    let ip: IpAddr =
        socket.address.value.parse().map_err(|_| {
            socket.address.invalid_but(format!("malformed IP address: {:?}", socket.address.value), but)
        })?;
    Ok(SocketAddr::new(ip, socket.port_value).into())
}

fn pipe(written: &WrittenPipe) -> Result<Pipe, Problem> {
    const MODE_MAX: u32 = 0o777;
    let pipe = Pipe::new(&*written.path.value);
    if pipe.path.len() > Pipe::PATH_BYTES_MAX {
        return Err(written.path.invalid(format!(
            "the path of a Unix domain socket has at most {} bytes, and this one has {}",
            Pipe::PATH_BYTES_MAX,
            pipe.path.len()
        )));
    }
    let Some(mode) = written.mode.as_ref().filter(|mode| mode.value > 0) else { return Ok(pipe) };
    if mode.value > MODE_MAX {
        return Err(mode.invalid(format!("{} is more than 511, which is 0777", mode.value)));
    }
    if pipe.abstract_name().is_some() {
        return Err(mode.invalid_but(
            "a socket of the abstract namespace, whose name begins with @, has no permissions",
            "leave the mode out, or write a path",
        ));
    }
    Ok(Pipe { mode: Some(mode.value), ..pipe })
}

pub(super) fn cidr(written: &At<CidrRange>) -> Result<Cidr, Problem> {
    let CidrRange { address_prefix, prefix_len } = &written.value;
    let address =
        address_prefix.parse().map_err(|_| written.invalid(format!("malformed IP address: {address_prefix}")))?;
    const LENGTH_MAX: u32 = 128;
    match prefix_len.unwrap_or(0) {
        length @ ..=LENGTH_MAX => Ok(Cidr::new(address, length)),
        length => Err(written.invalid(format!("prefix_len {length} is more than {LENGTH_MAX}"))),
    }
}
