//! Rate limits: what they hold, and which routes have them.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, At, Finding, LimitChoice, Named, StoreKind};
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::plan::{Limit, LimitKey, OnStoreOutage, RouteLimits};
use crate::rules::gcra::Quota;

impl Workshop<'_> {
    /// All limits of the file.
    pub(super) fn limits(&mut self) -> Directory<Arc<Limit>> {
        let mut directory = Directory::new("limit", "rate limit");
        for (index, limit) in self.config.limits.iter().enumerate() {
            let compiled = self.limit(index, limit);
            directory.list(&limit.name, compiled.map(Arc::new));
        }
        directory
    }

    fn limit(&mut self, index: usize, limit: &Named<At<config::Limit>>) -> Option<Limit> {
        let written = &limit.value.value;
        let quota = self.quota(written);
        let parts = &written.key.as_ref()?.value;
        for (at, part) in parts.iter().enumerate() {
            if let Some(first) = parts.iter().take(at).find(|first| first.value == part.value) {
                let finding = Finding::error(part.place, "this part of the key is there twice");
                self.report.add(finding.context(first.place, "the other one"));
            }
        }
        let shared = self.shared(written, quota.as_ref());
        Some(Limit {
            name: limit.name.value.as_str().into(),
            index,
            quota: quota?,
            key: parts.iter().map(|part| key_part(&part.value)).collect(),
            keys: usize::try_from(written.keys.value).unwrap_or(usize::MAX),
            told: written.headers.value,
            dry_run: written.dry_run.value,
            shared,
        })
    }

    fn quota(&mut self, limit: &config::Limit) -> Option<Quota> {
        let rate = limit.rate.as_ref()?;
        let burst = limit.burst.as_ref().map_or(rate.value.units, |burst| burst.value);
        if limit.cost.value > burst {
            let finding = Finding::error(limit.cost.place, format!("no request could ever pay this: {burst} is all there is"));
            self.report.add(finding.help("raise `burst`, or lower `cost`"));
        }
        let quota = Quota::new(rate.value.units, rate.value.per, burst, limit.cost.value);
        if quota.window() > Quota::LONGEST {
            let finding = Finding::error(rate.place, "this takes longer than 31 days to come back");
            self.report.add(finding.help("raise `rate`, or lower `burst`"));
        }
        if rate.value.per < Quota::SHORTEST_INTERVAL.saturating_mul(rate.value.units) {
            let most = Duration::from_secs(1).as_micros() / Quota::SHORTEST_INTERVAL.as_micros();
            self.report.add(Finding::error(rate.place, format!("a rate is at most {most} in a second")));
        }
        Some(quota)
    }

    /// What the limit says while the store is away that it is shared in; `None` if it is not shared.
    fn shared(&mut self, limit: &config::Limit, quota: Option<&Quota>) -> Option<OnStoreOutage> {
        let store = &self.config.store;
        let said = [limit.shared.as_ref().map(|at| at.place), limit.on_store_outage.as_ref().map(|at| at.place)];
        if store.kind.value == StoreKind::Memory {
            if let Some(place) = said.into_iter().flatten().next() {
                let finding = Finding::warning(place, "this says nothing: no limit is shared with other gateways");
                self.report.add(finding.help("write kind = \"valkey\" in [store], or leave this out"));
            }
            return None;
        }
        if let Some(local) = limit.shared.as_ref().filter(|shared| !shared.value) {
            if let Some(outage) = &limit.on_store_outage {
                let finding = Finding::warning(outage.place, "this says nothing: each gateway counts for itself");
                self.report.add(finding.context(local.place, "because of this"));
            }
            return None;
        }
        match limit.on_store_outage.as_ref().map_or(config::OnStoreOutage::Local, |outage| outage.value) {
            config::OnStoreOutage::Deny => Some(OnStoreOutage::Deny),
            config::OnStoreOutage::Allow => Some(OnStoreOutage::Allow),
            config::OnStoreOutage::Local => Some(self.part(limit, quota?)),
        }
    }

    /// This gateway's part of a limit.
    fn part(&mut self, limit: &config::Limit, quota: &Quota) -> OnStoreOutage {
        let nodes = self.config.store.valkey.as_ref().map_or(1, |valkey| valkey.value.nodes.value);
        if let Some(part) = quota.share(nodes) {
            return OnStoreOutage::Local(part);
        }
        if let Some(rate) = &limit.rate {
            let place = limit.burst.as_ref().map_or(rate.place, |burst| burst.place);
            let finding = Finding::warning(place, format!("one of {nodes} gateways has too little of this for one request"));
            let finding = finding.label("while the shared store is away, every request is refused (503)");
            self.report.add(finding.help("raise `burst`, or write on_store_outage = \"deny\" or \"allow\""));
        }
        OnStoreOutage::Deny
    }

    /// The limits of routes with these settings. What is wrong with them is in the report.
    pub(super) fn route_limits(&mut self, choice: &At<LimitChoice>, limits: &Directory<Arc<Limit>>) -> RouteLimits {
        let names = match &choice.value {
            LimitChoice::Without => return RouteLimits::default(),
            LimitChoice::Named(names) => names,
        };
        for (at, name) in names.iter().enumerate() {
            if let Some(first) = names.iter().take(at).find(|first| first.value == name.value) {
                let finding = Finding::error(name.place, format!("`{}` would be spent twice", name.value));
                self.report.add(finding.context(first.place, "the other one"));
            }
        }
        if names.len() > RouteLimits::MOST {
            self.report.add(Finding::error(choice.place, format!("a route has at most {} limits", RouteLimits::MOST)));
        }
        let found: Vec<Arc<Limit>> = names.iter().filter_map(|name| limits.find(name, self.report).cloned()).collect();
        RouteLimits::new(&found)
    }
}

fn key_part(part: &config::LimitKey) -> LimitKey {
    match part {
        config::LimitKey::Source => LimitKey::Source,
        config::LimitKey::Subject => LimitKey::Subject,
        config::LimitKey::Client => LimitKey::Client,
        config::LimitKey::Session => LimitKey::Session,
        config::LimitKey::Route => LimitKey::Route,
        config::LimitKey::Header(name) => LimitKey::Header(name.clone()),
    }
}
