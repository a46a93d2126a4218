use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// After so many ends in virtual time a loop is taken for endless.
const ENDS_MAX: u32 = 10_000;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn almost(time: Duration) -> Duration {
    time.saturating_sub(MS)
}

/// What ends again and again, and the time.
struct Script {
    budget: Budget,
    now: Instant,
}

impl Script {
    fn new(policy: Restart) -> Self {
        Self { budget: Budget::new(policy), now: Instant::now() }
    }

    /// It lives for so long, in health, and fails; what it is granted passes.
    fn fails_after(&mut self, lived: Duration, random: u32) -> Verdict {
        self.now += lived;
        let verdict = self.budget.ended(lived, true, self.now, random);
        if let Verdict::RestartAfter(wait) = verdict {
            self.now += wait;
        }
        verdict
    }

    /// The waits that so many failures are granted, in milliseconds.
    fn waits(&mut self, failures: usize, lived: Duration) -> Vec<u128> {
        let wait = |_| match self.fails_after(lived, 0) {
            Verdict::RestartAfter(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        (0..failures).map(wait).collect()
    }

    /// How often it ended until it was given up, and the time from now until then.
    fn gives_up(&mut self, lived: Duration, random: u32) -> Option<(u32, Duration)> {
        let begin = self.now;
        (1..ENDS_MAX).find_map(|ends| match self.fails_after(lived, random) {
            Verdict::Exhausted { .. } => Some((ends, self.now - begin)),
            _ => None,
        })
    }
}

fn script() -> Script {
    Script::new(Restart::default())
}

#[test]
fn the_waits_of_a_series() {
    let expected = [0, 0, 0, 100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000, 2000, 2000, 2000];
    assert_eq!(script().waits(15, Duration::ZERO), expected);
}

/// Lives of one length, with the defaults: how many there are, and in how many seconds, until it
/// is given up.
#[test]
fn which_lives_exhaust_the_defaults() {
    const NEVER: Option<(u32, f64)> = None;
    let (low, middle, high) = (0, u32::MAX / 2, u32::MAX);
    let cases = [
        // A crash loop: 17 lives, some 21 s.
        (0.0, low, Some((17, 19.1))),
        (0.0, middle, Some((17, 21.01))),
        (0.0, high, Some((17, 22.92))),
        (0.1, middle, Some((17, 22.71))),
        (1.0, middle, Some((17, 38.01))),
        // Waits are part of the 60 s. The first life is before them.
        (2.5, low, Some((17, 61.6))),
        (2.6, low, NEVER),
        (2.4, middle, Some((17, 61.81))),
        (2.5, middle, NEVER),
        (5.0, low, NEVER),
        (29.9, low, NEVER),
        (30.0, low, NEVER),
    ];
    for (lived, random, expected) in cases {
        let given_up = script().gives_up(secs(lived), random);
        let rounded = |(ends, after): (u32, Duration)| (ends, (after + MS / 2).as_millis());
        let expected = expected.map(|(ends, after)| (ends, secs(after)));
        assert_eq!(given_up.map(rounded), expected.map(rounded), "{lived} s, random {random}");
    }
}

#[test]
fn an_hour_of_health_does_not_change_how_a_crash_loop_ends() {
    let mut script = script();
    script.waits(10, Duration::ZERO);
    // The first of 17 is the end of the long life.
    assert_eq!(script.waits(1, HOUR), [0]);
    assert_eq!(script.gives_up(Duration::ZERO, 0), Some((16, secs(19.1))));
    let exhausted = Verdict::Exhausted { restarts: 16, within: 60 * SECOND };
    assert_eq!(script.fails_after(Duration::ZERO, 0), exhausted);
}

#[test]
fn health_begins_the_series_anew() {
    let mut script = script();
    assert_eq!(script.waits(5, SECOND), [0, 0, 0, 100, 200]);
    assert_eq!(script.waits(1, almost(HEALTHY_AFTER)), [400]);
    assert_eq!(script.waits(1, HEALTHY_AFTER), [0]);
    assert_eq!(script.waits(3, SECOND), [0, 0, 100]);
}

#[test]
fn health_does_not_refill_the_budget() {
    let policy = Restart { max_restarts: 2, within: HOUR, ..Restart::default() };
    assert_eq!(Script::new(policy).gives_up(60 * SECOND, 0), Some((3, 180 * SECOND)));
}

#[test]
fn a_restart_counts_for_as_long_as_the_window() {
    let policy = Restart { max_restarts: 1, ..Restart::unlimited() };
    let within = policy.within;
    let mut script = Script::new(policy);
    assert_eq!(script.waits(1, Duration::ZERO), [0]);
    let exhausted = Verdict::Exhausted { restarts: 1, within };
    assert_eq!(script.fails_after(almost(within), 0), exhausted);
    // What was refused does not count.
    assert_eq!(script.waits(1, MS), [0]);
}

#[test]
fn chance_adds_up_to_a_fifth_and_takes_nothing() {
    let wait = |series: u32, random: u32| {
        let mut budget = Budget::new(Restart { max_restarts: u32::MAX, ..Restart::default() });
        budget.series = series;
        budget.ended(Duration::ZERO, true, Instant::now(), random)
    };
    let mut random = 1_u32;
    for round in 0..10_000 {
        // Xorshift: it visits every number but zero.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let (series, random) = (round % 64, if round < 64 { 0 } else { random });
        let base = match series {
            0..=2 => Duration::ZERO,
            3..=7 => 100 * MS * 2_u32.pow(series - 3),
            _ => 2 * SECOND,
        };
        let Verdict::RestartAfter(wait) = wait(series, random) else { panic!("{series}") };
        assert!((base..=base + base / 5).contains(&wait), "{series}, {random}: {wait:?}");
    }
    assert_eq!(wait(u32::MAX, u32::MAX), Verdict::RestartAfter(2400 * MS));
    assert_eq!(wait(3, 0), Verdict::RestartAfter(100 * MS));
    assert_eq!(wait(3, u32::MAX), Verdict::RestartAfter(120 * MS));
}

#[test]
fn the_policy_says_after_which_ends() {
    let restart = Verdict::RestartAfter(Duration::ZERO);
    let cases = [
        (When::Always, true, restart),
        (When::Always, false, restart),
        (When::OnFailure, true, restart),
        (When::OnFailure, false, Verdict::Stay),
        (When::Never, true, Verdict::Stay),
        (When::Never, false, Verdict::Stay),
    ];
    for (policy, failed, verdict) in cases {
        let mut budget = Budget::new(Restart { policy, ..Restart::default() });
        let given = budget.ended(SECOND, failed, Instant::now(), 0);
        assert_eq!(given, verdict, "{policy:?}, failed: {failed}");
    }
}

#[test]
fn without_a_budget_there_is_no_end_and_nothing_to_remember() {
    let mut script = Script::new(Restart::unlimited());
    assert_eq!(script.gives_up(Duration::ZERO, u32::MAX), None);
    assert_eq!(script.now.elapsed().as_secs(), 0);
    assert!(script.budget.granted.is_empty());
}

#[test]
fn without_restarts_the_first_end_is_the_last() {
    let policy = Restart { max_restarts: 0, ..Restart::default() };
    assert_eq!(Script::new(policy).gives_up(SECOND, 0), Some((1, SECOND)));
}

#[test]
fn remembers_no_more_than_may_be_granted() {
    let mut script = script();
    for lived in [Duration::ZERO, secs(2.7), 5 * SECOND, HOUR] {
        for _ in 0..1000 {
            script.fails_after(lived, 0);
            assert!(script.budget.granted.len() <= 16);
        }
    }
}

#[test]
fn neither_extreme_numbers_nor_a_clock_that_stands_panic() {
    let (backoff, backoff_max, within) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let policy = Restart { backoff, backoff_max, within, ..Restart::default() };
    let mut budget = Budget::new(policy);
    let now = Instant::now();
    for _ in 0..20 {
        budget.ended(Duration::MAX, true, now, u32::MAX);
        budget.ended(Duration::ZERO, true, now, u32::MAX);
    }
    assert_eq!(budget.granted.len(), 16);
}
