//! What happens to the hosts and links of a scenario that nobody wrote, and what a peer with HTTP/2 does by hand.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Steps of a part that runs beside the script: up to three misfortunes, most of which pass.
pub(crate) fn misfortunes(stations: Vec<&'static str>) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(misfortune(stations), 0..=3).prop_map(|all| all.into_iter().flatten().collect())
}

fn misfortune(stations: Vec<&'static str>) -> impl Strategy<Value = Vec<String>> {
    let kind = select((0..11_u8).collect::<Vec<_>>());
    (kind, any::<Index>(), any::<Index>(), any::<bool>(), when(), when()).prop_map(
        move |(kind, host, neighbour, back, begin, end)| {
            // Clients and apps have one neighbour; the hosts between them two.
            let at = neighbour.index(stations.len() - 1);
            let (a, b) = if back { (stations[at + 1], stations[at]) } else { (stations[at], stations[at + 1]) };
            let host = stations[host.index(stations.len())];
            let proxy = stations[1..stations.len() - 1].get(at % (stations.len() - 1)).copied().unwrap_or(host);
            let (first, second) = match kind {
                0 => (format!("kill: {host}"), Some(format!("restart: {host}"))),
                1 => (format!("power_off: {host}"), Some(format!("restart: {host}"))),
                2 => (format!("hold: {a} -> {b}"), Some(format!("release: {a} -> {b}"))),
                3 => (
                    format!("gate: {{ direction: {a} -> {b}, bytes: {begin}B }}"),
                    Some(format!("release: {a} -> {b}")),
                ),
                4 => (format!("black_hole: {a} -> {b}"), Some(format!("release: {a} -> {b}"))),
                5 => (format!("partition: {a}-{b}"), Some(format!("repair: {a}-{b}"))),
                6 => (format!("stall: {{ host: {host}, time: {end}ms }}"), None),
                7 => (format!("delay: {{ direction: {a} -> {b}, segment: fin, by: {end}ms }}"), None),
                8 => (format!("drop: {{ direction: {a} -> {b}, segment: data, times: {} }}", 1 + at), None),
                9 => (format!("clock: {{ host: {host}, by: -1h }}"), None),
                _ if proxy == host => (format!("stall: {{ host: {host}, time: {end}ms }}"), None),
                _ => (format!("drain: {{ host: {proxy}, time: {end}ms }}"), None),
            };
            let mut steps = vec![format!("- {{ after: {begin}ms, {first} }}")];
            // What does not pass is a misfortune too.
            let passes = end % 5 != 0;
            steps.extend(second.filter(|_| passes).map(|second| format!("- {{ after: {end}ms, {second} }}")));
            steps
        },
    )
}

/// Milliseconds; around the timeouts of the scenarios, where the races are.
fn when() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => 0..30_u32,
        2 => 30..1_500_u32,
        1 => select(vec![199, 201, 299, 301, 499, 501, 699, 701, 999, 1_001, 2_999, 3_001]),
    ]
}

/// What an app with HTTP/2 does on its first connections before it answers as any other.
pub(crate) fn programs() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::collection::vec(by_hand(), 1..5), 0..3).prop_map(|programs| {
        let program = |steps: &Vec<String>| format!("[{}]", steps.join(", "));
        let programs: Vec<String> = programs.iter().map(program).chain(["[]".to_owned()]).collect();
        format!("[{}]", programs.join(", "))
    })
}

/// Something a peer with HTTP/2 does, within the rules or not.
pub(crate) fn by_hand() -> impl Strategy<Value = String> {
    let stream = || select(vec![1_u32, 1, 3, 5, 7]);
    let codes = vec!["NO_ERROR", "PROTOCOL_ERROR", "REFUSED_STREAM", "CANCEL", "ENHANCE_YOUR_CALM", "99"];
    let code = || select(codes.clone());
    let frame = |text: String| format!("{{ frame: {text} }}");
    let last = select(vec![0_u32, 1, 3, 2_147_483_647]);
    let setting = select(vec![
        "max_concurrent_streams: 0",
        "max_concurrent_streams: 1",
        "initial_window_size: 0",
        "initial_window_size: 1000000",
        "header_table_size: 0",
        "max_frame_size: 16384",
        "max_header_list_size: 100",
        "enable_connect_protocol: 0",
        "0x99: 1",
    ]);
    prop_oneof![
        3 => (0..60_u32).prop_map(|ms| format!("{{ wait: {ms}ms }}")),
        3 => Just("{ receive_frame: headers }".to_owned()),
        3 => (last, code()).prop_map(move |(last, code)| frame(format!("{{ goaway: {{ last_stream: {last}, code: {code} }} }}"))),
        3 => (stream(), code()).prop_map(move |(stream, code)| frame(format!("{{ rst_stream: {{ stream: {stream}, code: {code} }} }}"))),
        2 => setting.prop_map(move |setting| frame(format!("{{ settings: {{ {setting} }} }}"))),
        1 => (stream(), select(vec![0, 1, 65_535, 2_147_483_647_u32]))
            .prop_map(move |(stream, by)| frame(format!("{{ window_update: {{ stream: {stream}, by: {by} }} }}"))),
        1 => select(vec!["ping", "ping_ack", "settings_ack"]).prop_map(move |kind| frame(kind.to_owned())),
        1 => stream().prop_map(move |stream| {
            let fields = r#"{ ":status": "103", link: "</a>" }"#;
            frame(format!("{{ headers: {{ stream: {stream}, fields: {fields} }} }}"))
        }),
        1 => stream().prop_map(move |stream| {
            frame(format!(r#"{{ headers: {{ stream: {stream}, fields: {{ ":status": "200" }}, end_headers: false }} }}"#))
        }),
        1 => stream().prop_map(move |stream| frame(format!("{{ data: {{ stream: {stream}, bytes: 0B }} }}"))),
        1 => Just(r#"{ send_hex: "ff ff ff 09 00 00 00 00 01" }"#.to_owned()),
        1 => select(vec!["pause", "resume", "half_close", "fin", "rst"]).prop_map(str::to_owned),
    ]
}
