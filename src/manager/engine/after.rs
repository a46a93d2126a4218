//! Apps that come after others, and the orders that wait for those.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::app::{App, Order};
use super::Engine;
use crate::control::{Code, Spec, Status};

/// An order that waits until other apps are online.
pub(super) struct Held {
    id: u32,
    order: Order,
    ticket: u64,
    /// How long it waits for one that is not under way by anybody's order, once it does.
    until: Option<Instant>,
}

/// Whether an order may be given.
#[derive(PartialEq, Eq)]
enum Verdict {
    Now,
    /// When an app that somebody has ordered is ready.
    Later,
    /// When an app is online again that has ended, if it ever is.
    Perhaps(String),
    Never(String),
}

impl Held {
    pub(super) fn new(id: u32, order: Order, ticket: u64) -> Self {
        Self { id, order, ticket, until: None }
    }

    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// When it has waited for long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether this app is to run by it.
    pub(super) fn starts(&self, id: u32) -> bool {
        let starts = matches!(self.order, Order::Start | Order::Restart | Order::Reload(_));
        self.id == id && starts
    }
}

impl Engine {
    /// Gives the orders that need not wait for other apps any more.
    pub(super) fn release_held(&mut self) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(held) = self.held.get(at) {
            let problem = match self.may_go(held) {
                Verdict::Now => None,
                Verdict::Never(problem) => Some(problem),
                Verdict::Perhaps(problem) if held.until.is_some_and(|until| until <= now) => {
                    Some(problem)
                }
                verdict => {
                    let until = self.patience(held, &verdict, now);
                    self.held[at].until = until;
                    at += 1;
                    continue;
                }
            };
            let Held { id, order, ticket, .. } = self.held.remove(at);
            // Others may have waited for this one.
            at = 0;
            match (problem, self.apps.get_mut(&id)) {
                (Some(problem), _) => self.finish(ticket, Code::Failed, &problem),
                (None, Some(app)) => {
                    let effects = app.order(order, Some(ticket), now);
                    self.enqueue(id, effects);
                    self.perform_all();
                }
                (None, None) => {
                    self.finish(ticket, Code::Failed, "it was deleted meanwhile");
                }
            }
        }
    }

    /// Gives up what waits for others: the app was told to end meanwhile.
    pub(super) fn give_up_held(&mut self, id: u32, word: &str) {
        let (given_up, held) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.id == id);
        self.held = held;
        for Held { ticket, .. } in given_up {
            self.finish(ticket, Code::Failed, &format!("given up: it was {word} meanwhile"));
        }
    }

    /// Until when it waits: for what is under way by an order, as long as that takes.
    fn patience(&self, held: &Held, verdict: &Verdict, now: Instant) -> Option<Instant> {
        if matches!(verdict, Verdict::Later) {
            return None;
        }
        let ready = self.held_spec(held).map_or(0, |spec| spec.waits.ready);
        held.until.or(Some(now + Duration::from_millis(ready)))
    }

    /// What the app will be by this order, if it is to run by it.
    fn held_spec<'a>(&'a self, held: &'a Held) -> Option<&'a Arc<Spec>> {
        match &held.order {
            Order::Start => self.apps.get(&held.id).map(App::spec),
            Order::Reload(spec) => Some(spec),
            _ => None,
        }
    }

    /// Whether the apps before this one are online, or why they never will be.
    fn may_go(&self, held: &Held) -> Verdict {
        let Some(spec) = self.held_spec(held) else { return Verdict::Now };
        let mut verdict = Verdict::Now;
        for name in &spec.after {
            let Some(other) = self.apps.values().find(|app| app.spec().name == *name) else {
                let problem = format!("not started: it comes after `{name}`, which there is not");
                return Verdict::Never(problem);
            };
            let waits = self.held.iter().any(|held| held.id == other.id());
            let status = other.status();
            let problem = || {
                let why =
                    other.problem().map_or_else(String::new, |problem| format!(": {problem}"));
                format!("not started: it comes after `{name}`, which is {status}{why}")
            };
            match status {
                _ if waits => return Verdict::Later,
                Status::Online | Status::Reloading => {}
                _ if !other.is_idle() => return Verdict::Later,
                Status::Errored | Status::Stopped => return Verdict::Never(problem()),
                Status::WaitingRestart | Status::Launching | Status::Stopping => {
                    verdict = Verdict::Perhaps(problem());
                }
            }
        }
        verdict
    }

    /// Whether nobody could ever start it: it waits for others, and they for it.
    pub(super) fn waits_for_itself(&self, spec: &Spec, specs: &[Spec]) -> bool {
        let described = |name: &str| specs.iter().find(|spec| spec.name == name);
        let known = |name: &str| self.apps.values().map(App::spec).find(|spec| spec.name == name);
        let mut before: Vec<&String> = spec.after.iter().collect();
        let mut at = 0;
        while let Some(name) = before.get(at).copied() {
            at += 1;
            let further = described(name).or_else(|| known(name).map(Arc::as_ref));
            let further = further.into_iter().flat_map(|spec| &spec.after);
            let further: Vec<_> = further.filter(|name| !before.contains(name)).collect();
            before.extend(further);
        }
        before.contains(&&spec.name)
    }
}
