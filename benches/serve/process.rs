//! What a server has used, as `/proc` tells it: its own process and those it started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time that all threads of the process group have spent on a CPU.
///
/// Exact while the group sleeps: the kernel adds a slice when it ends.
pub(crate) fn cpu_time(group: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for process in members(group)? {
        for thread in entries(&process.join("task"))? {
            // "time on cpu, time waiting, slices", the first two in nanoseconds.
            let Ok(schedstat) = fs::read_to_string(thread.join("schedstat")) else {
                continue; // It has ended meanwhile.
            };
            nanoseconds += leading_number(&schedstat).ok_or_else(|| odd(&thread))?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The memory that the process group keeps resident, in bytes.
pub(crate) fn resident(group: u32) -> io::Result<u64> {
    let mut kibibytes = 0;
    for process in members(group)? {
        // Counted page by page, where VmRSS of `status` lags by some pages per CPU.
        let rollup = fs::read_to_string(process.join("smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        kibibytes += line.and_then(leading_number).ok_or_else(|| odd(&process))?;
    }
    Ok(kibibytes * 1024)
}

/// The processes of a group: a contender leads its own, and what it starts stays in it.
fn members(group: u32) -> io::Result<Vec<PathBuf>> {
    let mut members = Vec::new();
    for entry in entries(Path::new("/proc"))? {
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

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn leading_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn odd(file: &Path) -> io::Error {
    io::Error::other(format!("{} reads otherwise than expected", file.display()))
}
