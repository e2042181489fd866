//! From what was written to what runs: resolves every name, builds every pattern, and finds what is wrong across sections.
//!
//! Imports `model`, `rules` and `config`. Secrets come through [`SecretSource`], so that this reads neither the environment
//! nor a file by itself. Every mistake is reported; none hides another.

mod access;
mod database;
mod directory;
mod dress;
mod issuers;
mod lag;
mod limits;
mod login_guards;
mod mounts;
mod notifier;
mod passages;
mod process;
mod receivers;
mod routes;
mod secrets;
mod sources;
mod store;
mod upstreams;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Report};
use crate::model::IssuerId;
use crate::plan::compile::directory::Directory;
use crate::plan::compile::dress::Wardrobe;
use crate::plan::{Limit, LoginGuard, Plan, Upstream};
use crate::rules::forwarded::TrustedProxies;

/// Where secrets come from.
pub trait SecretSource: fmt::Debug {
    /// The value of an environment variable; `None` if there is none.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Whatever kept it from being read.
    fn file(&self, path: &Path) -> io::Result<String>;
}

/// What a plan takes from where it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine<'a> {
    /// The machine's cores, at least 1.
    pub cores: usize,
    /// What relative paths are relative to: the configuration's folder.
    pub folder: &'a Path,
}

impl Machine<'_> {
    /// A path of the configuration, as the process can open it.
    fn locate(self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

/// Reads and compiles the text of the file `name`. Start-up, `check`, reload and the tests all come through here.
///
/// # Errors
/// A report with at least one error. Otherwise the plan comes with a report that holds warnings only, mostly none.
pub fn load(name: &str, text: &str, secrets: &dyn SecretSource, machine: Machine<'_>) -> Result<(Plan, Report), Report> {
    let (config, mut report) = config::read(name, text);
    let plan = config.and_then(|config| compile(&config, secrets, machine, &mut report));
    match plan {
        Some(plan) if !report.has_errors() => Ok((plan, report)),
        Some(_) | None => Err(report),
    }
}

/// What everything here works with.
struct Workshop<'a> {
    config: &'a Config,
    secrets: &'a dyn SecretSource,
    machine: Machine<'a>,
    report: &'a mut Report,
}

/// What routes refer to by name.
struct Catalogue<'a> {
    issuers: &'a Directory<IssuerId>,
    upstreams: &'a Directory<Arc<Upstream>>,
    limits: &'a Directory<Arc<Limit>>,
    login_guards: &'a Directory<Arc<LoginGuard>>,
    wardrobe: &'a Wardrobe,
}

fn compile(config: &Config, secrets: &dyn SecretSource, machine: Machine<'_>, report: &mut Report) -> Option<Plan> {
    let mut shop = Workshop { config, secrets, machine, report };
    let listeners = shop.listeners();
    let admin = shop.admin();
    let issuers = shop.issuers();
    let issuer_names = shop.issuer_names();
    let receivers = shop.receivers(&issuer_names);
    let sources = shop.sources(config.network.sources.as_ref());
    let upstreams: Directory<Arc<Upstream>> = shop.upstreams();
    let limits = shop.limits();
    let login_guards: Directory<Arc<LoginGuard>> = shop.login_guards();
    let wardrobe = Wardrobe::new(config);
    // Whatever is wrong with it is in the report, so `None` is a plan without one, or no plan at all.
    let token_service = config.token_service.as_ref().and_then(|service| shop.token_service(service));
    let dress = wardrobe.dress(config.defaults.style.value, &config.defaults, shop.report);
    let catalogue = Catalogue {
        issuers: &issuer_names,
        upstreams: &upstreams,
        limits: &limits,
        login_guards: &login_guards,
        wardrobe: &wardrobe,
    };
    let routes = shop.routes(&catalogue);
    issuer_names.report_unused(shop.report);
    upstreams.report_unused(shop.report);
    limits.report_unused(shop.report);
    login_guards.report_unused(shop.report);
    wardrobe.report_unused(shop.report);
    let store = shop.store();
    let (routes, table) = routes?;
    Some(Plan {
        environment: config.environment.value,
        server: shop.server(),
        listeners: listeners?,
        admin: admin?,
        guard: shop.guard(),
        trusted_proxies: TrustedProxies(config.network.trusted_proxies.value.clone().into()),
        sources,
        table,
        routes,
        fallback: dress?.envelope,
        issuers: issuers?,
        receivers: receivers?,
        login_guards: login_guards.into_things()?,
        upstreams: upstreams.into_things()?,
        limits: limits.into_things()?,
        token_service,
        cache: shop.cache(),
        store: store?,
    })
}

#[cfg(test)]
mod tests;
