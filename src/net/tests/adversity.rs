//! Everything that goes wrong at once: leaked handles, wakers and destructors that re-enter, ends
//! of life in the middle of everything.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::*;
use crate::sys::alone::alone;

/// A waker that does something when it is woken, and something else when it goes.
struct Hook {
    woken: fn(),
    dropped: fn(),
}

impl Wake for Hook {
    fn wake(self: Arc<Self>) {
        (self.woken)();
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        (self.dropped)();
    }
}

fn hook(woken: fn(), dropped: fn()) -> Waker {
    Waker::from(Arc::new(Hook { woken, dropped }))
}

fn nothing() {}

fn touch_the_driver() {
    if let Some(driver) = Driver::try_current() {
        driver.with(|core| core.now());
    }
}

/// A destructor that comes back to the driver.
struct Toucher(Vec<u8>);

impl AsRef<[u8]> for Toucher {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Toucher {
    fn drop(&mut self) {
        touch_the_driver();
    }
}

fn toucher(length: usize) -> bytes::Bytes {
    bytes::Bytes::from_owner(Toucher(vec![1; length]))
}

#[test]
fn a_stream_that_is_never_dropped_does_not_keep_the_life_from_ending() {
    let (server, mut client) = pair();
    let began = Instant::now();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        poll_fn(|cx| {
            assert!(stream.poll_receive(cx, &mut Vec::new()).is_pending());
            Poll::Ready(())
        })
        .await;
        std::mem::forget(stream);
    })
    .unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "the ring came to rest");
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "its socket is closed");
}

#[test]
fn a_waker_that_panics_ends_the_life_in_order() {
    let (server, mut client) = pair();
    let began = Instant::now();
    let end = on_executor(move || async move {
        spawn_detached(async move {
            let mut stream = Stream::new(server).unwrap();
            let _ = receive(&mut stream, &mut Vec::new()).await;
        });
        let mut sleep = Box::pin(sleep(Duration::from_millis(5)));
        let waker = hook(|| panic!("on purpose"), nothing);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        std::future::pending::<()>().await;
    });
    assert!(matches!(end, Err(End::Panic(fault)) if fault.message == "on purpose"));
    assert!(began.elapsed() < Duration::from_secs(2), "the ring came to rest");
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the client of the dead sees it close");
}

#[test]
fn wakers_may_come_back_to_the_driver_when_they_are_dropped() {
    let (server, _client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        for _ in 0..2 {
            let waker = hook(nothing, touch_the_driver);
            let mut cx = Context::from_waker(&waker);
            assert!(stream.poll_receive(&mut cx, &mut input).is_pending());
            assert!(stream.poll_failure(&mut cx).is_pending());
        }
        drop(stream);
        let (reader, _writer) = std::io::pipe().unwrap();
        let file = File::from(std::fs::File::from(OwnedFd::from(reader)));
        let mut read = Box::pin(file.read_at(vec![0; 64], u64::MAX));
        for _ in 0..2 {
            let waker = hook(nothing, touch_the_driver);
            assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(read);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::new(listener.into(), Arming::Accept).unwrap();
        for _ in 0..2 {
            let waker = hook(nothing, touch_the_driver);
            let mut accept = Box::pin(listener.accept());
            assert!(accept.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(listener);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
}

#[test]
fn wakers_that_come_back_to_the_driver_may_outlive_the_life() {
    let (server, _client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let waker = hook(nothing, touch_the_driver);
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_receive(&mut cx, &mut Vec::new()).is_pending());
        let mut sleep = Box::pin(sleep(PATIENCE));
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        std::mem::forget((stream, sleep));
    })
    .unwrap();
}

#[test]
fn a_destructor_that_panics_after_everything_else_does_not_unwind_the_thread() {
    let (server, mut client) = pair();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let waker = hook(nothing, || panic!("on purpose"));
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_receive(&mut cx, &mut Vec::new()).is_pending());
        std::mem::forget(stream);
    })
    .unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "its socket is closed");
}

#[test]
fn payloads_may_come_back_to_the_driver_when_they_are_dropped() {
    let ((answered, mut client), (abandoned, _unread)) = (pair(), pair());
    on_executor(move || async move {
        let idle = Driver::current().with(|core| core.deadline_kind(PATIENCE));
        // Over, and not asked about.
        let mut stream = Stream::new(answered).unwrap();
        let mut output = Output { buffer: Vec::new(), tail: Some(toucher(5)) };
        poll_fn(|cx| {
            assert!(stream.poll_send(cx, &mut output, idle).is_pending());
            Poll::Ready(())
        })
        .await;
        client.set_nonblocking(true).unwrap();
        until(|| client.read(&mut [0; 5]).is_ok()).await;
        drop(stream);
        // Dropped in flight.
        let mut stream = Stream::new(abandoned).unwrap();
        let mut output = Output { buffer: Vec::new(), tail: Some(toucher(32 << 20)) };
        poll_fn(|cx| {
            assert!(stream.poll_send(cx, &mut output, idle).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(stream);
        until(|| in_flight() == (0, 0, 0, 0)).await;
    })
    .unwrap();
}

#[test]
fn a_core_does_not_park_on_what_it_has_not_submitted() {
    std::thread::spawn(|| {
        let driver = Driver::new(&options()).unwrap();
        let _installed = driver.install();
        let (reader, _writer) = std::io::pipe().unwrap();
        let file = Rc::new(OwnedFd::from(reader));
        assert!(driver.park().unwrap(), "nothing to do");
        let waker = hook(
            || {
                let file = std::fs::File::open("/dev/zero").unwrap();
                let file = Rc::new(OwnedFd::from(file));
                let driver = Driver::current();
                driver.with(|core| core.read(file, vec![0; 8], 0)).unwrap();
            },
            nothing,
        );
        driver.with(|core| core.woken.push(waker));
        assert!(!driver.park().unwrap(), "the waker has queued a read");
        drop(file);
    })
    .join()
    .unwrap();
}

#[test]
fn a_timeout_may_be_set_any_number_of_times() {
    on_executor(|| async {
        let driver = Driver::current();
        let kind = |_| driver.with(|core| core.deadline_kind(PATIENCE));
        let first = kind(0);
        assert!((0..1000).map(kind).all(|kind| kind == first));
    })
    .unwrap();
}

#[test]
fn sleeping_for_ever_is_allowed() {
    on_executor(|| async {
        let mut sleep = std::pin::pin!(sleep(Duration::MAX));
        poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    })
    .unwrap();
}

#[test]
fn a_nonblocking_socket_waits_like_any_other() {
    let (server, mut client) = pair();
    rustix::io::ioctl_fionbio(&server, true).unwrap();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        poll_fn(|cx| {
            assert!(stream.poll_receive(cx, &mut input).is_pending());
            Poll::Ready(())
        })
        .await;
        park_until_glommio_wakes().await;
        client.write_all(b"hello").unwrap();
        receive(&mut stream, &mut input).await.unwrap();
        assert_eq!(input, b"hello");
    })
    .unwrap();
}

#[test]
fn the_end_of_a_unix_stream_is_never_missed() {
    on_executor(|| async {
        for _ in 0..2000 {
            let (server, mut client) = std::os::unix::net::UnixStream::pair().unwrap();
            let mut stream = Stream::new(server.into()).unwrap();
            let mut input = Vec::new();
            poll_fn(|cx| {
                assert!(stream.poll_receive(cx, &mut input).is_pending());
                Poll::Ready(())
            })
            .await;
            sleep(Duration::from_micros(10)).await;
            client.write_all(b"hello").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let soon = Driver::current().with(|core| core.deadline_kind(Duration::from_secs(1)));
            stream.arm(soon);
            while receive(&mut stream, &mut input).await.expect("the end comes") > 0 {}
        }
    })
    .unwrap();
}

#[test]
fn a_shortage_of_buffers_does_not_hide_a_failure() {
    let pairs: Vec<_> = (0..16).map(|_| pair()).collect();
    on_executor(move || async move {
        let mut streams = Vec::new();
        for (server, mut client) in pairs {
            client.write_all(&vec![1; 48 * 1024]).unwrap();
            streams.push((Stream::new(server).unwrap(), client));
        }
        let driver = Driver::current();
        until(|| driver.stats().shortages.get() > 0).await;
        sleep(Duration::from_millis(5)).await;
        for (mut stream, client) in streams {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            let mut failure = std::pin::pin!(poll_fn(|cx| stream.poll_failure(cx)));
            let failed = futures_lite::future::or(
                async {
                    failure.as_mut().await;
                    true
                },
                async {
                    sleep(Duration::from_millis(500)).await;
                    false
                },
            );
            assert!(failed.await, "a reset is seen");
        }
    })
    .unwrap();
}

#[test]
fn a_task_that_always_wakes_itself_starves_nobody() {
    let (server, mut client) = pair();
    let (tell, told) = mpsc::channel::<Sender<u32>>();
    let posting = std::thread::spawn(move || {
        let sender: Sender<u32> = told.recv().unwrap();
        sender.send(7).unwrap();
        client.write_all(b"hello").unwrap();
        client.read(&mut [0; 8]).unwrap()
    });
    on_executor(move || async move {
        spawn_detached(async {
            loop {
                futures_lite::future::yield_now().await;
            }
        });
        let (sender, receiver) = mailbox(4);
        tell.send(sender).unwrap();
        assert_eq!(receiver.recv().await, 7);
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        receive(&mut stream, &mut input).await.unwrap();
        send(&mut stream, &input).await.unwrap();
        sleep(Duration::from_millis(5)).await;
        glommio_sleep(Duration::from_millis(5)).await;
        assert_eq!(spawn_blocking(|| 6 * 7).await.unwrap(), 42);
        foreign_wake(Duration::from_millis(5)).await;
    })
    .unwrap();
    assert_eq!(posting.join().unwrap(), 5);
}

#[test]
fn more_operations_than_the_queues_hold_all_end() {
    const SOCKETS: usize = 1200;
    raise_descriptor_limit();
    on_executor(|| async {
        let mut streams = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..SOCKETS {
            let (server, mut client) = std::os::unix::net::UnixStream::pair().unwrap();
            client.write_all(&[1; 5000]).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            streams.push(Stream::new(server.into()).unwrap());
            clients.push(client);
        }
        for stream in &mut streams {
            let mut input = Vec::new();
            while input.len() < 5000 {
                assert!(receive(stream, &mut input).await.unwrap() > 0);
            }
        }
        let idle = Driver::current().with(|core| core.deadline_kind(PATIENCE));
        for stream in &mut streams {
            let mut output = Output { buffer: vec![2; 1 << 20], tail: None };
            poll_fn(|cx| {
                assert!(stream.poll_send(cx, &mut output, idle).is_pending());
                assert!(stream.poll_receive(cx, &mut Vec::new()).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        drop(clients.split_off(SOCKETS / 2));
        drop(streams);
        until(|| in_flight() == (0, 0, 0, 0)).await;
        until(|| Driver::current().with(|core| core.outstanding()) <= 2).await;
    })
    .unwrap();
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn a_flood_on_one_socket_leaves_the_others_their_turn() {
    let ((flooded, mut sender), (server, mut client)) = (pair(), pair());
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let flooding = std::thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            if sender.write(&[0; 8192]).is_err() {
                break;
            }
        }
    });
    let asking = std::thread::spawn(move || {
        for _ in 0..200 {
            client.write_all(b"ping").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
    });
    on_executor(move || async move {
        spawn_detached(async move {
            let mut stream = Stream::new(flooded).unwrap();
            let mut input = Vec::new();
            while receive(&mut stream, &mut input).await.unwrap() > 0 {
                input.clear();
            }
        });
        let mut stream = Stream::new(server).unwrap();
        let mut input = Vec::new();
        while receive(&mut stream, &mut input).await.unwrap() > 0 {
            send(&mut stream, &input).await.unwrap();
            input.clear();
        }
    })
    .unwrap();
    asking.join().unwrap();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    flooding.join().unwrap();
}

#[test]
fn lives_that_follow_on_one_thread_do_not_meet() {
    std::thread::spawn(|| {
        for i in 0..3 {
            let (server, mut client) = pair();
            let end = run(&options(), move || async move {
                let mut stream = Stream::new(server).unwrap();
                client.write_all(b"x").unwrap();
                receive(&mut stream, &mut Vec::new()).await.unwrap();
                i
            });
            assert_eq!(end.unwrap(), i);
            assert!(Driver::try_current().is_none());
        }
    })
    .join()
    .unwrap();
}

/// The shortest of some waits for what comes by way of glommio.
async fn quickest(mut wait: impl AsyncFnMut()) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        wait().await;
        quickest = quickest.min(began.elapsed());
    }
    quickest
}

/// Before the core parks, and while it is busy, glommio's rings are looked at.
async fn hears_glommio() {
    let soon = Duration::from_millis(10);
    assert!(quickest(async || drop(spawn_blocking(|| ()).await)).await < soon);
    assert!(quickest(async || glommio_sleep(Duration::ZERO).await).await < soon);
    assert!(quickest(async || foreign_wake(Duration::ZERO).await).await < soon);
}

#[test]
fn a_core_that_waits_in_its_own_ring_hears_glommio() {
    on_executor(hears_glommio).unwrap();
}

#[test]
fn a_busy_core_hears_glommio() {
    on_executor(|| async {
        spawn_detached(async {
            loop {
                futures_lite::future::yield_now().await;
            }
        });
        hears_glommio().await;
    })
    .unwrap();
}

#[test]
fn an_ended_life_leaves_no_more_than_the_eventfd_that_glommio_leaks() {
    const LIVES: usize = 40;
    if !alone(&[("MALLOC_ARENA_MAX", "1")]) {
        return;
    }
    let before = (descriptors(), threads());
    (0..LIVES).for_each(live_and_die);
    let deadline = Instant::now() + PATIENCE;
    while threads() > before.1 {
        assert!(Instant::now() < deadline, "the threads of ended lives end");
        std::thread::yield_now();
    }
    assert_eq!(descriptors(), before.0 + LIVES);
}

#[test]
fn a_handle_that_is_leaked_keeps_neither_ring_nor_buffers() {
    const LIVES: usize = 20;
    if !alone(&[("MALLOC_ARENA_MAX", "1")]) {
        return;
    }
    let life = || {
        let (server, client) = pair();
        on_executor(move || async move {
            let stream = Stream::new(server).unwrap();
            sleep(Duration::from_millis(1)).await;
            std::mem::forget(stream);
        })
        .unwrap();
        drop(client);
    };
    life();
    let before = (rings(), address_space());
    (0..LIVES).for_each(|_| life());
    assert_eq!(rings(), before.0);
    let grown = address_space().saturating_sub(before.1);
    assert!(grown < LIVES * (2 << 20), "the buffers of a life are 4 MiB: {grown}");
}

/// In bytes.
fn address_space() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    size.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn calls_fail_once_the_life_has_ended() {
    std::thread::spawn(|| {
        let (server, _client) = pair();
        let driver = run(&options(), || async { Driver::current() }).unwrap();
        assert!(driver.with(|core| core.adopt(server)).is_err());
        assert!(driver.park().is_err());
        driver.with(crate::rt::Tables::wake_readers);
    })
    .join()
    .unwrap();
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn sleep_whose_waker_panics() -> std::pin::Pin<Box<Sleep>> {
    let mut sleep = Box::pin(sleep(Duration::from_millis(1)));
    let waker = hook(|| panic!("waker, on purpose"), nothing);
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    sleep
}

/// A life that ends in the middle of everything: by itself, by a task, by its main future, or by a
/// waker.
fn live_and_die(i: usize) {
    let ((server, client), (other, unread)) = (pair(), pair());
    let (reader, writer) = std::io::pipe().unwrap();
    let end = on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        spawn_detached(async move {
            let file = File::from(std::fs::File::from(OwnedFd::from(reader)));
            let _ = file.read_at(vec![0; 64], u64::MAX).await;
        });
        spawn_detached(async move {
            let mut stream = Stream::new(other).unwrap();
            let _ = send(&mut stream, &vec![1; 4 << 20]).await;
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        spawn_detached(async move {
            let listener = Listener::new(listener.into(), Arming::Accept).unwrap();
            let _ = listener.accept().await;
        });
        spawn_blocking(|| ()).await.unwrap();
        let _alarm = (i % 4 == 2).then(sleep_whose_waker_panics);
        match i % 4 {
            0 => spawn_detached(async { panic!("on purpose") }),
            1 => panic!("main, on purpose"),
            2 => {}
            _ => return,
        }
        let _ = receive(&mut stream, &mut Vec::new()).await;
    });
    assert_eq!(end.is_err(), i % 4 < 3);
    drop((client, unread, writer));
}

#[test]
fn a_steady_trickle_that_nobody_reads_stays_with_the_kernel() {
    let (server, mut client) = pair();
    client.set_nonblocking(true).unwrap();
    on_executor(move || async move {
        let mut stream = Stream::new(server).unwrap();
        let mut sent = 0;
        for _ in 0..64 {
            // Few enough at a time for the receive not to end for want of buffers.
            sent += client.write(&[7; 16 * 1024]).unwrap_or(0);
            sleep(Duration::from_millis(1)).await;
        }
        let held = Driver::current().with(|core| core.input_len());
        assert!(held < 192 * 1024, "{held} bytes are held for a socket that nobody reads");
        let (mut received, mut input) = (0, Vec::new());
        while received < sent {
            received += receive(&mut stream, &mut input).await.unwrap();
            input.clear();
        }
        assert_eq!(received, sent);
    })
    .unwrap();
}
