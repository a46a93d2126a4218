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
        let mut received = 0;
        while received < 50 << 20 {
            let mut input = Vec::new();
            received += receive(&mut stream, &mut input).await.unwrap();
            drop(crate::rt::share(input));
        }
        assert!(crate::rt::blocks_kept() <= 64);
    })
    .unwrap();
    writing.join().unwrap();
    assert_eq!(crate::rt::blocks_kept(), 0, "a thread without an executor keeps none");
}
