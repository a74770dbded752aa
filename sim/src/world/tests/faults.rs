//! Hosts and links that fail, and what of it a program notices.

use super::*;

#[test]
fn a_gate_passes_exactly_its_bytes() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        // It closes in the middle of a write, too.
        control.gate(client, server, 2);
        conn.write_all(b"fives").await.unwrap();
        let mut response = [0; 5];
        conn.read_exact(&mut response[..2]).await.unwrap();
        let start = Instant::now();
        sleep(ms(100)).await;
        control.release(client, server);
        conn.read_exact(&mut response[2..]).await.unwrap();
        assert_eq!((&response, start.elapsed() > ms(100)), (b"fives", true));

        // It cuts a segment that was held before, more than once, and counts nothing twice that was sent again meanwhile.
        control.hold(client, server);
        conn.write_all(b"again").await.unwrap();
        sleep(ms(1000)).await;
        for (nth, byte) in b"aga".iter().enumerate() {
            control.gate(client, server, 1);
            let mut response = [0; 5];
            sleep(ms(100)).await;
            let read = conn.read(&mut response).await.unwrap();
            assert_eq!(&response[..read], [*byte], "byte {nth}");
        }
        control.release(client, server);
        let mut response = [0; 2];
        conn.read_exact(&mut response).await.unwrap();
        assert_eq!(&response, b"in");
    });
    assert_eq!(world.run(ms(10_000)).ended, Ended::AtRest);
}

#[test]
fn holds_gates_and_partitions_stop_segments() {
    let (mut world, client, server) = two_hosts(Settings::default());
    world.spawn(server, echo);
    let control = world.control();
    world.spawn_main(client, move |outside| async move {
        let mut conn = connect(&outside).await.unwrap();
        control.hold(server, client);
        conn.write_all(b"one").await.unwrap();
        sleep(ms(100)).await;
        let mut response = [0; 3];
        control.release(server, client);
        let start = Instant::now();
        conn.read_exact(&mut response).await.unwrap();
        assert_eq!((&response, start.elapsed()), (b"one", us(250)));

        control.gate(client, server, 3);
        conn.write_all(b"two").await.unwrap();
        conn.write_all(b"three").await.unwrap();
        conn.read_exact(&mut response).await.unwrap();
        assert_eq!(&response, b"two");
        sleep(ms(100)).await;
        control.release(client, server);
        let mut response = [0; 5];
        conn.read_exact(&mut response).await.unwrap();
        assert_eq!(&response, b"three");

        control.partition(client, server);
        let start = Instant::now();
        conn.write_all(b"four!").await.unwrap();
        sleep(ms(300)).await;
        control.repair(client, server);
        conn.read_exact(&mut response).await.unwrap();
        assert!(start.elapsed() > ms(500), "the second retransmission gets through: {:?}", start.elapsed());
    });
    let run = world.run(ms(10_000));
    assert_eq!(run.ended, Ended::AtRest);
}

#[test]
fn a_killed_host_closes_its_sockets_and_one_without_power_sends_nothing() {
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
        conn.write_all(b"request").await.unwrap();
        sleep(ms(5_000)).await;
        control.start(server, echo);
        let error = conn.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the new kernel has no record of it");
        echo_once(&outside).await;
    });
    assert_eq!(world.run(ms(100_000)).ended, Ended::AtRest);
}

#[test]
fn the_kernel_of_a_stalled_host_still_replies() {
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
fn a_connect_to_a_silent_host_takes_131_seconds_and_to_a_closed_port_one_round_trip() {
    let (mut world, client, _server) = two_hosts(Settings::default());
    world.spawn_main(client, |outside| async move {
        let start = Instant::now();
        assert_eq!(connect(&outside).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(start.elapsed(), us(500));
        let start = Instant::now();
        let silent = outside.net.connect(&at("10.9.9.9:80"), &ConnectOptions::default()).await;
        assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 131);
    });
    let run = world.run(ms(1_000_000));
    assert_eq!(run.ended, Ended::AtRest);
    assert!(has_change(&run, Change::Refused) && has_change(&run, Change::TimedOut));
    assert_eq!(run.open_sockets, []);
}
