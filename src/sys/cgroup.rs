//! What the control groups of this process let it use, in either version.

use std::fs;
use std::path::{Path, PathBuf};

/// What version 1 says of memory without a limit: the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// The limits of this process's group, and of all that are above it, as far as they are seen from
/// here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// CPU time, in hundredths of a CPU.
    pub cpu_percent: Option<u64>,
    /// In bytes.
    pub memory: Option<u64>,
}

impl Limits {
    /// Those of this process; none where nothing can be read.
    pub(crate) fn of_process() -> Self {
        Self::read(Path::new("/proc/self"))
    }

    fn read(process: &Path) -> Self {
        let text = |name| fs::read_to_string(process.join(name)).unwrap_or_default();
        let (groups, mounts) = (text("cgroup"), text("mountinfo"));
        let least = |read: &dyn Fn(&Path) -> Option<u64>, dirs: &[PathBuf]| {
            dirs.iter().filter_map(|dir| read(dir)).min()
        };
        let two = directories(&groups, &mounts, "");
        let (cpu, memory) =
            (directories(&groups, &mounts, "cpu"), directories(&groups, &mounts, "memory"));
        Self {
            cpu_percent: least(&cpu_max, &two).or_else(|| least(&cfs_quota, &cpu)),
            memory: least(&memory_max, &two).or_else(|| least(&limit_in_bytes, &memory)),
        }
    }
}

/// The directories of a process's group and of those above it: of version 1 for a controller, of
/// version 2 for none.
fn directories(groups: &str, mounts: &str, controller: &str) -> Vec<PathBuf> {
    let path = groups.lines().find_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
            return None;
        };
        controllers.split(',').any(|it| it == controller).then_some(path)
    });
    let mount = mounts.lines().find_map(|line| mount(line, controller));
    let (Some(path), Some((root, place))) = (path, mount) else { return Vec::new() };
    // What is mounted may be the group itself, as in a container.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let dir = Path::new(place).join(below);
    dir.ancestors().take_while(|dir| dir.starts_with(place)).map(Path::to_owned).collect()
}

/// Which group is mounted where, if a line of `mountinfo` says that of this controller.
fn mount<'a>(line: &'a str, controller: &str) -> Option<(&'a str, &'a str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, place) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let is = match controller {
        "" => kind == "cgroup2",
        controller => kind == "cgroup" && options.split(',').any(|it| it == controller),
    };
    is.then_some((root, place))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `max`, or a time, and of how much it is.
fn cpu_max(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    percent(quota.parse().ok()?, period.parse().ok()?)
}

/// -1 is none.
fn cfs_quota(dir: &Path) -> Option<u64> {
    percent(number(&dir.join("cpu.cfs_quota_us"))?, number(&dir.join("cpu.cfs_period_us"))?)
}

fn percent(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(100)?.checked_div(period)
}

fn memory_max(dir: &Path) -> Option<u64> {
    number(&dir.join("memory.max"))
}

fn limit_in_bytes(dir: &Path) -> Option<u64> {
    number(&dir.join("memory.limit_in_bytes")).filter(|bytes| *bytes < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read where these groups, mounts and files are; `@` stands for the directory.
    #[track_caller]
    fn check(groups: &str, mounts: &str, files: &[(&str, &str)], expected: (Option<u64>, u64)) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string();
        fs::write(dir.path().join("cgroup"), groups).unwrap();
        fs::write(dir.path().join("mountinfo"), mounts.replace('@', &place)).unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let memory = Some(expected.1).filter(|bytes| *bytes > 0);
        assert_eq!(Limits::read(dir.path()), Limits { cpu_percent: expected.0, memory });
    }

    #[test]
    fn the_least_of_a_group_and_those_above_it_counts() {
        let mounts = "31 23 0:26 / @/fs rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        check("0::/a/b\n", mounts, &[], (None, 0));
        let files = [
            ("cpu.max", "10000 100000\n"),
            ("fs/a/cpu.max", "150000 100000\n"),
            ("fs/a/b/cpu.max", "max 100000\n"),
            ("fs/a/memory.max", "max\n"),
            ("fs/a/b/memory.max", "4096\n"),
        ];
        check("0::/a/b\n", mounts, &files, (Some(150), 4096));
        // In a namespace of its own, and seen from outside of it.
        let of_root = [("fs/cpu.max", "50000 100000\n"), ("fs/memory.max", "8192\n")];
        check("0::/\n", mounts, &of_root, (Some(50), 8192));
        let rooted = mounts.replace(" / ", " /docker/1 ");
        check("0::/docker/1\n", &rooted, &of_root, (Some(50), 8192));
    }

    #[test]
    fn version_1_says_the_same_in_other_words() {
        let mounts = "32 31 0:29 / @/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /x @/mem rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / @/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/x/y\n2:cpu,cpuacct:/z\n0::/\n";
        let unlimited = [
            ("cpu/z/cpu.cfs_quota_us", "-1\n"),
            ("cpu/z/cpu.cfs_period_us", "100000\n"),
            ("mem/y/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        check(groups, mounts, &unlimited, (None, 0));
        let limited = [
            ("cpu/z/cpu.cfs_quota_us", "25000\n"),
            ("cpu/z/cpu.cfs_period_us", "10000\n"),
            ("mem/memory.limit_in_bytes", "9000\n"),
        ];
        check(groups, mounts, &limited, (Some(250), 9000));
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        check("", "", &[], (None, 0));
        let mounts = "31 23 0:26 / @/fs rw - cgroup2 cgroup2 rw\nnonsense\n";
        let files = [("fs/cpu.max", "nonsense"), ("fs/memory.max", "-1")];
        check("0::/\nnonsense\n", mounts, &files, (None, 0));
        check("0::/\n", mounts, &[("fs/cpu.max", "1 0")], (None, 0));
    }
}
