//! Captures, as tshark reads them: nothing malformed, every checksum right, no doubtful sequence number, and the
//! protocols above TCP recognised.
//!
//! Where tshark is missing the test says so and passes: it proves nothing there, and stops nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use finwait_sim::report::pcapng::pcapng;
use finwait_sim::run::Played;
use finwait_sim::scenario::{Library, Scenario};
use finwait_sim::segment::Segment;
use finwait_sim::trace::wire::{self, Meaning, Message};
use finwait_sim::trace::{Event, Trace};

/// A warning of tshark's that is the plain truth about a run of which `is_due` is true.
struct Remark {
    text: &'static str,
    is_due: fn(&Trace) -> bool,
}

/// Everything else that tshark has to say is a defect of the capture or of the engine.
const REMARKS: [Remark; 17] = [
    Remark {
        text: "The Content-Length and Transfer-Encoding header must not be set together",
        is_due: has_two_lengths,
    },
    Remark { text: "Connection reset (RST)", is_due: has_reset },
    // Bodies of scenarios are text, which is no protobuf.
    Remark { text: "GRPC Malformed message data: ", is_due: has_grpc },
    Remark { text: "Unknown or unsupported wiretype", is_due: has_grpc },
    // tshark 4.0 takes everything on a port that has spoken gRPC once for gRPC, and stumbles over a response without a type.
    Remark { text: "failed assertion \"grpc_ctx && grpc_ctx->content_type", is_due: has_grpc },
    Remark { text: "Illegal characters found in header name", is_due: has_bytes_on_80 },
    Remark { text: "Leading CRLF previous message in the stream may have extra CRLF", is_due: has_stray_line_end },
    // tshark 4.0 hands what follows an upgrade to a dissector for each of the lines.
    Remark { text: "Malformed Packet (Exception occurred)", is_due: is_misread },
    Remark {
        text: "Unencrypted HTTP protocol detected over encrypted port, could indicate a dangerous misconfiguration.",
        is_due: has_clear_text_on_443,
    },
    Remark { text: "Decompression failed", is_due: has_false_gzip },
    Remark { text: "Trailing stray characters", is_due: has_endless_head },
    Remark { text: "TCP window specified by the receiver is now completely full", is_due: has_full_window },
    Remark { text: "TCP Zero Window segment", is_due: has_full_window },
    Remark { text: "This frame is a (suspected) out-of-order segment", is_due: is_disturbed },
    Remark { text: "This frame is a (suspected) spurious retransmission", is_due: is_disturbed },
    Remark { text: "Previous segment(s) not captured (common at capture start)", is_due: is_disturbed },
    Remark { text: "ACKed segment that wasn't captured (common at capture start)", is_due: is_disturbed },
];

fn has_reset(trace: &Trace) -> bool {
    segments(trace).any(|segment| segment.flags.rst)
}

/// Whether a message says in two ways where it ends.
fn has_two_lengths(trace: &Trace) -> bool {
    segments(trace).any(|segment| {
        let text = String::from_utf8_lossy(&segment.payload).to_ascii_lowercase();
        text.contains("content-length:") && text.contains("transfer-encoding:")
    })
}

/// Whether a message begins with an empty line, or a line ends with two CR.
fn has_stray_line_end(trace: &Trace) -> bool {
    segments(trace).any(|segment| {
        segment.payload.starts_with(b"\r\n") || segment.payload.windows(3).any(|bytes| bytes == b"\r\r\n")
    })
}

/// Whether HTTP without TLS is on a connection to the port of TLS, or in a tunnel to it.
fn has_clear_text_on_443(trace: &Trace) -> bool {
    let is_tunnel = |text: &str| text.starts_with("CONNECT ") && text.ends_with(":443 HTTP/1.1");
    let is_clear = |segment: &Segment| {
        (segment.from.port() == 443 && segment.payload.starts_with(b"HTTP/1.1"))
            || (segment.to.port() == 443 && segment.payload.starts_with(b"GET / HTTP/1.1"))
    };
    segments(trace).any(is_clear) || any(trace, |message| is_tunnel(&message.text))
}

/// Whether a body is no gzip, though its head has it that it is.
fn has_false_gzip(trace: &Trace) -> bool {
    const MAGIC: &[u8] = &[0x1f, 0x8b];
    segments(trace).any(|segment| {
        let end = segment.payload.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some((head, body)) = end.and_then(|end| segment.payload.split_at_checked(end + 4)) else { return false };
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        head.contains("content-encoding: gzip") && !body.is_empty() && !body.starts_with(MAGIC)
    })
}

fn is_misread(trace: &Trace) -> bool {
    has_two_upgrade_lines(trace) || has_grpc(trace)
}

/// Whether any message of a run is such.
fn any(trace: &Trace, is_such: impl Fn(&Message) -> bool) -> bool {
    trace.conversations().iter().any(|conversation| {
        let messages = wire::messages(conversation, trace.secrets());
        messages.from_client.iter().chain(&messages.from_server).any(&is_such)
    })
}

fn has_grpc(trace: &Trace) -> bool {
    any(trace, |message| message.field("content-type").is_some_and(|kind| kind.starts_with("application/grpc")))
}

/// Whether a connection to the port of HTTP carries something else.
fn has_bytes_on_80(trace: &Trace) -> bool {
    any(trace, |message| message.text.ends_with("no HTTP/1"))
}

fn has_two_upgrade_lines(trace: &Trace) -> bool {
    segments(trace).any(|segment| {
        let text = String::from_utf8_lossy(&segment.payload).to_ascii_lowercase();
        text.lines().filter(|line| line.starts_with("upgrade:")).count() > 1
    })
}

/// Whether an HTTP/2 head goes on in CONTINUATION frames, which tshark joins only if there is a last one.
fn has_endless_head(trace: &Trace) -> bool {
    const CONTINUATION: u8 = 9;
    segments(trace).any(|segment| segment.payload.get(3) == Some(&CONTINUATION))
}

fn has_full_window(trace: &Trace) -> bool {
    segments(trace).any(|segment| segment.window == 0 && !segment.flags.rst)
}

/// Whether packets got lost, or arrived at another time than their link alone would have it.
fn is_disturbed(trace: &Trace) -> bool {
    let disturbs = |event: &Event| matches!(event, Event::Delayed { .. } | Event::Dropped { .. } | Event::Held { .. });
    trace.entries().iter().any(|entry| disturbs(&entry.event))
}

fn segments(trace: &Trace) -> impl Iterator<Item = &Segment> {
    trace
        .entries()
        .iter()
        .filter_map(|entry| if let Event::Sent { segment, .. } = &entry.event { Some(segment) } else { None })
}

#[test]
fn tshark_reads_every_scenario_without_a_complaint() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no tshark here, so no capture was read");
        return;
    }
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let files = library.scenarios().unwrap();
    assert!(!files.is_empty());
    let complaints: Vec<String> = thread::scope(|scope| {
        let half = files.len().div_ceil(2);
        let judge_all = |files: &[String]| files.chunks(TOGETHER).flat_map(|some| judge(&library, some)).collect();
        let halves: Vec<_> =
            files.chunks(half).map(|files| scope.spawn(move || -> Vec<String> { judge_all(files) })).collect();
        halves.into_iter().flat_map(|half| half.join().expect("judging does not panic")).collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Scenarios that tshark reads in one go, since it takes most of its time to start: each is a section of one file.
const TOGETHER: usize = 10;

fn judge(library: &Library, files: &[String]) -> Vec<String> {
    // Each has a seed of its own: their addresses are the same, and only other sequence numbers part their connections.
    let plays = files.iter().zip(1..).map(|(file, seed)| {
        let scenario = Scenario::load(library, file).expect("shipped scenarios load");
        (file, scenario.play(Some(seed)).expect("shipped configurations are accepted"))
    });
    let mut plays: Vec<(&String, Played)> = plays.collect();
    // What tshark takes for gRPC once it has seen some on a port is what comes later in the file.
    plays.sort_by_key(|(_, played)| has_grpc(&played.trace));
    let bytes: Vec<u8> = plays.iter().flat_map(|(_, played)| pcapng(&played.trace)).collect();
    let capture = capture_file(&files[0]);
    std::fs::write(&capture, bytes).expect("the folder for temporary files can be written to");
    let dissected = dissect(&capture);
    std::fs::remove_file(&capture).expect("it was written a moment ago");
    let mut complaints = Vec::new();
    // A section of a run without packets is counted too.
    for ((file, played), section) in plays.iter().zip(1..) {
        let lines: Vec<&str> = dissected.lines().filter(|line| line.starts_with(&format!("{section}\t"))).collect();
        complaints.extend(judge_section(played, &lines).into_iter().map(|complaint| format!("{file}: {complaint}")));
    }
    complaints
}

/// What is wrong with one capture.
fn judge_section(played: &Played, lines: &[&str]) -> Vec<String> {
    let is_due = |line: &str| REMARKS.iter().any(|remark| line.contains(remark.text) && (remark.is_due)(&played.trace));
    let mut complaints: Vec<String> =
        lines.iter().flat_map(|line| remarks(line)).filter(|remark| !is_due(remark)).collect();
    let sent = segments(&played.trace).count();
    if lines.len() != sent {
        complaints.push(format!("{} packets of {sent}", lines.len()));
    }
    let comments = lines.iter().filter(|line| !line.ends_with('\t')).count();
    if comments != touched(&played.trace) {
        complaints.push(format!("{comments} packets have comments, and {} were touched", touched(&played.trace)));
    }
    complaints.extend(links(lines));
    let exchanges = &played.sightings.exchanges;
    let has_talk = exchanges.iter().filter_map(|it| it.tunnel.as_ref()).any(|talk| !talk.sent.is_empty());
    // tshark takes for HTTP/2 what its dissector of HTTP hands over, and on other ports nothing.
    let is_for_http = |segment: &Segment| [80, 8080].contains(&segment.to.port());
    let begins = |segment: &Segment| segment.payload.starts_with(b"PRI * HTTP/2.0");
    let has_frames = segments(&played.trace).any(|segment| begins(segment) && is_for_http(segment));
    let is_decrypted = has_request_over_tls(&played.trace);
    for (protocol, is_there) in [("websocket", has_talk), ("http2", has_frames), ("tls:http", is_decrypted)] {
        if is_there && !lines.iter().any(|line| line.contains(protocol)) {
            complaints.push(format!("no {protocol} was recognised"));
        }
    }
    complaints
}

/// Whether HTTP is spoken on an encrypted connection.
fn has_request_over_tls(trace: &Trace) -> bool {
    let speaks_tls = |messages: &[Message]| messages.iter().any(|it| matches!(it.meaning, Meaning::Tls(_)));
    let requests = |messages: &[Message]| messages.iter().any(|it| matches!(it.meaning, Meaning::Request { .. }));
    trace.conversations().iter().any(|conversation| {
        let messages = wire::messages(conversation, trace.secrets());
        speaks_tls(&messages.from_client) && requests(&messages.from_client)
    })
}

/// Pairs of hosts whose packets are on several interfaces, and interfaces that have packets of several pairs.
fn links(lines: &[&str]) -> Vec<String> {
    let mut pairs: BTreeSet<(String, String, &str)> = BTreeSet::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, interface, from4, to4, from6, to6, ..] = fields.as_slice() else { continue };
        let (from, to) = if from4.is_empty() { (from6, to6) } else { (from4, to4) };
        pairs.insert(((*from.min(to)).to_owned(), (*from.max(to)).to_owned(), *interface));
    }
    let interfaces: BTreeSet<&str> = pairs.iter().map(|(_, _, interface)| *interface).collect();
    // The containers of a pod have one address for all that stays within it.
    let apart = || pairs.iter().filter(|(one, _, _)| !one.starts_with("127."));
    let hosts: BTreeSet<(&str, &str)> = apart().map(|(one, other, _)| (one.as_str(), other.as_str())).collect();
    let is_one_to_one = interfaces.len() == pairs.len() && hosts.len() == apart().count();
    if is_one_to_one { Vec::new() } else { vec![format!("not one interface for each link: {pairs:?}")] }
}

/// How many packets faults and chance kept from arriving, or from arriving in time.
fn touched(trace: &Trace) -> usize {
    let packets = trace.entries().iter().filter_map(|entry| match &entry.event {
        Event::Cut { packet, .. }
        | Event::Delayed { packet, .. }
        | Event::Dropped { packet, .. }
        | Event::Held { packet } => Some(*packet),
        Event::Account { .. }
        | Event::Delivered { .. }
        | Event::Host { .. }
        | Event::Log { .. }
        | Event::Note { .. }
        | Event::Sent { .. }
        | Event::Socket { .. } => None,
    });
    packets.collect::<BTreeSet<u64>>().len()
}

/// A name of its own for each: tests run at the same time.
fn capture_file(scenario: &str) -> PathBuf {
    let name = format!("{}-{}.pcapng", std::process::id(), scenario.replace('/', "-"));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// What tshark says about a packet, a tab between the fields: section, number, interface, addresses of either IP, protocols,
/// checksums of IP and TCP, the severities and texts of its remarks, and its comments.
fn dissect(capture: &Path) -> String {
    const FIELDS: [&str; 13] = [
        "frame.section_number",
        "frame.number",
        "frame.interface_id", // the names that tshark 4.0 gives are those of the first section
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "frame.protocols",
        "ip.checksum.status",
        "tcp.checksum.status",
        "_ws.expert.severity",
        "_ws.expert.message",
        "frame.comment",
    ];
    let mut program = Command::new("tshark");
    program.args(["-n", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields", "-r"]);
    program.arg(capture).args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = program.args(["-E", "aggregator=;"]).output().expect("tshark starts");
    assert!(output.status.success(), "{}: {}", capture.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("tshark writes text")
}

/// What is wrong with a packet, or worth a warning to tshark.
fn remarks(line: &str) -> Vec<String> {
    const WARNING: u32 = 0x60_0000; // PI_WARN; errors are above it
    const GOOD: &str = "1";
    let fields: Vec<&str> = line.split('\t').collect();
    let &[_, number, _, _, _, _, _, protocols, ip, tcp, severities, texts, _comment] = fields.as_slice() else {
        return vec![format!("tshark gives other fields than asked for: {line}")];
    };
    let mut remarks = Vec::new();
    let good_ip = if protocols.starts_with("raw:ipv6") { "" } else { GOOD }; // IPv6 has no checksum (RFC 8200 3)
    if (ip, tcp) != (good_ip, GOOD) || protocols.contains("malformed") {
        remarks.push(format!("packet {number} has a wrong checksum or is malformed: {line}"));
    }
    let warns = |severity: &str| severity.parse().is_ok_and(|severity: u32| severity >= WARNING);
    let rated = severities.split(';').zip(texts.split(';'));
    remarks.extend(rated.filter(|(severity, _)| warns(severity)).map(|(_, text)| format!("packet {number}: {text}")));
    remarks
}
