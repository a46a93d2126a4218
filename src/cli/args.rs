//! What can be written behind `corelane`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::bench::Options;
use crate::cluster::{Address, Instances};

const LISTEN_HELP: &str =
    "Listen here instead: 127.0.0.1:3000, [::1]:3000 or unix:/path; may be repeated";

/// A thread-per-core, shared-nothing HTTP server for Linux.
///
/// Without a verb it runs: the same as `corelane run`.
#[derive(Debug, Parser)]
#[command(name = "corelane", version, args_conflicts_with_subcommands = true)]
pub(super) struct Command {
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[command(flatten)]
    pub overrides: Overrides,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve in the foreground (the default).
    Run {
        /// What to serve [default: ./corelane.toml if there, else a greeting on 127.0.0.1:3000].
        file: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Say everything that is wrong with a configuration file, or list its apps.
    Check {
        /// The file to check.
        file: PathBuf,
        /// Print the apps as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Load a server and measure its latency.
    Bench(Box<Options>),
    /// Start apps, or make them what a file now says; returns when they are ready.
    Start {
        /// A file [default: ./corelane.toml], or names or numbers of apps that the manager knows.
        what: Vec<String>,
        /// Of the file only these apps.
        #[arg(long, value_delimiter = ',', value_name = "NAME")]
        only: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Say what `start FILE` would change.
    Plan {
        /// A file [default: ./corelane.toml].
        file: Option<PathBuf>,
        /// Of the file only these apps.
        #[arg(long, value_delimiter = ',', value_name = "NAME")]
        only: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// List the apps.
    #[command(visible_aliases = ["ls", "status", "ps"])]
    List {
        /// A row for each worker as well.
        #[arg(long)]
        workers: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Say everything about an app.
    #[command(visible_alias = "show")]
    Describe {
        /// Its name or number.
        app: String,
        /// Show the values of its environment.
        #[arg(long)]
        secrets: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Show the last lines of the logs, and what is written from now on.
    Logs(LogOptions),
    /// Stop apps, and start them again; who connects meanwhile waits.
    Restart(Selection),
    /// Replace apps by new processes, without losing a request.
    Reload {
        #[command(flatten)]
        selection: Selection,
        /// Even if connections may be lost.
        #[arg(long)]
        force: bool,
    },
    /// Stop apps; they stay in the list.
    Stop(Selection),
    /// Stop apps and forget them.
    #[command(visible_alias = "del")]
    Delete(Selection),
    /// Change the number of an app's workers, while it serves.
    Scale {
        /// Its name or number.
        app: String,
        /// How many: 4, +2, -2 or max.
        #[arg(allow_negative_numbers = true)]
        instances: String,
        #[command(flatten)]
        output: Output,
    },
    /// Count the restarts of apps from 0 again.
    Reset(Selection),
    /// Empty the logs of apps.
    Flush(Selection),
    /// Write down which apps there are, for `resurrect`.
    Save(Output),
    /// Start the manager, and what `kill` has stopped or `save` has written down.
    Resurrect(Output),
    /// Stop all apps, and the manager.
    Kill(Output),
    /// Show the apps on the terminal, live.
    #[command(visible_alias = "dash")]
    Monit,
    /// Serve the same to browsers; prints the address to open.
    Dashboard {
        /// Where: an address and a port, or `unix:` and a path.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9615")]
        listen: Address,
    },
    /// Say whether a manager runs, and which.
    Ping(Output),
    /// Print a systemd unit that runs the manager at boot.
    Startup(StartupOptions),
    /// Remove that unit.
    Unstartup(StartupOptions),
    /// Run the manager in the foreground.
    Daemon {
        /// Start only what ran when the manager before ended, not what `kill` has stopped.
        #[arg(long, hide = true)]
        adopt: bool,
        /// Only say whether the manager could go on with what it finds.
        #[arg(long, hide = true)]
        check: bool,
    },
    /// Have the manager become the version of corelane that is now installed; the apps run on.
    Upgrade(Output),
    /// Print what a shell needs to complete this command line.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How an answer is printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Output {
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which apps.
#[derive(Args, Debug)]
pub(super) struct Selection {
    /// Names or numbers of apps, or all.
    #[arg(required = true, value_name = "NAME|ID|all")]
    pub apps: Vec<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Whose manager is run at boot.
#[derive(Args, Debug)]
pub(super) struct StartupOptions {
    /// Write the unit and enable it, instead of printing it.
    #[arg(long)]
    pub install: bool,
    /// Whom the manager runs as [default: whoever calls this].
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Where it keeps its files [default: that user's ~/.corelane].
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where units are, for tests.
    #[arg(long, hide = true)]
    pub units: Option<PathBuf>,
}

/// What is shown of which logs.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct LogOptions {
    /// Names or numbers of apps [default: all].
    pub apps: Vec<String>,
    /// How many of the last lines of each.
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub lines: usize,
    /// Do not wait for what is written from now on.
    #[arg(long)]
    pub nostream: bool,
    /// Only what was written to stdout.
    #[arg(long, conflicts_with = "err")]
    pub out: bool,
    /// Only what was written to stderr.
    #[arg(long)]
    pub err: bool,
    /// Print a JSON object for each line.
    #[arg(long)]
    pub json: bool,
}

/// What the command line changes of a file with a single app.
#[derive(Args, Debug, Default)]
pub(super) struct Overrides {
    // Not a doc comment: rustdoc would take the brackets for a link.
    #[arg(long, value_name = "ADDR", help = LISTEN_HELP)]
    pub listen: Vec<Address>,
    /// How many workers: max, a number, or -1 for all CPUs but one.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub instances: Option<Instances>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Command;

    #[test]
    fn the_definition_is_consistent() {
        Command::command().debug_assert();
    }
}
