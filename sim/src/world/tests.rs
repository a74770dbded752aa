//! Worlds with two hosts, seen from their programs and in their traces.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

use finwait::net::{Accept, Address, Conn, ConnectOptions, ListenOptions, ResolveError};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::EPOCH;
use crate::trace::{Change, Event};

const SERVER: &str = "10.0.0.2:80";

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

fn at(text: &str) -> Address {
    Address::Socket(text.parse::<SocketAddr>().unwrap())
}

fn listen(outside: &Outside) -> Box<dyn Accept> {
    outside.net.listen(&at(SERVER), &ListenOptions::default()).unwrap()
}

async fn connect(outside: &Outside) -> std::io::Result<Conn> {
    outside.net.connect(&at(SERVER), &ConnectOptions::default()).await
}

/// A world of "client" (10.0.0.1) and "server" (10.0.0.2).
fn two_hosts(settings: Settings) -> (World, HostId, HostId) {
    let mut world = World::new(settings);
    let client = world.host("client", &[]);
    let server = world.host("server", &[]);
    (world, client, server)
}

async fn echo(outside: Outside) {
    let mut listener = listen(&outside);
    while let Ok(conn) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let (mut read, mut write) = tokio::io::split(conn);
            drop(tokio::io::copy(&mut read, &mut write).await);
            drop(write.shutdown().await);
        });
    }
}

async fn echo_once(outside: &Outside) {
    let mut conn = connect(outside).await.unwrap();
    conn.write_all(b"hello").await.unwrap();
    conn.shutdown().await.unwrap();
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hello");
}

#[test]
fn a_message_goes_there_and_back() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    world.spawn_main(client, |outside| async move {
        let start = Instant::now();
        let conn = connect(&outside).await.unwrap();
        assert_eq!(start.elapsed(), us(500), "connect takes one round trip");
        drop(conn);
        echo_once(&outside).await;
    });
    let run = world.run(ms(60_000));
    assert_eq!(run.ended, Ended::AtRest);
    let open = run.open_sockets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        open,
        [
            "10.0.0.1:32768 -> 10.0.0.2:80 TIME_WAIT (kernel only)",
            "10.0.0.1:32769 -> 10.0.0.2:80 TIME_WAIT (kernel only)",
            "10.0.0.2:80 LISTEN",
        ]
    );
}

#[test]
fn a_run_repeats_itself_byte_for_byte() {
    let text = |seed| {
        let link = Link { jitter: ms(3), loss: 0.05, reorder: true, ..Link::default() };
        let settings = Settings { seed, link, notice_delay: Duration::ZERO..=ms(2), ..Settings::default() };
        let (mut world, client, server) = two_hosts(settings);
        world.spawn(server, echo);
        for _ in 0..3 {
            world.spawn_main(client, |outside| async move {
                for _ in 0..5 {
                    sleep(ms(outside.random.next_u64() % 20)).await;
                    echo_once(&outside).await;
                }
            });
        }
        world.run(ms(600_000)).trace.to_text()
    };
    let first = text(1);
    assert!(first.lines().count() > 200, "{first}");
    assert_eq!(first, text(1));
    assert_ne!(first, text(2));
}

#[test]
fn packets_keep_their_nanoseconds_and_timers_their_milliseconds() {
    let latency = Duration::from_nanos(1_234_567);
    let link = Link { latency, ..Link::default() };
    let (mut world, client, server) = two_hosts(Settings { link, ..Settings::default() });
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let conn = connect(&outside).await.unwrap();
        assert_eq!(control.now(), 2 * latency);
        sleep(ms(1)).await;
        assert_eq!(control.now(), ms(4), "tokio's wheel: the next whole millisecond");
        sleep(ms(7)).await;
        assert_eq!(control.now(), ms(11));
        drop(conn);
        let start = Instant::now();
        echo_once(&outside).await;
        assert_eq!(start.elapsed(), 4 * latency);
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

#[test]
fn tasks_that_yield_run_before_time_passes() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    let control = world.control();
    world.spawn_main(host, move |_| async move {
        sleep(ms(5)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(control.now(), ms(5));
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

#[test]
fn what_the_kernel_knows_reaches_the_program_at_the_next_turn_only() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.notice_delay(client, ms(20)..=ms(20));
    world.spawn(server, |outside| async move {
        let mut listener = listen(&outside);
        let conn = listener.accept().await.unwrap();
        sleep(ms(29)).await; // the client's driver has turned at 20.5 ms and will turn at 50.25 ms
        drop(conn);
        std::future::pending::<()>().await;
    });
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        sleep(ms(14)).await;
        let state = control.open_sockets(client).first().and_then(|socket| socket.state);
        assert_eq!(state, Some(crate::kernel::State::CloseWait));
        assert_eq!(conn.write(b"into a connection that is over").await.unwrap(), 30);
        let error = conn.read(&mut [0; 9]).await;
        assert_eq!(error.unwrap(), 0, "the FIN was there first");
        assert_eq!(conn.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
    assert!(has_change(&run, Change::Reset));
}

fn has_change(run: &Run, wanted: Change) -> bool {
    run.trace.entries().iter().any(|entry| matches!(entry.event, Event::Socket { change, .. } if change == wanted))
}

#[test]
fn a_silent_host_costs_131_seconds_and_a_closed_port_one_round_trip() {
    let (mut world, client, _server) = two_hosts(Settings::default());
    world.spawn_main(client, |outside| async move {
        let start = Instant::now();
        assert_eq!(connect(&outside).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(start.elapsed(), us(500));
        let start = Instant::now();
        let nobody = outside.net.connect(&at("10.9.9.9:80"), &ConnectOptions::default()).await;
        assert_eq!(nobody.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 131);
    });
    let run = world.run(ms(1_000_000));
    assert_eq!(run.ended, Ended::AtRest);
    assert!(has_change(&run, Change::Refused) && has_change(&run, Change::TimedOut));
    assert_eq!(run.open_sockets, []);
}

#[test]
fn a_writer_waits_for_a_slow_reader_and_loses_nothing() {
    const BYTES: usize = 3_000_000;
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn_main(server, |outside| async move {
        let mut conn = listen(&outside).accept().await.unwrap();
        let mut received = 0;
        let mut buffer = [0; 1000];
        loop {
            let got = conn.read(&mut buffer).await.unwrap();
            if got == 0 {
                break;
            }
            assert!(buffer[..got].iter().enumerate().all(|(index, byte)| *byte == pattern(received + index)));
            received += got;
            if received % 7 == 0 {
                sleep(ms(1)).await;
            }
        }
        assert_eq!(received, BYTES);
    });
    world.spawn_main(client, |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        let all = (0..BYTES).map(pattern).collect::<Vec<_>>();
        let start = Instant::now();
        conn.write_all(&all).await.unwrap();
        assert!(start.elapsed() > ms(100), "the buffers hold less than this");
    });
    assert_eq!(world.run(ms(1_000_000)).ended, Ended::AtRest);
}

fn pattern(index: usize) -> u8 {
    u8::try_from(index % 251).unwrap()
}

#[test]
fn a_closed_window_opens_again_though_its_update_was_lost() {
    let (mut world, client, server) = two_hosts(Settings::default());
    let control = world.control();
    world.spawn_main(server, move |outside| async move {
        let mut conn = listen(&outside).accept().await.unwrap();
        sleep(ms(1000)).await; // the window has closed
        control.black_hole(server, client);
        let mut first = vec![0; 200_000];
        let read = conn.read(&mut first).await.unwrap();
        assert_eq!(read, 128 * 1024);
        control.release(server, client);
        let mut rest = Vec::new();
        conn.read_to_end(&mut rest).await.unwrap();
        assert_eq!(read + rest.len(), 300_000);
    });
    world.spawn_main(client, |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        conn.write_all(&vec![1; 300_000]).await.unwrap();
    });
    assert_eq!(world.run(ms(100_000)).ended, Ended::AtRest);
}

#[test]
fn holds_gates_and_partitions_do_what_they_say() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        control.hold(server, client);
        conn.write_all(b"one").await.unwrap();
        sleep(ms(100)).await;
        let mut answer = [0; 3];
        control.release(server, client);
        let start = Instant::now();
        conn.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, start.elapsed()), (b"one", us(250)));

        control.gate(client, server, 3);
        conn.write_all(b"two").await.unwrap();
        conn.write_all(b"three").await.unwrap();
        conn.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"two");
        sleep(ms(100)).await;
        control.release(client, server);
        let mut answer = [0; 5];
        conn.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"three");

        // A gate closes in the middle of a write, too.
        control.gate(client, server, 2);
        conn.write_all(b"fives").await.unwrap();
        let mut answer = [0; 5];
        conn.read_exact(&mut answer[..2]).await.unwrap();
        let start = Instant::now();
        sleep(ms(100)).await;
        control.release(client, server);
        conn.read_exact(&mut answer[2..]).await.unwrap();
        assert_eq!((&answer, start.elapsed() > ms(100)), (b"fives", true));

        // It cuts a segment that was held before, more than once, and counts nothing twice that was sent again meanwhile.
        control.hold(client, server);
        conn.write_all(b"again").await.unwrap();
        sleep(ms(1000)).await;
        for (nth, byte) in b"aga".iter().enumerate() {
            control.gate(client, server, 1);
            let mut answer = [0; 5];
            sleep(ms(100)).await;
            let read = conn.read(&mut answer).await.unwrap();
            assert_eq!(&answer[..read], [*byte], "byte {nth}");
        }
        control.release(client, server);
        let mut answer = [0; 2];
        conn.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"in");
        let mut answer = [0; 5];

        control.partition(client, server);
        let start = Instant::now();
        conn.write_all(b"four!").await.unwrap();
        sleep(ms(300)).await;
        control.repair(client, server);
        conn.read_exact(&mut answer).await.unwrap();
        assert!(start.elapsed() > ms(500), "the second retransmission gets through: {:?}", start.elapsed());
    });
    let run = world.run(ms(10_000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
fn a_killed_host_closes_its_sockets_and_one_without_power_says_nothing() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        conn.write_all(b"x").await.unwrap();
        conn.read_exact(&mut [0]).await.unwrap();
        control.kill(server);
        assert_eq!(conn.read(&mut [0]).await.unwrap(), 0, "FIN");
        assert_eq!(connect(&outside).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        control.start(server, echo);
        echo_once(&outside).await;

        let mut conn = connect(&outside).await.unwrap();
        control.power_off(server);
        sleep(ms(1)).await;
        conn.write_all(b"anybody there?").await.unwrap();
        sleep(ms(5_000)).await;
        control.start(server, echo);
        let error = conn.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the new kernel knows nothing of it");
        echo_once(&outside).await;
    });
    assert_eq!(world.run(ms(100_000)).ended, Ended::AtRest);
}

#[test]
fn a_stalled_host_still_answers_with_its_kernel() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        control.stall(server, ms(500));
        sleep(ms(1)).await;
        let mut conn = connect(&outside).await.unwrap();
        assert!(control.now() < ms(3));
        conn.write_all(b"x").await.unwrap();
        conn.read_exact(&mut [0]).await.unwrap();
        assert_eq!(control.now(), ms(500) + us(250));
    });
    assert_eq!(world.run(ms(100_000)).ended, Ended::AtRest);
}

#[test]
fn the_limit_names_who_is_still_waiting() {
    let mut world = World::new(Settings::default());
    let host = world.host("patient", &[]);
    world.spawn_main(host, |_| std::future::pending());
    let run = world.run(ms(3_600_000));
    assert_eq!(run.ended, Ended::LimitReached { waiting: vec!["patient".into()] });
    assert_eq!(run.virtual_time, ms(3_600_000));
}

#[test]
#[should_panic(expected = "an actor's assertion")]
fn a_panic_in_a_program_is_not_lost() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn(host, |_| async { panic!("an actor's assertion") });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
#[should_panic(expected = "a task of a program panicked")]
fn a_panic_that_nobody_asks_for_is_not_lost_either() {
    let mut world = World::new(Settings::default());
    let host = world.host("host", &[]);
    world.spawn_main(host, |_| async {
        drop(tokio::task::spawn_local(async { panic!("unheard") }));
        sleep(ms(100)).await;
    });
    let run = world.run(ms(1000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
fn names_addresses_and_loopback() {
    let mut world = World::new(Settings::default());
    let many = ["10.1.0.1", "10.1.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let host = world.host("many", &many);
    let control = world.control();
    world.spawn_main(host, move |outside| async move {
        let net = &outside.net;
        assert_eq!(net.resolve("many").await.unwrap(), many);
        assert!(matches!(net.resolve("nobody").await, Err(ResolveError::NoAddress)));
        control.rename("alias", &many[..1]);
        assert_eq!(net.resolve("alias").await.unwrap(), many[..1]);
        let elsewhere = net.listen(&at("10.0.0.77:80"), &ListenOptions::default()).map(|_| ());
        assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let mut listener = net.listen(&at("127.0.0.1:0"), &ListenOptions::default()).unwrap();
        let again = net.listen(listener.local(), &ListenOptions::default()).map(|_| ());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
        let how = ConnectOptions { from: Some("10.1.0.2:5555".parse().unwrap()), ..ConnectOptions::default() };
        let local = listener.local().clone();
        let (ours, theirs) = tokio::join!(net.connect(&local, &how), listener.accept());
        assert_eq!(ours.unwrap().local, at("10.1.0.2:5555"));
        assert_eq!(theirs.unwrap().peer, at("10.1.0.2:5555"));
        let wall = outside.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(wall, EPOCH + control.now());
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::AtRest);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever the wire does, what is written is what is read.
    #[test]
    fn bytes_arrive_in_order_and_unchanged(
        seed in any::<u64>(),
        writes in proptest::collection::vec(1..40_000_usize, 1..12),
        jitter in 0..8_u64,
        loss in 0.0..0.2_f64,
        reorder in any::<bool>(),
        slow in any::<bool>(),
    ) {
        let link = Link { latency: ms(2), jitter: ms(jitter), loss, reorder, ..Link::default() };
        let (mut world, client, server) = two_hosts(Settings { seed, link, ..Settings::default() });
        let all = (0..writes.iter().sum()).map(pattern).collect::<Vec<_>>();
        let expected = Rc::new(all.clone());
        world.spawn_main(server, move |outside| async move {
            let mut conn = listen(&outside).accept().await.unwrap();
            let mut received = Vec::new();
            while conn.read_buf(&mut received).await.unwrap() > 0 {
                if slow {
                    sleep(ms(3)).await;
                }
            }
            assert!(received == *expected);
            conn.write_all(&received).await.unwrap();
        });
        world.spawn_main(client, move |outside| async move {
            let mut conn = connect(&outside).await.unwrap();
            let mut rest = &all[..];
            for len in writes {
                let (write, after) = rest.split_at(len);
                conn.write_all(write).await.unwrap();
                rest = after;
            }
            conn.shutdown().await.unwrap();
            let mut answer = Vec::new();
            conn.read_to_end(&mut answer).await.unwrap();
            assert!(answer == all);
        });
        let run = world.run(ms(3_600_000));
        prop_assert_eq!(run.ended, Ended::AtRest);
    }
}

#[test]
fn a_fault_takes_the_segments_it_names() {
    use super::fault::{Effect, Fault};
    use crate::segment::SegmentKind;
    let (mut world, client, server) = two_hosts(Settings::default());
    let control = world.control();
    control.fault(
        server,
        client,
        Fault { which: SegmentKind::SynAck, connection: None, skip: 0, times: 1, effect: Effect::Drop },
    );
    control.fault(
        server,
        client,
        Fault { which: SegmentKind::Fin, connection: Some(1), skip: 0, times: 1, effect: Effect::Delay(ms(50)) },
    );
    world.spawn(server, |outside| async move {
        drop(listen(&outside).accept().await.unwrap()); // a FIN that arrives late
        std::future::pending::<()>().await;
    });
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        assert_eq!(control.now(), ms(1000) + us(500), "the second SYN");
        conn.write_all(b"crosses the FIN").await.unwrap();
        let error = conn.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the reset came first");
    });
    assert_eq!(world.run(ms(10_000)).ended, Ended::AtRest);
}

#[test]
fn an_idle_hour_costs_no_more_than_an_idle_second() {
    let instants = |idle| {
        let (mut world, client, server) = two_hosts(Settings::default());
        world.spawn(server, echo);
        world.spawn_main(client, move |outside| async move {
            let conn = connect(&outside).await.unwrap();
            sleep(idle).await;
            drop(conn);
        });
        world.run(ms(10_000_000)).instants
    };
    let (second, hour) = (instants(ms(1000)), instants(ms(3_600_000)));
    assert!(hour <= second + 4, "{second} {hour}");
}

#[test]
fn programs_that_never_let_time_pass_are_stopped() {
    let mut world = World::new(Settings::default());
    let host = world.host("busy", &[]);
    world.spawn_main(host, |_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(world.run(ms(1000)).ended, Ended::Spinning { waiting: vec!["busy".into()] });
}
