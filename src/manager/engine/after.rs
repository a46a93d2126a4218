//! Apps that come after others, and the orders that wait for those.

use std::sync::Arc;
use std::time::Instant;

use super::super::app::{App, Order};
use super::Engine;
use crate::control::{Code, Spec, Status};

/// An order that waits until other apps are online.
pub(super) struct Held {
    pub(super) id: u32,
    pub(super) order: Order,
    pub(super) ticket: u64,
}

impl Engine {
    /// Gives the orders that need not wait for other apps any more.
    pub(super) fn release_held(&mut self) {
        let mut at = 0;
        while let Some(held) = self.held.get(at) {
            let verdict = self.may_go(held);
            if verdict == Ok(false) {
                at += 1;
                continue;
            }
            let Held { id, order, ticket } = self.held.remove(at);
            // Others may have waited for this one.
            at = 0;
            match (verdict, self.apps.get_mut(&id)) {
                (Err(problem), _) => self.finish(ticket, Code::Failed, problem),
                (Ok(_), Some(app)) => {
                    let effects = app.order(order, Some(ticket), Instant::now());
                    self.enqueue(id, effects);
                    self.perform_all();
                }
                (Ok(_), None) => {
                    self.finish(ticket, Code::Failed, "it was deleted meanwhile".to_owned());
                }
            }
        }
    }

    /// Whether the apps before this one are online, or why they never will be.
    fn may_go(&self, held: &Held) -> Result<bool, String> {
        let Some(app) = self.apps.get(&held.id) else { return Ok(true) };
        let spec = match &held.order {
            Order::Start => app.spec(),
            Order::Reload(spec) => spec,
            _ => return Ok(true),
        };
        for name in &spec.after {
            let Some(other) = self.apps.values().find(|app| app.spec().name == *name) else {
                return Err(format!("not started: it comes after `{name}`, which there is not"));
            };
            let waits = self.held.iter().any(|held| held.id == other.id());
            match other.status() {
                Status::Online | Status::Reloading if !waits => {}
                Status::Errored | Status::Stopped | Status::WaitingRestart
                    if !waits && other.is_idle() =>
                {
                    let status = other.status();
                    return Err(format!("not started: it comes after `{name}`, which is {status}"));
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
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
