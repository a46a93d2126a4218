//! An engine for programs of this very process: without a home, an API or a successor. It ends
//! with the process, and the programs with it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use serde::de::DeserializeOwned;

use super::api::{Desk, Question};
use super::engine::{Engine, Start};
use super::ground::Ground;
use super::news::{News, Witness};
use super::passed::Passed;
use crate::control::{Answer, Overview, Verb};
use crate::sys::hearing::Hearing;
use crate::sys::orphan::Orphans;

/// How long an engine may take to kill everything.
const ABORT_MAX: Duration = Duration::from_secs(2);

/// Programs that run in the foreground.
#[derive(Debug)]
pub(crate) struct Foreground {
    orders: Orders,
    thread: JoinHandle<()>,
}

/// What can be told to them, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Orders(Desk);

/// The last word, in whatever way the engine's thread ends.
struct LastWord(Witness);

impl Drop for LastWord {
    fn drop(&mut self) {
        (self.0)(News::Over);
    }
}

impl Foreground {
    /// None runs yet. From now on this process waits for the ends of all orphans that it gets.
    ///
    /// # Errors
    /// The kernel refuses a descriptor or a thread.
    pub(crate) fn start(corelane: PathBuf, witness: Witness) -> io::Result<Self> {
        let ground = Ground::bare();
        let hearing = Hearing::at(&ground.mark())?;
        let bell: OwnedFd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (sender, inbox) = mpsc::channel();
        let desk = Desk::new(sender, bell.try_clone()?);
        let orders = Orders(desk.clone());
        let start = Start {
            ground,
            corelane,
            hearing,
            inbox,
            bell,
            desk,
            passed: Passed::default(),
            witness: Some(Arc::clone(&witness)),
            orphans: Some(Orphans::adopt()?),
        };
        let mut engine = Engine::new(start)?;
        // The programs are killed when the thread ends that has started them.
        let run = move || {
            let _last = LastWord(witness);
            engine.run();
            engine.close();
            engine.end_orphans();
        };
        let thread = thread::Builder::new().name("corelane-programs".to_owned()).spawn(run)?;
        Ok(Self { orders, thread })
    }

    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Ends the programs in order, and returns when all have ended.
    pub(crate) fn end(self) {
        self.orders.end();
        // If it panicked, its last word has been heard.
        let _ended = self.thread.join();
    }
}

impl Orders {
    /// Has something done, and waits until it is; nothing if there is nobody any more to do it.
    pub(crate) fn give(&self, verb: Verb) -> Option<Answer> {
        self.ask(Question::Verb(verb))
    }

    /// As [`give`](Self::give), but does not wait.
    pub(crate) fn leave(&self, verb: Verb) {
        drop(self.0.leave(Question::Verb(verb)));
    }

    /// How all are.
    pub(crate) fn overview(&self) -> Option<Overview> {
        self.ask(Question::Overview { selector: None, secrets: false })
    }

    /// All are to end in order; nobody waits for it.
    pub(crate) fn end(&self) {
        self.leave(Verb::Kill);
    }

    /// All end at once, and what they have started with them.
    pub(crate) fn abort(&self) {
        let (done, is_done) = mpsc::channel();
        drop(self.0.leave(Question::Abort { done }));
        // One that does not get to it leaves its programs to the kernel, which ends them as well.
        let _late = is_done.recv_timeout(ABORT_MAX);
    }

    fn ask<T: DeserializeOwned>(&self, question: Question) -> Option<T> {
        let answer = self.0.leave(question).recv_blocking().ok()?;
        serde_json::from_slice(&answer).ok()
    }
}
