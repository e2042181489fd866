//! What is counted and what is logged.
//!
//! Imports `model`, `plan` (names of routes, upstreams, issuers) and `verify`'s observer. Labels come from the configuration or
//! from closed sets of ours, never from a request. Deliberately absent: decisions.

mod logs;
mod metrics;

pub use logs::start as start_logs;
pub use metrics::{Metrics, Served};
