//! A buffer and a shared piece behind it, in one send.

use super::*;
use crate::rt::DeadlineKind;

/// Long enough for a send to stop in it, too.
const HEAD: usize = 100_000;
const BODY: usize = 400_000;

fn pattern(seed: u32, length: usize) -> Vec<u8> {
    (seed..).take(length).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn two_pieces() -> Output {
    Output { buffer: pattern(1, HEAD), tail: Some(pattern(2, BODY).into()) }
}

/// A pair whose sender takes only a few kilobytes at a time.
fn narrow_pair() -> (OwnedFd, TcpStream) {
    let (server, client) = pair();
    rustix::net::sockopt::set_socket_send_buffer_size(&server, 8192).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 8192).unwrap();
    (server, client)
}

fn idle(longest: Duration) -> DeadlineKind {
    Driver::current().with(|core| core.deadline_kind(longest))
}

/// Begins to send, and comes back before that is over.
async fn begin(stream: &mut Stream, output: &mut Output, idle: DeadlineKind) {
    poll_fn(|cx| {
        assert!(stream.poll_send(cx, output, idle).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn two_pieces_arrive_whole_however_the_sends_are_cut() {
    let (server, mut client) = narrow_pair();
    let reading = std::thread::spawn(move || {
        let (mut got, mut bytes) = (Vec::new(), [0; 10_007]);
        while let length @ 1.. = client.read(&mut bytes).unwrap() {
            got.extend_from_slice(&bytes[..length]);
        }
        got
    });
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let mut output = two_pieces();
        let idle = idle(PATIENCE);
        poll_fn(|cx| stream.poll_send(cx, &mut output, idle)).await.unwrap();
        assert!(output.is_empty() && output.buffer.capacity() >= HEAD, "the memory came back");
    })
    .unwrap();
    let got = reading.join().unwrap();
    assert!(got == [pattern(1, HEAD), pattern(2, BODY)].concat(), "{} bytes", got.len());
}

#[test]
fn two_pieces_without_progress_time_out() {
    let (server, client) = narrow_pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let (mut output, soon) = (two_pieces(), idle(Duration::from_millis(50)));
        let error = poll_fn(|cx| stream.poll_send(cx, &mut output, soon)).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
        drop(client);
    })
    .unwrap();
}

#[test]
fn a_reset_in_the_middle_of_two_pieces_fails_the_send() {
    let (server, mut client) = narrow_pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let (mut output, idle) = (two_pieces(), idle(PATIENCE));
        begin(&mut stream, &mut output, idle).await;
        client.set_nonblocking(true).unwrap();
        // Within the tail, where a partial send of both pieces has been left behind.
        let mut read = 0;
        until(|| {
            read += client.read(&mut [0; 8192]).unwrap_or(0);
            read > HEAD
        })
        .await;
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = poll_fn(|cx| stream.poll_send(cx, &mut output, idle)).await.unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)), "{error}");
    })
    .unwrap();
}

#[test]
fn two_pieces_in_flight_go_with_their_stream() {
    let (server, _client) = narrow_pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let (mut output, idle) = (two_pieces(), idle(PATIENCE));
        begin(&mut stream, &mut output, idle).await;
        sleep(Duration::from_millis(1)).await;
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
}

#[test]
fn two_pieces_in_flight_at_the_end_of_a_life_are_cut_and_never_wrong() {
    let (server, mut client) = narrow_pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let (mut output, idle) = (two_pieces(), idle(PATIENCE));
        begin(&mut stream, &mut output, idle).await;
        sleep(Duration::from_millis(1)).await;
        // Nobody drops it: the end of the executor has to see to it.
        std::mem::forget(stream);
    })
    .unwrap();
    let mut got = Vec::new();
    // The end, or a reset behind what had left.
    let _ = client.read_to_end(&mut got);
    let sent = [pattern(1, HEAD), pattern(2, BODY)].concat();
    assert!(got.len() < sent.len() && sent.starts_with(&got), "{} bytes", got.len());
}

#[test]
fn two_pieces_can_be_sent_off() {
    let (server, mut client) = narrow_pair();
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let answers = crate::stats::Answers::new(Instant::now());
        assert!(stream.send_off(two_pieces(), idle(PATIENCE), answers).unwrap().is_empty());
        poll_fn(|cx| stream.poll_sent_off(cx)).await;
        assert_eq!(Driver::current().stats().latency.snapshot().count(), 1);
    })
    .unwrap();
    let got = reading.join().unwrap();
    assert!(got == [pattern(1, HEAD), pattern(2, BODY)].concat(), "{} bytes", got.len());
}
