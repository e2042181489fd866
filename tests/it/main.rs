//! The black-box suite: the real binary, started as an operator starts it, and asked over real sockets.
//!
//! Every other end is real too: scripted upstreams and token services on ports of their own. Imports nothing of the crate.
//! Deliberately absent: sleeping until something has probably happened, and assertions about how long anything takes.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

mod activity;
mod admin;
mod attacks;
mod gateway;
mod guards;
mod headers;
mod http2;
mod interop;
mod issuers;
mod lifecycle;
mod limits;
mod locks;
mod login_answers;
mod login_checks;
mod many_nodes_cuts;
mod many_nodes_guards;
mod many_nodes_limits;
mod many_nodes_postgres;
mod mutations;
mod notifications;
mod outage;
mod passages;
mod receivers;
mod regressions;
mod restarts;
mod revocation;
mod seed_back_office;
mod seed_oauth;
mod seed_session;
mod servers;
mod smuggling;
mod under_load;
