//! What the command line asks for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::super::api::{Command, Question, Reply};
use super::super::app::{App, Order};
use super::super::{launch, log, store, upgrade};
use super::after::Held;
use super::{End, Engine};
use crate::cluster::Instances;
use crate::control::{Answer, Code, Home, Outcome, SCHEMA, Selector, Spec, Status, Verb};

/// Lines of its log that are shown of an app that failed.
const LOG_LINES: usize = 15;
/// The most workers of an app.
const INSTANCES_MAX: i64 = 1024;

/// Somebody who waits until something is done.
pub(super) struct Waiter {
    reply: Reply,
    /// What is still to be done.
    left: BTreeSet<u64>,
    /// For each app, by its number and the order's.
    apps: Vec<(u64, u32, String)>,
    outcomes: Vec<(u32, Outcome)>,
}

impl Engine {
    pub(super) fn obey(&mut self, Command { question, reply }: Command) {
        match question {
            Question::Verb(verb) => self.carry_out(verb, reply),
            Question::Overview { selector, secrets } => {
                self.ask_overview(selector, secrets, reply);
            }
            Question::Metrics => self.ask_metrics(reply),
            Question::Health { app, result } => self.heard_health(app, result),
            Question::Leave => {
                self.herald.stopping();
                self.end = Some(End::Left);
            }
            Question::Abort { done } => {
                self.lives.values().for_each(|life| life.child().kill_group());
                self.end_orphans();
                // Whoever asked may have gone on.
                let _gone = done.send(());
                self.end = Some(End::Killed);
            }
        }
    }

    fn carry_out(&mut self, verb: Verb, reply: Reply) {
        if self.killing.is_some() && !matches!(verb, Verb::Ping | Verb::Kill) {
            let problem = "not done: everything is being stopped".to_owned();
            return Self::reply(&reply, Code::Failed, Vec::new(), Some(problem));
        }
        if let Err(problem) = self.may_change(&verb) {
            tracing::warn!("{problem}");
            return Self::reply(&reply, Code::Failed, Vec::new(), Some(problem));
        }
        match verb {
            Verb::Ping => Self::reply(&reply, Code::Done, Vec::new(), None),
            Verb::Apply { specs, dry } => self.apply(specs, dry, reply),
            Verb::Start { apps } => self.order_all(&apps, reply, |_| Ok(Order::Start)),
            Verb::Stop { apps } => self.order_all(&apps, reply, |_| Ok(Order::Stop)),
            Verb::Restart { apps } => self.order_all(&apps, reply, |_| Ok(Order::Restart)),
            Verb::Delete { apps } => self.order_all(&apps, reply, |_| Ok(Order::Delete)),
            Verb::Reload { apps, force } => self.order_all(&apps, reply, |it| {
                it.refuse_lossy_reload(force)?;
                Ok(Order::Reload(Arc::clone(it.app.spec())))
            }),
            Verb::Scale { apps, instances } => {
                self.order_all(&apps, reply, |it| it.instances(&instances).map(Order::Scale));
            }
            Verb::Reset { apps } => self.each(&apps, &reply, |engine, id| {
                if let Some(app) = engine.apps.get_mut(&id) {
                    app.reset();
                }
                engine.changed = true;
                Ok("restarts count from 0".to_owned())
            }),
            Verb::Flush { apps } => self.each(&apps, &reply, |engine, id| {
                let Some(app) = engine.apps.get(&id) else { return Ok(String::new()) };
                let Some(files) = engine.ground.logs(app.spec()) else { return Ok(String::new()) };
                let flushed = log::flush(&files).map_err(|error| error.to_string());
                flushed.map(|()| "logs are empty".to_owned())
            }),
            Verb::Save => self.save(&reply),
            Verb::Resurrect => self.resurrect(reply),
            Verb::Kill => self.kill(reply),
            Verb::Upgrade => match self.may_upgrade() {
                Ok(()) => {
                    Self::reply(&reply, Code::Done, Vec::new(), None);
                    self.herald.reloading();
                    self.end = Some(End::Upgrade);
                }
                Err(problem) => {
                    let problem = format!("not upgraded, nothing has changed: {problem}");
                    Self::reply(&reply, Code::Failed, Vec::new(), Some(problem));
                }
            },
        }
    }

    /// Answers at once.
    fn reply(reply: &Reply, code: Code, outcomes: Vec<Outcome>, error: Option<String>) {
        let answer = Answer {
            schema: SCHEMA,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            code,
            outcomes,
            error,
        };
        reply.send(&answer);
    }

    /// The apps that are meant, or an answer that says who is not there.
    fn select(&self, selectors: &[Selector], reply: &Reply) -> Option<Vec<u32>> {
        let meant = |selector: &Selector| {
            let all = self.apps.iter();
            let ids = all.filter(|(id, app)| selector.is(**id, &app.spec().name));
            ids.map(|(id, _)| *id).collect::<Vec<_>>()
        };
        let mut ids = BTreeSet::new();
        let mut missing = Vec::new();
        for selector in selectors {
            let found = meant(selector);
            if found.is_empty() && !selector.is_all() {
                missing.push(format!("`{selector}`"));
            }
            ids.extend(found);
        }
        if missing.is_empty() {
            return Some(ids.into_iter().collect());
        }
        let known: Vec<_> = self.apps.values().map(|app| app.spec().name.as_str()).collect();
        let known = match known.as_slice() {
            [] => "there is no app at all".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        let problem = format!("no app is called {}; hint: {known}", missing.join(", "));
        Self::reply(reply, Code::NotFound, Vec::new(), Some(problem));
        None
    }

    /// Does something to each at once.
    fn each(
        &mut self,
        selectors: &[Selector],
        reply: &Reply,
        mut act: impl FnMut(&mut Self, u32) -> Result<String, String>,
    ) {
        let Some(ids) = self.select(selectors, reply) else { return };
        let outcome = |id: u32| {
            let app = self.name(id);
            let (code, message) = match act(self, id) {
                Ok(message) => (Code::Done, message),
                Err(problem) => (Code::Failed, problem),
            };
            Outcome { app, code, message, log: Vec::new(), changes: Vec::new() }
        };
        let outcomes: Vec<_> = ids.into_iter().map(outcome).collect();
        self.perform_all();
        self.remember();
        let code = worst(&outcomes);
        Self::reply(reply, code, outcomes, None);
    }

    fn name(&self, id: u32) -> String {
        self.apps.get(&id).map(|app| app.spec().name.clone()).unwrap_or_default()
    }

    /// Gives each an order, and answers when all have been carried out.
    fn order_all(
        &mut self,
        selectors: &[Selector],
        reply: Reply,
        order: impl Fn(&Ordered<'_>) -> Result<Order, String>,
    ) {
        let Some(ids) = self.select(selectors, &reply) else { return };
        let orders = ids.into_iter().filter_map(|id| {
            let app = self.apps.get(&id)?;
            let holds = self.sockets.contains_key(&id);
            Some((id, order(&Ordered { app, holds, workers: self.workers(id), cpus: self.cpus })))
        });
        let orders = orders.collect();
        self.give(orders, reply);
    }

    /// How many workers it has, or processes.
    fn workers(&self, id: u32) -> usize {
        let of = |life: &super::Life| match &life.report {
            Some(report) if life.answers() => report.workers.len(),
            _ => 1,
        };
        self.serving(id).map(of).sum()
    }

    /// Gives these orders, or says why not, and has somebody wait for them.
    fn give(&mut self, orders: Vec<(u32, Result<Order, String>)>, reply: Reply) {
        let mut waiter =
            Waiter { reply, left: BTreeSet::new(), apps: Vec::new(), outcomes: Vec::new() };
        let starts = |order: &Order| matches!(order, Order::Start | Order::Reload(_));
        if orders.iter().any(|(_, order)| order.as_ref().is_ok_and(starts)) {
            // What had ended while no manager ran is to be up again as well.
            waiter.left.extend(self.recalled.keys());
        }
        let mut given = Vec::new();
        for (id, order) in orders {
            let app = self.name(id);
            match order {
                Ok(order) => {
                    self.tickets += 1;
                    waiter.left.insert(self.tickets);
                    waiter.apps.push((self.tickets, id, app));
                    match &order {
                        Order::Stop => self.give_up_held(id, "stopped"),
                        Order::Delete => self.give_up_held(id, "deleted"),
                        _ => {}
                    }
                    given.push(Held::new(id, order, self.tickets));
                }
                Err(message) => {
                    let (log, changes) = (Vec::new(), Vec::new());
                    let outcome = Outcome { app, code: Code::Failed, message, log, changes };
                    waiter.outcomes.push((id, outcome));
                }
            }
        }
        self.tickets += 1;
        self.waiters.insert(self.tickets, waiter);
        self.held.extend(given);
        self.changed = true;
    }

    /// Whoever came last is told what has come of all that had ended while no manager ran.
    fn await_recalled(&mut self) {
        let recalled: Vec<_> =
            self.recalled.iter().map(|(ticket, id)| (*ticket, *id, self.name(*id))).collect();
        if let Some(mut last) = self.waiters.last_entry() {
            let waiter = last.get_mut();
            waiter.left.extend(recalled.iter().map(|(ticket, ..)| *ticket));
            waiter.apps.extend(recalled);
        }
    }

    /// An order has come to its end.
    pub(super) fn finish(&mut self, ticket: u64, code: Code, message: &str) {
        self.changed = true;
        self.recalled.remove(&ticket);
        for waiter in self.waiters.values_mut().filter(|it| it.left.contains(&ticket)) {
            waiter.left.remove(&ticket);
            let Some((_, id, name)) = waiter.apps.iter().find(|(other, ..)| *other == ticket)
            else {
                continue;
            };
            let files = self.apps.get(id).and_then(|app| self.ground.logs(app.spec()));
            let log = match (code, files) {
                (Code::Done, _) | (_, None) => Vec::new(),
                (_, Some(files)) => {
                    let from = self.log_marks.get(id).copied().unwrap_or_default();
                    log::since(&files, from, LOG_LINES)
                }
            };
            let (app, message) = (name.clone(), message.to_owned());
            let outcome = Outcome { app, code, message, log, changes: Vec::new() };
            waiter.outcomes.push((*id, outcome));
        }
    }

    /// Answers those for whom everything is done.
    pub(super) fn answer(&mut self) {
        let done = |waiter: &Waiter| waiter.left.is_empty();
        let numbers: Vec<_> =
            self.waiters.iter().filter(|(_, it)| done(it)).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(mut waiter) = self.waiters.remove(&number) else { continue };
            waiter.outcomes.sort_by_key(|(id, _)| *id);
            let outcomes: Vec<_> =
                waiter.outcomes.into_iter().map(|(_, outcome)| outcome).collect();
            Self::reply(&waiter.reply, worst(&outcomes), outcomes, None);
        }
        if let Some(reply) = self.killing.take() {
            if self.lives.is_empty() && self.apps.values().all(App::is_idle) {
                Self::reply(&reply, Code::Done, Vec::new(), None);
                self.end = Some(End::Killed);
            } else {
                self.killing = Some(reply);
            }
        }
    }

    /// Makes the apps what is described, as a whole or not at all; with `dry`, only says what that
    /// would change.
    fn apply(&mut self, specs: Vec<Spec>, dry: bool, reply: Reply) {
        let problems: Vec<_> = specs.iter().filter_map(|spec| self.refuse(spec, &specs)).collect();
        if !problems.is_empty() {
            let problem = format!("nothing was changed: {}", problems.join("; "));
            return Self::reply(&reply, Code::Usage, Vec::new(), Some(problem));
        }
        if dry {
            let outcomes = specs.iter().map(|spec| self.plan(spec)).collect();
            return Self::reply(&reply, Code::Done, outcomes, None);
        }
        let orders = specs.into_iter().map(|spec| {
            let spec = Arc::new(spec);
            let known = self.apps.iter().find(|(_, app)| app.spec().name == spec.name);
            match known.map(|(id, app)| (*id, app.spec().differences(&spec).is_empty())) {
                Some((id, true)) => (id, Ok(Order::Start)),
                Some((id, false)) => (id, Ok(Order::Reload(spec))),
                None => {
                    let id = self.next_id;
                    self.next_id += 1;
                    self.apps.insert(id, App::new(id, spec, self.cpus));
                    (id, Ok(Order::Start))
                }
            }
        });
        let orders = orders.collect();
        self.give(orders, reply);
    }

    /// Why an app cannot be as described, as far as that can be known before.
    fn refuse(&self, spec: &Spec, specs: &[Spec]) -> Option<String> {
        let name = &spec.name;
        if let Err(error) = launch::check(spec, &self.corelane) {
            return Some(format!("{name}: {error}"));
        }
        for after in &spec.after {
            let known = |other: &&Spec| other.name == *after;
            let runs = self.apps.values().any(|app| app.spec().name == *after);
            if !runs && !specs.iter().any(|other| known(&other)) {
                return Some(format!("{name}: it comes after `{after}`, which there is not"));
            }
        }
        if self.waits_for_itself(spec, specs) {
            return Some(format!("{name}: by way of other apps it would come after itself"));
        }
        let others = self
            .apps
            .values()
            .map(App::spec)
            .filter(|other| !specs.iter().any(|spec| spec.name == other.name));
        for other in others {
            let shared = other
                .listen
                .iter()
                .find(|address| spec.listen.contains(address) && !address.ends_with(":0"));
            if let Some(address) = shared {
                return Some(format!("{name}: {address} is listened on by `{}`", other.name));
            }
        }
        None
    }

    fn plan(&self, spec: &Spec) -> Outcome {
        let known = self.apps.values().find(|app| app.spec().name == spec.name);
        let (message, changes) = match known {
            None => ("would be started".to_owned(), Vec::new()),
            Some(app) => {
                let changes = app.spec().differences(spec);
                let status = app.status();
                let message = match (status, changes.is_empty()) {
                    (Status::Online, true) => "would stay as it is".to_owned(),
                    (Status::Online, false) => "would be reloaded".to_owned(),
                    (_, _) => format!("is {status}, would be started"),
                };
                (message, changes)
            }
        };
        Outcome { app: spec.name.clone(), code: Code::Done, message, log: Vec::new(), changes }
    }

    fn save(&self, reply: &Reply) {
        let specs: Vec<_> = self.apps.values().map(|app| app.spec().as_ref().clone()).collect();
        let Some(path) = self.ground.home().map(Home::saved) else { return };
        let bytes = serde_json::to_vec(&specs).map_err(std::io::Error::other);
        match bytes.and_then(|bytes| store::write(&path, &bytes)) {
            Ok(()) => Self::reply(reply, Code::Done, Vec::new(), None),
            Err(error) => {
                let problem = format!("cannot write {}: {error}", path.display());
                Self::reply(reply, Code::Failed, Vec::new(), Some(problem));
            }
        }
    }

    /// Starts what `kill` has stopped, and what was saved and is no longer there.
    fn resurrect(&mut self, reply: Reply) {
        // One that waits for its next start is not waited for by anybody else.
        let waits = |app: &App| {
            let awaited = matches!(app.status(), Status::WaitingRestart | Status::Launching);
            awaited && app.is_idle() && app.is_wanted()
        };
        let meant = self.apps.iter().filter(|(_, app)| app.is_killed() || waits(app));
        let mut orders: Vec<_> = meant.map(|(id, _)| (*id, Ok(Order::Start))).collect();
        let saved = self.ground.home().and_then(|home| std::fs::read(home.saved()).ok());
        let saved: Vec<Spec> =
            saved.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        for spec in saved {
            if self.apps.values().any(|app| app.spec().name == spec.name) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.apps.insert(id, App::new(id, Arc::new(spec), self.cpus));
            orders.push((id, Ok(Order::Start)));
        }
        self.give(orders, reply);
        self.await_recalled();
    }

    /// Whether the program that is now in this one's place can go on where this one is.
    fn may_upgrade(&self) -> Result<(), String> {
        if let Some(app) = self.apps.values().find(|app| !app.is_idle()) {
            let (name, status) = (&app.spec().name, app.status());
            return Err(format!("`{name}` is {status}; hint: try again in a moment"));
        }
        self.ground.home().map_or(Ok(()), |home| upgrade::check(&self.corelane, home))
    }

    fn kill(&mut self, reply: Reply) {
        let ids: Vec<_> = self.apps.keys().copied().collect();
        for held in std::mem::take(&mut self.held) {
            self.finish(held.ticket(), Code::Failed, "the manager ends");
        }
        for id in ids {
            if let Some(app) = self.apps.get_mut(&id) {
                let effects = app.kill(None, Instant::now());
                self.enqueue(id, effects);
            }
        }
        self.herald.stopping();
        self.killing = Some(reply);
    }
}

/// An app that is to be given an order.
struct Ordered<'a> {
    app: &'a App,
    /// Whether the manager holds its listening sockets.
    holds: bool,
    workers: usize,
    cpus: usize,
}

impl Ordered<'_> {
    /// Without its sockets in the manager's hands, connections would be lost.
    fn refuse_lossy_reload(&self, force: bool) -> Result<(), String> {
        let lossy = !self.holds && self.app.is_wanted() && !self.app.spec().listen.is_empty();
        if lossy && !force {
            let problem = "not reloaded: the manager does not hold its listening sockets, so \
                connections would be lost; hint: --force does it anyway";
            return Err(problem.to_owned());
        }
        Ok(())
    }

    /// How many workers it is to have: `4`, `+2`, `-2` or `max`.
    fn instances(&self, text: &str) -> Result<Instances, String> {
        let wrong = || format!("not scaled: `{text}` is none of 4, +2, -2 and max");
        if text == "max" {
            return Ok(Instances::Max);
        }
        let number: i64 = text.parse().map_err(|_| wrong())?;
        let relative = text.starts_with(['+', '-']);
        let now = if self.app.is_wanted() {
            self.workers
        } else {
            self.app.spec().instances.parse().map_or(1, |all: Instances| all.resolve(self.cpus))
        };
        let base = if relative { i64::try_from(now).unwrap_or(i64::MAX) } else { 0 };
        let wanted = base.saturating_add(number);
        if !(1..=INSTANCES_MAX).contains(&wanted) {
            let problem = format!("not scaled: {wanted} is not between 1 and {INSTANCES_MAX}");
            return Err(problem);
        }
        Instances::try_from(wanted).map_err(|error| error.to_string())
    }
}

/// What to exit with, if all of this has happened.
fn worst(outcomes: &[Outcome]) -> Code {
    outcomes.iter().map(|outcome| outcome.code).max().unwrap_or(Code::Done)
}
