//! The rim on pingora: listeners, the front guard, the proxy's phases, and what goes upstream and comes back.
//!
//! Imports `model`, `rules`, `plan`, `reply`, `flow`, `telemetry`. The only module that names a pingora type. pingora's proxy and
//! connectors are used, its server is not (docs/adr/0004): we bind, accept, drain and stop ourselves. Deliberately absent:
//! decisions, and the token service, which comes boxed from `app`.

mod adornment;
mod answer;
mod connection;
mod deciding;
mod faults;
mod forward;
mod guard;
mod in_process;
mod inspect;
mod judging;
mod listen;
mod pace;
mod patience;
mod peers;
mod proxy;
mod reading;
mod relay;
mod request_ids;
mod slots;
mod wire;
mod workers;

pub use in_process::{InProcess, SERVICE_DEADLINE};
pub use listen::{Bound, ListenError, bind, prove};
pub use workers::{OpenConnections, Parts, Workers, start};
