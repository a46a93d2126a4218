//! Does one workload so many times, to be counted by `benches/instructions/run`.
//!
//! `instructions` prints the names of the workloads; `instructions NAME TIMES` does one.

#[path = "../micro/workload.rs"]
mod workload;

use std::io::{self, Write as _};

use workload::WORKLOADS;

fn main() -> io::Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [name, times] = &arguments[..] {
        let named = WORKLOADS.iter().find(|workload| workload.name == name);
        let workload = named.ok_or_else(|| io::Error::other(format!("no workload `{name}`")))?;
        let times: u32 = times.parse().map_err(io::Error::other)?;
        let mut once = (workload.prepare)();
        (0..times).for_each(|_| once());
        return Ok(());
    }
    let mut out = io::stdout().lock();
    WORKLOADS.iter().try_for_each(|workload| writeln!(out, "{}", workload.name))
}
