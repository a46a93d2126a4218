//! What is looked at every few seconds: memory, logs, and what could not be done before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::app::Order;
use super::super::health::Probe;
use super::super::link::Purpose;
use super::Engine;
use crate::control::Status;
use crate::control::wire::Ask;

/// How often, while anything runs.
const EVERY: Duration = Duration::from_secs(5);
/// How often if nothing does: only so that what could not be written is tried again.
const IDLE: Duration = Duration::from_secs(3600);

impl Engine {
    pub(super) fn look_round(&mut self, now: Instant) {
        let every = if self.lives.is_empty() && self.problems.is_empty() { IDLE } else { EVERY };
        self.tick = now + every;
        for life in self.lives.values_mut() {
            life.note_if_due();
            let answers = life.answers();
            if let Some(link) = life.link_mut()
                && answers
                && !link.waits_for(Purpose::Status)
            {
                // Its figures, for rates.
                let _gone = link.ask(Ask::Status, Purpose::Status);
            }
        }
        self.look_at_home();
        self.limit_memory(now);
        self.look_after_logs();
        self.changed |= self.problems.contains_key("state");
    }

    /// Something has begun to run: it is looked at soon.
    pub(super) fn look_soon(&mut self) {
        self.tick = self.tick.min(Instant::now() + EVERY);
    }

    /// What uses more memory than it may is replaced, without a request lost.
    fn limit_memory(&mut self, now: Instant) {
        let over = |(id, app): (&u32, &super::App)| {
            let most = app.spec().memory_max?;
            let latest = |life: &super::Life| life.samples[1].as_ref().map_or(0, |it| it.memory);
            let used: u64 = self.serving(*id).map(latest).sum();
            let reload = used > most && app.status() == Status::Online && app.is_idle();
            reload.then(|| (*id, Arc::clone(app.spec()), used))
        };
        let over: Vec<_> = self.apps.iter().filter_map(over).collect();
        for (id, spec, used) in over {
            if let Some(app) = self.apps.get(&id) {
                let words = format!("reloaded, it uses {used} bytes of memory, more than it may");
                self.warn(app, &words);
            }
            if let Some(app) = self.apps.get_mut(&id) {
                let effects = app.order(Order::Reload(spec), None, now);
                self.enqueue(id, effects);
            }
        }
    }

    /// Has those apps asked, and only those, that are online and want to be.
    pub(super) fn ask_after_health(&mut self) {
        let wanted = |id: &u32| {
            let app = self.apps.get(id).filter(|app| app.status() == Status::Online)?;
            let health = app.spec().health.clone()?;
            let address = self.sockets.get(id)?.first()?;
            Some((address, health))
        };
        let wanted: Vec<_> = self.apps.keys().filter_map(|id| Some((*id, wanted(id)?))).collect();
        self.probes.retain(|id, _| wanted.iter().any(|(other, _)| other == id));
        for (id, (address, health)) in wanted {
            if self.probes.get(&id).is_some_and(|probe| probe.suits(&address, &health)) {
                continue;
            }
            self.ailing.remove(&id);
            match Probe::start(id, address, health, self.desk.clone()) {
                Ok(probe) => drop(self.probes.insert(id, probe)),
                Err(error) => tracing::warn!(%error, "an app cannot be asked whether it is well"),
            }
        }
    }

    /// An app has been asked. One that is not well too often is replaced.
    pub(super) fn heard_health(&mut self, id: u32, result: Result<(), String>) {
        let Some(app) = self.apps.get(&id) else { return };
        let Some(health) = app.spec().health.clone() else { return };
        let Err(problem) = result else {
            self.ailing.remove(&id);
            return;
        };
        if app.status() != Status::Online || !app.is_idle() {
            return;
        }
        let failures = self.ailing.entry(id).or_default();
        *failures += 1;
        let failures = *failures;
        self.warn(app, &format!("not well, {failures} of {}: {problem}", health.failures));
        if failures < health.failures {
            return;
        }
        self.ailing.remove(&id);
        let Some(app) = self.apps.get_mut(&id) else { return };
        let spec = Arc::clone(app.spec());
        let effects = app.order(Order::Reload(spec), None, Instant::now());
        self.enqueue(id, effects);
    }
}
