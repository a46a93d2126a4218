//! Several clusters in one process, and what passes between workers and whoever watches them.

use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corelane::{
    Address, App, Cluster, ClusterHandle, Event, Restart, SendError, Timeouts, Workers,
};

use crate::scenario::{Client, PATIENCE, tcp};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note(String);

fn app() -> App {
    App::new()
        .get("/", async || "alive")
        .get("/executor-panic", async || {
            drop(corelane::spawn_local(async { panic!("a task, on purpose") }));
        })
        .get("/stall", async || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                std::hint::spin_loop();
            }
        })
}

fn cluster() -> ClusterHandle {
    let mut timeouts = Timeouts::default();
    timeouts.stall = Duration::from_millis(200);
    let cluster = Cluster::new(app).listen("127.0.0.1:0").instances(2).timeouts(timeouts);
    cluster.restart(Restart::unlimited()).spawn().unwrap()
}

#[track_caller]
fn wait(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("it happens in time");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn clusters_of_one_process_do_not_disturb_each_other() {
    let (one, other) = (cluster(), cluster());
    let (events, quiet) = (one.events(), other.events());
    let mut kept: Vec<_> = (0..4).map(|_| Client::connect(tcp(&other))).collect();
    let mut is_served = || {
        kept.iter_mut().all(|client| client.ask("/").is_answer())
            && Client::connect(tcp(&other)).ask_last("/").is_answer()
    };
    assert!(is_served());
    let _answer = Client::connect(tcp(&one)).ask("/executor-panic");
    wait(&events, |event| matches!(event, Event::Restarting { .. }));
    assert!(is_served());
    Client::connect(tcp(&one)).send("/stall").unwrap();
    wait(&events, |event| matches!(event, Event::Stalled { .. }));
    assert!(is_served());
    let address = tcp(&one);
    one.shutdown().unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(is_served());
    assert_eq!(quiet.try_iter().collect::<Vec<_>>(), []);
}

/// An app that keeps and passes on what it is told.
fn talking(heard: &Arc<Mutex<Vec<(usize, Note)>>>) -> App {
    let heard = Arc::clone(heard);
    App::new()
        .on_message(move |note: Note| {
            let worker = Workers::current().own();
            heard.lock().unwrap().push((worker, note.clone()));
            Workers::current().report((worker, note));
        })
        .get("/broadcast", async || {
            let workers = Workers::current();
            let told = workers.broadcast(&Note(format!("from {}", workers.own())));
            format!("{} of {}: {told}", workers.own(), workers.count())
        })
        .get("/send/0", async || format!("{:?}", Workers::current().send(0, Note("sent".into()))))
        .get("/send/9", async || format!("{:?}", Workers::current().send(9, Note("lost".into()))))
}

/// The next note that a worker has reported, and which.
#[track_caller]
fn reported(events: &Receiver<Event>) -> (usize, Note) {
    let event = wait(events, |event| matches!(event, Event::Message { .. }));
    let Event::Message { worker, message } = event else { unreachable!() };
    assert_eq!(message.get::<String>(), None);
    let (by, note) = message.get::<(usize, Note)>().expect("it is what was reported").clone();
    assert_eq!(worker, by);
    (worker, note)
}

#[test]
fn messages_reach_those_they_are_for() {
    let heard = Arc::<Mutex<Vec<(usize, Note)>>>::default();
    let factory = move || talking(&heard);
    let handle = Cluster::new(factory).listen("127.0.0.1:0").instances(3).spawn().unwrap();
    let events = handle.events();
    let note = |text: &str| Note(text.to_owned());
    handle.send(1, note("to one")).unwrap();
    assert_eq!(reported(&events), (1, note("to one")));
    assert_eq!(handle.send(3, note("to none")), Err(SendError::Absent(note("to none"))));
    assert_eq!(handle.broadcast(&note("to all")), 3);
    let mut got: Vec<_> = (0..3).map(|_| reported(&events)).collect();
    got.sort_by_key(|(worker, _)| *worker);
    assert_eq!(got, [0, 1, 2].map(|worker| (worker, note("to all"))));
    let mut client = Client::connect(tcp(&handle));
    let told = client.ask("/broadcast").body();
    let from: usize = told[..1].parse().unwrap();
    assert_eq!(told, format!("{from} of 3: 2"));
    let mut got: Vec<_> = (0..2).map(|_| reported(&events)).collect();
    got.sort_by_key(|(worker, _)| *worker);
    let others = (0..3).filter(|worker| *worker != from);
    assert_eq!(
        got,
        others.map(|worker| (worker, note(&format!("from {from}")))).collect::<Vec<_>>()
    );
    assert_eq!(client.ask("/send/0").body(), "Ok(())");
    assert_eq!(reported(&events), (0, note("sent")));
    assert_eq!(client.ask("/send/9").body(), "Err(Absent)");
    // Nobody reads those of another type; nothing comes of it.
    assert_eq!(handle.broadcast(&"a string"), 3);
    assert!(client.ask("/send/0").is_answer());
    assert_eq!(reported(&events), (0, note("sent")));
}

#[test]
fn metrics_name_every_worker() {
    let cluster = Cluster::new(app).name("shop").listen("127.0.0.1:0").instances(3);
    let handle = cluster.metrics("127.0.0.1:0").spawn().unwrap();
    assert!(Client::connect(tcp(&handle)).ask_last("/").is_answer());
    let Some(Address::Tcp(address)) = handle.metrics() else { panic!("{handle:?}") };
    let text = Client::connect(address).ask_last("/metrics").body();
    for worker in 0..3 {
        let up = format!("corelane_worker_up{{app=\"shop\",worker=\"{worker}\"}} 1");
        assert!(text.lines().any(|line| line == up), "{up:?} in {text}");
    }
    let typed = |line: &str| line.starts_with("# TYPE corelane_");
    assert!(text.lines().any(typed), "{text}");
    handle.shutdown().unwrap();
    assert!(TcpStream::connect(address).is_err());
}
