//! The database of the embedded token service, and its key.

use std::path::PathBuf;

use crate::config::{self, At, Environment, Finding, TokenStoreKind};
use crate::plan::compile::Workshop;
use crate::plan::compile::issuers::is_loopback;
use crate::plan::{Database, Postgres, PostgresTls};

impl Workshop<'_> {
    /// The database, and the file of its key.
    pub(super) fn database(&mut self, service: &config::TokenService) -> Option<(Database, PathBuf)> {
        let named = service.key_file.as_ref().map(|file| self.machine.locate(&file.value));
        match service.store.value {
            TokenStoreKind::Sqlite => {
                if let Some(postgres) = &service.postgres {
                    let finding = Finding::error(postgres.place, "the token service does not use PostgreSQL");
                    let finding = finding.context(service.store.place, "it keeps its state in a file of this machine");
                    self.report.add(finding.help("write store = \"postgres\" in [token_service], or leave this out"));
                }
                let path = self.machine.locate(&service.database.value);
                let mut beside = path.clone().into_os_string();
                beside.push(".key");
                Some((Database::Sqlite(path), named.unwrap_or_else(|| beside.into())))
            }
            TokenStoreKind::Postgres => {
                if service.database.written {
                    let finding = Finding::error(service.database.place, "there is no database file");
                    let finding = finding.context(service.store.place, "the state is in PostgreSQL");
                    self.report.add(finding.help("the database of PostgreSQL is `database` of [token_service.postgres]"));
                }
                if named.is_none() {
                    let finding = Finding::error(service.store.place, "`key_file` is missing");
                    let help = "name the file of the server key in [token_service], the same on every gateway: \
                                key_file = \"/etc/portcullis/server.key\"";
                    self.report.add(finding.label("no file lies beside this database").help(help));
                }
                let postgres = service.postgres.as_ref().map(|postgres| self.postgres(postgres));
                if postgres.is_none() {
                    let finding = Finding::error(service.store.place, "[token_service.postgres] is missing");
                    self.report.add(finding.help("say where the server is: host = \"db.example\""));
                }
                Some((Database::Postgres(postgres.flatten()?), named?))
            }
        }
    }

    fn postgres(&mut self, written: &At<config::Postgres>) -> Option<Postgres> {
        let from = &written.value;
        self.check_tls(from);
        let password = from.password.as_ref().map(|password| self.secret(password));
        let ca_file = from.ca_file.as_ref().map(|path| self.machine.locate(&path.value));
        Some(Postgres {
            host: from.host.as_ref()?.value.as_str().into(),
            port: from.port.value,
            database: from.database.value.as_str().into(),
            user: from.user.value.as_str().into(),
            password: match password {
                Some(password) => Some(password?),
                None => None,
            },
            schema: from.schema.value.as_str().into(),
            tls: from.tls.value.then_some(PostgresTls { ca_file }),
            readers: from.readers.value,
            connect_timeout: from.connect_timeout.value,
            statement_timeout: from.statement_timeout.value,
            max_silence: from.max_silence.value,
        })
    }

    /// What is not encrypted stays on this machine, except where nothing is real.
    fn check_tls(&mut self, from: &config::Postgres) {
        let Some(host) = &from.host else { return };
        let here = host.value.starts_with('/') || is_loopback(&host.value);
        if from.tls.value {
            if host.value.starts_with('/') {
                let finding = Finding::error(host.place, "a Unix socket is not encrypted");
                self.report.add(finding.label("this is a folder of this machine").help("write tls = false"));
            }
            return;
        }
        if !here && self.config.environment.value == Environment::Production {
            let finding = Finding::error(from.tls.place, "password hashes would cross the network in the clear");
            let finding = finding.context(host.place, "this server is not on this machine");
            self.report
                .add(finding.help("write tls = true, and `ca_file` if its certificate is from an authority of your own"));
        }
        if let Some(ca_file) = &from.ca_file {
            let finding = Finding::warning(ca_file.place, "these certificates are not used");
            self.report.add(finding.context(from.tls.place, "nothing is encrypted"));
        }
    }
}
