//! Programs beside what is built in, or alone: as under a manager, but in the foreground.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

/// A shell that runs this, ready after a moment unless `more` says otherwise.
fn shell(name: &str, script: &str, more: &str) -> String {
    let ready = if more.contains("restart") { "" } else { "restart = { min_uptime = \"50ms\" }" };
    format!(
        "\n[[apps]]\nname = \"{name}\"\nprogram = \"/bin/sh\"\n\
         args = [\"-c\", '''{script}''']\n{ready}\n{more}\n"
    )
}

/// This program as one that embeds corelane: it serves a file of its own.
fn embedding(name: &str, dir: &Path, address: &str, body: &str) -> String {
    let file = dir.join(format!("{body}.toml"));
    let own = APP.replace("127.0.0.1:0", address).replace("body = \"shop\"", "BODY");
    let own = own.replace("BODY", &format!("body = \"{body}\""));
    fs::write(&file, own).unwrap();
    format!(
        "\n[[apps]]\nname = \"{name}\"\nprogram = \"{}\"\nargs = [\"run\", \"{}\"]\n\
         listen = [\"{address}\"]\ntimeouts = {{ drain = \"5s\", stop = \"6s\" }}\n",
        env!("CARGO_BIN_EXE_corelane"),
        file.display(),
    )
}

/// A port that nobody has just now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Running {
    /// Reads lines up to one with this in it, which it returns.
    #[track_caller]
    fn until(&self, part: &str) -> String {
        let mut before = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("{part:?} is not said: {before:?}");
            };
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
    }

    /// The pid of an app's process that is ready.
    #[track_caller]
    fn ready(&self, name: &str) -> u32 {
        loop {
            let line = self.until(": ready");
            if let Some(rest) = line.strip_prefix(&format!("[{name}] pid ")) {
                return rest.split(':').next().unwrap().parse().unwrap();
            }
        }
    }
}

/// Whether there is such a process, and not only what is left of it.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn programs_run_beside_what_is_built_in_and_end_in_order() {
    let file = APP.to_owned()
        + &shell("tool", "echo out; exec sleep 1000", "after = [\"shop\"]")
        + &shell("last", "exec sleep 1000", "after = [\"tool\"]\nstop_signal = \"INT\"");
    let mut running = Running::prepared(Some(&file), &["run"], |it| {
        it.stdout(Stdio::piped());
    });
    let (banner, address) = running.banner();
    assert!(banner.starts_with("[shop] corelane "), "{banner}");
    running.until("[shop] worker 0 on CPU ");
    let tool = running.ready("tool");
    let last = running.ready("last");
    assert!(ask(address, &get("/")).ends_with("shop"));
    let mut out = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "out\n");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert!(!lives(tool) && !lives(last));
    let said: Vec<_> = running.lines.iter().collect();
    let expected = [
        format!("[tool] pid {tool}: told to end"),
        format!("[tool] pid {tool}: killed by signal 15 (TERM)"),
        format!("[last] pid {last}: killed by signal 2 (INT)"),
        "[shop] stopped: 0 connections cut".to_owned(),
    ];
    for line in expected {
        assert!(said.contains(&line), "{line} in {said:?}");
    }
}

#[test]
fn the_end_of_all_programs_is_the_end_and_its_code_theirs() {
    let never = "restart = { policy = \"never\", min_uptime = \"50ms\" }";
    let failing = "restart = { policy = \"on-failure\", min_uptime = \"50ms\" }";
    let stop = "restart = { stop_exit_codes = [7], min_uptime = \"50ms\" }";
    for (scripts, more, code) in [
        (&["exit 0"][..], never, 0),
        (&["exit 3"], never, 3),
        (&["sleep 0.2; exit 3"], never, 3),
        (&["kill -9 $$"], never, 137),
        (&["exit 0", "sleep 0.2; exit 9"], never, 9),
        (&["exit 0"], failing, 0),
        (&["[ -e again ] || { touch again; exit 3; }"], failing, 0),
        (&["exit 7"], stop, 7),
    ] {
        let apps = scripts.iter().enumerate();
        let file: String =
            apps.map(|(at, script)| shell(&format!("job{at}"), script, more)).collect();
        let output = run(&["run"], Some(&file), |_| {});
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{scripts:?}: {text}");
    }
}

#[test]
fn what_cannot_start_ends_everything_and_says_why() {
    let always = "restart = { max_restarts = 1, min_uptime = \"10s\" }";
    let late = "timeouts = { ready = \"100ms\" }\n\
                restart = { policy = \"never\", min_uptime = \"10s\" }";
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("listen = [\"{}\"]", taken.local_addr().unwrap());
    let nowhere = shell("bad", "", "").replace("/bin/sh", "/no/such/program");
    for (bad, code, error) in [
        (shell("bad", "exit 3", always), 70, "error: bad: failed: exited with code 3; restarted"),
        (shell("bad", "exec sleep 1000", late), 1, "error: bad: failed: not ready within 100ms"),
        (shell("bad", "exec sleep 1000", &address), 1, "error: bad: failed: cannot listen on "),
        (shell("bad", "", "after = [\"none\"]"), 2, "error: bad: it comes after `none`, which"),
        (nowhere, 2, "error: bad: there is no program `/no/such/program` in "),
    ] {
        let file = APP.to_owned() + &shell("good", "exec sleep 1000", "") + &bad;
        let output = run(&["run"], Some(&file), |_| {});
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.lines().last().unwrap().starts_with(error), "{error} in {text}");
        assert!(text.contains("[shop] stopped: 0 connections cut\n"), "{text}");
        let started = text.contains("[good] pid ");
        assert_eq!(started, text.contains(": killed by signal 15 (TERM)\n"), "{text}");
    }
}

#[test]
fn one_that_is_given_up_later_ends_the_rest() {
    let script = "[ -e go ] && exit 3; while ! [ -e go ]; do sleep 0.02; done; exit 3";
    let more = "restart = { max_restarts = 2, min_uptime = \"50ms\" }";
    let file = APP.to_owned()
        + &shell("good", "exec sleep 1000", "")
        + &shell("bad", script, &format!("cwd = \".\"\n{more}"));
    let mut running = Running::start(Some(&file), &["run"]);
    let good = running.ready("good");
    running.ready("bad");
    fs::write(running.dir.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 70);
    assert!(!lives(good));
    let said: Vec<_> = running.lines.iter().collect();
    let last = said.last().unwrap();
    assert!(last.starts_with("error: bad: exited with code 3; restarted 2 times"), "{said:?}");
    assert!(said.iter().any(|line| line.ends_with(": exited with code 3; restarting")), "{said:?}");
}

#[test]
fn a_program_that_does_not_end_is_killed_with_all_that_it_has_started() {
    let script = "trap \"\" TERM; echo $$ > pid; sleep 1000 & echo $! > other; wait; wait";
    let more = "timeouts = { drain = \"50ms\", stop = \"100ms\" }";
    let mut running = Running::start(Some(&shell("deaf", script, more)), &["run"]);
    let pid = running.ready("deaf");
    let other = fs::read_to_string(running.dir.path().join("other")).unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert!(!lives(pid) && !lives(other.trim().parse().unwrap()));
    assert!(running.lines.iter().any(|line| line.ends_with(": does not end, killed")));
}

#[test]
fn a_second_signal_takes_the_programs_along() {
    let script = "trap \"\" TERM; sleep 1000 & echo $! > other; wait; wait";
    let mut running = Running::start(Some(&shell("deaf", script, "")), &["run"]);
    let pid = running.ready("deaf");
    let other = fs::read_to_string(running.dir.path().join("other")).unwrap();
    running.signal(Signal::TERM);
    running.until(": told to end");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 143);
    until("they are gone", || !lives(pid) && !lives(other.trim().parse().unwrap()));
}

#[test]
fn programs_do_not_outlive_a_kill() {
    let file =
        shell("a", "exec sleep 1000", "") + &shell("b", "exec sleep 1000", "after = [\"a\"]");
    let mut running = Running::start(Some(&file), &["run"]);
    let pids = [running.ready("a"), running.ready("b")];
    running.child.kill().unwrap();
    until("they are gone", || !pids.into_iter().any(lives));
}

#[test]
fn another_user_s_program_does_not_outlive_a_kill_either() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let file = shell("a", "id -u; exec sleep 1000", "user = \"nobody\"\ncwd = \"/\"");
    let mut running = Running::start(Some(&file), &["run"]);
    let pid = running.ready("a");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t65534\t"), "{status}");
    running.child.kill().unwrap();
    until("it is gone", || !lives(pid));
}

#[test]
fn what_a_program_leaves_behind_is_taken_in_and_buried() {
    // The grandchild outlives its parent, and tells whose child it is then.
    let orphan = "echo $$ > orphan; while ! [ -e go ]; do sleep 0.02; done";
    let script = format!("(setsid sh -c \"{}\" &); exec sleep 1000", orphan.replace('$', "\\$"));
    let mut running = Running::start(Some(&shell("a", &script, "")), &["run"]);
    running.ready("a");
    let path = running.dir.path().join("orphan");
    let read = || fs::read_to_string(&path).ok()?.trim().parse::<u32>().ok();
    until("it has started", || read().is_some());
    let (pid, own) = (read().unwrap(), running.child.id());
    let parent = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    until("it is adopted", || parent() == Some(own));
    fs::write(running.dir.path().join("go"), "").unwrap();
    until("it is buried", || parent().is_none());
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}

#[test]
fn what_a_program_has_left_behind_ends_with_everything() {
    let orphan = "trap \"\" TERM; sleep 1000 & echo $$ $! > orphan; wait; wait";
    let orphan = orphan.replace('$', "\\$").replace('"', "\\\"");
    let script = format!("trap \"\" TERM; (setsid sh -c \"{orphan}\" &); sleep 1000; sleep 1000");
    let stop = "timeouts = { drain = \"50ms\", stop = \"100ms\" }";
    for (more, code) in [(stop, 0), ("", 143)] {
        let mut running = Running::start(Some(&shell("a", &script, more)), &["run"]);
        running.ready("a");
        let path = running.dir.path().join("orphan");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        until("it has started", || read().ends_with('\n'));
        let pids: Vec<u32> = read().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        running.signal(Signal::TERM);
        if code != 0 {
            running.until(": told to end");
            running.signal(Signal::TERM);
        }
        assert_eq!(running.code(), code);
        until("both are gone", || !pids.iter().copied().any(lives));
        assert_eq!(pids.len(), 2);
    }
}

#[test]
fn hup_changes_programs_without_a_lost_request_or_not_at_all() {
    let address = free();
    let mut running = Running::prepared(None, &["run", "corelane.toml"], |it| {
        let dir = it.get_current_dir().unwrap().to_owned();
        let file = embedding("own", &dir, &address.to_string(), "one")
            + &shell("tool", "exec sleep 1000", "after = [\"own\"]");
        fs::write(dir.join("corelane.toml"), file).unwrap();
    });
    let dir = running.dir.path().to_owned();
    let own = |body: &str| embedding("own", &dir, &address.to_string(), body);
    let tool = shell("tool", "exec sleep 1000", "after = [\"own\"]");
    let (old, kept) = (running.ready("own"), running.ready("tool"));
    let load = Load::on(address);
    let hup = |file: &str| {
        fs::write(dir.join("corelane.toml"), file).unwrap();
        running.signal(Signal::HUP);
        running.until("reloaded")
    };
    let new = shell("new", "exec sleep 1000", "");
    let told = hup(&(own("two") + &tool + &new));
    assert_eq!(told, "reloaded: 1 changed, 1 started, 0 stopped, 1 as before");
    until("the new one alone answers", || ask(address, &get("/")).ends_with("two"));
    until("the old one is gone", || !lives(old));
    // What is wrong, cannot be found, or does not become ready changes nothing.
    let broken = shell("new", "exit 3", "restart = { policy = \"never\", min_uptime = \"10s\" }");
    let nowhere = new.replace("/bin/sh", "/no/such/program");
    let failing = own("three").replace("\"run\"", "\"no-such-verb\"");
    for (file, why) in [
        ("[[apps]]\nname = 1".to_owned(), "corelane.toml:1:1: "),
        (own("three") + &tool + &nowhere, "there is no program"),
        (own("three") + &tool + &broken, "new: the new version failed: exited with code 3"),
        (failing + &tool + &new + &shell("more", "exec sleep 1000", ""), "the new version failed"),
    ] {
        let told = hup(&file);
        assert_eq!(told, "not reloaded, everything is as it was:", "{file}");
        let line = running.line();
        assert!(line.contains(why), "{why} in {line}");
    }
    until("the old one answers again", || ask(address, &get("/")).ends_with("two"));
    let told = hup(&(own("two") + &tool));
    assert_eq!(told, "reloaded: 0 changed, 0 started, 1 stopped, 2 as before");
    assert!(lives(kept));
    assert_eq!(load.end(), Vec::<String>::new());
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert!(!lives(kept));
}

#[test]
fn one_that_is_not_well_is_replaced() {
    // It listens, and never answers.
    let more = "listen = [\"127.0.0.1:0\"]\n\
                health = { path = \"/\", interval = \"20ms\", timeout = \"20ms\", failures = 2 }";
    let mut running = Running::start(Some(&shell("mute", "exec sleep 1000", more)), &["run"]);
    let pid = running.ready("mute");
    running.until("[mute] not well, 1 of 2: ");
    running.until("[mute] not well, 2 of 2: ");
    assert_ne!(running.ready("mute"), pid);
    running.until(&format!("[mute] pid {pid}: killed by signal 15 (TERM)"));
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}

#[test]
fn programs_that_come_by_hup_are_looked_after_as_well() {
    let mut running = Running::start(Some(APP), &["run"]);
    running.one_worker();
    let file = APP.to_owned() + &shell("tool", "exec sleep 1000", "");
    fs::write(running.dir.path().join("corelane.toml"), file).unwrap();
    running.signal(Signal::HUP);
    let pid = running.ready("tool");
    running.until("reloaded: 0 changed, 1 started, 0 stopped, 1 as before");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
    assert!(!lives(pid));
}

#[test]
fn it_needs_no_directory_to_write_to() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Nobody may write anywhere here, and has no home.
    let file = shell("tool", "exec sleep 1000", "listen = [\"127.0.0.1:0\"]\ninstances = 2");
    let mut running = Running::prepared(Some(&file), &["run"], |it| {
        let dir = it.get_current_dir().unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        let binary = dir.join("corelane");
        fs::copy(env!("CARGO_BIN_EXE_corelane"), &binary).unwrap();
        let mut other = Command::new(binary);
        other.args(["run", "corelane.toml"]).current_dir(dir).env_clear().stdin(Stdio::null());
        *it = other;
        it.uid(65534).gid(65534);
    });
    running.ready("tool");
    running.ready("tool");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 0);
}

/// A client that sends one request after another, each on a connection of its own.
struct Load {
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Load {
    /// Returns when the first has been answered.
    fn on(address: SocketAddr) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (Arc::clone(&over), Arc::clone(&served));
        let once = move || -> io::Result<()> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(get("/").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if answer.starts_with("HTTP/1.1 203 ") { Ok(()) } else { Err(io::Error::other(answer)) }
        };
        let thread = thread::spawn(move || {
            let mut failed = Vec::new();
            while !stop.load(Relaxed) {
                match once() {
                    Ok(()) => drop(count.fetch_add(1, Relaxed)),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        });
        until("the first is answered", || served.load(Relaxed) > 0);
        Self { over, thread }
    }

    fn end(self) -> Vec<String> {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
