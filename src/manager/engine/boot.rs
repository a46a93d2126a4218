//! What concerns a service manager: which sockets it keeps, which it has passed in vain, and how
//! the apps are.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::app::App;
use super::super::socket;
use super::Engine;

impl Engine {
    /// Has the service manager keep exactly what is held for the apps.
    pub(super) fn keep_sockets(&mut self) {
        let Self { passed, sockets, apps, .. } = self;
        let named = sockets.iter().filter_map(|(id, sockets)| {
            let name = apps.get(id)?.spec().name.as_str();
            Some(sockets.all().into_iter().map(move |socket| (name, socket)))
        });
        passed.keep(named.flatten(), Instant::now());
    }

    /// Sockets of socket units at which no app listens are a problem of whoever connects.
    pub(super) fn look_for_unclaimed(&mut self) {
        let specs = self.apps.values().map(App::spec);
        let claimed: Vec<_> =
            specs.filter_map(|spec| socket::addresses(spec).ok()).flatten().collect();
        match self.passed.unclaimed(&claimed) {
            Some(problem) if self.problems.get("passed") != Some(&problem) => {
                tracing::warn!("{problem}");
                self.problems.insert("passed", problem);
            }
            Some(_) => {}
            None => drop(self.problems.remove("passed")),
        }
    }

    /// Whether all that was to run is up, or has failed.
    pub(super) fn is_settled(&self) -> bool {
        self.held.is_empty() && self.apps.values().all(App::is_idle)
    }

    /// How many apps there are, and how they are.
    pub(super) fn summary(&self) -> String {
        let mut counts = BTreeMap::<String, usize>::new();
        for app in self.apps.values() {
            *counts.entry(app.status().to_string()).or_default() += 1;
        }
        let total = self.apps.len();
        let apps = if total == 1 { "1 app".to_owned() } else { format!("{total} apps") };
        let counts = counts.iter().map(|(status, count)| format!(", {count} {status}"));
        apps + &counts.collect::<String>()
    }
}
