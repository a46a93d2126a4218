//! `corelane bench`, the load.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use peers::{JSON, Listing};
use serde_json::Value;
use tempfile::TempDir;

use crate::CLIENT_CPU;
use crate::failure::{Doing, Failure};
use crate::launch::{self, Stop, interrupted};
use crate::options::Plan;
use crate::results::{ASKED, CPU, P50, P99, P999, RATE, SATURATED};
use crate::server::Server;
use crate::workload::{Ask, Load};
use crate::workshop::Shop;

/// The resource that is asked for: the middle one, which is what a router that tries one route
/// after another takes on average.
pub(crate) const RESOURCE: usize = 100;
pub(crate) const ID: u64 = 42;

/// Of what was due at a fixed rate, what may be unsent at the end.
const UNSENT_SHARE: f64 = 0.001;
/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// The load generator.
pub(crate) struct Generator<'shop> {
    shop: &'shop Shop,
    plan: Plan,
    stop: Stop,
    directory: TempDir,
}

impl<'shop> Generator<'shop> {
    /// Prepares it.
    pub(crate) fn new(shop: &'shop Shop, plan: Plan, stop: &Stop) -> Result<Self, Failure> {
        let directory = TempDir::new().doing("making a temporary directory")?;
        Ok(Generator { shop, plan, stop: stop.clone(), directory })
    }

    /// Loads the server, at a fixed rate if one is given, and returns the figures.
    pub(crate) fn run(
        &self,
        server: &Server,
        load: &Load,
        rate: Option<f64>,
    ) -> Result<BTreeMap<String, f64>, Failure> {
        let arguments = self.arguments(server, load, rate)?;
        let mut command = launch::pinned(CLIENT_CPU, &self.shop.load);
        command.arg("bench").args(&arguments).stdin(Stdio::null());
        let [out, err] = ["out", "err"].map(|name| self.directory.path().join(name));
        let create = |path| fs::File::create(path).doing("making a file for figures");
        command.stdout(create(&out)?).stderr(create(&err)?);
        let mut child = command.spawn().doing("starting corelane bench")?;
        self.wait(&mut child)?;
        let said = fs::read_to_string(&out).doing("reading figures")?;
        let complaint = fs::read_to_string(&err).unwrap_or_default();
        let json: Value = serde_json::from_str(&said).map_err(|_| {
            server.failed(format!("corelane bench has failed: {}", complaint.trim()))
        })?;
        figures(&json, rate).map_err(|what| server.failed(what))
    }

    fn arguments(
        &self,
        server: &Server,
        load: &Load,
        rate: Option<f64>,
    ) -> Result<Vec<String>, Failure> {
        let millis = |seconds: f64| format!("{:.0}ms", seconds * 1e3);
        let mut arguments: Vec<String> = vec!["--json".into(), "--threads".into(), "1".into()];
        let mut add = |key: &str, value: String| arguments.extend([key.to_owned(), value]);
        add("-c", load.connections.to_string());
        add("-d", millis(self.plan.seconds));
        add("--warm-up", millis(self.plan.warm_up));
        add("--expect", "200".to_owned());
        add("--pid", server.group().to_string());
        if load.pipeline > 1 {
            add("--pipeline", load.pipeline.to_string());
        }
        if let Some(rate) = rate {
            add("--rate", format!("{rate:.0}"));
        }
        let path = match load.ask {
            Ask::Hello => "/".to_owned(),
            Ask::Listing { items } => listing_path(items),
            Ask::Echo { bytes } => {
                let file = self.directory.path().join("body");
                fs::write(&file, body(bytes)).doing("writing a body")?;
                add("-X", "POST".to_owned());
                add("--body-file", file.to_string_lossy().into_owned());
                "/echo".to_owned()
            }
            Ask::Store { items } => {
                let file = self.directory.path().join("listing");
                fs::write(&file, listing(items)?).doing("writing a body")?;
                add("-X", "POST".to_owned());
                add("-H", format!("Content-Type: {JSON}"));
                add("--body-file", file.to_string_lossy().into_owned());
                "/store".to_owned()
            }
            Ask::File { name } => format!("/files/{name}"),
            Ask::Page => {
                add("-H", "Accept-Encoding: gzip".to_owned());
                "/page".to_owned()
            }
        };
        if !load.keep_alive {
            arguments.push("--no-keepalive".to_owned());
        }
        arguments.push(format!("http://{}{path}", server.address()));
        Ok(arguments)
    }

    fn wait(&self, child: &mut Child) -> Result<(), Failure> {
        while child.try_wait().doing("waiting for corelane bench")?.is_none() {
            if interrupted(&self.stop) {
                // Both may fail only if it has ended already.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::Interrupted);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// What the report of `corelane bench` says; an error if not all went well.
fn figures(json: &Value, rate: Option<f64>) -> Result<BTreeMap<String, f64>, String> {
    let count = |value: &Value| value.as_f64().unwrap_or(0.0);
    let requests = count(&json["requests"]);
    let errors = json["errors"].as_object().is_none_or(|it| it.values().any(|it| count(it) > 0.0));
    if requests <= 0.0 || errors {
        return Err(format!("{requests} requests; errors: {}", json["errors"]));
    }
    let unsent = count(&json["unsent"]);
    if unsent > UNSENT_SHARE * requests {
        return Err(format!("did not keep up: {unsent} requests of {requests} were not sent"));
    }
    let latency = &json["latency_microseconds"];
    let figures = [
        (RATE, json["requests_per_second"].as_f64()),
        (CPU, json["server"]["cpu_microseconds_per_request"].as_f64()),
        (P50, latency["p50"].as_f64()),
        (P99, latency["p99"].as_f64()),
        (P999, latency["p99.9"].as_f64()),
        (SATURATED, json["generator"]["saturated"].as_bool().map(|it| f64::from(u8::from(it)))),
        ("retried", json["retried"].as_f64()),
        ("peak_memory_bytes", json["server"]["peak_memory_bytes"].as_f64()),
        (ASKED, rate),
    ];
    let known = figures.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
    Ok(known.collect())
}

/// A listing of so many items, as it is sent.
pub(crate) fn listing(items: usize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&Listing::new(RESOURCE, ID, items)).doing("writing a listing")
}

/// The path that a listing of so many items is at.
pub(crate) fn listing_path(items: usize) -> String {
    let path = peers::pattern(RESOURCE).replace("{id}", &ID.to_string());
    path.replace("{count}", &items.to_string())
}

/// A body of that size: bytes of all values.
pub(crate) fn body(bytes: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(bytes).collect()
}
