//! Receiving in bulk: whole blocks, and straight into a reader's own memory.

use super::*;

async fn fill(stream: &mut Stream, into: &mut Vec<u8>, most: usize) -> std::io::Result<usize> {
    poll_fn(|cx| stream.poll_fill(cx, into, most)).await
}

/// Bytes of which no two stretches are alike.
fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Begins to fill, and goes away once the memory is with the kernel.
async fn begin_to_fill(stream: &mut Stream) {
    let mut into = b"before".to_vec();
    let mut asked = 0;
    // The first cancels what the stream receives by itself, so that the second can lend.
    while asked < 2 {
        poll_fn(|cx| {
            assert!(stream.poll_fill(cx, &mut into, 1 << 20).is_pending());
            Poll::Ready(())
        })
        .await;
        asked = if into.is_empty() { asked + 1 } else { 0 };
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn fills_memory_up_to_the_byte_and_leaves_the_rest() {
    const SENT: u32 = 5 << 20;
    let (server, mut client) = pair();
    let writing = std::thread::spawn(move || client.write_all(&noise(SENT)).map(|()| client));
    let received = on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let mut all = Vec::new();
        // By turns a stretch that is filled and whatever comes.
        for most in [1, 100, 70_000, 1 << 20, 2 << 20] {
            let mut stretch = Vec::with_capacity(most);
            while stretch.len() < most {
                let left = most - stretch.len();
                let before = stretch.len();
                let received = fill(&mut stream, &mut stretch, left).await.unwrap();
                assert!(received > 0 && received <= left);
                assert_eq!(stretch.len(), before + received);
            }
            all.append(&mut stretch);
            receive(&mut stream, &mut all).await.unwrap();
        }
        while all.len() < SENT as usize {
            receive(&mut stream, &mut all).await.unwrap();
        }
        all
    });
    assert!(received.unwrap() == noise(SENT), "every byte, in order");
    drop(writing.join().unwrap().unwrap());
}

#[test]
fn the_end_and_a_deadline_end_a_fill() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let soon = Driver::current().with(|core| core.deadline_kind(Duration::from_millis(20)));
        let mut into = Vec::new();
        stream.arm(soon);
        let error = fill(&mut stream, &mut into, 100).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        client.write_all(b"late").unwrap();
        drop(client);
        // The memory that the first call lent comes back with the bytes.
        assert_eq!(fill(&mut stream, &mut into, 100).await.unwrap(), 4);
        assert_eq!(into, b"late");
        assert_eq!(fill(&mut stream, &mut into, 100).await.unwrap(), 0);
        assert_eq!(into, b"late");
    })
    .unwrap();
}

#[test]
fn a_reset_ends_a_fill() {
    let (server, client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        begin_to_fill(&mut stream).await;
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = fill(&mut stream, &mut Vec::new(), 100).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn what_a_fill_receives_that_nobody_ends_goes_to_the_next_reader() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        begin_to_fill(&mut stream).await;
        client.write_all(&noise(100_000)).unwrap();
        let mut input = Vec::new();
        while input.len() < 100_000 {
            assert!(receive(&mut stream, &mut input).await.unwrap() > 0);
        }
        assert!(input == noise(100_000));
    })
    .unwrap();
}

#[test]
fn a_connection_with_lent_memory_is_not_released() {
    let (server, client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        begin_to_fill(&mut stream).await;
        assert!(stream.release().await.is_err());
        drop(client);
    })
    .unwrap();
}

#[test]
fn a_stream_may_go_while_its_memory_is_filled() {
    for _ in 0..20 {
        let (server, mut client) = pair();
        let writing = std::thread::spawn(move || {
            // Until the other end is closed.
            while client.write_all(&vec![7; 64 * 1024]).is_ok() {}
        });
        on_executor(|| async {
            let mut stream = Stream::new(server).unwrap();
            let mut into = Vec::new();
            assert!(fill(&mut stream, &mut into, 1 << 20).await.unwrap() > 0);
            // Lent, and dropped at once; what the kernel writes later shows in the quarantine.
            poll_fn(|cx| {
                let _whatever = stream.poll_fill(cx, &mut into, 1 << 20);
                Poll::Ready(())
            })
            .await;
            drop(stream);
            until(|| in_flight() == (0, 0, 0, 0)).await;
        })
        .unwrap();
        writing.join().unwrap();
    }
}

#[test]
fn blocks_are_used_again_and_not_piled_up() {
    let (server, mut client) = pair();
    let writing = std::thread::spawn(move || {
        for _ in 0..50 {
            client.write_all(&noise(1 << 20)).unwrap();
        }
    });
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let (mut received, mut longest) = (0, 0);
        while received < 50 << 20 {
            let mut input = Vec::new();
            let piece = receive(&mut stream, &mut input).await.unwrap();
            (received, longest) = (received + piece, longest.max(piece));
            drop(crate::rt::share(input));
            // Meanwhile more arrives than a block holds.
            sleep(Duration::from_millis(1)).await;
        }
        assert!(longest > 68 * 1024, "longer pieces for who fills its blocks: {longest}");
        let (blocks, bulk) = crate::rt::blocks_kept();
        assert!(blocks <= 64 && bulk <= 32, "{blocks} and {bulk}");
    })
    .unwrap();
    writing.join().unwrap();
    assert_eq!(crate::rt::blocks_kept(), (0, 0), "a thread without an executor keeps none");
}

/// Takes all that a client sends, in a way that changes at every step.
async fn take_in_every_way(server: OwnedFd, mut seed: u64, expected: &[u8]) {
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from((seed >> 20) % below).unwrap()
    };
    let mut stream = Stream::new(server).unwrap();
    let mut at = 0;
    loop {
        let mut input = Vec::new();
        let most = 1 + random(300_000);
        let received = match random(9) {
            0..=2 => Some(fill(&mut stream, &mut input, most).await.unwrap()),
            3 => Some(receive(&mut stream, &mut input).await.unwrap()),
            // Begins to fill, and forgets about it.
            4 => {
                let fill = |cx: &mut Context<'_>| stream.poll_fill(cx, &mut input, most);
                once(fill).await.map(Result::unwrap)
            }
            5 => {
                let _whatever = once(|cx| stream.poll_readable(cx)).await;
                None
            }
            6 => {
                assert!(once(|cx| stream.poll_failure(cx)).await.is_none());
                None
            }
            7 => {
                sleep(Duration::from_millis(1)).await;
                None
            }
            _ => {
                stream = match stream.release().await {
                    Ok(socket) => Stream::new(socket).unwrap(),
                    Err(stream) => stream,
                };
                None
            }
        };
        if received == Some(0) {
            break;
        }
        assert_eq!(received.unwrap_or(0), input.len());
        assert!(expected[at..].starts_with(&input), "at {at}");
        at += input.len();
    }
    assert_eq!(at, expected.len());
}

async fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let polled = |cx: &mut Context<'_>| match poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    };
    poll_fn(polled).await
}

#[test]
fn no_mix_of_ways_to_receive_loses_a_byte() {
    // More connections than there are large buffers at first.
    const CONNECTIONS: u64 = 24;
    const SENT: u32 = 3 << 20;
    let (servers, clients): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| pair()).unzip();
    let writing = clients.into_iter().zip(0_usize..).map(|(mut client, number)| {
        std::thread::spawn(move || {
            let piece = [700, 9_000, 40_000, 70_000, 500_000, 3 << 20][number % 6];
            for piece in noise(SENT).chunks(piece) {
                client.write_all(piece).unwrap();
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    on_executor(|| async {
        let expected: Rc<[u8]> = noise(SENT).into();
        let left = Rc::new(std::cell::Cell::new(servers.len()));
        for (server, seed) in servers.into_iter().zip(1_u64..) {
            let (expected, left) = (Rc::clone(&expected), Rc::clone(&left));
            spawn_detached(async move {
                take_in_every_way(server, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), &expected)
                    .await;
                left.set(left.get() - 1);
            });
        }
        let deadline = Instant::now() + 6 * PATIENCE;
        while left.get() > 0 {
            assert!(Instant::now() < deadline, "{} connections wait for ever", left.get());
            sleep(Duration::from_millis(1)).await;
        }
    })
    .unwrap();
    for thread in writing {
        thread.join().unwrap();
    }
}
