//! Decisions without IO, one rule a file, each with its tests: given the same arguments they always answer the same.
//!
//! Imports `model` only. Deliberately absent: clocks, sockets, locks, async. `now` is an argument.

pub mod access;
pub mod account_key;
pub mod bearer;
pub mod body;
mod byte_set;
pub mod chunked;
pub mod cors;
pub mod envelope;
pub mod forwarded;
pub mod gcra;
pub mod head;
pub mod host;
pub mod identity;
pub mod lockout;
pub mod login_answer;
pub mod login_budget;
pub mod networks;
pub mod passage;
pub mod path;
pub mod relay;
pub mod routing;
pub mod security_event;
pub mod stream_head;
pub mod window;
