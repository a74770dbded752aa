//! One attack on one process: the neighbours before and during it, and what the process holds then and later.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::apps::{http1, http2};
use crate::attacks::{Attack, Limits, NeighbourConnections, Target, Toll, Upstream};
use crate::cold::{Cold, SLOW};
use crate::cpu::cpu;
use crate::neighbours::{Latencies, Neighbours, Way};
use crate::processors;
use crate::rivals::{Kind, Options};
use crate::shared::ServerShared;
use crate::watched::{MIB, Memory, Watched};

/// How long the neighbours are watched before.
const CALM: Duration = Duration::from_secs(2);
/// How long an attack's connections have been gone when memory and descriptors are read for the last time.
const RECOVERY: Duration = Duration::from_secs(10);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
const HTTP2: &str = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
                     \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                     explicit_http_config: { http2_protocol_options: {} } } }";

pub(crate) const HEADINGS: &str = "                        attack           proxy | calm p50   p99    max | then p50   p99    max    at s  \
    direct | failed | MiB before   half   peak  10 s on | descriptors | cpu | stderr B | the attack";

/// The applications behind the proxies.
pub(crate) struct Apps {
    http1: SocketAddr,
    http2: SocketAddr,
    seen: Arc<http2::Seen>,
}

/// What was measured until the attack was over.
struct Measured {
    calm: Latencies,
    during: Latencies,
    /// When in the attack the longest request of that time ended.
    max_after: Duration,
    /// The longest that a request straight to the application took.
    direct_max: Duration,
    /// What a page of memory took that was idle during the attack.
    cold_page: Duration,
    /// Packets of any process that the kernel threw away, because too many waited.
    dropped: u64,
    failed: usize,
    failures: Vec<String>,
    before: Memory,
    half_bytes: u64,
    descriptors_before: usize,
    cpu_share: f64,
    toll: Toll,
}

impl Apps {
    pub(crate) fn start() -> io::Result<Self> {
        let (http2, seen) = http2::start()?;
        Ok(Self { http1: http1::start()?, http2, seen })
    }
}

/// Starts the proxy and attacks it. The row of the table is printed, and the broken limits are known, once it has had
/// time to recover; the next attack need not wait for that. `processor` is the proxy's own, if there is one.
pub(crate) fn suffer(
    kind: Kind,
    attack: &'static Attack,
    apps: &Apps,
    dir: &Path,
    processor: Option<u32>,
) -> Option<JoinHandle<Vec<String>>> {
    let (app, cluster): (_, &[&str]) = match attack.upstream {
        Upstream::Http1 => (apps.http1, &[]),
        Upstream::Http2 => (apps.http2, &[HTTP2]),
    };
    let Attack { route, log, connections_max, descriptors_max, .. } = *attack;
    let options = Options { route, cluster, log, connections_max, descriptors_max, processor, ..Options::default() };
    let Some(rival) = Watched::start(kind, dir, app, &options) else {
        println!("{:>30} {:>15} | not installed or not named, left out", attack.name, kind.name());
        return None;
    };
    let measured = measure(&rival, attack, apps);
    Some(thread::spawn(move || {
        thread::sleep(RECOVERY);
        println!("{}", row(&rival, attack, &measured));
        if matches!(kind, Kind::Finwait | Kind::FinwaitExact) {
            breaches(&rival, attack, &measured)
        } else {
            Vec::new()
        }
    }))
}

fn measure(rival: &Watched, attack: &Attack, apps: &Apps) -> Measured {
    let shared = Arc::new(ServerShared::new(rival.process.at));
    let neighbours = Neighbours::start(&ways(rival, attack, &shared));
    let direct = Neighbours::start(&[(Way::Kept, apps.http1), (Way::Fresh, apps.http1)]);
    thread::sleep(CALM);
    let (before, descriptors_before) = (rival.memory(), descriptors(rival));
    let calm = neighbours.latencies();
    drop(direct.latencies());
    let target = Target { at: rival.process.at, admin: rival.admin, shared, seen: Arc::clone(&apps.seen) };
    let (begun, cpu_before, dropped_before) = (Instant::now(), cpu(rival.process.worker()), dropped());
    let cold = Cold::new();
    let (toll, samples) = thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            processors::give_way();
            (attack.run)(&target)
        });
        let mut samples = Vec::new();
        while !attacking.is_finished() {
            samples.push(rival.memory().now_bytes);
            thread::sleep(SAMPLE_INTERVAL);
        }
        (attacking.join().expect("an attack only gives up connections"), samples)
    });
    let cpu = cpu(rival.process.worker()).saturating_sub(cpu_before);
    let cpu_share = cpu.as_secs_f64() / begun.elapsed().as_secs_f64();
    let (during, failed, failures) = neighbours.stop();
    let (direct, ..) = direct.stop();
    let (max_after, direct_max) = (during.max_after(begun), direct.max());
    // As much as the peak means bounded; half of it means that it grows for as long as the attack goes on.
    let half_bytes = samples.get(samples.len() / 2).copied().unwrap_or(before.now_bytes);
    Measured {
        calm,
        during,
        max_after,
        direct_max,
        cold_page: cold.touch(),
        dropped: dropped().saturating_sub(dropped_before),
        failed,
        failures,
        before,
        half_bytes,
        descriptors_before,
        cpu_share,
        toll,
    }
}

fn ways(rival: &Watched, attack: &Attack, shared: &Arc<ServerShared>) -> Vec<(Way, SocketAddr)> {
    let at = rival.process.at;
    let mut ways = match attack.neighbours {
        NeighbourConnections::Kept => return Neighbours::several(&Way::Kept, at),
        NeighbourConnections::Own => Neighbours::several(&Way::Kept, at),
        NeighbourConnections::Attacked => Neighbours::several(&Way::ServerShared(Arc::clone(shared)), at),
    };
    ways.push((Way::Fresh, at));
    ways.push((Way::Probe, rival.admin));
    if attack.upstream == Upstream::Http2 {
        ways.push((Way::Steady, at));
    }
    ways
}

fn row(rival: &Watched, attack: &Attack, measured: &Measured) -> String {
    let Measured { calm, during, max_after, direct_max, failed, failures, before, half_bytes, .. } = measured;
    let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    let three = |latencies: &Latencies| [50, 99, 100].map(|percent| millis(latencies.at(percent)));
    let ([calm50, calm99, calm_max], [p50, p99, max]) = (three(calm), three(during));
    let (at, direct) = (format!("{:.1}", max_after.as_secs_f64()), millis(*direct_max));
    let memory = rival.memory();
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB);
    let [before_mib, half, peak, after] = [before.now_bytes, *half_bytes, memory.peak_bytes, memory.now_bytes].map(mib);
    let descriptors = format!("{} -> {}", measured.descriptors_before, descriptors(rival));
    let cpu = measured.cpu_share;
    let mut row = format!(
        "{:>30} {:>15} | {calm50:>8} {calm99:>5} {calm_max:>6} | {p50:>8} {p99:>5} {max:>6} {at:>7} {direct:>7} | {failed:>6} | \
         {before_mib:>10} {half:>6} {peak:>6} {after:>8} | {descriptors:>11} | {cpu:>3.1} | {:>8} | {}",
        attack.name,
        rival.kind.name(),
        stderr_bytes(rival),
        measured.toll.told
    );
    if measured.toll.held > 0 {
        let each = memory.peak_bytes.saturating_sub(before.now_bytes) as f64 / 1024.0 / measured.toll.held as f64;
        append(&mut row, &format!("; {each:.1} KiB each"));
    }
    let [left] = rival.stats(["http.web.downstream_cx_active"]);
    if left > 0 {
        append(&mut row, &format!("; {left} connections left"));
    }
    if measured.cold_page > SLOW {
        append(&mut row, &format!("; a page of idle memory comes back in {:.0?}", measured.cold_page));
    }
    if measured.dropped > 0 {
        append(
            &mut row,
            &format!("; the kernel dropped {} packets, and 200 ms later they are sent again", measured.dropped),
        );
    }
    failures.iter().chain(&measured.toll.faults).for_each(|what| append(&mut row, &format!("; {what}")));
    row
}

/// Packets that the kernel has thrown away so far because too many waited, of all processors.
fn dropped() -> u64 {
    let stat = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    stat.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).sum()
}

/// What the process has written to standard error, which is a file.
fn stderr_bytes(rival: &Watched) -> u64 {
    fs::metadata(format!("/proc/{}/fd/2", rival.process.worker())).map_or(0, |file| file.len())
}

/// Descriptors that it has open.
fn descriptors(rival: &Watched) -> usize {
    fs::read_dir(format!("/proc/{}/fd", rival.process.worker())).map_or(0, Iterator::count)
}

fn append(row: &mut String, what: &str) {
    row.write_str(what).expect("a string takes what it is given");
}

/// What broke a limit, each with the attack and the figure.
fn breaches(rival: &Watched, attack: &Attack, measured: &Measured) -> Vec<String> {
    let Limits { latency, peak_bytes, cpu_share, stderr_bytes: stderr_max } = attack.limits;
    let (max, peak, stderr) = (measured.during.max(), rival.memory().peak_bytes, stderr_bytes(rival));
    let told = |is_broken: bool, what: String| is_broken.then(|| format!("{}: {what}", attack.name));
    let figures = [
        told(measured.failed > 0, format!("{} requests of neighbours failed", measured.failed)),
        told(
            max > latency + measured.direct_max,
            format!("a neighbour's request took {max:.0?}, straight to the application {:.0?}", measured.direct_max),
        ),
        told(
            peak > peak_bytes,
            format!("peak of {:.0} MiB, the limit is {:.0}", peak as f64 / MIB, peak_bytes as f64 / MIB),
        ),
        told(
            measured.cpu_share > cpu_share,
            format!("{:.2} of a processor, the limit is {cpu_share}", measured.cpu_share),
        ),
        told(stderr > stderr_max, format!("{stderr} bytes of standard error, the limit is {stderr_max}")),
    ];
    let faults = measured.toll.faults.iter().map(|fault| format!("{}: {fault}", attack.name));
    figures.into_iter().flatten().chain(faults).collect()
}
