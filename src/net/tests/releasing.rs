//! Connections that leave the core that took them.

use super::*;

/// Receives until so many bytes are there, or the end.
async fn receive_all(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    while input.len() < count && receive(stream, &mut input).await.unwrap() > 0 {}
    input
}

#[test]
fn a_released_connection_is_served_by_another_core() {
    let (server, mut client) = pair();
    let released = on_executor(move || async move {
        let mut stream = waiting(server).await;
        let soon = Driver::current().with(|core| core.deadline_kind(Duration::from_millis(20)));
        stream.arm(soon);
        let released = stream.release().await.ok().expect("idle");
        assert_eq!(in_flight(), (0, 0, 0, 0));
        sleep(Duration::from_millis(40)).await;
        released
    });
    let serving = std::thread::spawn(move || {
        run(&options(), move || async move {
            let mut stream = Stream::new(released.unwrap()).unwrap();
            let input = receive_all(&mut stream, 5).await;
            send(&mut stream, &input).await.unwrap();
        })
    });
    client.write_all(b"hello").unwrap();
    let mut echoed = [0; 5];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
    serving.join().unwrap().unwrap();
}

/// An idle stream, whose receive is with the kernel.
async fn waiting(server: OwnedFd) -> Stream {
    let mut stream = Stream::new(server).unwrap();
    poll_fn(|cx| {
        assert!(stream.poll_readable(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    sleep(Duration::from_millis(1)).await;
    stream
}

#[test]
fn nothing_is_lost_of_what_arrives_during_a_release() {
    const ROUNDS: usize = 400;
    let (clients, arriving) = mpsc::channel::<(TcpStream, u64)>();
    let writing = std::thread::spawn(move || {
        for (mut client, delay) in arriving {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(delay) {
                std::hint::spin_loop();
            }
            client.write_all(b"hello").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    on_executor(move || async move {
        for round in 0..ROUNDS {
            let (server, client) = pair();
            let stream = waiting(server).await;
            clients.send((client, round as u64 % 40)).unwrap();
            let mut stream = match stream.release().await {
                Ok(socket) => Stream::new(socket).unwrap(),
                Err(stream) => stream,
            };
            assert_eq!(receive_all(&mut stream, 6).await, b"hello");
        }
    })
    .unwrap();
    writing.join().unwrap();
}

#[test]
fn a_stream_that_is_not_idle_comes_back_as_it_was() {
    let ((server, mut client), (ended, end), (sender, _unread)) = (pair(), pair(), pair());
    on_executor(move || async move {
        // Something has arrived before the kernel lets go: also what comes at the last moment.
        let stream = waiting(server).await;
        client.write_all(b"hel").unwrap();
        sleep(Duration::from_millis(5)).await;
        let mut stream = stream.release().await.expect_err("there are bytes");
        client.write_all(b"lo").unwrap();
        assert_eq!(receive_all(&mut stream, 5).await, b"hello");
        client.write_all(b"again").unwrap();
        assert_eq!(receive_all(&mut stream, 5).await, b"again");
        // The other side has ended.
        let stream = waiting(ended).await;
        drop(end);
        sleep(Duration::from_millis(5)).await;
        let mut stream = stream.release().await.expect_err("it has ended");
        assert_eq!(receive(&mut stream, &mut Vec::new()).await.unwrap(), 0);
        // Something is being sent.
        let mut stream = waiting(sender).await;
        let idle = Driver::current().with(|core| core.deadline_kind(PATIENCE));
        let mut output = Output { buffer: vec![1; 32 << 20], tail: None };
        poll_fn(|cx| {
            assert!(stream.poll_send(cx, &mut output, idle).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(stream.release().await.is_err(), "a send is under way");
    })
    .unwrap();
}

#[test]
fn bytes_of_the_same_turn_as_the_release_bring_the_stream_back() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut release = Box::pin(waiting(server).await.release());
        poll_fn(|cx| {
            // The bytes are there when the cancellation reaches the kernel.
            client.write_all(b"hello").unwrap();
            assert!(release.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let mut stream = match release.await {
            Ok(socket) => Stream::new(socket).unwrap(),
            Err(stream) => stream,
        };
        assert_eq!(receive_all(&mut stream, 5).await, b"hello");
        client.write_all(b"again").unwrap();
        assert_eq!(receive_all(&mut stream, 5).await, b"again");
    })
    .unwrap();
}

#[test]
fn a_release_that_is_given_up_half_way_closes_the_connection() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut release = Box::pin(waiting(server).await.release());
        poll_fn(|cx| {
            assert!(release.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(release);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "closed");
}
