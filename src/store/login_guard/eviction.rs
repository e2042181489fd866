//! Whether the store throws counters away when its memory is full: that would be a way around every lock.
//!
//! Imports `store::valkey`. Looks at each new connection until there is something to warn of.

use redis::Script;

use crate::store::valkey::Valkey;

/// A server that does not say, or whose user may not ask, says nothing. As a script, because a refusal of a command by itself
/// would be taken for a connection that is of no use.
const ASK: &str = "local told = redis.pcall('INFO', 'memory') \
                   if type(told) ~= 'string' then return '' end \
                   if string.find(told, 'maxmemory:0\\r') then return 'noeviction' end \
                   return string.match(told, 'maxmemory_policy:([%w-]+)') or ''";

/// Looks as long as this gateway runs, and warns once.
pub async fn watch_eviction(valkey: Valkey) {
    let mut connections = valkey.connections();
    loop {
        connections.mark_unchanged();
        if let Some(policy) = throws_away(&valkey).await {
            let advice = "the shared store forgets locks when its memory is full: set its maxmemory-policy to noeviction";
            tracing::warn!(policy, advice);
            return;
        }
        if connections.changed().await.is_err() {
            return;
        }
    }
}

/// The policy by which it does.
async fn throws_away(valkey: &Valkey) -> Option<String> {
    if !valkey.is_up() {
        return None;
    }
    let policy: String = valkey.run("eviction", &Script::new(ASK).prepare_invoke()).await.ok()?;
    (!policy.is_empty() && policy != "noeviction").then_some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::valkey::tests::{connect, servers};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_throws_keys_away_is_found_out_whatever_keys_it_begins_with() {
        let Some(server) = servers::Valkey::start() else { return };
        let valkey = connect(&server).await;
        assert_eq!(throws_away(&valkey).await, None);
        let set = |name: &str, value: &str| server.ask::<()>(&["CONFIG", "SET", name, value]);
        for policy in ["allkeys-lru", "volatile-ttl"] {
            set("maxmemory", "0");
            set("maxmemory-policy", policy);
            assert_eq!(throws_away(&valkey).await, None, "there is no bound on its memory");
            set("maxmemory", "100mb");
            assert_eq!(throws_away(&valkey).await.as_deref(), Some(policy));
        }
        server.ask::<()>(&["ACL", "SETUSER", "default", "-info"]);
        assert_eq!(throws_away(&valkey).await, None, "who may not ask");
        assert!(valkey.is_up());
    }
}
