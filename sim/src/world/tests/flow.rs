//! Bytes: as many as the reader takes, in their order, whatever the wire does.

use std::rc::Rc;

use proptest::prelude::*;

use super::*;

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
            let mut response = Vec::new();
            conn.read_to_end(&mut response).await.unwrap();
            assert!(response == all);
        });
        let run = world.run(ms(3_600_000));
        prop_assert_eq!(run.ended, Ended::AtRest);
    }
}

fn pattern(index: usize) -> u8 {
    u8::try_from(index % 251).unwrap()
}
