//! What a cluster survives, and what its clients notice of it: each rule by a cluster in this
//! process, or by the example `faults` as a process of its own.
//!
//! What takes longer is in `tests/endurance.rs`.

#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failure of the test")]
#![allow(dead_code, unused_imports, reason = "the long suite uses more of the scenarios")]

mod panics;
mod scenario;
mod stalls;
mod together;

use corelane::Balance;

#[test]
fn panics_leave_nothing_behind() {
    scenario::crashes(30);
}

#[test]
fn scaling_under_load_fails_no_request() {
    scenario::scales(3);
}

#[test]
fn connections_are_shared_out_evenly() {
    scenario::balances(3);
}

#[test]
fn the_kernels_balance_is_left_alone() {
    let (_, handed_off) = scenario::fills(Balance::Kernel, 3);
    assert_eq!(handed_off, 0);
}
