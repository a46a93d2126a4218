//! What can be written behind `corelane bench`, and the plan that it makes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};

use super::super::exit::Failure;
use crate::config::duration;
use crate::loadgen::{Header, Pace, Plan, Request, Until, Url};
use crate::sys::cpu::AllowedCpus;
use crate::sys::limits::Limits;
use crate::sys::usage::ProcessTree;

const DURATION: Duration = Duration::from_secs(10);
const ROUNDS: usize = 7;
/// Open files of the program itself, and of each of its threads.
const DESCRIPTORS: u64 = 64;
const DESCRIPTORS_PER_THREAD: u64 = 32;

/// The server, and how to load it.
#[derive(Args, Debug)]
pub(in crate::cli) struct Options {
    // Not a doc comment: rustdoc would want links.
    #[arg(help = "http://host:port/path, unix:/run/a.sock or unix:/run/a.sock:/path")]
    url: Url,
    /// Connections in all.
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// How long to measure [default: 10s].
    #[arg(short, long, value_name = "TIME", value_parser = duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Measure so many requests instead.
    #[arg(short = 'n', long, value_name = "N")]
    requests: Option<u64>,
    /// Load before measuring.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    warm_up: Duration,
    /// Wait so long for a connection or an answer.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    timeout: Duration,
    /// Requests in flight on each connection.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline: usize,
    /// Threads, each pinned to a CPU.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Use a new connection for each request.
    #[arg(long)]
    no_keepalive: bool,
    /// Send so many requests per second, whatever the server does.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// The method [default: GET, with a body POST].
    #[arg(short = 'X', long)]
    method: Option<Method>,
    /// A header, 'Name: value'; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<Header>,
    /// The body.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// The file that holds the body.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// The status that is a success [default: any from 200 to 299].
    #[arg(long, value_name = "STATUS")]
    expect: Option<StatusCode>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub(super) json: bool,
    // Not a doc comment: rustdoc would want the name marked.
    #[arg(help = "Write the latencies in HdrHistogram's percentile format")]
    #[arg(long, value_name = "FILE", conflicts_with = "vs")]
    pub(super) hgrm: Option<PathBuf>,
    /// Draw the latencies as SVG.
    #[arg(long, value_name = "FILE", conflicts_with = "vs")]
    pub(super) plot: Option<PathBuf>,
    /// The server's process: measure its CPU time and memory.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Another server, to be measured in turn with the first.
    #[arg(long, value_name = "URL")]
    vs: Option<Url>,
    /// The other server's process.
    #[arg(long, value_name = "PID", requires = "vs")]
    vs_pid: Option<u32>,
    /// How often each of both is measured [default: 7].
    #[arg(long, value_name = "N", requires = "vs")]
    rounds: Option<usize>,
}

/// A server to be measured.
#[derive(Debug)]
pub(super) struct Side {
    /// Its URL.
    pub target: String,
    /// The method of the request.
    pub method: String,
    /// The measurement.
    pub plan: Plan,
    /// Its processes, if their use is to be measured.
    pub tree: Option<(u32, ProcessTree)>,
}

impl Side {
    /// Its process, if named.
    pub(super) fn pid(&self) -> Option<u32> {
        self.tree.as_ref().map(|(pid, _)| *pid)
    }
}

impl Options {
    /// The server in question, and the other one if there is one.
    pub(super) fn sides(&self) -> Result<(Side, Option<Side>), Failure> {
        self.check()?;
        let request = Request {
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.body()?,
            keep_alive: !self.no_keepalive,
        };
        let side = self.side(&self.url, &request, self.pid)?;
        let other = self.vs.as_ref().map(|url| self.side(url, &request, self.vs_pid));
        Ok((side, other.transpose()?))
    }

    /// How often two servers are measured.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(ROUNDS)
    }

    /// Lets the process have as many open files as the plan takes.
    pub(super) fn raise_limits(&self, plan: &Plan) -> Result<(), Failure> {
        let threads = plan.threads as u64 * DESCRIPTORS_PER_THREAD;
        let needed = plan.connections as u64 + threads + DESCRIPTORS;
        match Limits::raise().descriptors {
            Some(allowed) if allowed < needed => Err(usage(
                format!(
                    "--connections {} takes {needed} open files, and the limit is {allowed}",
                    self.connections
                ),
                "raise the hard limit (ulimit -Hn, LimitNOFILE=), or take fewer connections",
            )),
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let cpus = AllowedCpus::capture().map_err(|error| Failure::System {
            what: "cannot tell which CPUs may be used",
            error,
        })?;
        let cpus = cpus.ids().len();
        let zero =
            |name: &str| usage(format!("{name} must not be zero"), "leave it out, or raise it");
        for (name, wrong) in [
            ("--connections", self.connections == 0),
            ("--requests", self.requests == Some(0)),
            ("--duration", self.duration == Some(Duration::ZERO)),
            ("--timeout", self.timeout.is_zero()),
            ("--pipeline", self.pipeline == 0),
            ("--threads", self.threads == 0),
        ] {
            if wrong {
                return Err(zero(name));
            }
        }
        let (connections, threads) = (self.connections, self.threads);
        if connections < threads {
            let problem = format!("--connections {connections} are too few for {threads} threads");
            return Err(usage(problem, "each thread needs one: raise --connections"));
        }
        if threads > cpus {
            let problem = format!("--threads {threads} are more than the {cpus} CPUs to be used");
            return Err(usage(problem, "each thread needs a CPU of its own: lower --threads"));
        }
        if let Some(rate) = self.rate.filter(|rate| !rate.is_finite() || *rate <= 0.0) {
            let problem = format!("--rate {rate} is no number of requests per second");
            return Err(usage(problem, "write a number above zero, such as --rate 1000"));
        }
        if self.pipeline > 1 && self.no_keepalive {
            let problem = "--pipeline and --no-keepalive exclude each other".to_owned();
            return Err(usage(problem, "a connection for one request has nothing to pipeline"));
        }
        if self.vs.is_some() && self.rounds() < 2 {
            let problem = format!("--rounds {} are too few", self.rounds());
            return Err(usage(problem, "how far ratios spread takes at least two"));
        }
        Ok(())
    }

    fn body(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.body_file else {
            return Ok(self.body.clone().map(String::into_bytes));
        };
        let read = std::fs::read(path).map_err(|error| {
            let problem = format!("--body-file {}: {error}", path.display());
            usage(problem, "name a file that can be read")
        });
        read.map(Some)
    }

    fn side(&self, url: &Url, request: &Request, pid: Option<u32>) -> Result<Side, Failure> {
        let encoded = request.encode(url);
        let encoded = encoded.map_err(|error| usage(error.to_string(), error.hint()))?;
        let target = url.resolve()?;
        let method = request.method();
        let plan = Plan {
            target,
            request: encoded,
            headless_answer: method == Method::HEAD,
            connections: self.connections,
            threads: self.threads,
            pipeline: self.pipeline,
            keep_alive: !self.no_keepalive,
            pace: self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
            until: match self.requests {
                Some(count) => Until::Requests(count),
                None => Until::Elapsed(self.duration.unwrap_or(DURATION)),
            },
            warm_up: self.warm_up,
            timeout: self.timeout,
            expect: self.expect,
        };
        let tree = pid.map(tree).transpose()?;
        Ok(Side { target: url.to_string(), method: method.to_string(), plan, tree })
    }
}

fn tree(pid: u32) -> Result<(u32, ProcessTree), Failure> {
    let tree = ProcessTree::of(pid).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let problem = format!("there is no process {pid}");
            usage(problem, "name the pid of the server, as `pgrep` or `ss -ltnp` shows it")
        }
        _ => Failure::System { what: "cannot read /proc", error },
    })?;
    Ok((pid, tree))
}

fn usage(problem: String, hint: &'static str) -> Failure {
    Failure::Usage { problem, hint }
}
