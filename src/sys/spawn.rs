//! Starting a program in a session of its own: with the descriptors that it is to have, as the user
//! that it is to be.
//!
//! The standard library cannot pass descriptors by number nor put the child's pid into its
//! environment, which `LISTEN_PID` needs.
#![expect(unsafe_code, reason = "fork, and what a child may do before exec")]

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, getpid};

use super::user::Identity;

/// The first descriptor that is passed.
const FIRST_PASSED: RawFd = 3;
/// Room for a pid in an environment variable.
const PID_DIGITS_MAX: usize = 10;
/// What a child exits with that could not become the program; nobody sees it.
const NOT_STARTED: i32 = 127;
/// A message of a child that could not: a step and an error number.
const REPORT_BYTES: usize = 8;

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Program<'fd> {
    /// Its file; relative ones are looked up in `cwd`.
    pub path: PathBuf,
    /// What it is told that it is called.
    pub name: OsString,
    /// Its arguments, without the name.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Variables whose value is its own pid.
    pub pid_env: Vec<&'static str>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Whom it runs as; as this process if `None`.
    pub identity: Option<Identity>,
    /// Its stdin, stdout and stderr.
    pub stdio: [BorrowedFd<'fd>; 3],
    /// Its descriptors from 3 on.
    pub passed: Vec<BorrowedFd<'fd>>,
    /// It is killed when the thread that starts it has ended, whatever way.
    pub tied: bool,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) struct SpawnError {
    step: Step,
    source: io::Error,
}

/// What a child was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fork,
    Descriptors,
    Groups,
    Group,
    User,
    Directory,
    Exec,
}

impl Step {
    const ALL: [Self; 7] = [
        Self::Fork,
        Self::Descriptors,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Directory,
        Self::Exec,
    ];
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            Step::Fork => "cannot start a process",
            Step::Descriptors => "cannot pass the descriptors",
            Step::Groups | Step::Group => "cannot become the group",
            Step::User => "cannot become the user",
            Step::Directory => "cannot change to its directory",
            Step::Exec => "cannot execute the program",
        };
        write!(f, "{what}: {}", self.source)
    }
}

impl Program<'_> {
    /// Starts it, and returns its pid once it has become the program. It leads a session and a
    /// process group of its own.
    ///
    /// # Errors
    /// The program is not there or may not be executed, or something on the way failed. Then no
    /// process is left.
    pub(crate) fn spawn(self) -> Result<u32, SpawnError> {
        let path = c_string(self.path.as_os_str()).map_err(at(Step::Exec))?;
        let cwd = c_string(self.cwd.as_os_str()).map_err(at(Step::Directory))?;
        let words = std::iter::once(&self.name).chain(&self.args).map(|word| c_string(word));
        let words = words.collect::<io::Result<Vec<_>>>().map_err(at(Step::Exec))?;
        let mut env = Environment::new(&self.env, &self.pid_env).map_err(at(Step::Exec))?;
        // Above all that is passed, lest one overwrite another on its way to its number.
        let count = RawFd::try_from(self.passed.len()).unwrap_or(RawFd::MAX);
        let above = FIRST_PASSED.saturating_add(count);
        let raise = |fd: &BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, above).map_err(io::Error::from);
        let wanted = self.stdio.iter().chain(&self.passed).map(raise);
        let wanted = wanted.collect::<io::Result<Vec<OwnedFd>>>().map_err(at(Step::Descriptors))?;
        let numbers: Vec<_> = wanted.iter().map(AsRawFd::as_raw_fd).collect();
        let (report, teller) = channel(above).map_err(at(Step::Descriptors))?;
        let argv = pointers(&words);
        let child = Child {
            path: path.as_ptr(),
            argv: argv.as_ptr(),
            env: env.pointers.as_ptr(),
            pids: &mut env.pids,
            cwd: cwd.as_ptr(),
            identity: self.identity.as_ref(),
            wanted: &numbers,
            teller: teller.as_raw_fd(),
            tied_to: self.tied.then(getpid),
        };
        // SAFETY: what the child of a process with several threads may do is what `become_program`
        // does: system calls, on memory that was prepared before.
        match unsafe { libc::fork() } {
            -1 => Err(at(Step::Fork)(io::Error::last_os_error())),
            0 => child.become_program(),
            pid => {
                drop(teller);
                hear(report).inspect_err(|_| reap(pid))?;
                Ok(pid.unsigned_abs())
            }
        }
    }
}

/// Waits until the child has become the program, or says why not.
fn hear(mut report: File) -> Result<(), SpawnError> {
    let mut told = Vec::new();
    report.read_to_end(&mut told).map_err(at(Step::Fork))?;
    let Ok(told) = <[u8; REPORT_BYTES]>::try_from(told) else { return Ok(()) };
    let [a, b, c, d, number @ ..] = told;
    let step = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or_default();
    let step = Step::ALL.get(step).copied().unwrap_or(Step::Fork);
    Err(at(step)(io::Error::from_raw_os_error(i32::from_ne_bytes(number))))
}

fn at(step: Step) -> impl Fn(io::Error) -> SpawnError {
    move |source| SpawnError { step, source }
}

/// A child that could not become the program is gone in a moment.
fn reap(pid: libc::pid_t) {
    // SAFETY: takes a number; with no pointer to write to.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } == -1 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// A pipe whose ends are above these numbers, closed on exec.
fn channel(above: RawFd) -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((reader.into(), fcntl_dupfd_cloexec(writer, above)?))
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let problem = format!("`{}` has a zero byte in it", text.display());
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })
}

/// With the null at the end that exec wants.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The variables of a program, as exec wants them.
struct Environment {
    _texts: Vec<CString>,
    pids: Vec<PidVariable>,
    pointers: Vec<*const libc::c_char>,
}

/// A variable that is to hold the child's pid.
struct PidVariable {
    /// `NAME=`, and zeros.
    text: Vec<u8>,
    /// Where the digits go.
    digits: usize,
}

impl Environment {
    fn new(env: &[(OsString, OsString)], pid_env: &[&str]) -> io::Result<Self> {
        let text = |(name, value): &(OsString, OsString)| {
            let mut both = name.clone();
            both.push("=");
            both.push(value);
            c_string(&both)
        };
        let texts = env.iter().map(text).collect::<io::Result<Vec<_>>>()?;
        let pid = |name: &&str| {
            let mut text = format!("{name}=").into_bytes();
            let digits = text.len();
            text.resize(digits + PID_DIGITS_MAX + 1, 0);
            PidVariable { text, digits }
        };
        let mut pids: Vec<_> = pid_env.iter().map(pid).collect();
        let of_pids = pids.iter_mut().map(|pid| pid.text.as_mut_ptr().cast_const().cast());
        let of_texts = texts.iter().map(|text| text.as_ptr());
        let pointers = of_texts.chain(of_pids).chain([ptr::null()]).collect();
        Ok(Self { _texts: texts, pids, pointers })
    }
}

impl PidVariable {
    fn set(&mut self, pid: u32) {
        let mut digits = [0; PID_DIGITS_MAX];
        let (mut left, mut at) = (pid, PID_DIGITS_MAX);
        while at == PID_DIGITS_MAX || left > 0 {
            at -= 1;
            digits[at] = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
        let digits = &digits[at..];
        self.text[self.digits..][..digits.len()].copy_from_slice(digits);
    }
}

/// All that a child needs between fork and exec, where it may not allocate.
struct Child<'plan> {
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    pids: &'plan mut [PidVariable],
    cwd: *const libc::c_char,
    identity: Option<&'plan Identity>,
    wanted: &'plan [RawFd],
    teller: RawFd,
    /// The process whose thread's end is to be this one's.
    tied_to: Option<Pid>,
}

impl Child<'_> {
    fn become_program(mut self) -> ! {
        let step = self.try_become();
        let error =
            Errno::from_io_error(&io::Error::last_os_error()).map_or(0, Errno::raw_os_error);
        let step = Step::ALL.iter().position(|other| *other == step).unwrap_or_default();
        let mut report = [0; REPORT_BYTES];
        report[..4].copy_from_slice(&u32::try_from(step).unwrap_or_default().to_ne_bytes());
        report[4..].copy_from_slice(&error.to_ne_bytes());
        // SAFETY: writes from an array on this stack, then ends this process without unwinding.
        unsafe {
            libc::write(self.teller, report.as_ptr().cast(), report.len());
            libc::_exit(NOT_STARTED)
        }
    }

    /// Returns only if something failed; `errno` says what.
    fn try_become(&mut self) -> Step {
        // SAFETY: system calls on this process, which is a child that nobody else runs in; the
        // pointers are into memory that `spawn` keeps until the child is gone or has become
        // another program.
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            // What is ignored stays so across exec, SIGPIPE above all, which Rust ignores.
            for signal in 1..=libc::SIGSYS {
                libc::signal(signal, libc::SIG_DFL);
            }
            libc::setsid();
            for (&from, to) in self.wanted.iter().zip(0..) {
                if libc::dup2(from, to) == -1 {
                    return Step::Descriptors;
                }
            }
            let above = libc::c_uint::try_from(self.wanted.len()).unwrap_or(libc::c_uint::MAX);
            libc::syscall(
                libc::SYS_close_range,
                above,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            if let Some(identity) = self.identity {
                if libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) == -1 {
                    return Step::Groups;
                }
                if libc::setgid(identity.gid) == -1 {
                    return Step::Group;
                }
                if libc::setuid(identity.uid) == -1 {
                    return Step::User;
                }
            }
            // Another user's process would have forgotten it.
            if let Some(parent) = self.tied_to {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != parent.as_raw_pid() {
                    // It has ended already, so nobody hears what this one would say.
                    libc::_exit(NOT_STARTED);
                }
            }
            if libc::chdir(self.cwd) == -1 {
                return Step::Directory;
            }
            let pid = libc::getpid().unsigned_abs();
            self.pids.iter_mut().for_each(|variable| variable.set(pid));
            libc::execve(self.path, self.argv, self.env);
        }
        Step::Exec
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::path::Path;

    use super::*;
    use crate::sys::child::Child as Running;

    struct Run {
        out: File,
        child: Running,
    }

    impl Run {
        /// What it wrote until it ended, and how it ended.
        fn finish(mut self) -> (String, String) {
            let mut text = String::new();
            self.out.read_to_string(&mut text).unwrap();
            (text, self.child.wait().unwrap().to_string())
        }
    }

    fn shell(script: &str, change: impl FnOnce(&mut Program<'_>)) -> Result<Run, SpawnError> {
        shell_with(script, &[], change)
    }

    fn shell_with(
        script: &str,
        passed: &[File],
        change: impl FnOnce(&mut Program<'_>),
    ) -> Result<Run, SpawnError> {
        let null = File::open("/dev/null").unwrap();
        let (out, writer) = channel(3).unwrap();
        let mut program = Program {
            path: "/bin/sh".into(),
            name: "a shell".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            pid_env: Vec::new(),
            cwd: "/".into(),
            identity: None,
            stdio: [null.as_fd(), writer.as_fd(), writer.as_fd()],
            passed: passed.iter().map(AsFd::as_fd).collect(),
            tied: false,
        };
        change(&mut program);
        let pid = program.spawn()?;
        Ok(Run { out, child: Running::of(pid).unwrap() })
    }

    #[track_caller]
    fn check(script: &str, change: impl FnOnce(&mut Program<'_>), expected: &str) {
        let (text, how) = shell(script, change).unwrap().finish();
        assert_eq!((text.as_str(), how.as_str()), (expected, "exited with code 0"));
    }

    #[test]
    fn a_program_has_what_it_was_given_and_nothing_else() {
        check("echo $0; pwd; env | grep -v PWD", |_| {}, "a shell\n/\nPATH=/usr/bin:/bin\n");
        let cwd = tempfile::tempdir().unwrap();
        let expected = format!("{}\n", cwd.path().canonicalize().unwrap().display());
        check("pwd -P", |program| program.cwd = cwd.path().into(), &expected);
    }

    #[test]
    fn it_leads_a_group_of_its_own_and_knows_its_pid() {
        let change = |program: &mut Program<'_>| program.pid_env = vec!["LISTEN_PID"];
        let (text, _) =
            shell("cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$", change).unwrap().finish();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], lines[1], "its group and its session");
        check("[ $LISTEN_PID = $$ ] && echo right", change, "right\n");
    }

    #[test]
    fn descriptors_arrive_in_order_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = (0..20)
            .rev()
            .map(|number| {
                let path = dir.path().join(number.to_string());
                std::fs::write(&path, number.to_string()).unwrap();
                File::open(path).unwrap()
            })
            .collect();
        let script = "for n in 3 4 11; do cat /proc/$$/fd/$n; echo; done; \
                      for fd in /proc/$$/fd/*; do [ ${fd##*/} -gt 22 ] && readlink $fd; done; true";
        let (text, _) = shell_with(script, &files, |_| {}).unwrap().finish();
        assert_eq!(text, "19\n18\n11\n");
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let reason = |change: &dyn Fn(&mut Program<'_>)| {
            shell("true", |program| change(program)).map(|_| ()).unwrap_err().to_string()
        };
        let missing = reason(&|program| program.path = "/no/such/program".into());
        assert!(missing.starts_with("cannot execute the program: No such file"), "{missing}");
        let denied = reason(&|program| program.path = "/etc/passwd".into());
        assert!(denied.starts_with("cannot execute the program: Permission denied"), "{denied}");
        let nowhere = reason(&|program| program.cwd = "/no/such/directory".into());
        assert!(nowhere.starts_with("cannot change to its directory: No such file"), "{nowhere}");
        let zero = reason(&|program| program.env.push(("A".into(), "b\0c".into())));
        assert!(zero.contains("has a zero byte in it"), "{zero}");
        assert!(Path::new("/no").metadata().is_err());
    }

    #[test]
    fn signals_are_at_their_defaults() {
        let (text, how) = shell("kill -PIPE $$; echo no", |_| {}).unwrap().finish();
        assert_eq!((text.as_str(), how.as_str()), ("", "killed by signal 13 (PIPE)"));
    }
}
