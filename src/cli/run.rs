//! `corelane run [FILE]`: serve in the foreground.

mod programs;

use std::cell::Cell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode, Termination};
use std::rc::Rc;
use std::sync::Arc;

use self::programs::Programs;
use super::args::Overrides;
use super::exit::Failure;
use crate::app::LogWriter;
use crate::cluster::{Address, Cluster};
use crate::config::{Access, AppConfig, Config};
use crate::control::{Kind, Spec};
use crate::service::{Companions, Configuration, Parts, Wanted, run_all};
use crate::sys::signal::Signals;

/// What is served if it is there and no file is named.
const DEFAULT_FILE: &str = "corelane.toml";
/// The process that gets all orphans of its namespace, and no signal that it has not asked for.
const INIT: u32 = 1;
/// Names what comes in at stdin.
const STDIN: &str = "-";

/// Serves a file, `./corelane.toml`, or the embedded default.
pub(super) fn run(file: Option<&Path>, overrides: Overrides) -> Result<ExitCode, Failure> {
    // To process 1 a signal that nobody has asked for yet is lost, be it the one to end.
    let signals = (process::id() == INIT).then(Signals::listen).transpose();
    let signals = signals.map_err(|error| Failure::System { what: "listen for signals", error })?;
    let programs = Rc::default();
    let mut source = Source {
        file: file.map(Path::to_owned),
        overrides,
        holds: None,
        read: None,
        log: None,
        programs: Rc::clone(&programs),
    };
    let config = source.load()?;
    let clusters: Result<_, Failure> = built_in(&config).map(|app| source.cluster(app)).collect();
    let clusters = clusters?;
    source.holds = Some(config);
    // What came in at stdin cannot be read again.
    let again = file.is_none_or(|file| file != Path::new(STDIN));
    let configuration = again.then(|| Box::new(source) as Box<dyn Configuration>);
    let companions = Some(Box::new(Programs::new(programs)?) as Box<dyn Companions>);
    Ok(run_all(Parts { clusters, configuration, companions, signals }).report())
}

/// The apps that this process serves itself.
fn built_in(config: &Config) -> impl Iterator<Item = &AppConfig> {
    config.apps.iter().filter(|app| app.managed.program.is_none())
}

/// Where the configuration comes from.
struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
    /// What is served.
    holds: Option<Config>,
    /// What was read last.
    read: Option<Config>,
    /// Where requests are logged, once any are: one thread writes for all apps.
    log: Option<LogWriter>,
    /// Takes the programs of what was read last.
    programs: Rc<Cell<Vec<Spec>>>,
}

impl Source {
    fn load(&self) -> Result<Config, Failure> {
        let mut config = load(self.file.as_deref())?;
        apply(&self.overrides, &mut config)?;
        self.programs.set(self.programs_of(&config)?);
        Ok(config)
    }

    fn cluster(&mut self, app: &AppConfig) -> Result<Cluster, Failure> {
        if app.managed.logs.access == Access::Off {
            return Ok(cluster(app.clone(), None));
        }
        if self.log.is_none() {
            let failed = |error| Failure::System { what: "log requests", error };
            self.log = Some(LogWriter::stdout().map_err(failed)?);
        }
        Ok(cluster(app.clone(), self.log.clone()))
    }

    /// The programs of a file. What is built in serves before the first of them starts, so none has
    /// to wait for it.
    fn programs_of(&self, config: &Config) -> Result<Vec<Spec>, Failure> {
        let here = env::current_dir()
            .map_err(|error| Failure::System { what: "find the current directory", error })?;
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut specs = config.specs(&file, &here, |name| env::var(name).ok());
        specs.retain(|spec| matches!(spec.kind, Kind::Program { .. }));
        for spec in &mut specs {
            spec.after.retain(|name| built_in(config).all(|app| app.name != *name));
        }
        Ok(specs)
    }
}

impl Configuration for Source {
    fn read(&mut self) -> Result<Vec<Wanted>, String> {
        let config = self.load().map_err(|failure| failure.to_string())?;
        let wanted = built_in(&config).map(|app| {
            let unchanged = self.holds.as_ref().is_some_and(|config| config.apps.contains(app));
            let cluster = self.cluster(app).map_err(|failure| failure.to_string())?;
            Ok(Wanted { cluster, unchanged })
        });
        let wanted = wanted.collect::<Result<_, String>>()?;
        self.read = Some(config);
        Ok(wanted)
    }

    fn accept(&mut self) {
        self.holds = self.read.take();
    }
}

fn cluster(config: AppConfig, log: Option<LogWriter>) -> Cluster {
    let config = Arc::new(config);
    let factory = {
        let config = Arc::clone(&config);
        move || match config.app(log.as_ref()) {
            Ok(app) => app,
            Err(error) => panic!("a path passed the check and is refused: {error}"),
        }
    };
    let cluster = Cluster::new(factory)
        .name(&config.name)
        .instances(config.instances)
        .balance(config.balance)
        .restart(config.restart.clone())
        .limits(config.limits.clone())
        .timeouts(config.timeouts.clone())
        .on_panic(config.on_panic);
    let cluster = config.listen.iter().cloned().fold(cluster, Cluster::listen);
    let cluster = config.metrics.iter().cloned().fold(cluster, Cluster::metrics);
    match &config.cpus {
        Some(cpus) => cluster.cpus(cpus.iter().copied()),
        None => cluster,
    }
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    let default = Path::new(DEFAULT_FILE);
    // One that is there but cannot be read is an error, not a reason to serve something else.
    let config = match file {
        Some(file) if file == Path::new(STDIN) => Config::load_stdin()?,
        Some(file) => Config::load(file)?,
        None if default.symlink_metadata().is_ok() => Config::load(default)?,
        None => Config::embedded(),
    };
    Ok(config)
}

fn apply(overrides: &Overrides, config: &mut Config) -> Result<(), Failure> {
    let Overrides { listen, instances } = overrides;
    if listen.is_empty() && instances.is_none() {
        return Ok(());
    }
    if let Some(address) = Config::duplicate(listen) {
        let problem = format!("--listen {address} is given twice");
        return Err(Failure::Usage { problem, hint: "drop one of them" });
    }
    let [app] = config.apps.as_mut_slice() else {
        let problem = "--listen and --instances are for a file with a single app".to_owned();
        return Err(Failure::Usage { problem, hint: "change the file instead" });
    };
    let metrics = app.metrics.as_ref();
    let taken = |address: &&Address| metrics.is_some_and(|other| Config::clash(other, address));
    if let Some(address) = listen.iter().find(taken) {
        let problem = format!("--listen {address} is where the file has its `metrics`");
        return Err(Failure::Usage { problem, hint: "choose another address" });
    }
    if !listen.is_empty() {
        app.listen.clone_from(listen);
    }
    if let Some(instances) = instances {
        app.instances = *instances;
        // Of a program that is told nothing there is one.
        app.definition.insert("instances".to_owned(), instances.to_string().into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Overrides, apply, cluster};
    use crate::config::Config;
    use crate::server::{Balance, OnPanic};

    fn overrides(listen: &[&str], instances: Option<&str>) -> Overrides {
        let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
        Overrides { listen, instances: instances.map(|text| text.parse().unwrap()) }
    }

    #[test]
    fn overrides_replace_what_the_file_says() {
        let mut config = Config::embedded();
        apply(&overrides(&["[::1]:80", "unix:/run/a.sock"], Some("-1")), &mut config).unwrap();
        let listen: Vec<_> = config.apps[0].listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["[::1]:80", "unix:/run/a.sock"]);
        assert_eq!(config.apps[0].instances.to_string(), "-1");
    }

    #[test]
    fn without_overrides_nothing_changes() {
        let mut config = Config::embedded();
        apply(&Overrides::default(), &mut config).unwrap();
        assert_eq!(config, Config::embedded());
    }

    #[test]
    fn refuses_overrides_for_several_apps() {
        let mut config = Config::embedded();
        config.apps.push(config.apps[0].clone());
        assert!(apply(&overrides(&["127.0.0.1:1"], None), &mut config).is_err());
        assert!(apply(&overrides(&[], Some("1")), &mut config).is_err());
        assert!(apply(&Overrides::default(), &mut config).is_ok());
    }

    #[test]
    fn refuses_an_address_given_twice() {
        let mut config = Config::embedded();
        assert!(apply(&overrides(&["127.0.0.1:1", "127.0.0.1:1"], None), &mut config).is_err());
        assert!(apply(&overrides(&["127.0.0.1:0", "127.0.0.1:0"], None), &mut config).is_ok());
    }

    #[test]
    fn a_cluster_is_told_what_the_file_says() {
        let mut config = Config::embedded();
        let app = &mut config.apps[0];
        app.metrics = Some("127.0.0.1:9100".parse().unwrap());
        app.balance = Balance::Kernel;
        app.on_panic = OnPanic::Restart;
        app.restart.max_restarts = 77;
        let told = format!("{:?}", cluster(app.clone(), None));
        let parts = ["127.0.0.1:3000", "127.0.0.1:9100", "Kernel", "on_panic: Restart"];
        for part in parts.into_iter().chain(["max_restarts: 77"]) {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn refuses_the_address_of_the_metrics() {
        let mut config = Config::embedded();
        config.apps[0].metrics = Some("127.0.0.1:9100".parse().unwrap());
        assert!(apply(&overrides(&["127.0.0.1:1", "127.0.0.1:9100"], None), &mut config).is_err());
        assert!(apply(&overrides(&["127.0.0.1:1"], None), &mut config).is_ok());
    }
}
