//! The programs of a file that is run in the foreground.

use std::cell::Cell;
use std::env;
use std::path::PathBuf;
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::super::exit::Failure;
use super::INIT;
use crate::control::{Answer, Code, Outcome, STARTED_AGAIN, Selector, Spec, Status, Verb};
use crate::manager::{Foreground, News, Orders, Witness};
use crate::service::{Change, Companions, Exit, Listener, Order, Word};

/// What the manager's answers begin with that were worth nothing.
const UNCHANGED: &str = "nothing was changed: ";

/// The programs of a file.
pub(super) struct Programs {
    corelane: PathBuf,
    /// Those of what was read last, until they are looked at.
    read: Rc<Cell<Vec<Spec>>>,
    /// Those that run, or have ended as they should.
    holds: Vec<Spec>,
    /// Those that are to run, once a change is over.
    wanted: Vec<Spec>,
    foreground: Option<Foreground>,
    reach: Arc<Reach>,
    told: Option<Listener>,
}

/// How the programs are reached by those who do not have them.
#[derive(Default)]
struct Reach {
    orders: OnceLock<Orders>,
    ending: AtomicBool,
}

/// Why programs are not as they should be.
struct Trouble {
    code: Code,
    problem: String,
}

impl Programs {
    pub(super) fn new(read: Rc<Cell<Vec<Spec>>>) -> Result<Self, Failure> {
        let corelane = env::current_exe()
            .map_err(|error| Failure::System { what: "find this program's file", error })?;
        let (holds, wanted) = (read.take(), Vec::new());
        let (foreground, reach, told) = (None, Arc::default(), None);
        Ok(Self { corelane, read, holds, wanted, foreground, reach, told })
    }

    /// Who carries out orders.
    fn orders(&mut self) -> Result<Orders, Trouble> {
        if let Some(foreground) = &self.foreground {
            return Ok(foreground.orders().clone());
        }
        let foreground = Foreground::start(self.corelane.clone(), self.witness());
        let foreground = foreground.map_err(|error| Trouble {
            code: Code::Failed,
            problem: format!("cannot look after programs: {error}"),
        })?;
        let orders = foreground.orders().clone();
        self.foreground = Some(foreground);
        let _first = self.reach.orders.set(orders.clone());
        // Whoever said so before has reached nobody.
        if self.reach.ending.load(Ordering::SeqCst) {
            orders.end();
        }
        Ok(orders)
    }

    fn witness(&self) -> Witness {
        let told = self.told.clone();
        Arc::new(move |news| {
            let word = match news {
                News::Said(line) => Word::Line(line),
                News::Errored { app, problem } => Word::Errored(format!("{app}: {problem}")),
                News::AllEnded { code } => Word::AllEnded(code),
                News::Over => Word::Over,
            };
            if let Some(told) = &told {
                told(word);
            }
        })
    }

    /// Has these run, and waits until they are ready.
    fn apply(&mut self, specs: Vec<Spec>) -> Result<(), Trouble> {
        let orders = self.orders()?;
        let answer = answered(orders.give(Verb::Apply { specs, dry: false }))?;
        let mut failed = answer.outcomes;
        failed.retain(|outcome| outcome.code != Code::Done);
        if failed.is_empty() {
            return Ok(());
        }
        // What has run and is to stay down as it ended, by its policy, has not failed to start.
        let overview = orders.overview();
        let ended = |outcome: &Outcome| {
            let mut apps = overview.iter().flat_map(|overview| &overview.apps);
            let app = apps.find(|app| app.name == outcome.app && app.status == Status::Stopped);
            // One that was killed because it was not ready has another problem than its end.
            app.is_some_and(|app| {
                app.last_exit.is_some() && (app.problem.is_none() || app.problem == app.last_exit)
            })
        };
        failed.retain(|outcome| !ended(outcome));
        let Some(code) = failed.iter().map(|outcome| outcome.code).max() else { return Ok(()) };
        let line = |outcome: &Outcome| {
            let Outcome { app, message, .. } = outcome;
            format!("{app}: {}", message.trim_end_matches(STARTED_AGAIN))
        };
        let problem = failed.iter().map(line).collect::<Vec<_>>().join("\n");
        Err(Trouble { code, problem })
    }

    /// Those that are to run and are not what runs: changed, and new.
    fn differing(&self) -> (Vec<Spec>, Vec<Spec>) {
        let known = |spec: &Spec| self.holds.iter().find(|held| held.name == spec.name);
        let (known, fresh): (Vec<_>, Vec<_>) =
            self.wanted.iter().cloned().partition(|spec| known(spec).is_some());
        let differs = |spec: &Spec| {
            let held = self.holds.iter().find(|held| held.name == spec.name);
            held.is_none_or(|held| !held.differences(spec).is_empty())
        };
        (known.into_iter().filter(differs).collect(), fresh)
    }

    /// Those of what runs that have these names are what they were, and those of what is new are
    /// gone.
    fn go_back(&mut self, changed: &[Spec], fresh: &[Spec]) -> Result<(), Trouble> {
        let orders = self.orders()?;
        if !fresh.is_empty() {
            answered(orders.give(Verb::Delete { apps: selectors(fresh) }))?;
        }
        let was = |held: &&Spec| changed.iter().any(|spec| spec.name == held.name);
        let old: Vec<_> = self.holds.iter().filter(was).cloned().collect();
        if old.is_empty() { Ok(()) } else { self.apply(old) }
    }
}

impl Companions for Programs {
    fn start(&mut self, told: Listener) -> Result<(), Exit> {
        self.told = Some(told);
        if self.holds.is_empty() && process::id() != INIT {
            return Ok(());
        }
        let started = match self.holds.as_slice() {
            [] => self.orders().map(drop),
            specs => self.apply(specs.to_vec()),
        };
        started.map_err(|trouble| {
            if self.reach.ending.load(Ordering::SeqCst) {
                return Exit::with(Code::Done.number(), None);
            }
            Exit::with(trouble.code.number(), Some(trouble.problem))
        })
    }

    fn ender(&self) -> Order {
        let reach = Arc::clone(&self.reach);
        Box::new(move || {
            reach.ending.store(true, Ordering::SeqCst);
            if let Some(orders) = reach.orders.get() {
                orders.end();
            }
        })
    }

    fn aborter(&self) -> Order {
        let reach = Arc::clone(&self.reach);
        Box::new(move || {
            if let Some(orders) = reach.orders.get() {
                orders.abort();
            }
        })
    }

    fn count(&self) -> usize {
        self.holds.len()
    }

    fn are_attended(&self) -> bool {
        self.foreground.is_some()
    }

    fn may_change(&mut self) -> Result<(), String> {
        self.wanted = self.read.take();
        let (mut specs, fresh) = self.differing();
        specs.extend(fresh);
        if specs.is_empty() {
            return Ok(());
        }
        let orders = self.orders().map_err(|trouble| trouble.problem)?;
        let checked = answered(orders.give(Verb::Apply { specs, dry: true }));
        checked.map(drop).map_err(|trouble| trouble.problem)
    }

    fn change(&mut self) -> Result<Change, String> {
        let (changed, fresh) = self.differing();
        let kept = self.wanted.len() - changed.len() - fresh.len();
        if changed.is_empty() && fresh.is_empty() {
            return Ok(Change { kept, ..Change::default() });
        }
        let both = changed.iter().chain(&fresh).cloned().collect();
        let Err(Trouble { mut problem, .. }) = self.apply(both) else {
            return Ok(Change { changed: changed.len(), started: fresh.len(), kept });
        };
        if let Err(trouble) = self.go_back(&changed, &fresh) {
            problem = format!("{problem}\nand what was before does not come back:");
            problem = format!("{problem} {}", trouble.problem);
        }
        Err(problem)
    }

    fn dismiss(&mut self) -> usize {
        let wanted = std::mem::take(&mut self.wanted);
        let (_, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.holds)
            .into_iter()
            .partition(|held| wanted.iter().any(|spec| spec.name == held.name));
        self.holds = wanted;
        if let Some(foreground) = self.foreground.as_ref().filter(|_| !gone.is_empty()) {
            foreground.orders().leave(Verb::Delete { apps: selectors(&gone) });
        }
        gone.len()
    }

    fn end(self: Box<Self>) {
        if let Some(foreground) = self.foreground {
            foreground.end();
        }
    }
}

/// What was answered, if anything could be done at all.
fn answered(answer: Option<Answer>) -> Result<Answer, Trouble> {
    let nobody = || Trouble { code: Code::Failed, problem: "the programs end".to_owned() };
    let answer = answer.ok_or_else(nobody)?;
    match answer.error {
        Some(error) => {
            let problem = error.strip_prefix(UNCHANGED).unwrap_or(&error).to_owned();
            Err(Trouble { code: answer.code, problem })
        }
        None => Ok(answer),
    }
}

fn selectors(specs: &[Spec]) -> Vec<Selector> {
    specs.iter().map(|spec| Selector(spec.name.clone())).collect()
}
