//! Options of sockets, as the configuration wants them.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use socket2::Socket;

use crate::config::socket_option::{Flag, Number, Setting, SocketOption, SocketState, Text};

/// Sets those of `options` that are due.
///
/// # Errors
/// The system refuses one.
pub(super) fn set(socket: &Socket, options: &[SocketOption], due: SocketState) -> io::Result<()> {
    for SocketOption { setting, .. } in options.iter().filter(|option| option.when == due) {
        set_one(socket, setting).map_err(|error| {
            io::Error::new(error.kind(), format!("Setting socket options failed: {}: {error}", setting.name()))
        })?;
    }
    Ok(())
}

fn set_one(socket: &Socket, setting: &Setting) -> io::Result<()> {
    match setting {
        Setting::Flag(flag, is_on) => set_flag(socket, *flag, *is_on),
        Setting::Linger(limit) => socket.set_linger(*limit),
        Setting::Number(number, value) => set_number(socket, *number, *value),
        Setting::Text(Text::BindToDevice, device) => socket.bind_device(Some(device)),
        Setting::Text(Text::Congestion, name) => socket.set_tcp_congestion(name),
    }
}

fn set_flag(socket: &Socket, flag: Flag, is_on: bool) -> io::Result<()> {
    match flag {
        Flag::FreebindV4 => socket.set_freebind_v4(is_on),
        Flag::FreebindV6 => socket.set_freebind_v6(is_on),
        Flag::TransparentV4 => socket.set_ip_transparent_v4(is_on),
        Flag::TransparentV6 => socket.set_ip_transparent_v6(is_on),
        Flag::OnlyV6 => socket.set_only_v6(is_on),
        Flag::Keepalive => socket.set_keepalive(is_on),
        Flag::OutOfBandInline => socket.set_out_of_band_inline(is_on),
        Flag::ReuseAddress => socket.set_reuse_address(is_on),
        Flag::ReusePort => socket.set_reuse_port(is_on),
        Flag::Cork => socket.set_tcp_cork(is_on),
        Flag::NoDelay => socket.set_tcp_nodelay(is_on),
        Flag::QuickAck => socket.set_tcp_quickack(is_on),
        Flag::ThinLinearTimeouts => socket.set_tcp_thin_linear_timeouts(is_on),
    }
}

fn set_number(socket: &Socket, number: Number, value: u32) -> io::Result<()> {
    let size = || usize::try_from(value).unwrap_or(usize::MAX);
    let seconds = Duration::from_secs(value.into());
    match number {
        Number::Tos => socket.set_tos_v4(value),
        Number::Ttl => socket.set_ttl_v4(value),
        Number::TrafficClass => socket.set_tclass_v6(value),
        Number::UnicastHops => socket.set_unicast_hops_v6(value),
        Number::BusyPoll => socket.set_busy_poll(value),
        Number::IncomingCpu => socket.set_cpu_affinity(size()),
        Number::Mark => socket.set_mark(value),
        Number::Priority => socket.set_priority(value),
        Number::ReceiveBuffer => socket.set_recv_buffer_size(size()),
        Number::SendBuffer => socket.set_send_buffer_size(size()),
        // Not by socket2, which switches the probes on as well.
        Number::KeepaliveCount => Ok(sockopt::set_tcp_keepcnt(socket, value)?),
        Number::KeepaliveIdle => Ok(sockopt::set_tcp_keepidle(socket, seconds)?),
        Number::KeepaliveInterval => Ok(sockopt::set_tcp_keepintvl(socket, seconds)?),
        Number::MaximumSegment => socket.set_tcp_mss(value),
        Number::UnsentLow => socket.set_tcp_notsent_lowat(value),
        Number::UserTimeout => socket.set_tcp_user_timeout(Some(Duration::from_millis(value.into()))),
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn an_option_is_set_when_it_is_due() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let settings = [
            Setting::Number(Number::KeepaliveIdle, 33),
            Setting::Flag(Flag::FreebindV4, true),
            Setting::Number(Number::Tos, 8),
            Setting::Text(Text::Congestion, b"reno".to_vec()),
        ];
        let options = settings.map(|setting| SocketOption { setting, when: SocketState::Bound });
        set(&socket, &options, SocketState::Prebind).unwrap();
        assert!(!socket.freebind_v4().unwrap());
        set(&socket, &options, SocketState::Bound).unwrap();
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(33));
        assert!(!socket.keepalive().unwrap(), "the time alone does not switch the probes on");
        assert!(socket.freebind_v4().unwrap());
        assert_eq!(socket.tos_v4().unwrap(), 8);
        assert_eq!(socket.tcp_congestion().unwrap().get(..4), Some(&b"reno"[..]));
    }

    #[test]
    fn an_option_that_the_system_refuses_is_named() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let setting = Setting::Text(Text::Congestion, b"no-such-thing".to_vec());
        let error = set(&socket, &[SocketOption { setting, when: SocketState::Prebind }], SocketState::Prebind);
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("Setting socket options failed: TCP_CONGESTION: "), "{text}");
    }
}
