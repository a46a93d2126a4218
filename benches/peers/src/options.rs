//! The command line.

use std::path::PathBuf;

use crate::contender::Contender;
use crate::failure::Failure;
use crate::results::Method;
use crate::workload::Workload;

const FULL: Plan = Plan { rounds: 7, seconds: 1.5, warm_up: 0.3 };
const QUICK: Plan = Plan { rounds: 2, seconds: 0.4, warm_up: 0.1 };

/// What this process is asked to do.
pub(crate) enum Mode {
    /// Measure, and report.
    Measure(Box<Options>),
    /// Report what has been measured.
    Report { files: Vec<PathBuf>, publish: bool },
    /// Say who there is, and what is asked.
    List,
}

/// How much to measure, and of whom.
pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) json: PathBuf,
    pub(crate) publish: bool,
    /// The corelane to be measured, if not the one of this checkout.
    pub(crate) corelane: Option<PathBuf>,
    /// The corelane that makes the load, likewise.
    pub(crate) load: Option<PathBuf>,
    command: String,
}

/// How long all takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
}

impl Mode {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: &[String]) -> Result<Mode, Failure> {
        match arguments {
            [verb] if verb == "list" => Ok(Mode::List),
            [verb, rest @ ..] if verb == "report" => {
                let (options, files) = rest.iter().partition::<Vec<_>, _>(|it| it.starts_with('-'));
                let publish = options.iter().any(|it| *it == "--publish");
                match options.into_iter().find(|it| *it != "--publish") {
                    Some(unknown) => Err(Failure::Usage(format!("unknown argument {unknown:?}"))),
                    None => Ok(Mode::Report {
                        files: files.iter().map(PathBuf::from).collect(),
                        publish,
                    }),
                }
            }
            _ => Options::parse(arguments).map(|options| Mode::Measure(Box::new(options))),
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, Failure> {
        let full = match arguments.first().map(String::as_str) {
            Some("--full") => true,
            Some("--quick") => false,
            _ => return Err(Failure::Usage("--quick or --full comes first".into())),
        };
        let mut options = Options {
            plan: if full { FULL } else { QUICK },
            workloads: if full { Workload::all() } else { Workload::quick() },
            contenders: Contender::ALL.to_vec(),
            json: crate::output().join("results.json"),
            publish: false,
            corelane: None,
            load: None,
            command: arguments.join(" "),
        };
        let has = |key: &str| arguments.iter().any(|it| it == key);
        // A part of the table does not replace the whole, unless somebody says so.
        options.publish = has("--publish") || (full && !has("--only") && !has("--workloads"));
        let mut rest = arguments.iter().skip(1).filter(|it| *it != "--publish");
        while let Some(key) = rest.next() {
            let no_value = || Failure::Usage(format!("{key} is unknown or lacks a value"));
            options.take(key, rest.next().ok_or_else(no_value)?)?;
        }
        Ok(options)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "--rounds" => self.plan.rounds = positive(key, value)?,
            "--seconds" => self.plan.seconds = positive(key, value)?,
            "--only" => self.contenders = each(value, contender)?,
            "--workloads" => self.workloads = each(value, workload)?,
            "--json" => self.json = value.into(),
            "--corelane" => self.corelane = Some(value.into()),
            "--load" => self.load = Some(value.into()),
            _ => return Err(Failure::Usage(format!("unknown argument {key:?}"))),
        }
        Ok(())
    }

    /// How the figures are taken.
    pub(crate) fn method(&self) -> Method {
        let command = "cargo run --release --manifest-path benches/peers/Cargo.toml --";
        Method {
            command: format!("{command} {}", self.command),
            rounds: self.plan.rounds,
            seconds: self.plan.seconds,
            warm_up_seconds: self.plan.warm_up,
        }
    }
}

fn contender(name: &str) -> Result<Contender, Failure> {
    Contender::ALL.into_iter().find(|contender| contender.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Contender::ALL.iter().map(|known| known.name()).collect();
        Failure::Usage(format!("no contender is called {name:?}; there are {}", names.join(", ")))
    })
}

fn workload(id: &str) -> Result<Workload, Failure> {
    Workload::all().into_iter().find(|workload| workload.id == id).ok_or_else(|| {
        let ids: Vec<String> = Workload::all().into_iter().map(|known| known.id).collect();
        Failure::Usage(format!("no workload is called {id:?}; there are {}", ids.join(", ")))
    })
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    list.split(',').map(parse).collect()
}

fn positive<T>(key: &str, value: &str) -> Result<T, Failure>
where
    T: std::str::FromStr + PartialOrd + Default,
{
    match value.parse() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err(Failure::Usage(format!("{key}: {value:?} is no number above zero"))),
    }
}
