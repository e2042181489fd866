//! What is remembered beyond a request, and with whom that is shared.

use crate::config::{self, At, Config, Environment, Finding, Place, StateFile, StoreKind, TokenStoreKind};
use crate::model::{NonEmpty, Secret};
use crate::plan::compile::Workshop;
use crate::plan::compile::issuers::is_loopback;
use crate::plan::{Store, Topology, Trust, Valkey};

/// Bytes that the key needs at least under which names are hashed.
const SECRET_BYTES: usize = 32;

/// It is named but cannot be had, which is in the report.
struct Reported;

impl Workshop<'_> {
    /// `None` if something is wrong with it, which is in the report then.
    pub(super) fn store(&mut self) -> Option<Store> {
        let Config { store, token_service, .. } = self.config;
        let file = match &store.file.value {
            StateFile::None => None,
            StateFile::At(path) => {
                let on_file = |service: &&At<config::TokenService>| service.value.store.value == TokenStoreKind::Sqlite;
                if let Some(database) = token_service.as_ref().filter(on_file).map(|service| &service.value.database)
                    && database.value == *path
                {
                    let finding = Finding::error(store.file.place, "the state file is the token service's database");
                    self.report.add(finding.context(database.place, "the database").help("each needs a file of its own"));
                }
                Some(self.machine.locate(path))
            }
        };
        let valkey = match (store.kind.value, &store.valkey) {
            (StoreKind::Memory, None) => None,
            (StoreKind::Memory, Some(valkey)) => {
                let finding = Finding::error(valkey.place, "nothing is kept there");
                let finding = finding.label("`kind` of [store] is \"memory\"");
                self.report.add(finding.help("write kind = \"valkey\" in [store], or leave this out"));
                return None;
            }
            (StoreKind::Valkey, None) => {
                let finding = Finding::error(store.kind.place, "where Valkey is, is not said");
                self.report.add(finding.help("add [store.valkey] with `servers` and `secret`"));
                return None;
            }
            (StoreKind::Valkey, Some(valkey)) => Some(self.valkey(&valkey.value, valkey.place)?),
        };
        Some(Store { file, valkey })
    }

    fn valkey(&mut self, from: &config::Valkey, place: Place) -> Option<Valkey> {
        let topology = self.topology(from, place);
        let password = self.given(from.password.as_ref());
        let secret = from.secret.as_ref().and_then(|reference| {
            let secret = self.secret(reference)?;
            if secret.expose().len() >= SECRET_BYTES {
                return Some(secret);
            }
            let finding = Finding::error(reference.place, format!("this secret has fewer than {SECRET_BYTES} characters"));
            self.report.add(finding.help("make one with `openssl rand -base64 32`, and give it to every gateway"));
            None
        });
        let tls = from.tls.value.then(|| match &from.ca_file {
            Some(path) => Trust::File(self.machine.locate(&path.value)),
            None => Trust::System,
        });
        if let (Some(file), None) = (&from.ca_file, &tls) {
            let finding = Finding::error(file.place, "certificates are trusted, but connections are not encrypted");
            self.report.add(finding.help("add tls = true"));
        }
        let servers = from.servers.as_ref()?;
        if let (None, Some(far)) = (&tls, servers.value.iter().find(|server| !is_loopback(&server.value.0))) {
            self.report.add(self.in_the_clear(from.tls.place, far.place));
        }
        let servers = servers.value.iter().map(|server| (server.value.0.as_str().into(), server.value.1)).collect();
        Some(Valkey {
            servers: NonEmpty::new(servers).ok()?,
            topology: topology?,
            username: from.username.as_ref().map(|name| name.value.as_str().into()),
            password: password.ok()?,
            database: from.database.value,
            tls,
            secret: secret?,
            prefix: from.prefix.value.as_str().into(),
            nodes: from.nodes.value,
            deadline: from.deadline.value,
            trust_without: from.trust_without.value,
        })
    }

    /// What is not encrypted stays on this machine, except where nothing is real.
    fn in_the_clear(&self, tls: Place, far: Place) -> Finding {
        let what = "the password and what is counted would cross the network in the clear";
        let finding = match self.config.environment.value {
            Environment::Production => Finding::error(tls, what),
            Environment::Sandbox => Finding::warning(tls, what),
        };
        let finding = finding.context(far, "this server is not on this machine");
        finding.help("write tls = true, and `ca_file` if its certificate is from an authority of your own")
    }

    fn topology(&mut self, from: &config::Valkey, place: Place) -> Option<Topology> {
        let password = self.given(from.sentinel_password.as_ref());
        let of_sentinels = [
            from.master.as_ref().map(|at| at.place),
            from.sentinel_username.as_ref().map(|at| at.place),
            from.sentinel_password.as_ref().map(|at| at.place),
        ];
        if from.topology.value != config::Topology::Sentinel
            && let Some(place) = of_sentinels.into_iter().flatten().next()
        {
            let finding = Finding::error(place, "there are no sentinels");
            self.report.add(finding.context(from.topology.place, "it would be \"sentinel\" here"));
            return None;
        }
        match from.topology.value {
            config::Topology::Standalone => {
                if let Some(second) = from.servers.as_ref().and_then(|servers| servers.value.get(1)) {
                    let finding = Finding::error(second.place, "a standalone server is one server");
                    self.report.add(finding.help("write topology = \"sentinel\" or \"cluster\""));
                    return None;
                }
                Some(Topology::Standalone)
            }
            config::Topology::Cluster => {
                if from.database.value != 0 {
                    self.report.add(Finding::error(from.database.place, "a cluster has no database but 0"));
                    return None;
                }
                Some(Topology::Cluster)
            }
            config::Topology::Sentinel => {
                let Some(master) = &from.master else {
                    let finding = Finding::error(place, "the sentinels do not know which master is meant");
                    self.report.add(finding.help("add master = \"…\", the name in `sentinel monitor`"));
                    return None;
                };
                Some(Topology::Sentinel {
                    master: master.value.as_str().into(),
                    username: from.sentinel_username.as_ref().map(|name| name.value.as_str().into()),
                    password: password.ok()?,
                })
            }
        }
    }

    /// A secret that may be left out.
    fn given(&mut self, reference: Option<&At<config::SecretReference>>) -> Result<Option<Secret>, Reported> {
        reference.map(|reference| self.secret(reference).ok_or(Reported)).transpose()
    }
}
