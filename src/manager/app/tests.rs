//! Golden scripts: what is asked of an app, what happens to it, and what is done about it.

use super::*;
use crate::control::plain_spec;
use crate::sys::child::Exit;

/// An app with a clock that moves by hand; orders get the tickets 1, 2, ...
struct Script {
    app: App,
    now: Instant,
    tickets: u64,
}

impl Script {
    /// Of a program with so many instances.
    fn new(instances: &str) -> Self {
        let mut spec = plain_spec("a");
        spec.instances = instances.to_owned();
        Self { app: App::new(0, Arc::new(spec), 2), now: Instant::now(), tickets: 0 }
    }

    /// One that embeds corelane, and is online as slot 1.
    fn live() -> Self {
        let mut script = Self::new("1");
        script.order(Order::Start);
        script.ready(1, true);
        script
    }

    fn order(&mut self, order: Order) -> String {
        self.tickets += 1;
        let effects = self.app.order(order, Some(self.tickets), self.now);
        words(&effects)
    }

    fn reload(&mut self) -> String {
        let spec = Arc::clone(self.app.spec());
        self.order(Order::Reload(spec))
    }

    fn ready(&mut self, key: u32, embeds: bool) -> String {
        words(&self.app.ready(key, embeds, self.now))
    }

    fn exits(&mut self, key: u32, code: i32) -> String {
        let event = process::Event::Exited { how: Exit::Code(code), gives_up: false };
        words(&self.app.happened(key, event, self.now, 0))
    }

    fn times_out(&mut self, key: u32) -> String {
        words(&self.app.happened(key, process::Event::Timeout, self.now, 0))
    }

    fn slots(&self) -> String {
        let words = self.app.slots().iter().map(|slot| format!("{}:{:?}", slot.key, slot.role));
        words.collect::<Vec<_>>().join(" ")
    }
}

fn words(effects: &[Effect]) -> String {
    let word = |effect: &Effect| match effect {
        // When something is due is the process's business.
        Effect::Process(_, process::Effect::Arm(_) | process::Effect::Disarm) => None,
        Effect::Process(key, effect) => Some(format!("{effect:?} {key}")),
        Effect::AskToScale(key, instances) => Some(format!("scale {key} to {instances}")),
        Effect::TellAlone(key) => Some(format!("alone {key}")),
        Effect::Forget(key) => Some(format!("forget {key}")),
        Effect::Finish(ticket, code, message) => Some(format!("#{ticket} {code:?}: {message}")),
        effect => Some(format!("{effect:?}")),
    };
    effects.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_start_is_done_when_it_is_ready() {
    let mut script = Script::new("1");
    assert_eq!(script.order(Order::Start), "Spawn 1");
    assert_eq!(script.app.status(), Status::Launching);
    assert_eq!(script.ready(1, true), "#1 Done: online");
    assert_eq!(script.app.status(), Status::Online);
    assert_eq!(script.order(Order::Start), "#2 Done: is online already");
}

#[test]
fn a_program_that_does_not_embed_corelane_gets_as_many_processes_as_instances() {
    let mut script = Script::new("3");
    assert_eq!(script.order(Order::Start), "Spawn 1");
    assert_eq!(script.ready(1, false), "Spawn 2, Spawn 3");
    assert_eq!(script.ready(2, false), "");
    assert_eq!(script.ready(3, false), "#1 Done: online");
    let one = Instances::from(1);
    assert_eq!(script.order(Order::Scale(one)), "Terminate 2, Terminate 3");
    assert_eq!(script.exits(2, 0), "forget 2");
    assert_eq!(script.exits(3, 0), "forget 3, alone 1, #2 Done: online");
    let two = Instances::from(2);
    assert_eq!(script.order(Order::Scale(two)), "Spawn 4");
    assert_eq!(script.ready(4, false), "#3 Done: online");
}

#[test]
fn one_that_embeds_corelane_is_scaled_by_itself() {
    let mut script = Script::live();
    assert_eq!(script.order(Order::Scale(Instances::from(4))), "scale 1 to 4");
    assert_eq!(words(&script.app.scaled(Ok(()), script.now)), "#2 Done: scaled to 4");
    assert_eq!((script.app.spec().instances.as_str(), script.slots().as_str()), ("4", "1:Serving"));
    script.order(Order::Scale(Instances::from(9)));
    let refused = script.app.scaled(Err("too many".to_owned()), script.now);
    assert_eq!(words(&refused), "#3 Failed: not scaled: too many");
    assert_eq!(script.app.spec().instances, "4");
    script.order(Order::Scale(Instances::from(5)));
    assert!(script.exits(1, 1).contains("#4 Failed: not scaled to 5: it ended"));
}

#[test]
fn a_reload_replaces_the_old_generation_only_when_the_new_one_is_ready() {
    let mut script = Script::live();
    assert_eq!(script.reload(), "Spawn 2");
    assert_eq!(script.app.status(), Status::Reloading);
    assert!(script.app.is_shared(2));
    assert_eq!(script.ready(2, true), "Terminate 1, Settle");
    assert_eq!(words(&script.app.closed(1)), "alone 2");
    assert_eq!(script.exits(1, 0), "forget 1, alone 2, #2 Done: reloaded");
    assert_eq!((script.slots().as_str(), script.app.restarts()), ("2:Serving", 1));
}

#[test]
fn a_new_version_that_fails_leaves_the_old_one_serving() {
    let mut script = Script::live();
    script.reload();
    let message = "the new version failed: exited with code 1; the old one serves on";
    assert_eq!(script.exits(2, 1), format!("forget 2, #2 RolledBack: {message}, Settle"));
    assert_eq!((script.slots().as_str(), script.app.status()), ("1:Serving", Status::Online));
    script.reload();
    let message = "the new version failed: not ready within 30s; the old one serves on";
    assert_eq!(script.times_out(3), format!("#3 RolledBack: {message}, Terminate 3, Settle"));
    assert_eq!(script.app.status(), Status::Online);
    assert_eq!(script.exits(3, 0), "forget 3, alone 1");
}

#[test]
fn a_restart_ends_the_old_process_and_then_starts_another() {
    let mut script = Script::live();
    assert_eq!(script.order(Order::Restart), "Terminate 1");
    assert_eq!(script.exits(1, 0), "Spawn 1");
    assert_eq!(script.ready(1, true), "#2 Done: online");
    assert_eq!(script.app.restarts(), 1);
}

#[test]
fn a_start_that_fails_says_why_when_it_is_no_longer_tried_at_once() {
    let mut script = Script::new("1");
    script.order(Order::Start);
    for _ in 0..3 {
        assert_eq!(script.exits(1, 1), "Spawn 1");
    }
    assert_eq!(script.exits(1, 1), "#1 Failed: failed: exited with code 1; it is started again");
    assert_eq!(script.app.status(), Status::WaitingRestart);
    assert_eq!(script.app.restarts(), 3);
}

#[test]
fn one_that_is_not_ready_in_time_fails_its_start_at_once() {
    let mut script = Script::new("1");
    script.order(Order::Start);
    let line = "Kill 1, #1 Failed: failed: not ready within 30s; it is started again";
    assert_eq!(script.times_out(1), line);
}

#[test]
fn orders_wait_for_one_another_but_a_stop_for_nobody() {
    let mut script = Script::live();
    script.reload();
    assert_eq!(script.order(Order::Restart), "");
    let given_up = "given up: it was stopped meanwhile";
    let line = format!(
        "Terminate 2, Settle, #2 Failed: {given_up}, #3 Failed: {given_up}, Terminate 1, Release"
    );
    assert_eq!(script.order(Order::Stop), line);
    assert_eq!(script.app.status(), Status::Stopping);
    script.exits(2, 0);
    assert_eq!(script.exits(1, 0), "#4 Done: stopped");
    assert_eq!(script.app.status(), Status::Stopped);
    assert_eq!(script.order(Order::Start), "Spawn 1");
    assert_eq!(script.order(Order::Restart), "");
    assert_eq!(script.ready(1, true), "#5 Done: online, Terminate 1");
}

#[test]
fn a_deleted_app_is_gone_when_its_processes_are() {
    let mut script = Script::live();
    assert_eq!(script.order(Order::Delete), "Terminate 1, Release");
    assert_eq!(script.exits(1, 0), "forget 1, #2 Done: deleted, Gone");
    let mut script = Script::live();
    script.order(Order::Delete);
    script.order(Order::Start);
    let line = "forget 1, #2 Done: deleted, #3 Failed: it was deleted meanwhile, Gone";
    assert_eq!(script.exits(1, 0), line, "nobody waits for ever");
    let mut never = Script::new("1");
    assert_eq!(never.order(Order::Delete), "Release, #1 Done: deleted, Gone");
}

#[test]
fn a_reload_of_what_does_not_run_is_a_start() {
    let mut script = Script::new("1");
    assert_eq!(script.reload(), "Settle, Spawn 1");
    for _ in 0..4 {
        script.exits(1, 1);
    }
    assert_eq!(script.app.status(), Status::WaitingRestart);
    assert_eq!(script.reload(), "forget 1, Settle, Spawn 2", "what was wrong may be mended now");
    assert_eq!(script.ready(2, true), "#2 Done: online");
}

#[test]
fn only_so_many_orders_wait() {
    let mut script = Script::live();
    script.reload();
    for _ in 0..QUEUE_MAX {
        assert_eq!(script.order(Order::Restart), "");
    }
    assert!(script.order(Order::Restart).contains("Failed: 16 orders wait already"));
}

#[test]
fn what_kill_has_stopped_is_remembered() {
    let mut script = Script::live();
    script.app.kill(Some(9), script.now);
    assert_eq!(script.exits(1, 0), "#9 Done: stopped");
    assert!(script.app.is_killed());
    script.order(Order::Stop);
    assert!(!script.app.is_killed(), "its operator wants it stopped");
    script.app.kill(None, script.now);
    assert!(!script.app.is_killed(), "it was stopped before");
}
