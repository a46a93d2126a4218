//! What an application does at the beginning and at the end of a worker's life.

use std::sync::Mutex;

use super::*;
use crate::rt::{JoinHandle as Task, sleep, spawn_local};

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn hooks_run_before_the_first_request_and_behind_the_last() {
    let diary = Diary::default();
    let own = diary.clone();
    let mut worker = Worker::new(move || {
        let [outer, inner, slow, stop, last] = std::array::from_fn(|_| own.clone());
        let mounted = App::new()
            .on_start(async move || inner.note("mounted starts"))
            .on_stop(async move || last.note("mounted stops"));
        App::new()
            .on_start(async move || {
                sleep(Duration::from_millis(20)).await;
                outer.note("starts");
            })
            .on_stop(async move || stop.note("stops"))
            .get("/slow", async move || {
                sleep(SLOW).await;
                slow.note("answers");
                "slow"
            })
            .mount("/m", mounted)
    });
    assert_eq!(diary.read(), ["starts", "mounted starts"], "before it listens");
    let mut stream = worker.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    while worker.stats.requests.get() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(worker.drain().cut, 0);
    assert!(answer(&mut stream).ends_with("slow"));
    let behind = ["starts", "mounted starts", "answers", "stops", "mounted stops"];
    assert_eq!(diary.read(), behind);
}

#[test]
fn a_task_of_the_start_lives_as_long_as_the_worker() {
    struct Note(Diary);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.note("task ends");
        }
    }
    let diary = Diary::default();
    let own = diary.clone();
    let worker = Worker::new(move || {
        let [task, stop] = std::array::from_fn(|_| own.clone());
        App::new()
            .on_start(async move || {
                let forever: Task<()> = spawn_local(async move {
                    let _note = Note(task);
                    pending::<()>().await;
                });
                drop(forever);
            })
            .on_stop(async move || stop.note("stops"))
    });
    assert_eq!(diary.read(), Vec::<String>::new());
    drop(worker);
    assert_eq!(diary.read(), ["stops", "task ends"]);
}

#[test]
fn a_hook_that_never_ends_does_not_keep_the_worker() {
    let settings = |_: &mut Limits, timeouts: &mut Timeouts| timeouts.drain = Duration::ZERO;
    let app = || App::new().on_stop(async || pending::<()>().await);
    let mut worker = Worker::with(app, settings);
    assert_eq!(worker.drain().cut, 0);
}
