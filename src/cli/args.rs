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
