//! From an app of a file to what the manager is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::model::{AppConfig, Config};
use crate::control::{Health, Kind, Logs, RestartRules, Spec, Waits};
use crate::restart::When;

impl Config {
    /// The apps as the manager is told of them, read from `file`, to be run in `cwd`. `variable` is
    /// the environment of whoever asks.
    pub(crate) fn specs(
        &self,
        file: &Path,
        cwd: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Vec<Spec> {
        self.apps.iter().map(|app| app.spec(file, cwd, &variable)).collect()
    }
}

impl AppConfig {
    fn spec(&self, file: &Path, cwd: &Path, variable: impl Fn(&str) -> Option<String>) -> Spec {
        let managed = &self.managed;
        let inherited = managed.env_inherit.iter();
        let inherited = inherited.filter_map(|name| Some((name.clone(), variable(name)?)));
        let kind = match &managed.program {
            None => Kind::Routes,
            Some(program) => {
                Kind::Program { path: program.path.clone(), args: program.args.clone() }
            }
        };
        Spec {
            name: self.name.clone(),
            file: file.to_owned(),
            cwd: managed.cwd.as_ref().map_or_else(|| cwd.to_owned(), |own| cwd.join(own)),
            kind,
            definition: self.definition.clone(),
            listen: self.listen.iter().chain(&self.metrics).map(ToString::to_string).collect(),
            instances: self.instances_of(),
            env: managed.env.clone(),
            inherited: inherited.collect::<BTreeMap<_, _>>(),
            env_file: managed.env_file.as_ref().map(|file| cwd.join(file)),
            user: managed.user.clone(),
            group: managed.group.clone(),
            after: managed.after.clone(),
            memory_max: managed.memory_max,
            stop_signal: managed.stop_signal.clone(),
            restart: self.restart_rules(),
            waits: Waits { ready: millis(managed.ready), stop: millis(managed.stop) },
            health: managed.health.as_ref().map(|health| Health {
                path: health.path.clone(),
                interval: millis(health.interval),
                timeout: millis(health.timeout),
                failures: health.failures,
            }),
            logs: Logs {
                dir: managed.logs.dir.as_ref().map(|dir| cwd.join(dir)),
                rotate_bytes: managed.logs.rotate_bytes,
                keep: managed.logs.keep,
            },
        }
    }

    /// Of a program that is told nothing there is one process, or it knows itself.
    fn instances_of(&self) -> String {
        match self.managed.program {
            Some(_) if !self.definition.contains_key("instances") => "1".to_owned(),
            _ => self.instances.to_string(),
        }
    }

    fn restart_rules(&self) -> RestartRules {
        let policy = match self.restart.policy {
            When::Always => "always",
            When::OnFailure => "on-failure",
            When::Never => "never",
        };
        RestartRules {
            policy: policy.to_owned(),
            backoff: millis(self.restart.backoff),
            backoff_max: millis(self.restart.backoff_max),
            max_restarts: self.restart.max_restarts,
            within: millis(self.restart.within),
            min_uptime: millis(self.managed.min_uptime),
            stop_exit_codes: self.managed.stop_exit_codes.clone(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
