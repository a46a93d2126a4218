//! What a file says is what runs.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::client::{Load, answer, get};
use super::world::{World, lives, number, shell, until, web};

fn at_unix(path: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    answer(stream)
}

#[test]
fn a_plan_says_what_a_start_would_change() {
    let world = World::with(
        &(web("one") + "env = { GONE = \"1\" }\n" + &shell("other", "exec sleep 1000", "")),
    );
    let pids = ["web", "other"].map(|name| world.pid(name));
    let plan = || world.done(&["plan", "corelane.toml"]).out;
    assert_eq!(plan(), "web: would stay as it is\nother: would stay as it is\n");
    assert!(world.done(&["start", "corelane.toml"]).err.contains("web: is online already"));
    assert_eq!(["web", "other"].map(|name| world.pid(name)), pids);
    let changed = web("two").replace("instances = 2", "instances = 3");
    world.describe(&(changed.clone() + &shell("third", "exec sleep 1000", "")));
    let text = plan();
    for line in [
        "web: would be reloaded\n",
        "  - env = {\"GONE\":\"***\"}\n",
        "  ~ instances: 2 -> 3\n",
        "  ~ routes: ",
        "third: would be started\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(!text.contains("other"), "{text}");
    assert_eq!(world.list()["apps"].as_array().unwrap().len(), 2);
    assert_eq!(world.pid("web"), pids[0], "a plan changes nothing");
    world.done(&["start", "corelane.toml", "--only", "web"]);
    let app = world.app("web");
    assert_eq!(app["workers"].as_array().unwrap().len(), 3, "{app:#}");
    assert_eq!(app["definition"]["env"], serde_json::Value::Null);
    let environment = super::world::environment(world.pid("web"));
    assert!(!environment.iter().any(|it| it.starts_with("GONE=")), "{environment:?}");
    assert_eq!(get(world.address("web")).unwrap(), "two");
    assert_eq!(world.pid("other"), pids[1]);
    assert_eq!(plan(), "web: would stay as it is\nthird: would be started\n");
}

#[test]
fn an_address_that_stays_loses_nothing_when_others_come_and_go() {
    let world = World::with(&web("one"));
    let path = world.path("s.sock");
    let unix = format!("\"unix:{}\"", path.display());
    let load = Load::on(world.address("web"));
    let address = world.address("web");
    let both = web("two").replace("\"127.0.0.1:0\"", &format!("\"127.0.0.1:0\", {unix}"));
    world.apply(&both);
    assert_eq!((world.address("web"), at_unix(&path).unwrap().as_str()), (address, "two"));
    load.go_on(10);
    world.apply(&web("three"));
    assert!(at_unix(&path).is_err());
    load.go_on(10);
    world.apply(&both);
    assert_eq!(at_unix(&path).unwrap(), "two");
    load.go_on(10);
    load.end();
    world.apply(&web("four").replace("\"127.0.0.1:0\"", &unix));
    super::client::is_refused(address);
    assert_eq!(at_unix(&path).unwrap(), "four");
}

#[test]
fn two_addresses_with_any_port_stay_two() {
    let both = "\"127.0.0.1:0\", \"127.0.0.1:0\"";
    let config = |body: &str, listen: &str| web(body).replace("\"127.0.0.1:0\"", listen);
    let world = World::with(&config("one", both));
    let addresses = || world.app("web")["listen"].as_array().unwrap().clone();
    let before = addresses();
    let unix = format!("unix:{}", world.path("s.sock").display());
    world.apply(&config("two", &format!("{both}, \"{unix}\"")));
    assert_eq!(addresses(), [before.clone(), vec![unix.into()]].concat());
    for address in &before {
        assert_eq!(get(address.as_str().unwrap().parse().unwrap()).unwrap(), "two");
    }
    world.kill_manager();
    world.done(&["start", "web"]);
    world.apply(&config("three", both));
    assert_eq!(addresses(), before);
    for address in &before {
        assert_eq!(get(address.as_str().unwrap().parse().unwrap()).unwrap(), "three");
    }
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let world = World::with(&web("one"));
    let (pid, state) = (world.pid("web"), world.read("h/state.json"));
    let missing = "\n[[apps]]\nname = \"other\"\nprogram = \"./none\"\n";
    let cases = [
        (web("two") + "liston = []\n", "unknown key"),
        (web("two").replace("instances = 2", "instances = 0"), "instances"),
        (web("two") + missing, "other: there is no program `./none`"),
        (
            web("two") + &shell("other", "true", "after = [\"absent\"]"),
            "after `absent`, which there is not",
        ),
        (web("two") + &shell("other", "true", "env_file = \"absent\""), "other: cannot read "),
        (web("two") + &shell("other", "true", "user = \"no-such-user\""), "no-such-user"),
    ];
    for (config, message) in cases {
        world.describe(&config);
        for verb in ["start", "plan"] {
            let failed = world.exits(2, &[verb, "corelane.toml"]);
            assert!(failed.err.contains(message), "{message:?} in {}", failed.err);
        }
        assert_eq!((world.pid("web"), world.read("h/state.json")), (pid, state.clone()));
    }
    assert_eq!(get(world.address("web")).unwrap(), "one");
    assert_eq!(world.list()["apps"].as_array().unwrap().len(), 1);
}

#[test]
fn an_app_starts_when_those_before_it_are_online() {
    let world = World::new();
    let first = shell(
        "first",
        "sleep 0.2; touch there; exec sleep 1000",
        "restart = { min_uptime = \"500ms\" }",
    );
    let second =
        shell("second", "[ -e there ] && touch order; exec sleep 1000", "after = [\"first\"]");
    // In whatever order they are named.
    world.apply(&(second + &first));
    assert!(world.path("order").exists(), "the second did not wait for the first");
    assert_eq!(world.app("second")["status"], "online");
}

#[test]
fn no_app_comes_after_itself() {
    let world =
        World::with(&(web("one") + &shell("other", "exec sleep 1000", "after = [\"web\"]")));
    world.describe(&web("one").replace("routes =", "after = [\"other\"]\nroutes ="));
    let failed = world.exits(2, &["start", "corelane.toml"]);
    assert!(failed.err.contains("web: by way of other apps"), "{}", failed.err);
}

#[test]
fn an_app_does_not_start_if_one_before_it_cannot() {
    let world = World::new();
    let never = "restart = { backoff = \"10ms\", backoff_max = \"20ms\", max_restarts = 2 }";
    let first = shell("first", "exit 1", never);
    let second = shell("second", "touch began; exec sleep 1000", "after = [\"first\"]");
    world.describe(&(first + &second));
    let start = world.exits(70, &["start", "corelane.toml"]);
    let message = "second: not started: it comes after `first`, which is errored";
    assert!(start.err.contains(message), "{}", start.err);
    assert!(!world.path("began").exists());
    let app = world.app("second");
    assert_eq!((&app["status"], &app["pid"]), (&"stopped".into(), &serde_json::Value::Null));
    world.exits(1, &["start", "second"]);
    assert!(!world.path("began").exists());
}

/// Ends twice, and stays once it is started for the third time.
const FLAKY: &str = "echo x >> tries; [ $(wc -l < tries) -gt 5 ] || exit 1; exec sleep 1000";

#[test]
fn an_app_waits_for_one_before_it_that_is_started_again() {
    let world = World::new();
    let slow = "restart = { backoff = \"100ms\", backoff_max = \"200ms\", min_uptime = \"50ms\" }";
    let first = shell("first", FLAKY, slow);
    let second = shell("second", "exec sleep 1000", "after = [\"first\"]");
    world.describe(&(first + &second));
    let start = world.exits(1, &["start", "corelane.toml"]);
    assert!(start.err.contains("first: failed: exited with code 1; it is started again"));
    assert!(start.err.contains("second: online"), "{}", start.err);
    assert_eq!(world.app("first")["status"], "online");
}

#[test]
fn an_app_does_not_wait_for_ever_for_one_before_it() {
    let world = World::new();
    let slow = "restart = { backoff = \"1h\", backoff_max = \"1h\" }";
    let first = shell("first", "exit 3", slow);
    let more = "after = [\"first\"]\ntimeouts = { ready = \"300ms\" }";
    let second = shell("second", "exec sleep 1000", more);
    world.describe(&(first + &second));
    let start = world.exits(1, &["start", "corelane.toml"]);
    let message = "second: not started: it comes after `first`, which is waiting restart: \
        exited with code 3";
    assert!(start.err.contains(message), "{}", start.err);
    // Whoever is told to stop meanwhile is not started later.
    world.describe(&world.read("corelane.toml").replace("300ms", "20s"));
    let start = world.begin(&["start", "corelane.toml"]);
    let wanted = || world.read("h/state.json").matches("\"wanted\":true").count();
    until("both are to run", || wanted() == 2);
    world.done(&["stop", "second"]);
    let start = start.end();
    assert!(start.err.contains("second: given up: it was stopped meanwhile"), "{}", start.err);
    assert_eq!((wanted(), &world.app("second")["status"]), (1, &"stopped".into()));
}

#[test]
fn what_a_file_no_longer_names_stays() {
    let world = World::with(&(web("one") + &shell("other", "exec sleep 1000", "")));
    let pid = world.pid("other");
    world.apply(&web("two"));
    assert!(lives(pid) && world.pid("other") == pid);
    assert_eq!(get(world.address("web")).unwrap(), "two");
}

#[test]
fn it_is_said_how_many_workers_max_is_and_why() {
    let world = World::with(&web("one"));
    let machine = &world.list()["manager"]["machine"];
    let max = number(&machine["workers_max"]).unwrap();
    let (cpus, allowed) = (number(&machine["cpus"]), number(&machine["allowed_cpus"]));
    assert!(max >= 1 && Some(max) <= allowed && allowed <= cpus, "{machine:#}");
    let described = world.done(&["describe", "web"]).out;
    let row = described.lines().find(|line| line.contains("max ")).unwrap_or_default();
    let noun = if max == 1 { "worker" } else { "workers" };
    assert!(row.contains(&format!("{max} {noun}: ")), "{described}");
}
