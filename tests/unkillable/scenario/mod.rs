//! What is done to clusters and programs, a few times by `cargo test`, many times by the suite of
//! `tests/endurance.rs`.

mod balance;
mod client;
mod crash;
mod program;
mod scale;
mod stop;

pub(crate) use balance::{balances, fills};
pub(crate) use client::{Asked, Client, PATIENCE, tcp, until};
pub(crate) use crash::{crash_loop, crashes};
pub(crate) use program::Program;
pub(crate) use scale::scales;
pub(crate) use stop::stops;
