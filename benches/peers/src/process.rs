//! What a server keeps resident and what it uses, as `/proc` tells it: its own process and those
//! that it started.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The memory that the process group keeps resident, in bytes.
pub(crate) fn resident(group: u32) -> io::Result<u64> {
    let mut kibibytes = 0;
    for process in members(group)? {
        // Counted page by page, where VmRSS of `status` lags by some pages per CPU.
        let rollup = fs::read_to_string(process.join("smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let number =
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        let odd = || io::Error::other(format!("{}: no Rss", process.display()));
        kibibytes += number.ok_or_else(odd)?;
    }
    Ok(kibibytes * 1024)
}

/// The CPU time that the process group has used, in seconds.
pub(crate) fn cpu_seconds(group: u32) -> io::Result<f64> {
    let mut nanoseconds = 0.0;
    for process in members(group)? {
        for task in fs::read_dir(process.join("task"))? {
            // A thread that has ended meanwhile has nothing to be read.
            let line = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let used = line.split_ascii_whitespace().next().and_then(|it| it.parse::<f64>().ok());
            nanoseconds += used.unwrap_or(0.0);
        }
    }
    Ok(nanoseconds / 1e9)
}

/// The processes of a group: a contender leads its own, and what it starts stays in it.
fn members(group: u32) -> io::Result<Vec<PathBuf>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?.path();
        // Whatever is no process, or has ended meanwhile, has no `stat` to read.
        let Ok(stat) = fs::read_to_string(entry.join("stat")) else { continue };
        if group_in(&stat) == Some(group) {
            members.push(entry);
        }
    }
    if members.is_empty() {
        return Err(io::Error::other("the server has ended"));
    }
    Ok(members)
}

/// The process group in a line of `stat`: "pid (name) state parent group ...".
fn group_in(stat: &str) -> Option<u32> {
    // The name may hold spaces and parentheses; the last one ends it.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(2)?.parse().ok()
}
