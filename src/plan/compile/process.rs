//! The process, its listeners and its bounds.

use crate::config::{At, Config, Finding, LogForm};
use crate::plan::compile::{Machine, Workshop};
use crate::plan::{Admin, CacheLimits, GuardLimits, Listener, Server, TlsFiles};

impl Workshop<'_> {
    pub(super) fn server(&self) -> Server {
        let server = &self.config.server;
        Server {
            threads: server.threads.as_ref().map_or(self.machine.cores, |threads| threads.value).max(1),
            drain: server.drain.value,
            upstream_pool: server.upstream_pool.value,
            log_json: server.log.value == LogForm::Json,
        }
    }

    pub(super) fn listeners(&mut self) -> Option<Box<[Listener]>> {
        let config = self.config;
        let mut seen = vec![&config.admin.address];
        for address in config.listeners.iter().filter_map(|listener| listener.value.address.as_ref()) {
            let taken = |other: &&&At<_>| other.value == address.value && address.value.port() != 0;
            if let Some(first) = seen.iter().find(taken) {
                let finding = Finding::error(address.place, format!("{} is taken twice", address.value));
                let label = if first.written { "first taken here" } else { "[admin] listens there unless it says otherwise" };
                self.report.add(finding.context(first.place, label));
            }
            seen.push(address);
        }
        config.listeners.iter().map(|listener| compile_listener(&listener.value, self.machine)).collect()
    }

    pub(super) fn admin(&mut self) -> Option<Admin> {
        let config = self.config;
        let address = &config.admin.address;
        if !address.value.ip().is_loopback() && config.admin.token.is_none() {
            let finding = Finding::error(address.place, "the admin API would be open to the network");
            self.report.add(finding.label("not a loopback address").help("add token = { env = \"ADMIN_TOKEN\" } to [admin]"));
        }
        let token = match &config.admin.token {
            Some(reference) => Some(self.secret(reference)?),
            None => None,
        };
        Some(Admin { address: address.value, token })
    }

    pub(super) fn guard(&self) -> GuardLimits {
        let guard = &self.config.guard;
        GuardLimits {
            head_bytes: to_usize(guard.head_size.value),
            target_bytes: to_usize(guard.target_size.value),
            fields: guard.fields.value,
            head_deadline: guard.head_deadline.value,
            idle: guard.idle.value,
            body_idle: guard.body_idle.value,
            connections: guard.connections.value,
            connections_per_source: guard.connections_per_source.value,
            requests_per_connection: guard.requests_per_connection.value,
            source_prefix: self.config.network.source_prefix,
        }
    }

    pub(super) fn cache(&self) -> CacheLimits {
        let Config { cache, .. } = self.config;
        CacheLimits {
            tokens: cache.tokens.value,
            inactive: cache.inactive.value,
            misses_per_second: cache.misses_per_second.value,
            miss_burst: cache.miss_burst.value,
        }
    }
}

fn compile_listener(listener: &crate::config::Listener, machine: Machine<'_>) -> Option<Listener> {
    let tls = match &listener.tls {
        Some(tls) => {
            let (certificates, key) = (tls.value.certificates.as_ref()?, tls.value.key.as_ref()?);
            Some(TlsFiles { certificates: machine.locate(&certificates.value), key: machine.locate(&key.value) })
        }
        None => None,
    };
    Some(Listener { address: listener.address.as_ref()?.value, tls })
}

/// Sizes are bounded far below what a `usize` holds.
pub(super) fn to_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
