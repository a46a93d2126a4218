//! Clients that go away, stop, or never read, at each stage of a request.

use std::fs::File;
use std::net::Shutdown;

use futures_lite::stream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::*;
use crate::sys::alone::alone;

const HOST: &str = "Host: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(80);

fn endless() -> App {
    hello().get("/endless", async || {
        let chunk = Bytes::from(vec![b'x'; 16 * 1024]);
        Response::new(Body::stream(stream::repeat_with(move || Ok(chunk.clone()))))
    })
}

/// What a client may have sent when it stops, and how many requests the worker then has seen.
fn stages() -> Vec<(String, u64)> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{HOST}");
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nContent-Length: 99\r\n{HOST}half");
    let upgrade = "Connection: upgrade\r\nUpgrade: echo\r\n";
    vec![
        (String::new(), 0),
        ("GET / HT".to_owned(), 0),
        (get("/"), 1),
        (get("/").repeat(100), 100),
        (get("/") + "GET / HT", 1),
        (post("/length"), 1),
        (post("/echo"), 1),
        (post("/ignore"), 1),
        (get("/pending"), 1),
        (get("/") + &get("/pending"), 2),
        (get("/large").repeat(50), 1),
        (get("/endless"), 1),
        ("nonsense\r\n\r\n".to_owned(), 0),
        (format!("GET /upgrade HTTP/1.1\r\n{upgrade}{HOST}"), 1),
    ]
}

#[test]
fn a_client_may_reset_at_any_stage() {
    let mut worker = Worker::new(endless);
    for (sent, requests) in stages() {
        let mut stream = worker.connect();
        let before = worker.stats.requests.get();
        stream.write_all(sent.as_bytes()).unwrap();
        until(|| worker.stats.requests.get() >= before + requests);
        until(|| worker.stats.accepted.get() > 0);
        reset(stream);
        until(|| worker.stats.connections.get() == 0);
    }
    assert_eq!(worker.drain(), Served { cut: 0 });
}

#[test]
fn a_client_may_go_away_at_any_stage() {
    let mut worker = Worker::with(endless, |_, timeouts| timeouts.write_idle = SHORT);
    for (sent, _) in stages().into_iter().filter(|(sent, _)| !sent.contains("/pending")) {
        let mut stream = worker.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        drop(stream);
        until(|| worker.stats.connections.get() == 0);
    }
    assert_eq!(worker.drain(), Served { cut: 0 });
}

#[test]
fn a_client_may_end_its_side_at_any_stage() {
    let mut worker = Worker::new(hello);
    for (sent, requests) in stages() {
        if sent.contains("/pending") || sent.contains("/endless") {
            continue;
        }
        let mut stream = worker.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answers = rest(&mut stream);
        let expected = if sent.contains("/large") { 50 } else { requests };
        let refused = u64::from(sent.contains("nonsense"));
        let seen = answers.matches("HTTP/1.1 ").count() as u64;
        // An answer that streams the body back is cut before it has begun.
        assert!(seen == expected + refused, "{sent}: {answers}");
    }
    until(|| worker.stats.connections.get() == 0);
    assert_eq!(worker.drain(), Served { cut: 0 });
}

#[test]
fn a_client_that_never_reads_is_cut_whatever_it_has_asked_for() {
    let worker = Worker::with(endless, |limits, timeouts| {
        timeouts.write_idle = SHORT;
        limits.body_bytes = 1 << 40;
    });
    let echo = format!("POST /echo HTTP/1.1\r\nContent-Length: 1000000000\r\n{HOST}");
    for sent in [format!("GET /endless HTTP/1.1\r\n{HOST}"), echo] {
        let mut stream = worker.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        until(|| worker.stats.connections.get() == 1);
        let junk = vec![b'x'; 64 * 1024];
        if sent.contains("/echo") {
            while stream.write_all(&junk).is_ok() {}
        }
        until(|| worker.stats.connections.get() == 0);
    }
}

#[test]
fn a_body_that_stops_while_it_is_streamed_back_cuts_the_answer() {
    let worker = Worker::with(hello, |_, timeouts| timeouts.body_idle = SHORT);
    let answer = worker.ask(&format!("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n{HOST}half"));
    assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
    until(|| worker.stats.connections.get() == 0);
}

#[test]
fn no_deadline_of_the_clients_runs_while_a_handler_works() {
    let worker = Worker::with(hello, |_, timeouts| {
        timeouts.header = SHORT;
        timeouts.keep_alive = SHORT;
        timeouts.body_idle = SHORT;
        timeouts.write_idle = SHORT;
    });
    let mut stream = worker.connect();
    for _ in 0..2 {
        stream.write_all(format!("GET /slow HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
        assert!(answer(&mut stream).ends_with("slow"));
    }
}

#[test]
fn the_client_reads_the_refusal_behind_a_body_of_10_mib() {
    let worker = Worker::new(hello);
    let body = vec![b'x'; 10 << 20];
    for head in ["Content-Length: 10485760\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = worker.connect();
        stream.write_all(format!("POST /length HTTP/1.1\r\n{head}{HOST}").as_bytes()).unwrap();
        if head.contains("chunked") {
            stream.write_all(b"a00000\r\n").unwrap();
        }
        // It may not get rid of all of it, but it reads only when it has tried.
        let _ = stream.write_all(&body);
        let mut refusal = [0; 12];
        stream.read_exact(&mut refusal).unwrap();
        assert_eq!(&refusal, b"HTTP/1.1 413", "{head}");
    }
    until(|| worker.stats.connections.get() == 0);
}

#[test]
fn a_client_that_goes_on_sending_behind_its_last_answer_is_cut() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\nExpect: x\r\n{HOST}").as_bytes()).unwrap();
    assert!(answer(&mut stream).starts_with("HTTP/1.1 417 "));
    let begun = Instant::now();
    while stream.write_all(&[b'x'; 16 * 1024]).is_ok() {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(begun.elapsed() < linger::LINGER_MAX / 2, "it is the bytes that were too many");
}

#[test]
fn a_client_may_go_on_sending_for_a_while_behind_its_last_answer() {
    let worker = Worker::new(hello);
    let mut stream = worker.connect();
    let begun = Instant::now();
    stream.write_all(format!("GET / HTTP/1.1\r\nExpect: x\r\n{HOST}").as_bytes()).unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 417 "));
    // A closed socket would answer the first of these with a reset.
    for _ in 0..20 {
        stream.write_all(&[b'x'; 1024]).unwrap();
    }
    assert_eq!(worker.stats.connections.get(), 1);
    until(|| worker.stats.connections.get() == 0);
    assert!(begun.elapsed() < 2 * linger::LINGER_MAX);
}

#[test]
fn only_so_many_connections_linger_at_once() {
    let worker = Worker::new(hello);
    let (mut held, begun) = (Vec::new(), Instant::now());
    for _ in 0..linger::LINGERING_MAX + 5 {
        let mut stream = worker.connect();
        stream.write_all(format!("GET / HTTP/1.1\r\nExpect: x\r\n{HOST}").as_bytes()).unwrap();
        assert!(rest(&mut stream).starts_with("HTTP/1.1 417 "));
        held.push(stream);
    }
    until(|| worker.stats.connections.get() <= linger::LINGERING_MAX as u64);
    assert!(begun.elapsed() < linger::LINGER_MAX, "they were too many, not too long");
}

#[test]
fn each_head_has_its_own_deadline() {
    let worker = Worker::with(hello, |_, timeouts| timeouts.header = SHORT);
    let mut stream = worker.connect();
    stream.write_all(format!("GET /slow HTTP/1.1\r\n{HOST}GET / HT").as_bytes()).unwrap();
    assert!(answer(&mut stream).ends_with("slow"));
    assert!(rest(&mut stream).starts_with("HTTP/1.1 408 "));
    let mut stream = worker.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
    answer(&mut stream);
    stream.write_all(b"GET / HT").unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 408 "));
}

#[test]
fn answers_to_one_who_does_not_read_are_not_piled_up() {
    let app = || hello().get("/copied", async || "x".repeat(exchange::COPIED_MAX));
    let worker = Worker::with(app, |_, timeouts| timeouts.write_idle = SHORT);
    let mut stream = worker.connect();
    let requests = format!("GET /copied HTTP/1.1\r\n{HOST}").repeat(1700);
    stream.write_all(requests.as_bytes()).unwrap();
    until(|| worker.stats.requests.get() > 0);
    until(|| worker.stats.connections.get() == 0);
    let served = worker.stats.requests.get();
    assert!(served < 1700, "{served} answers of {} bytes", exchange::COPIED_MAX);
}

#[test]
fn accepting_resumes_when_descriptors_are_closed() {
    // The limit is the process's, so this takes one of its own.
    if !alone(&[]) {
        return;
    }
    // The kernel looks at the limit when the accept begins, so it is set before there is one.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 100), maximum }).unwrap();
    let worker = Worker::new(hello);
    let get = format!("GET / HTTP/1.1\r\n{HOST}");
    let mut kept = worker.connect();
    kept.write_all(get.as_bytes()).unwrap();
    answer(&mut kept);
    // The clients' descriptors are of this process too; and there are to be few others.
    let sockets: Vec<_> =
        (0..16).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let mut ballast: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    ballast.truncate(ballast.len() - 8);
    for socket in &sockets {
        socket.connect(&worker.address.into()).unwrap();
    }
    let mut held: Vec<TcpStream> = sockets.into_iter().map(Into::into).collect();
    until(|| worker.stats.accept_failures.get() > 0);
    // It serves those that are open, and does not try again and again.
    let (begun, failures) = (Instant::now(), worker.stats.accept_failures.get());
    while worker.stats.accept_failures.get() < failures + 3 {
        kept.write_all(get.as_bytes()).unwrap();
        assert!(answer(&mut kept).ends_with("Hello, Cluster!"));
    }
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
    let mut last = held.pop().unwrap();
    last.write_all(get.as_bytes()).unwrap();
    drop(held);
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(answer(&mut last).ends_with("Hello, Cluster!"));
}

#[test]
fn a_client_that_asks_in_time_is_answered_though_another_holds_the_worker_up() {
    const TIMEOUT: Duration = Duration::from_millis(800);
    let stalling = || {
        hello().get("/stall", async || {
            std::thread::sleep(TIMEOUT * 2);
            "done"
        })
    };
    let worker = Worker::with(stalling, |_, timeouts| timeouts.keep_alive = TIMEOUT);
    let request = format!("GET / HTTP/1.1\r\n{HOST}");
    let mut clients: Vec<_> = (0..60).map(|_| worker.connect()).collect();
    let mut staller = worker.connect();
    for client in &mut clients {
        client.write_all(request.as_bytes()).unwrap();
    }
    for client in &mut clients {
        assert!(answer(client).starts_with("HTTP/1.1 200 "));
    }
    staller.write_all(request.replace("/ ", "/stall ").as_bytes()).unwrap();
    // Those who have been answered wait for their next request, and the worker stands still.
    until(|| worker.stats.requests.get() == 61);
    for client in &mut clients {
        client.write_all(request.as_bytes()).unwrap();
    }
    for client in &mut clients {
        assert!(answer(client).starts_with("HTTP/1.1 200 "));
    }
    assert!(answer(&mut staller).ends_with("done"));
}

/// A worker of whose answers the kernel takes but a few kilobytes before the client reads.
fn narrow(settings: fn(&mut Limits, &mut Timeouts)) -> Worker {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_send_buffer_size(4096).unwrap();
    let app = || hello().get("/copied", async || "x".repeat(exchange::COPIED_MAX));
    Worker::on(listener, app, settings, OnPanic::Respond)
}

/// A client that has asked and not read yet; the answer is on its way, and will stay there.
fn asked(worker: &Worker) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&worker.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET /copied HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
    until(|| worker.stats.bytes_sent.get() > 0);
    assert_eq!(worker.stats.latency.snapshot().count(), 0, "it is still on its way");
    stream
}

fn is_whole(answer: &str) -> bool {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    body.bytes().take_while(|byte| *byte == b'x').count() == exchange::COPIED_MAX
}

#[test]
fn an_answer_on_its_way_outlives_the_end_of_the_requests() {
    let worker = narrow(|_, _| {});
    let mut stream = asked(&worker);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(SHORT);
    assert!(is_whole(&rest(&mut stream)));
    until(|| worker.stats.latency.snapshot().count() == 1);
}

#[test]
fn an_answer_on_its_way_outlives_the_time_of_an_idle_connection() {
    let worker = narrow(|_, timeouts| timeouts.keep_alive = SHORT);
    let mut stream = asked(&worker);
    std::thread::sleep(3 * SHORT);
    assert!(is_whole(&rest(&mut stream)));
}

#[test]
fn an_answer_on_its_way_is_not_cut_by_a_drain() {
    let mut worker = narrow(|_, timeouts| timeouts.idle_grace = SHORT);
    let mut stream = asked(&worker);
    worker.orders.send(Order::Drain).ok().unwrap();
    std::thread::sleep(3 * SHORT);
    assert!(is_whole(&rest(&mut stream)));
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn the_next_answer_waits_for_the_one_that_is_on_its_way() {
    let worker = narrow(|_, _| {});
    let mut stream = asked(&worker);
    stream.write_all(format!("GET /users/7 HTTP/1.1\r\n{CLOSE}").as_bytes()).unwrap();
    std::thread::sleep(SHORT);
    let answers = rest(&mut stream);
    assert!(is_whole(&answers) && answers.ends_with("seven"), "in this order");
}

#[test]
fn an_answer_that_nobody_reads_ends_its_connection() {
    let worker = narrow(|_, timeouts| timeouts.write_idle = SHORT);
    let _stream = asked(&worker);
    until(|| worker.stats.connections.get() == 0);
    assert_eq!(worker.stats.latency.snapshot().count(), 0);
}
