//! Sends that nobody waits for.

use socket2::SockRef;

use super::*;
use crate::rt::DeadlineKind;
use crate::stats::Answers;

/// Far more than two sockets hold.
const LARGE: usize = 32 << 20;

fn kind(longest: Duration) -> DeadlineKind {
    Driver::current().with(|core| core.deadline_kind(longest))
}

/// Sends off the bytes, as the answer to one request.
fn send_off(stream: &mut Stream, bytes: Vec<u8>, idle: DeadlineKind) {
    let output = Output { buffer: bytes, tail: None };
    stream.send_off(output, idle, Answers::new(Instant::now())).unwrap();
}

async fn over(stream: &mut Stream) {
    poll_fn(|cx| stream.poll_sent_off(cx)).await;
}

fn answered() -> u64 {
    Driver::current().stats().latency.snapshot().count()
}

/// Whose bytes tell where they belong.
fn large() -> Vec<u8> {
    (0..251).collect::<Vec<u8>>().repeat(LARGE / 251)
}

/// The client has the beginning of [`large`], and no more.
fn cut_and_never_wrong(client: &mut TcpStream) {
    let mut received = Vec::new();
    // The end, or a reset behind what had left.
    let _ended = client.read_to_end(&mut received);
    let sent = large();
    assert!(received.len() < sent.len() && sent.starts_with(&received), "{}", received.len());
}

#[test]
fn what_the_socket_takes_completes_without_a_word() {
    let (server, mut client) = pair();
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let outstanding = || Driver::current().with(|core| core.outstanding());
        let idle = kind(PATIENCE);
        let before = outstanding();
        for number in 0..1000_u32 {
            send_off(&mut stream, number.to_be_bytes().to_vec(), idle);
            assert_eq!(in_flight().1, 0, "it is no send like others");
            over(&mut stream).await;
        }
        // The end of a slice may be awaited.
        assert!(outstanding() <= before + 1, "none is thought to be under way");
        assert_eq!(answered(), 1000);
    })
    .unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(received, expected);
}

#[test]
fn more_than_fits_between_two_turns_is_sent_off() {
    // More than the ring has entries: some are submitted before the turn.
    const CONNECTIONS: usize = 600;
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| pair()).unzip();
    on_executor(|| async {
        let mut streams: Vec<_> = servers.into_iter().map(|s| Stream::new(s).unwrap()).collect();
        let idle = kind(PATIENCE);
        sleep(Duration::from_millis(1)).await;
        for (stream, number) in streams.iter_mut().zip(0_u32..) {
            send_off(stream, number.to_be_bytes().to_vec(), idle);
        }
        for stream in &mut streams {
            over(stream).await;
        }
        assert_eq!(answered(), CONNECTIONS as u64);
    })
    .unwrap();
    for (client, number) in clients.iter_mut().zip(0_u32..) {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, number.to_be_bytes());
    }
}

#[test]
fn what_the_socket_has_no_room_for_is_sent_when_it_has() {
    let (server, mut client) = pair();
    let (tell, told) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        told.recv().unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, large(), kind(PATIENCE));
        until(|| in_flight().1 == 1).await;
        assert_eq!(answered(), 0, "it is not sent");
        tell.send(()).unwrap();
        over(&mut stream).await;
        assert_eq!((answered(), in_flight().1), (1, 0));
    })
    .unwrap();
    assert!(reading.join().unwrap() == large(), "nothing twice, nothing left out");
}

#[test]
fn who_does_not_read_what_was_sent_off_has_failed_after_a_while() {
    let (server, client) = pair();
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, large(), kind(Duration::from_millis(20)));
        let error = poll_fn(|cx| stream.poll_failure(cx)).await;
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error}");
        over(&mut stream).await;
        assert_eq!((answered(), in_flight().1), (0, 0));
    })
    .unwrap();
    drop(client);
}

#[test]
fn a_connection_that_what_is_sent_off_cannot_go_to_has_failed() {
    let (server, client) = pair();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    on_executor(|| async {
        // The receive, which would tell too, has not been submitted yet.
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, vec![1], kind(PATIENCE));
        over(&mut stream).await;
        let error = poll_fn(|cx| stream.poll_failure(cx)).await;
        assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)), "{error}");
        assert_eq!(answered(), 0, "an answer that failed is not counted");
    })
    .unwrap();
}

#[test]
fn what_was_sent_off_arrives_though_its_stream_or_the_executor_goes() {
    let (first, mut its_client) = pair();
    let (last, mut last_client) = pair();
    on_executor(|| async {
        let mut stream = Stream::new(first).unwrap();
        send_off(&mut stream, b"first".to_vec(), kind(PATIENCE));
        drop(stream);
        until(|| in_flight().0 == 0).await;
        let mut stream = Stream::new(last).unwrap();
        send_off(&mut stream, b"last".to_vec(), kind(PATIENCE));
    })
    .unwrap();
    for (client, expected) in [(&mut its_client, "first"), (&mut last_client, "last")] {
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, expected);
    }
}

#[test]
fn a_stream_goes_while_what_it_sent_off_waits_for_room() {
    let (server, mut client) = pair();
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, large(), kind(PATIENCE));
        until(|| in_flight().1 == 1).await;
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
    cut_and_never_wrong(&mut client);
}

#[test]
fn a_stream_goes_while_the_socket_takes_what_it_sent_off() {
    let (server, mut client) = pair();
    client.set_nonblocking(true).unwrap();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, large(), kind(Duration::from_secs(3600)));
        until(|| in_flight().1 == 1).await;
        // So that the next part is taken when it is submitted, before the cancellation.
        let mut bytes = vec![0; 64 << 10];
        for _ in 0..100 {
            let _none_yet = client.read(&mut bytes);
            futures_lite::future::yield_now().await;
        }
        let _none_yet = client.read(&mut bytes);
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
}

#[test]
fn the_executor_ends_while_what_was_sent_off_waits_for_room() {
    let (server, mut client) = pair();
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        send_off(&mut stream, large(), kind(PATIENCE));
        until(|| in_flight().1 == 1).await;
    })
    .unwrap();
    cut_and_never_wrong(&mut client);
}
