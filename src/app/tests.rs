//! The parts put together, without sockets.

mod oracle;
mod sessions;
