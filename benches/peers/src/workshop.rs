//! Where the contenders are built, installed and found.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contender::Contender;
use crate::failure::Failure;
use crate::options::Options;
use crate::results::Missing;
use crate::{note, root};

/// Directories for programs that a user's `PATH` may lack.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Everything that is ready to be started.
pub(crate) struct Shop {
    programs: BTreeMap<Contender, PathBuf>,
    /// The `corelane` whose `bench` makes the load.
    pub(crate) load: PathBuf,
    pub(crate) missing: Vec<Missing>,
}

/// Builds and installs what the contenders asked for need, and names what is missing.
pub(crate) fn open(options: &Options) -> Result<Shop, Failure> {
    let built = build_corelane(options)?;
    let mut shop = Shop {
        programs: BTreeMap::new(),
        load: options.load.clone().unwrap_or_else(|| built.clone()),
        missing: Vec::new(),
    };
    let own = options.contenders.iter().filter_map(|it| it.own_program());
    let own = build_own(own.collect())?;
    for &contender in &options.contenders {
        let found = match contender {
            Contender::CorelaneConfig => Ok(options.corelane.clone().unwrap_or(built.clone())),
            Contender::Nginx => installed("nginx", "nginx-light"),
            Contender::Node | Contender::OriginalCluster => installed("node", "nodejs"),
            Contender::Express | Contender::OriginalExpress => {
                installed("node", "nodejs").and_then(with_packages)
            }
            Contender::ExampleCluster | Contender::ExampleExpress => build_example(contender),
            own_program => {
                let name = own_program.own_program().unwrap_or_default();
                Ok(own.join(name))
            }
        };
        match found {
            Ok(program) => drop(shop.programs.insert(contender, program)),
            Err(why) => shop.leave_out(contender, why),
        }
    }
    if shop.programs.is_empty() {
        return Err(Failure::Build("no contender is left".into()));
    }
    Ok(shop)
}

impl Shop {
    /// Those who take part, in the order of the tables.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        self.programs.keys().copied().collect()
    }

    /// The program of a contender that takes part.
    pub(crate) fn program(&self, contender: Contender) -> &Path {
        &self.programs[&contender]
    }

    /// Where the JavaScript contenders are.
    #[expect(clippy::unused_self, reason = "one asks the workshop where things are")]
    pub(crate) fn scripts(&self) -> PathBuf {
        scripts()
    }

    /// Leaves one out from now on, by name.
    pub(crate) fn leave_out(&mut self, contender: Contender, why: String) {
        self.programs.remove(&contender);
        note(&format!("{} is left out: {why}", contender.name()));
        self.missing.push(Missing { contender: contender.name().to_owned(), why });
    }
}

/// The `corelane` of this checkout, built as a user would; not if another takes both its places.
fn build_corelane(options: &Options) -> Result<PathBuf, Failure> {
    let program = root().join("target/release/corelane");
    let measured = options.contenders.contains(&Contender::CorelaneConfig);
    if options.load.is_some() && (options.corelane.is_some() || !measured) {
        return Ok(program);
    }
    note("building corelane");
    cargo(&root(), &["--bin", "corelane"])?;
    Ok(program)
}

/// One of corelane's examples.
fn build_example(contender: Contender) -> Result<PathBuf, String> {
    let name = contender.name().trim_start_matches("example-");
    note(&format!("building the example {name}"));
    cargo(&root(), &["--example", name]).map_err(|failure| failure.to_string())?;
    Ok(root().join("target/release/examples").join(name))
}

/// The programs of this package; returns where they are.
fn build_own(mut programs: Vec<&'static str>) -> Result<PathBuf, Failure> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    programs.dedup();
    if !programs.is_empty() {
        note("building the contenders");
        let arguments: Vec<&str> = programs.iter().flat_map(|name| ["--bin", name]).collect();
        cargo(package, &arguments)?;
    }
    Ok(package.join("target/release"))
}

fn cargo(package: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked"]).args(arguments).current_dir(package);
    // Where this package's builds go is nobody else's business.
    command.env_remove("CARGO_TARGET_DIR").env("CARGO_TERM_QUIET", "true");
    run(&mut command)
        .map_err(|why| Failure::Build(format!("building in {}: {why}", package.display())))
}

/// A program, installed from Debian's package if it is missing and this is root.
fn installed(program: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    let hint = format!("{program} is not installed; hint: apt-get install {package}");
    if !rustix::process::geteuid().is_root() {
        return Err(hint);
    }
    note(&format!("installing {package}"));
    let update = run(Command::new("apt-get").args(["-qq", "update"]));
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends", package]);
    let install = update.and_then(|()| run(install.env("DEBIAN_FRONTEND", "noninteractive")));
    install.map_err(|why| format!("{hint}; that failed: {why}"))?;
    find(program).ok_or(hint)
}

/// Installs the packages of the lock file, unless they are there.
fn with_packages(node: PathBuf) -> Result<PathBuf, String> {
    if scripts().join("node_modules/express/package.json").is_file() {
        return Ok(node);
    }
    note("installing npm's packages");
    let npm = find("npm").ok_or("npm is not installed; hint: apt-get install npm")?;
    run(Command::new(npm).args(["ci", "--silent"]).current_dir(scripts()))?;
    Ok(node)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Warnings come first, and the reason last.
    let last: Vec<&str> = said.trim().lines().rev().take(12).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("{}: {}", output.status, last.join("\n")))
}

/// Where a program is installed.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}
