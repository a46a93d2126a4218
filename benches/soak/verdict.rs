//! The table, and whether all is well.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::Kind;
use crate::sample::{Files, Sample};
use crate::tally::{Counts, Tally};

/// How much the resident memory may grow from 20 % of the time to its end. An eventfd is the
/// kernel's memory and none of this.
const RESIDENT_GROWTH_MAX_KIB: u64 = 8 * 1024;
/// How much more memory may be pinned at the end: a life whose ring of buffers had to grow keeps it
/// so, and may be the last.
const PINNED_GROWTH_MAX_KIB: u64 = 8 * 1024;
/// Shorter than this nothing can be said of the growth: the first panics fault in what they use.
const GROWTH_FROM: Duration = Duration::from_secs(30);

/// All that was seen.
pub(crate) struct Soak {
    pub(crate) elapsed: Duration,
    /// Under load.
    pub(crate) samples: Vec<Sample>,
    /// Idle, before the first and after the last client.
    pub(crate) before: Sample,
    pub(crate) after: Sample,
    pub(crate) tally: Tally,
}

/// Whether the server has again what it had, and one eventfd more for each life that ended: glommio
/// keeps it.
pub(crate) fn is_idle(before: &Sample, now: &Sample) -> bool {
    now.threads == before.threads && now.files == files_due(before, now)
}

fn files_due(before: &Sample, now: &Sample) -> Files {
    Files { eventfds: before.files.eventfds + now.lives - before.lives, ..before.files.clone() }
}

/// Prints everything; true if all is well.
pub(crate) fn print(soak: &Soak) -> bool {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{:.0} s; load average at the end {}", soak.elapsed.as_secs_f64(), load.trim());
    table(&soak.tally);
    for note in soak.tally.notes() {
        println!("  {note}");
    }
    course(soak);
    let checks = [
        clients(&soak.tally),
        resident(soak),
        pinned(soak),
        equal("threads when idle", &soak.before.threads, &soak.after.threads),
        descriptors(soak),
    ];
    println!();
    for (well, what) in &checks {
        println!("{} {what}", if *well { "ok    " } else { "FAILED" });
    }
    checks.iter().all(|(well, _)| *well)
}

fn table(tally: &Tally) {
    let [right, wrong, ended, hung] = ["right", "wrong", "ended by a panic", "hung"];
    println!("\n{:<28} {right:>12} {wrong:>8} {ended:>18} {hung:>6}", "clients");
    for kind in Kind::ALL.into_iter().chain([Kind::Panic]) {
        let counts = tally.of(kind);
        let figure = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [right, wrong] = [&counts.right, &counts.wrong].map(figure);
        let [ended, hung] = [&counts.ended, &counts.hung].map(figure);
        println!("{:<28} {right:>12} {wrong:>8} {ended:>18} {hung:>6}", kind.name());
    }
    println!(
        "right: answers; of those that reset, connections; of executor panics, connections closed"
    );
}

/// The server at some moments.
fn course(soak: &Soak) {
    let [kib, pinned] = ["RSS KiB", "pinned KiB"];
    let head = ["restarts", kib, pinned, "threads", "sockets", "eventfds", "rings", "others"];
    println!("\n{:<16}{}", "server", head.map(|name| format!("{name:>12}")).concat());
    line("idle, before", &soak.before);
    for percent in [10, 20, 50, 100] {
        if let Some(sample) = at(soak, percent) {
            line(&format!("at {percent} %"), sample);
        }
    }
    line("idle, after", &soak.after);
}

fn line(name: &str, sample: &Sample) {
    let Sample { lives, resident_kib, pinned_kib, threads, files, .. } = sample;
    let Files { sockets, eventfds, rings, others } = files;
    let cells = [lives, resident_kib, pinned_kib, threads, sockets, eventfds, rings, others];
    println!("{name:<16}{}", cells.map(|figure| format!("{figure:>12}")).concat());
}

/// The first look at the server after this part of the time.
fn at(soak: &Soak, percent: u32) -> Option<&Sample> {
    let from = soak.elapsed * percent / 100;
    soak.samples.iter().find(|sample| sample.at >= from).or(soak.samples.last())
}

type Check = (bool, String);

fn clients(tally: &Tally) -> Check {
    let total = |figure: fn(&Counts) -> &AtomicU64| tally.total(figure);
    let (right, wrong) = (total(|counts| &counts.right), total(|counts| &counts.wrong));
    let hung = total(|counts| &counts.hung);
    let well = right > 0 && wrong == 0 && hung == 0;
    (
        well,
        format!(
            "clients: {wrong} wrong and {hung} hung, of {right} that were right; 0 and 0 allowed"
        ),
    )
}

fn resident(soak: &Soak) -> Check {
    let kib = |percent| at(soak, percent).map_or(0, |sample| sample.resident_kib);
    let growth = kib(100).saturating_sub(kib(20));
    // So that a small leak of each life shows, which a long soak multiplies.
    let lives = |percent| at(soak, percent).map_or(0, |sample| sample.lives);
    let each = growth * 1024 / (lives(100) - lives(20)).max(1);
    let told = soak.elapsed >= GROWTH_FROM;
    let limit = RESIDENT_GROWTH_MAX_KIB;
    let too_short = if told { "" } else { " (too short a time to tell)" };
    let what = format!(
        "RSS from 20 % to 100 % of the time: {growth} KiB more, {limit} allowed; \
         {each} bytes per restart"
    );
    (!told || growth <= limit, what + too_short)
}

fn pinned(soak: &Soak) -> Check {
    let growth = soak.after.pinned_kib.saturating_sub(soak.before.pinned_kib);
    let limit = PINNED_GROWTH_MAX_KIB;
    (growth <= limit, format!("pinned memory when idle: {growth} KiB more, {limit} allowed"))
}

fn descriptors(soak: &Soak) -> Check {
    let (due, have) = (files_due(&soak.before, &soak.after), &soak.after.files);
    equal("descriptors when idle, with one eventfd more per restart", &due, have)
}

fn equal<T: PartialEq + std::fmt::Debug>(name: &str, due: &T, have: &T) -> Check {
    (due == have, format!("{name}: {have:?}, to be {due:?}"))
}
