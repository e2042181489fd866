//! The routes of the file, those of the embedded token service and those of the receivers, in one table.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{self, At, Finding, Outage, Place, Report, Settings};
use crate::plan::compile::dress::Dress;
use crate::plan::compile::{Catalogue, Workshop, lag};
use crate::plan::{Freshness, OnOutage, Route, RouteLimits, Target};
use crate::rules::access::Access;
use crate::rules::networks::Sources;
use crate::rules::routing::{HostPattern, PathPattern, RouteKey, RouteTable};

/// A route before it has its place in the table.
pub(super) struct Draft {
    /// Its name.
    pub(super) name: At<String>,
    /// What it answers to, as it was written there.
    pub(super) place: Place,
    /// What it answers to.
    pub(super) key: RouteKey,
    /// The rest of it.
    pub(super) route: Route,
}

/// What routes with the same settings differ in.
pub(super) struct Particulars {
    /// Who may use it.
    pub(super) access: Access,
    /// Where its requests go.
    pub(super) target: Target,
    /// How its answers are dressed.
    pub(super) dress: Dress,
    /// The largest body it takes, in bytes.
    pub(super) body_limit: u64,
}

impl Workshop<'_> {
    pub(super) fn routes(&mut self, catalogue: &Catalogue<'_>) -> Option<(Box<[Arc<Route>]>, RouteTable)> {
        let config = self.config;
        let written: Vec<_> = config.routes.iter().map(|route| self.route(route, catalogue)).collect();
        let whole = written.iter().all(Option::is_some);
        let mut drafts: Vec<Draft> = written.into_iter().flatten().collect();
        let mut inside: Vec<Draft> = self.mounted_routes(catalogue.wardrobe);
        inside.extend(self.receiver_routes(catalogue.wardrobe));
        let limits = self.route_limits(&config.defaults.limits, catalogue.limits);
        for draft in &mut inside {
            draft.route.limits = limits.clone();
        }
        drafts.extend(inside);
        report_same_names(&drafts, self.report);
        let keys: Vec<RouteKey> = drafts.iter().map(|draft| draft.key.clone()).collect();
        let table = RouteTable::build(&keys).map_err(|ties| {
            for tie in ties {
                report_tie(drafts.get(tie.first), drafts.get(tie.second), self.report);
            }
        });
        let finish = |(index, draft): (usize, Draft)| Arc::new(Route { index, ..draft.route });
        let routes = drafts.into_iter().enumerate().map(finish).collect();
        table.ok().filter(|_| whole).map(|table| (routes, table))
    }

    fn route(&mut self, route: &At<config::Route>, catalogue: &Catalogue<'_>) -> Option<Draft> {
        let Catalogue { issuers, upstreams, limits, login_guards, wardrobe } = catalogue;
        let guarded = self.guarded(&route.value, login_guards);
        let settings = &route.value.settings;
        let limits = self.route_limits(&settings.limits, limits);
        let sources = self.sources(route.value.sources.as_ref());
        let key = self.key(&route.value);
        let upstream = route.value.upstream.as_ref().and_then(|name| upstreams.find(name, self.report).cloned());
        if route.value.upstream.is_none() {
            upstreams.spare();
        }
        let access = route.value.access.as_ref().and_then(|rule| self.access(rule, issuers));
        if access.is_none() {
            issuers.spare();
        }
        if let (true, Some(Access::Public)) = (route.value.activity.written, &access) {
            let finding = Finding::warning(route.value.activity.place, "this has no effect: no token is asked for here");
            self.report.add(finding.help("leave it out"));
        }
        let passage = self.passage(&route.value, access.as_ref(), issuers);
        if let Some(access) = &access {
            lag::check(settings, access, self.config, self.report);
        }
        let dress = wardrobe.dress(settings.style.value, settings, self.report);
        let target = Target::Upstream(upstream?);
        let particulars = Particulars { access: access?, target, dress: dress?, body_limit: settings.body_limit.value };
        let name = route.value.name.clone().unwrap_or_else(|| default_name(route));
        let place = route.value.path.as_ref().map_or(route.place, |path| path.place);
        let mut draft = draft(name, place, key?, particulars, settings);
        draft.route.sources = sources;
        draft.route.passage = passage;
        (draft.route.login_guards, draft.route.checks) = guarded.ok()?;
        draft.route.activity = route.value.activity.value;
        draft.route.limits = limits;
        Some(draft)
    }

    fn key(&mut self, route: &config::Route) -> Option<RouteKey> {
        let host = match &route.host {
            Some(host) => complain(HostPattern::parse(&host.value), host.place, self.report),
            None => Some(HostPattern::any()),
        };
        let path = route.path.as_ref().and_then(|path| complain(PathPattern::parse(&path.value), path.place, self.report));
        let methods = route.methods.as_ref().map(|methods| methods.value.clone().into());
        Some(RouteKey { host: host?, path: path?, methods })
    }
}

/// A route of these settings and particulars.
pub(super) fn draft(name: At<String>, place: Place, key: RouteKey, particulars: Particulars, settings: &Settings) -> Draft {
    let on_outage = match settings.on_outage.value {
        Outage::Deny => OnOutage::Deny,
        Outage::Grace(grace) => OnOutage::Grace(grace),
    };
    let route = Route {
        name: name.value.as_str().into(),
        index: 0,
        sources: Sources::default(),
        access: particulars.access,
        target: particulars.target,
        envelope: particulars.dress.envelope,
        activity: true,
        freshness: Freshness { max_revocation_lag: settings.max_revocation_lag.value, on_outage },
        body_limit: particulars.body_limit,
        forward_authorization: settings.forward_authorization.value,
        identity: particulars.dress.identity,
        request_ref: false,
        passage: None,
        limits: RouteLimits::default(),
        login_guards: Box::default(),
        checks: Box::default(),
    };
    Draft { name, place, key, route }
}

fn complain<T>(read: Result<T, impl ToString>, place: Place, report: &mut Report) -> Option<T> {
    read.map_err(|error| report.add(Finding::error(place, error.to_string()))).ok()
}

/// Its methods, host and path, as far as they were written.
fn default_name(route: &At<config::Route>) -> At<String> {
    let methods = route.value.methods.as_ref().map(|all| {
        let names: Vec<&str> = all.value.iter().map(http::Method::as_str).collect();
        format!("{} ", names.join(","))
    });
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let name = methods.unwrap_or_default() + &text(&route.value.host) + &text(&route.value.path);
    At::default(name, route.value.path.as_ref().map_or(route.place, |path| path.place))
}

fn report_same_names(drafts: &[Draft], report: &mut Report) {
    let mut firsts: HashMap<&str, &Draft> = HashMap::with_capacity(drafts.len());
    for draft in drafts {
        let first = *firsts.entry(&draft.name.value).or_insert(draft);
        // Two routes that both left their names out differ in what they answer to, or are reported as a tie.
        if !std::ptr::eq(first, draft) && (first.name.written || draft.name.written) {
            let finding = Finding::error(draft.name.place, format!("two routes are named `{}`", draft.name.value));
            report.add(finding.context(first.name.place, "the other one"));
        }
    }
}

fn report_tie(first: Option<&Draft>, second: Option<&Draft>, report: &mut Report) {
    let (Some(first), Some(second)) = (first, second) else { return };
    let mounted = |draft: &Draft| matches!(draft.route.target, Target::TokenService | Target::Receiver(..));
    let (first, second) = if mounted(second) && !mounted(first) { (second, first) } else { (first, second) };
    let other =
        if mounted(first) { format!("`{}` is mounted by this", first.name.value) } else { "the other route".to_owned() };
    let finding = Finding::error(second.place, "two routes answer to the same requests, and neither is more specific");
    report.add(finding.context(first.place, other).help("tell them apart by host, path or methods"));
}
