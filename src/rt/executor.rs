//! The life of one executor: from its thread's start to the last completion of its ring.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::yield_now;
use glommio::io::BufferedFile;
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::event::{EventfdFlags, eventfd};

use super::block;
use super::driver::Driver;
use super::fault::Fault;
use super::registry::Registry;
use super::ring::Wait;
use super::task::{Tasks, spawn_detached};
use crate::stats::{Pulse, WorkerStats};

/// After so long in which nothing happened the core parks in glommio.
const PARK_AFTER: Duration = Duration::from_millis(20);
/// glommio's own way to go round, a timer that preempts the tasks, must never fire. If it does
/// before the first task of a round has run, glommio takes the round for idle and sleeps, whatever
/// is ready, until something else wakes it; a thread that is held up at that point is lost.
const PREEMPT_AFTER: Duration = NEVER;
/// For a timer that is not to fire.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Rounds of ready tasks between two looks at the ring.
const PASSES_MAX: u32 = 8;
/// Rounds in which cancelled tasks may go.
const CANCEL_PASSES_MAX: u32 = 64;

/// How to run an executor.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The CPU to pin the thread to; `None` leaves it to the kernel.
    pub cpu: Option<usize>,
    /// What it is called in messages.
    pub name: String,
    /// Where it counts.
    pub stats: Arc<WorkerStats>,
    /// By which others see whether it is alive.
    pub pulse: Arc<Pulse>,
    /// By which others reach its connections.
    pub registry: Registry,
}

impl Options {
    /// Of an executor that is not pinned, and that nobody watches.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            cpu: None,
            name: name.into(),
            stats: Arc::default(),
            pulse: Arc::new(Pulse::new()),
            registry: Registry::default(),
        }
    }
}

/// How an executor ended, other than by its main future.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum End {
    /// It could not be started.
    #[error("cannot start: {0}")]
    Start(String),
    /// A task panicked.
    #[error("{0}")]
    Panic(Fault),
    /// Its ring failed.
    #[error("the ring failed: {0}")]
    Ring(String),
}

/// Runs an executor on this thread until the future that `main` makes is done, or a task panics.
/// When this returns, every task is gone, every descriptor closed, and the kernel has let go of all
/// memory.
pub(crate) fn run<T, F>(options: &Options, main: impl FnOnce() -> F + 'static) -> Result<T, End>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    Fault::watch_thread();
    // glommio panics where io_uring is refused.
    let made = catch_unwind(|| make(options));
    let executor = made.map_err(|payload| End::Start(Fault::from_payload(&*payload).message))??;
    let _blocks = block::keep();
    let driver = Driver::new(options).map_err(|error| End::Start(error.to_string()))?;
    let tasks = Tasks::new(Rc::clone(&driver));
    let installed = driver.install();
    tasks.install();
    let result = Rc::new(Cell::new(None));
    let root = Root { driver: Rc::clone(&driver), tasks: Rc::clone(&tasks) };
    let into = Rc::clone(&result);
    let ran =
        catch_unwind(AssertUnwindSafe(|| executor.run(async move { root.live(main, into).await })));
    // On whatever path: the ring comes to rest before the executor goes.
    drop(installed);
    match ran {
        Err(payload) => Err(End::Panic(Fault::from_payload(&*payload))),
        Ok(Err(error)) => Err(End::Ring(error.to_string())),
        Ok(Ok(())) => match (tasks.fault(), result.take()) {
            (None, Some(value)) => Ok(value),
            (Some(fault), _) => Err(End::Panic(fault)),
            (None, None) => Err(End::Ring("the main task was lost".to_owned())),
        },
    }
}

fn make(options: &Options) -> Result<LocalExecutor, End> {
    let placement = options.cpu.map_or(Placement::Unbound, Placement::Fixed);
    // No registered memory: files are read through the other ring.
    LocalExecutorBuilder::new(placement)
        .name(&options.name)
        .io_memory(0)
        .preempt_timer(PREEMPT_AFTER)
        .make()
        .map_err(|error| End::Start(error.to_string()))
}

/// The root task.
struct Root {
    driver: Rc<Driver>,
    tasks: Rc<Tasks>,
}

impl Root {
    async fn live<T, F>(
        self,
        main: impl FnOnce() -> F + 'static,
        result: Rc<Cell<Option<T>>>,
    ) -> std::io::Result<()>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let done = Rc::new(Cell::new(false));
        let ended = Rc::clone(&done);
        let sleeper = Sleeper::spawn(&self)?;
        spawn_detached(async move {
            result.set(Some(main().await));
            ended.set(true);
        });
        let turning = self.turn_until(|| done.get() || self.tasks.failed());
        // A waker that panics must not unwind glommio either.
        let turned = AssertUnwindSafe(turning).catch_unwind().await.unwrap_or_else(|payload| {
            self.tasks.fail(Fault::from_payload(&*payload));
            Ok(())
        });
        self.cancel_tasks().await;
        self.driver.end();
        sleeper.end().await;
        turned
    }

    /// The loop that everything on this core hangs on: let the ready tasks run, submit and wait,
    /// wake those for whom something has happened.
    async fn turn_until(&self, done: impl Fn() -> bool) -> std::io::Result<()> {
        let mut visitor = Visitor::new();
        let mut visited = self.driver.now();
        let mut stirred = visited;
        loop {
            let before = self.driver.polls();
            let settled = self.settle().await;
            if done() {
                return Ok(());
            }
            let now = self.driver.now();
            let polled = self.driver.polls() != before;
            if polled {
                stirred = now;
            }
            if now - visited >= self.driver.slice() {
                visited = now;
                self.driver.visit();
                visitor.go_round().await;
                self.driver.end_visit();
                continue;
            }
            if !polled && now - stirred >= PARK_AFTER {
                if self.driver.park()? {
                    poll_fn(|cx| self.driver.poll_unparked(cx)).await;
                }
                stirred = self.driver.now();
                continue;
            }
            let events =
                if settled { self.driver.turn_and_wait()? } else { self.driver.turn(Wait::No)? };
            // The tasks may have taken long.
            if events > 0 || polled {
                stirred = self.driver.now();
            }
        }
    }

    /// Lets ready tasks run, in rounds, until a round passes in which nobody had anything to do.
    /// False if there is still work after the last round.
    async fn settle(&self) -> bool {
        for _ in 0..PASSES_MAX {
            let before = self.driver.polls();
            yield_now().await;
            if self.driver.polls() == before {
                return true;
            }
        }
        false
    }

    /// Cancels every task and waits until they are gone, with their sockets.
    async fn cancel_tasks(&self) {
        self.tasks.close();
        for _ in 0..CANCEL_PASSES_MAX {
            if Rc::strong_count(&self.tasks) <= EXPECTED_HOLDERS {
                return;
            }
            yield_now().await;
        }
        tracing::warn!("some tasks did not end when they were cancelled; their sockets are closed");
    }
}

/// Has glommio look at its rings (timers, helpers' results, other threads' wakers), however busy
/// the sockets are. Its loop goes round only when no task is ready: yielding, also of the task
/// queue, runs the same queue again at once. So the root task waits too, for a timer of glommio's
/// that is due: glommio finds it in its round, and so does not go to sleep.
struct Visitor(Timer);

impl Visitor {
    fn new() -> Self {
        Self(Timer::new(NEVER))
    }

    /// Waits until glommio has gone round.
    async fn go_round(&mut self) {
        let mut gone = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut gone, true) {
                return Pin::new(&mut self.0).poll(cx).map(drop);
            }
            // A timer that is due already would not be waited for. One that waits can be set.
            self.0.reset(NEVER);
            let _pending = Pin::new(&mut self.0).poll(cx);
            self.0.reset(Duration::ZERO);
            Poll::Pending
        })
        .await;
    }
}

/// A task that reads, in glommio's ring, the eventfd that our ring signals while the core is
/// parked: so whatever happens on either ring ends the park.
struct Sleeper {
    task: glommio::Task<()>,
    bell: OwnedFd,
    leaving: Rc<Cell<bool>>,
}

impl Sleeper {
    fn spawn(root: &Root) -> std::io::Result<Self> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC)?;
        let bell = signal.try_clone()?;
        root.driver.register_eventfd(signal.as_fd())?;
        // SAFETY: the descriptor is handed over; the file closes it.
        let file = unsafe { BufferedFile::from_raw_fd(signal.into_raw_fd()) };
        let driver = Rc::downgrade(&root.driver);
        let tasks = Rc::downgrade(&root.tasks);
        let leaving = Rc::new(Cell::new(false));
        let left = Rc::clone(&leaving);
        let task = glommio::spawn_local(async move {
            while !left.get() {
                let read = file.read_at(0, 8).await;
                let (Some(driver), Some(tasks)) = (driver.upgrade(), tasks.upgrade()) else {
                    break;
                };
                if let Err(error) = read {
                    // A core that cannot be woken must not live on.
                    let message = format!("the wake-up failed: {error}");
                    tasks.fail(Fault { message, location: None });
                    left.set(true);
                }
                driver.unpark();
            }
            // Dropped, it would be closed at glommio's next turn, which at the end never comes.
            let _ = file.close().await;
        });
        Ok(Self { task, bell, leaving })
    }

    /// Has it close its descriptor and end.
    async fn end(self) {
        self.leaving.set(true);
        if rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).is_ok() {
            self.task.await;
        }
    }
}

/// Who holds the table of tasks when all tasks are gone: `run` and the root.
const EXPECTED_HOLDERS: usize = 2;
