//! `corelane.toml`: a text in, checked types or every mistake in it out.
//!
//! The text is parsed into a tree that knows its places, and the tree is walked by hand: serde
//! would stop at the first mistake. A reader that meets one writes it to the [`report`] and goes on
//! with a stand-in; a configuration with a single mistake is thrown away as a whole.
//!
//! | file | what |
//! |---|---|
//! | `model` | what comes out |
//! | `load` | file to text, text to `Config` |
//! | `schema`, `settings`, `route`, `managed` | which keys there are, and what each must be |
//! | `spec` | what the manager is told |
//! | `reader` | tables and values that know their places |
//! | `unit`, `cpus` | durations, sizes, lists of CPUs |
//! | `report`, `error` | mistakes, and how they are shown |

mod cpus;
mod error;
mod load;
mod managed;
mod model;
mod reader;
mod report;
mod route;
mod schema;
mod settings;
mod spec;
mod unit;

#[cfg(test)]
mod tests;

pub(crate) use error::ConfigError;
pub(crate) use model::{Access, AppConfig, Config};
pub(crate) use unit::duration;
