//! Taking leave of all kinds of clients.

use super::*;

const HOST: &str = "Host: h\r\n\r\n";

fn patient(_: &mut Limits, timeouts: &mut Timeouts) {
    timeouts.idle_grace = PATIENCE;
}

/// Tells the worker to drain, and waits until it does: until it closes this connection.
fn drain(worker: &Worker, connection: &mut TcpStream) {
    worker.orders.send(Order::Drain).ok().unwrap();
    until(|| {
        connection.write_all(format!("GET / HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
        answer(connection).contains("\r\nConnection: close\r\n")
    });
}

#[test]
fn a_client_that_has_not_asked_yet_is_not_blamed() {
    let mut worker = Worker::new(hello);
    let mut fresh = worker.connect();
    until(|| worker.stats.connections.get() == 1);
    worker.orders.send(Order::Drain).ok().unwrap();
    assert_eq!(rest(&mut fresh), "");
    assert_eq!(worker.stats.refused.get(), 0);
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn a_connection_accepted_just_before_is_answered() {
    let mut worker = Worker::with(hello, patient);
    let (mut fresh, mut other) = (worker.connect(), worker.connect());
    until(|| worker.stats.connections.get() == 2);
    drain(&worker, &mut other);
    fresh.write_all(format!("GET / HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
    assert!(rest(&mut fresh).ends_with("Hello, Cluster!"));
    drop((fresh, other));
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn of_pipelined_requests_the_one_begun_is_answered_last() {
    let mut worker = Worker::new(hello);
    let mut stream = worker.connect();
    let requests = ["/", "/slow", "/users/7"].map(|path| format!("GET {path} HTTP/1.1\r\n{HOST}"));
    stream.write_all(requests.concat().as_bytes()).unwrap();
    until(|| worker.stats.requests.get() == 2);
    worker.orders.send(Order::Drain).ok().unwrap();
    let answers = rest(&mut stream);
    assert!(answers.ends_with("slow"), "{answers}");
    assert_eq!(answers.matches("Connection: close\r\n").count(), 1, "{answers}");
    drop(stream);
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn a_body_that_was_begun_is_received_to_its_end() {
    let mut worker = Worker::with(hello, patient);
    let mut stream = worker.connect();
    let mut idle = worker.connect();
    until(|| worker.stats.connections.get() == 2);
    stream
        .write_all(format!("POST /length HTTP/1.1\r\nContent-Length: 8\r\n{HOST}half").as_bytes())
        .unwrap();
    until(|| worker.stats.requests.get() == 1);
    drain(&worker, &mut idle);
    stream.write_all(b"rest").unwrap();
    let answer = rest(&mut stream);
    assert!(answer.ends_with("\r\n\r\n8") && answer.contains("\r\nConnection: close\r\n"));
    drop((stream, idle));
    assert_eq!(worker.join(), Served { cut: 0 });
}

#[test]
fn an_upgraded_connection_goes_on_until_it_is_cut() {
    let mut worker = Worker::with(hello, |_, timeouts| timeouts.drain = SLOW);
    let mut stream = worker.connect();
    let head = "Connection: upgrade\r\nUpgrade: echo\r\n";
    stream.write_all(format!("GET /upgrade HTTP/1.1\r\n{head}{HOST}").as_bytes()).unwrap();
    answer(&mut stream);
    worker.orders.send(Order::Drain).ok().unwrap();
    stream.write_all(b"still here").unwrap();
    assert_eq!(rest(&mut stream), "still here");
    assert_eq!(worker.join(), Served { cut: 1 });
}

#[test]
fn an_upgraded_connection_can_end_with_the_beginning() {
    let app = || {
        App::new().get("/upgrade", async || {
            Response::empty(StatusCode::OK).upgrade(async |mut io, _| {
                use futures_lite::AsyncWriteExt as _;
                rt::draining().await;
                io.write_all(b"bye").await.unwrap();
                io.close().await.unwrap();
            })
        })
    };
    let mut worker = Worker::new(app);
    let mut stream = worker.connect();
    stream
        .write_all(
            format!("GET /upgrade HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n{HOST}")
                .as_bytes(),
        )
        .unwrap();
    answer(&mut stream);
    assert_eq!(worker.drain(), Served { cut: 0 });
    assert_eq!(rest(&mut stream), "bye");
}

#[test]
fn what_waits_for_the_drain_ends_with_its_beginning() {
    let app = || {
        App::new().get("/endless", async || {
            let pieces = futures_lite::stream::unfold(false, async |begun| {
                if begun {
                    rt::draining().await;
                    return None;
                }
                Some((Ok(Bytes::from_static(b"begun")), true))
            });
            Response::new(Body::stream(pieces))
        })
    };
    let mut worker = Worker::new(app);
    let mut streams = [worker.connect(), worker.connect()];
    let mut first = [0; 1];
    for stream in &mut streams {
        stream.write_all(format!("GET /endless HTTP/1.1\r\n{HOST}").as_bytes()).unwrap();
        stream.read_exact(&mut first).unwrap();
    }
    assert_eq!(worker.drain(), Served { cut: 0 });
    for stream in &mut streams {
        assert!(rest(stream).ends_with("\r\n\r\n5\r\nbegun\r\n0\r\n\r\n"));
    }
}

#[test]
fn a_connection_is_idle_after_a_large_body() {
    let late = || {
        hello().post("/late", async |body: Body| {
            // Until then it collects, and becomes one large piece.
            rt::sleep(SLOW).await;
            body.collect()
                .await
                .map_or_else(|error| error.to_string(), |body| body.len().to_string())
        })
    };
    for path in ["/late", "/length"] {
        let mut worker = Worker::new(late);
        let mut stream = worker.connect();
        let body = "x".repeat(40_000);
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: 40000\r\n{HOST}");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        assert!(answer(&mut stream).ends_with("\r\n\r\n40000"));
        assert_eq!(worker.drain(), Served { cut: 0 }, "{path}");
        assert_eq!(rest(&mut stream), "");
    }
}
