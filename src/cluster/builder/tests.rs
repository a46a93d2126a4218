use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::cluster::supervisor::News;
use crate::cluster::{BindError, ExitReason, PlacementError, Stopped};

mod adversity;

const PATIENCE: Duration = Duration::from_secs(20);

type Log = Arc<Mutex<Vec<Event>>>;

/// An app on a free port, on the first CPU, and what happens to it.
fn cluster(factory: impl Fn() -> App + Send + Sync + 'static) -> (Cluster, Log) {
    let log = Log::default();
    let into = Arc::clone(&log);
    let cluster = Cluster::new(factory).listen("127.0.0.1:0").cpus(cpu()).on_event(move |event| {
        into.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    });
    (cluster, log)
}

fn cpu() -> Option<usize> {
    AllowedCpus::capture().unwrap().ids().first().copied()
}

fn seen(log: &Log) -> Vec<Event> {
    log.lock().unwrap().clone()
}

/// Polls until the log holds such an event.
#[track_caller]
fn wait_for(log: &Log, wanted: impl Fn(&Event) -> bool) -> Event {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = seen(log).into_iter().find(&wanted) {
            return event;
        }
        assert!(Instant::now() < end, "{:#?}", seen(log));
        std::thread::yield_now();
    }
}

#[test]
fn an_application_that_does_not_start_says_why_and_a_restarted_one_starts_anew() {
    let app = || App::new().on_start(async || Err::<(), _>("no database"));
    let error = cluster(app).0.spawn().unwrap_err();
    let said = "worker 0 did not start: cannot start: the application failed: no database";
    assert_eq!(error.to_string(), said);

    let starts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&starts);
    let app = move || {
        let starts = Arc::clone(&counted);
        App::new()
            .on_start(async move || {
                starts.fetch_add(1, Ordering::Relaxed);
            })
            .on_message(|(): ()| panic!("as asked"))
    };
    let (cluster, log) = cluster(app);
    let handle = cluster.spawn().unwrap();
    handle.send(0, ()).unwrap();
    wait_for(&log, |event| matches!(event, Event::Restarting { .. }));
    handle.shutdown().unwrap();
    assert_eq!(starts.load(Ordering::Relaxed), 2);
}

#[test]
fn spawns_workers_that_listen_and_drain() {
    let (cluster, log) = cluster(App::new);
    let handle = cluster.listen("[::1]:0").instances(3).spawn().unwrap();
    assert_eq!(handle.workers(), 3);
    assert_eq!(handle.cpus(), [cpu().unwrap(); 3]);
    for address in handle.addresses() {
        let Address::Tcp(address) = address else { panic!("{address}") };
        TcpStream::connect(address).unwrap();
    }
    assert_eq!(handle.addresses().len(), 2);
    let addresses = handle.addresses();
    handle.shutdown().unwrap();
    let events = seen(&log);
    assert!(matches!(&events[0], Event::Bound { addresses: bound, cpus, warning: Some(_), .. }
        if *bound == addresses && cpus.len() == 3));
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Started { .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::Listening { .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::Draining { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Exited { .. })), 3);
    assert!(matches!(events.last(), Some(Event::Stopped(Stopped { cut: 0, .. }))));
    for address in addresses {
        let Address::Tcp(address) = address else { panic!("{address}") };
        assert!(TcpStream::connect(address).is_err(), "{address} is still open");
    }
}

#[test]
fn the_end_of_the_handle_is_the_end_of_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (cluster, log) = cluster(App::new);
    let handle = cluster.listen(format!("unix:{}", path.display())).spawn().unwrap();
    assert!(path.exists());
    // On another thread than the one that has it: a handle is `Send`.
    std::thread::spawn(move || drop(handle)).join().unwrap();
    assert!(!path.exists());
    assert!(matches!(seen(&log).last(), Some(Event::Stopped(_))));
}

#[test]
fn a_panicked_worker_is_restarted_on_the_same_sockets() {
    let births = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&births);
    let (cluster, log) = cluster(move || {
        // The first two workers live, until a task of the first panics.
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            crate::rt::spawn_detached(async {
                crate::rt::sleep(Duration::from_millis(200)).await;
                panic!("on purpose");
            });
        }
        App::new()
    });
    let handle = cluster.instances(2).spawn().unwrap();
    let restarting = wait_for(&log, |event| matches!(event, Event::Restarting { .. }));
    let Event::Restarting { worker, reason, .. } = restarting else { unreachable!() };
    let ExitReason::Panic { message, location: Some(location) } = reason else {
        panic!("{reason}")
    };
    assert_eq!(message, "on purpose");
    assert!(location.starts_with(file!()), "{location}");
    let again =
        |event: &Event| matches!(event, Event::Listening { worker: at, .. } if *at == worker);
    let end = Instant::now() + PATIENCE;
    while seen(&log).iter().filter(|event| again(event)).count() < 2 {
        assert!(Instant::now() < end, "{:#?}", seen(&log));
        std::thread::yield_now();
    }
    assert_eq!(births.load(Ordering::Relaxed), 3);
    let Address::Tcp(address) = handle.addresses()[0] else { unreachable!() };
    TcpStream::connect(address).unwrap();
    handle.shutdown().unwrap();
}

/// Asks on this connection and reads the answer, which has no more than a buffer of bytes.
fn ask(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn connect(handle: &ClusterHandle) -> TcpStream {
    let Address::Tcp(address) = handle.addresses()[0] else { panic!("{handle:?}") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[test]
fn clients_of_a_panicked_worker_see_their_connection_end_and_the_next_is_served() {
    let boom = async || drop(crate::rt::spawn_local(async { panic!("on purpose") }));
    let (cluster, log) = cluster(move || App::new().get("/", async || "alive").get("/boom", boom));
    let handle = cluster.instances(1).spawn().unwrap();
    for _ in 0..3 {
        let (mut idle, mut last) = (connect(&handle), connect(&handle));
        assert!(ask(&mut idle, "/").unwrap().ends_with("alive"));
        // Its answer may still come, or not.
        let _answer = ask(&mut last, "/boom");
        let end = idle.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
        // In the queue of the socket, until the successor takes it.
        assert!(ask(&mut connect(&handle), "/").unwrap().ends_with("alive"));
    }
    handle.shutdown().unwrap();
    let restarts = |event: &&Event| matches!(event, Event::Restarting { worker: 0, .. });
    assert_eq!(seen(&log).iter().filter(restarts).count(), 3);
}

#[test]
fn a_factory_that_panics_fails_the_start_and_leaves_nobody() {
    let births = AtomicUsize::new(0);
    let (cluster, log) = cluster(move || {
        assert!(births.fetch_add(1, Ordering::Relaxed) != 1, "no database");
        App::new()
    });
    let error = cluster.instances(3).spawn().unwrap_err();
    assert!(error.to_string().ends_with(": no database"), "{error}");
    let Event::Bound { addresses, .. } = &seen(&log)[0] else { panic!("{:?}", seen(&log)) };
    let Address::Tcp(address) = addresses[0] else { unreachable!() };
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_observer_that_panics_ends_nothing() {
    let (cluster, log) = cluster(App::new);
    let handle = cluster.on_event(|_| panic!("on purpose")).spawn().unwrap();
    handle.shutdown().unwrap();
    assert!(matches!(seen(&log).last(), Some(Event::Stopped(_))));
}

#[test]
fn express_app_listen() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let cluster = Cluster::new(App::new).listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let error = cluster.listen(taken).spawn().unwrap_err();
    assert!(matches!(error, StartError::Bind(BindError::InUse { .. })), "{error}");
}

#[test]
fn what_is_asked_for_wrongly_is_said_at_the_start() {
    let new = || Cluster::new(App::new);
    assert!(matches!(new().spawn(), Err(StartError::NoAddress)));
    assert!(matches!(
        new().listen("127.0.0.1").listen("127.0.0.1:0").spawn(),
        Err(StartError::Address(_))
    ));
    assert!(matches!(
        new().listen("127.0.0.1:0").metrics("9100").spawn(),
        Err(StartError::Address(error)) if error.to_string().contains("`9100`")
    ));
    assert!(matches!(
        new().listen("127.0.0.1:0").cpus([9999]).spawn(),
        Err(StartError::Placement(PlacementError::NotAllowed { cpu: 9999, .. }))
    ));
}

#[test]
fn keeps_what_it_is_told() {
    let restart = Restart::unlimited();
    let cluster = Cluster::new(App::new)
        .restart(restart.clone())
        .balance(Balance::Kernel)
        .metrics("127.0.0.1:1")
        .metrics(SocketAddr::from(([127, 0, 0, 1], 2)));
    assert_eq!((&cluster.restart, cluster.plan.balance), (&restart, Balance::Kernel));
    assert_eq!(cluster.metrics.unwrap().to_string(), "127.0.0.1:2");
}

#[test]
fn a_stall_takes_at_least_a_millisecond() {
    for (asked, kept) in [(0, 1_000), (999, 1_000), (1_000, 1_000), (7_000, 7_000)] {
        let stall = Duration::from_micros(asked);
        let cluster = Cluster::new(App::new).timeouts(Timeouts { stall, ..Timeouts::default() });
        assert_eq!(cluster.plan.timeouts.stall, Duration::from_micros(kept));
    }
}

#[test]
fn a_supervisor_that_panics_goes_on_where_it_was() {
    let (cluster, log) = cluster(|| {
        App::new().get("/", async || "here").get("/end", async || {
            crate::rt::spawn_detached(async { panic!("on purpose") });
            "ending"
        })
    });
    let handle = cluster.instances(1).spawn().unwrap();
    let Address::Tcp(address) = handle.addresses()[0] else { unreachable!() };
    for _ in 0..2 {
        handle.news.send(News::Panic).unwrap();
    }
    wait_for(&log, |event| matches!(event, Event::SupervisorPanicked { .. }));
    assert!(fetch(address, "/").ends_with("here"));
    // It still does all that it is for.
    fetch(address, "/end");
    wait_for(&log, |event| matches!(event, Event::Restarting { .. }));
    assert!(fetch(address, "/").ends_with("here"));
    handle.scale(2).unwrap();
    assert_eq!((handle.workers(), handle.stats().workers[0].restarts), (2, 1));
    handle.shutdown().unwrap();
    let panics = |event: &&Event| matches!(event, Event::SupervisorPanicked { .. });
    assert_eq!(seen(&log).iter().filter(panics).count(), 2);
}

/// The answer to a request for this path, on a connection of its own.
fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A worker that ends may reset the connection behind its last answer.
    let _end = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_start_that_takes_for_ever_can_be_ended() {
    let (begun, ender) = mpsc::channel();
    let app = || App::new().on_start(async || std::future::pending::<()>().await);
    let cluster = Cluster::new(app).listen("127.0.0.1:0").instances(1);
    let cluster = cluster.on_begun(move |ender| begun.send(ender).unwrap());
    let starting = std::thread::spawn(move || cluster.spawn().map(drop));
    ender.recv().unwrap()();
    assert!(matches!(starting.join().unwrap(), Err(StartError::Drained)));
}
