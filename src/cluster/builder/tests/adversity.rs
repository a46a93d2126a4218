//! Workers that are held up while the supervisor wants something of them.

use super::*;

/// Keeps its core for so many milliseconds.
fn blocking() -> App {
    App::new().get("/", async || "alive").get(
        "/block/:millis",
        async |crate::app::Path(millis): crate::app::Path<u64>| {
            std::thread::sleep(Duration::from_millis(millis));
            "late"
        },
    )
}

#[test]
fn a_worker_that_stalls_while_it_retires_is_treated_as_stuck() {
    let (cluster, log) = cluster(blocking);
    let handle = cluster.instances(1).spawn().unwrap();
    let mut stuck = connect(&handle);
    write!(stuck, "GET /block/8000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let timeouts = Timeouts { stall: Duration::from_millis(300), ..Timeouts::default() };
    let next = Cluster::new(blocking).listen("127.0.0.1:0").cpus(cpu()).instances(1);
    handle.reload(next.timeouts(timeouts)).unwrap();
    wait_for(&log, |event| matches!(event, Event::Stalled { .. }));
    wait_for(&log, |event| matches!(event, Event::Recovered { .. }));
    handle.shutdown().unwrap();
}
