//! The executor, its ring and its handles, over real sockets, files and threads.

use std::future::{Future, poll_fn};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::*;
use crate::rt::{
    Driver, End, File, Options, Sender, Sleep, glommio_sleep, mailbox, run, sleep, spawn_blocking,
    spawn_detached,
};

mod adversity;
mod connecting;
mod filling;
mod listening;
mod releasing;
mod sending;
mod sending_off;
mod watched;

const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> Options {
    Options::new("test")
}

/// Runs `main` in an executor on a thread of its own.
fn on_executor<T, F>(main: impl FnOnce() -> F + Send + 'static) -> Result<T, End>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let thread = std::thread::spawn(move || run(&options(), main));
    thread.join().expect("an executor never unwinds its thread")
}

fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0.into(), client)
}

async fn receive(stream: &mut Stream, input: &mut Vec<u8>) -> std::io::Result<usize> {
    poll_fn(|cx| stream.poll_receive(cx, input)).await
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    let mut output = Output { buffer: bytes.to_vec(), tail: None };
    let idle = Driver::current().with(|core| core.deadline_kind(PATIENCE));
    poll_fn(|cx| stream.poll_send(cx, &mut output, idle)).await
}

/// Waits for a condition, turning the executor.
async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Sleeps on glommio's timer until the core has parked meanwhile, which on a slow machine takes
/// more than one try.
async fn park_until_glommio_wakes() {
    let driver = Driver::current();
    let before = driver.stats().parks.get();
    while driver.stats().parks.get() == before {
        glommio_sleep(Duration::from_millis(100)).await;
    }
}

fn in_flight() -> (usize, usize, usize, usize) {
    Driver::current().with(|core| core.census())
}

#[test]
fn returns_what_the_main_future_returns() {
    assert_eq!(on_executor(|| async { 42 }).unwrap(), 42);
}

#[test]
fn echoes_over_a_socket() {
    let (server, mut client) = pair();
    let echoed = std::thread::spawn(move || {
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echoed = String::new();
        client.read_to_string(&mut echoed).unwrap();
        echoed
    });
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        while receive(&mut stream, &mut input).await.unwrap() > 0 {}
        send(&mut stream, &input).await.unwrap();
    })
    .unwrap();
    assert_eq!(echoed.join().unwrap(), "hello");
}

#[test]
fn carries_megabytes_both_ways_through_few_buffers() {
    let (server, mut client) = pair();
    let sent: Vec<u8> =
        (0..8_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = sent.clone();
    let mut writer = client.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let reading = std::thread::spawn(move || {
        let mut echoed = Vec::new();
        client.read_to_end(&mut echoed).unwrap();
        echoed
    });
    on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        while receive(&mut stream, &mut input).await.unwrap() > 0 {
            send(&mut stream, &input).await.unwrap();
            input.clear();
        }
    })
    .unwrap();
    writing.join().unwrap();
    assert!(reading.join().unwrap() == expected, "what came back is what was sent");
}

#[test]
fn stops_receiving_for_a_reader_that_does_not_read_and_goes_on_later() {
    const TOTAL: usize = 32 << 20;
    let (server, mut client) = pair();
    let (tell, told) = mpsc::channel();
    let writing = std::thread::spawn(move || {
        client.set_nonblocking(true).unwrap();
        let chunk = [7_u8; 4096];
        let (mut sent, mut told_full) = (0, false);
        let mut blocked = Instant::now();
        while sent < TOTAL {
            match client.write(&chunk[..chunk.len().min(TOTAL - sent)]) {
                Ok(written) => (sent, blocked) = (sent + written, Instant::now()),
                Err(_) if !told_full && blocked.elapsed() > Duration::from_millis(200) => {
                    tell.send(sent).unwrap();
                    told_full = true;
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        told_full
    });
    let total = on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        until(|| told.try_recv().is_ok()).await;
        let held = Driver::current().with(|core| core.input_len());
        assert!(held < 512 * 1024, "the kernel holds what nobody reads, not we: {held}");
        let mut total = 0;
        let mut input = Vec::new();
        while total < TOTAL {
            total += receive(&mut stream, &mut input).await.unwrap();
            input.clear();
        }
        total
    });
    assert_eq!(total.unwrap(), TOTAL);
    assert!(writing.join().unwrap(), "the sender was slowed down");
}

#[test]
fn a_shortage_of_buffers_delays_and_loses_nothing() {
    const SOCKETS: usize = 200;
    let (servers, mut clients): (Vec<_>, Vec<_>) = (0..SOCKETS).map(|_| pair()).unzip();
    for client in &mut clients {
        client.write_all(&[7; 3 * 4096]).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let shortages = on_executor(|| async {
        let reading = servers.into_iter().map(|server| {
            crate::rt::spawn_local(async {
                let mut stream = Stream::new(server).unwrap();
                let mut input = Vec::new();
                while receive(&mut stream, &mut input).await.unwrap() > 0 {}
                input.len()
            })
        });
        for read in reading.collect::<Vec<_>>() {
            assert_eq!(read.await, 3 * 4096);
        }
        Driver::current().stats().shortages.get()
    });
    assert!(shortages.unwrap() > 0, "more arrived at once than there are buffers");
}

#[test]
fn a_core_parks_at_most_fifty_times_a_second() {
    let (server, mut client) = pair();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    // The worst pace: just as the core has gone to sleep, the next byte comes.
    let writing = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            // The reader may have gone before it says so.
            let _ = client.write_all(b"x");
            std::thread::sleep(Duration::from_millis(21));
        }
    });
    let parks_per_second = on_executor(|| async {
        let mut stream = Stream::new(server).unwrap();
        let (begun, mut input) = (Instant::now(), Vec::new());
        while begun.elapsed() < Duration::from_secs(1) {
            receive(&mut stream, &mut input).await.unwrap();
        }
        f64::from(u32::try_from(Driver::current().stats().parks.get()).unwrap())
            / begun.elapsed().as_secs_f64()
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    assert!(parks_per_second.unwrap() <= 50.0, "twenty slices of a millisecond before each");
}

#[test]
fn a_deadline_ends_a_wait_and_leaves_the_stream_usable() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let soon = Driver::current().with(|core| core.deadline_kind(Duration::from_millis(30)));
        stream.arm(soon);
        let mut input = Vec::new();
        let error = receive(&mut stream, &mut input).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        client.write_all(b"late").unwrap();
        receive(&mut stream, &mut input).await.unwrap();
        assert_eq!(input, b"late");
    })
    .unwrap();
}

#[test]
fn a_send_without_progress_times_out() {
    let (server, client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let soon = Driver::current().with(|core| core.deadline_kind(Duration::from_millis(50)));
        let mut output = Output { buffer: vec![1; 32 << 20], tail: None };
        let error = poll_fn(|cx| stream.poll_send(cx, &mut output, soon)).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
        drop(client);
    })
    .unwrap();
}

#[test]
fn dropping_a_stream_in_the_middle_of_everything_frees_it_and_closes_the_socket() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let idle = Driver::current().with(|core| core.deadline_kind(PATIENCE));
        let mut input = Vec::new();
        let mut output = Output { buffer: vec![1; 32 << 20], tail: None };
        let mut started = false;
        poll_fn(|cx| {
            assert!(stream.poll_receive(cx, &mut input).is_pending());
            assert!(stream.poll_send(cx, &mut output, idle).is_pending());
            if started {
                Poll::Ready(())
            } else {
                started = true;
                wake_later(cx);
                Poll::Pending
            }
        })
        .await;
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
    // The peer has closed: after what was on its way, the end or a reset.
    while matches!(client.read(&mut [0; 8192]), Ok(1..)) {}
}

fn wake_later(cx: &mut Context<'_>) {
    let waker = cx.waker().clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
}

#[test]
fn dropping_a_read_keeps_its_memory_until_the_kernel_is_done() {
    let (reader, _writer) = std::io::pipe().unwrap();
    on_executor(move || async move {
        let file = File::from(std::fs::File::from(OwnedFd::from(reader)));
        {
            let mut read = std::pin::pin!(file.read_at(vec![0; 64], u64::MAX));
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                assert!(read.as_mut().poll(cx).is_pending());
                if polls > 1 {
                    Poll::Ready(())
                } else {
                    wake_later(cx);
                    Poll::Pending
                }
            })
            .await;
        }
        assert_eq!(in_flight().3, 1, "the read is still with the kernel");
        until(|| in_flight().3 == 0).await;
    })
    .unwrap();
}

#[test]
fn reads_a_file_and_its_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    on_executor(move || async move {
        let file = File::from(file);
        assert_eq!(file.read_at(vec![0; 4], 3).await.unwrap(), b"3456");
        assert_eq!(file.read_at(vec![0; 64], 8).await.unwrap(), b"89");
        assert_eq!(file.read_at(vec![0; 64], 10).await.unwrap(), b"");
    })
    .unwrap();
}

#[test]
fn a_panicking_task_ends_the_life_in_order() {
    let (server, mut client) = pair();
    let end = on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        spawn_detached(async { panic!("on purpose") });
        let mut input = Vec::new();
        receive(&mut stream, &mut input).await.unwrap();
    });
    let Err(End::Panic(fault)) = end else { panic!("{end:?}") };
    assert_eq!(fault.message, "on purpose");
    assert!(fault.location.unwrap().starts_with("src/net/tests.rs:"));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the client of the dead sees it close");
}

#[test]
fn a_panicking_main_future_is_a_panic_too() {
    let end = on_executor(|| async { panic!("{} on purpose", "main") });
    let end: Result<(), _> = end;
    assert!(matches!(end, Err(End::Panic(fault)) if fault.message == "main on purpose"));
}

#[test]
fn a_panicking_destructor_ends_the_life_and_not_the_process() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "bomb");
        }
    }
    let end = on_executor(|| async {
        spawn_detached(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
    });
    assert!(matches!(end, Err(End::Panic(fault)) if fault.message == "bomb"));
}

#[test]
fn tasks_that_are_cancelled_may_spawn_in_their_destructors() {
    struct Spawner;
    impl Drop for Spawner {
        fn drop(&mut self) {
            spawn_detached(async { unreachable!("a life that ends runs nothing new") });
        }
    }
    on_executor(|| async {
        spawn_detached(async {
            let _spawner = Spawner;
            std::future::pending::<()>().await;
        });
    })
    .unwrap();
}

#[test]
fn stopping_a_listener_hands_out_what_was_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = listener.try_clone().unwrap();
    let served = on_executor(move || async move {
        let listener = Listener::new(listener.into(), Arming::Accept).unwrap();
        let first = TcpStream::connect(address).unwrap();
        let accepted = listener.accept().await.unwrap().expect("not stopped");
        let others: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        until(|| Driver::current().with(|core| core.accepted_waiting()) == 5).await;
        listener.stop();
        let mut served = 0;
        while let Some(stream) = listener.accept().await.unwrap() {
            drop(stream);
            served += 1;
        }
        drop((first, accepted, others));
        served
    });
    assert_eq!(served.unwrap(), 5);
    // From now on connections queue for whoever holds the socket.
    let _late = TcpStream::connect(address).unwrap();
    kept.set_nonblocking(false).unwrap();
    kept.accept().unwrap();
}

#[test]
fn many_lives_leave_no_rings_behind() {
    let life = || {
        let (server, client) = pair();
        let end = on_executor(move || async move {
            let mut stream = Stream::new(server).unwrap();
            spawn_detached(async { panic!("on purpose") });
            receive(&mut stream, &mut Vec::new()).await.unwrap();
        });
        assert!(end.is_err());
        drop(client);
    };
    life();
    let before = rings();
    (0..20).for_each(|_| life());
    assert!(rings() <= before + 3 * 16, "rings of ended lives are closed: {before} {}", rings());
}

/// How many rings this process has open; other tests run beside this one and have some.
fn rings() -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = fds.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains("[io_uring]")).count()
}

#[test]
fn a_parked_core_hears_every_kind_of_caller() {
    let (tell, told) = mpsc::channel::<Sender<u32>>();
    let posting = std::thread::spawn(move || {
        let sender = told.recv().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        sender.send(7).unwrap();
    });
    on_executor(move || async move {
        park_until_glommio_wakes().await;
        sleep(Duration::from_millis(60)).await;
        assert_eq!(spawn_blocking(|| 6 * 7).await.unwrap(), 42);
        assert!(spawn_blocking(|| panic!("on purpose")).await.is_err());
        let (sender, receiver) = mailbox(4);
        tell.send(sender).unwrap();
        assert_eq!(receiver.recv().await, 7);
        foreign_wake(Duration::from_millis(60)).await;
    })
    .unwrap();
    posting.join().unwrap();
}

async fn foreign_wake(after: Duration) {
    let mut started = None;
    poll_fn(|cx| match started {
        None => {
            started = Some(Instant::now());
            let waker = cx.waker().clone();
            std::thread::spawn(move || {
                std::thread::sleep(after);
                waker.wake();
            });
            Poll::Pending
        }
        Some(at) if at.elapsed() >= after => Poll::Ready(()),
        Some(_) => Poll::Pending,
    })
    .await;
}

#[test]
fn a_mailbox_is_bounded_and_refuses_once_its_core_is_gone() {
    let (sender, receiver) = mailbox(2);
    assert_eq!((sender.send(1), sender.send(2), sender.send(3)), (Ok(()), Ok(()), Err(3)));
    let got = on_executor(move || async move { (receiver.recv().await, receiver.recv().await) });
    assert_eq!(got.unwrap(), (1, 2));
    assert_eq!(sender.send(4), Err(4));
}

#[test]
fn a_message_that_is_not_received_can_be_taken_back_and_none_is_lost() {
    let (sender, receiver) = mailbox(4);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(sender.take_back(), None, "somebody may receive it");
    let got = on_executor(move || async move { receiver.recv().await });
    assert_eq!(got.unwrap(), 1);
    assert_eq!(sender.send(3), Err(3));
    assert_eq!((sender.take_back(), sender.take_back()), (Some(2), None));
    // Those who send while the receiver goes either get it back or leave it to be taken back.
    for _ in 0..200 {
        let (sender, receiver) = mailbox(1 << 10);
        let sending: Vec<_> = (0..2)
            .map(|_| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    (0..usize::MAX).take_while(|i| sender.send(*i).is_ok()).count()
                })
            })
            .collect();
        std::thread::yield_now();
        drop(receiver);
        let sent: usize = sending.into_iter().map(|sending| sending.join().unwrap()).sum();
        assert_eq!(std::iter::from_fn(|| sender.take_back()).count(), sent);
    }
}
