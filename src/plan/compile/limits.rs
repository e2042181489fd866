//! Rate limits: what they hold, and which routes have them.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, At, Finding, LimitChoice, LimitUse, Named, StoreKind};
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
            exempt: written.exempt.as_ref().and_then(|list| self.networks(list)),
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
            config::OnStoreOutage::Local => Some(self.part(limit, quota)),
        }
    }

    /// This gateway's part of a limit.
    fn part(&mut self, limit: &config::Limit, quota: Option<&Quota>) -> OnStoreOutage {
        let nodes = self.config.store.valkey.as_ref().map_or(1, |valkey| valkey.value.nodes.value);
        if let (Some(rate), Some(quota)) = (&limit.rate, quota)
            && quota.share(nodes).is_none()
        {
            let place = limit.burst.as_ref().map_or(rate.place, |burst| burst.place);
            let finding = Finding::warning(place, format!("one of {nodes} gateways has too little of this for one request"));
            let finding = finding.label("while the shared store is away, every request is refused (503)");
            self.report.add(finding.help("raise `burst`, or write on_store_outage = \"deny\" or \"allow\""));
        }
        OnStoreOutage::Local(nodes)
    }

    /// The limits of routes with these settings: those that every route has, then those that it names. What is wrong with them
    /// is in the report.
    pub(super) fn route_limits(&mut self, choice: &At<LimitChoice>, limits: &Directory<Arc<Limit>>) -> RouteLimits {
        let uses = match &choice.value {
            LimitChoice::Without => &[],
            LimitChoice::Named(uses) => uses.as_slice(),
        };
        let named: Vec<(&At<String>, &LimitUse)> = uses.iter().filter_map(|one| Some((one.name.as_ref()?, one))).collect();
        for (at, (name, _)) in named.iter().enumerate() {
            if let Some((first, _)) = named.iter().take(at).find(|(first, _)| first.value == name.value) {
                let finding = Finding::error(name.place, format!("`{}` would be spent twice", name.value));
                self.report.add(finding.context(first.place, "the other one"));
            }
        }
        let everywhere = self.config.limits.iter().filter(|limit| limit.value.value.everywhere.value);
        let mut found = Vec::new();
        for limit in everywhere.filter(|limit| named.iter().all(|(name, _)| name.value != limit.name.value)) {
            found.extend(limits.find(&limit.name, self.report).cloned());
        }
        for (name, one) in &named {
            found.extend(limits.find(name, self.report).cloned().map(|limit| self.spent(limit, one.cost.as_ref())));
        }
        if found.len() > RouteLimits::MOST {
            let finding = Finding::error(choice.place, format!("a route has at most {} limits", RouteLimits::MOST));
            self.report.add(finding.help("those that hold everywhere count too"));
        }
        RouteLimits::new(&found)
    }

    /// A limit as a route spends it.
    fn spent(&mut self, limit: Arc<Limit>, cost: Option<&At<u32>>) -> Arc<Limit> {
        let Some(cost) = cost else { return limit };
        if u64::from(cost.value) > limit.quota.burst() {
            let burst = limit.quota.burst();
            let finding = Finding::error(cost.place, format!("no request could ever pay this: {burst} is all there is"));
            self.report.add(finding.help(format!("raise `burst` of [limit.{}], or lower `cost`", limit.name)));
        }
        Arc::new(limit.costing(cost.value))
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
