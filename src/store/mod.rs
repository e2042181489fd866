//! What outlives a request and is asked on the way: revocation cuts and the file that keeps them, the counters of rate limits,
//! the counters and locks of login guards; databases as steps use them (`sql`); what several gateways share (`valkey`), and how
//! they hear each other's cuts (`feed`).
//!
//! Imports `model` and `rules`. Accounts, sessions and grants are not here but in `tokens::store`: they are the token
//! service's own, and a gateway in front of a remote one has none.

pub mod counters;
pub mod cuts;
pub mod feed;
pub mod journal;
pub mod login_guard;
pub mod revocations;
pub mod sql;
pub mod sqlite;
pub mod valkey;
