//! What a warm request allocates.

use super::*;
use crate::rt::allocations;

const REQUESTS: u64 = 10_000;

fn counting() -> App {
    hello().get("/allocations", async || allocations().to_string())
}

/// Asks for `path` as often as said, some requests at a time.
fn ask(stream: &mut TcpStream, path: &str, times: u64, pipelined: usize) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n");
    let requests = request.repeat(pipelined);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answers = vec![0; answer(stream).len() * pipelined];
    for _ in 0..times / pipelined as u64 {
        stream.write_all(requests.as_bytes()).unwrap();
        stream.read_exact(&mut answers).unwrap();
    }
}

fn count(stream: &mut TcpStream) -> u64 {
    stream.write_all(b"GET /allocations HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let answer = answer(stream);
    answer.rsplit("\r\n\r\n").next().unwrap().parse().unwrap()
}

#[test]
fn a_warm_request_allocates_nothing_but_its_handlers_future() {
    let worker = Worker::new(counting);
    let mut stream = worker.connect();
    for (path, each) in [("/", 0), ("/users/7", 1)] {
        for pipelined in [1, 16] {
            ask(&mut stream, path, 100, pipelined);
            count(&mut stream);
            let before = count(&mut stream);
            let begun = Instant::now();
            ask(&mut stream, path, REQUESTS, pipelined);
            let allocated = count(&mut stream) - before;
            // What asking for the count takes, and the text of the date once a second: on an
            // emulated machine many of them.
            let besides = 32 + 8 * begun.elapsed().as_secs();
            println!("{path}, {pipelined} at a time: {allocated} allocations");
            assert!(
                allocated <= each * REQUESTS + besides,
                "{path}, {pipelined} at a time: {allocated} allocations"
            );
        }
    }
}
