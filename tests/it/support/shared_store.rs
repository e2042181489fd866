//! What tests of several gateways that share a store have in common.

use std::net::SocketAddr;

use crate::support::process::SECRET;
use crate::support::{Gateway, until};

/// A deadline that a busy machine keeps; an outage of a killed server is noticed at once all the same.
pub(crate) const UNHURRIED: &str = "deadline = \"2s\"";

/// The configuration of a store on these servers, and further keys.
pub(crate) fn shared_store(servers: &[SocketAddr], keys: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    let (servers, secret) = (servers.join(", "), SECRET.0);
    format!("[store]\nkind = \"valkey\"\n[store.valkey]\nservers = [{servers}]\nsecret = {{ env = \"{secret}\" }}\n{keys}\n")
}

/// Two gateways with one configuration.
#[track_caller]
pub(crate) fn two(config: &str) -> [Gateway; 2] {
    [Gateway::start(config), Gateway::start(config)]
}

/// Waits until each of these has noticed.
#[track_caller]
pub(crate) fn until_store_is(up: bool, gateways: &[Gateway]) {
    for gateway in gateways {
        until(&format!("a store that is up: {up}"), || gateway.metric::<u8>("portcullis_shared_store_up") == u8::from(up));
    }
}

/// Numbers without a pattern.
pub(crate) fn random(seed: usize) -> impl Iterator<Item = usize> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    })
}
