//! Guards on logins, and the routes that name them.

use std::sync::Arc;

use crate::config::{self, AccessRule, At, Finding};
use crate::model::{AccountPlace, ClientPlace, CountedBy, Location, NonEmpty, Sign, WithoutStore};
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::plan::compile::issuers::EMBEDDED;
use crate::plan::{GuardCheck, LoginGuard, LoginGuardId};
use crate::rules::lockout::LockRule;
use crate::rules::login_answer::AnswerRule;
use crate::rules::login_budget::{BudgetRule, FailureWindow};

/// The guards of a route, and those whose locks hold there.
pub(super) type Guarded = (Box<[Arc<LoginGuard>]>, Box<[GuardCheck]>);

/// There is a mistake, and it is in the report.
pub(super) struct Mistaken;

impl Workshop<'_> {
    pub(super) fn login_guards(&mut self) -> Directory<Arc<LoginGuard>> {
        let config = self.config;
        let mut directory = Directory::new("login_guard", "login guard");
        for (index, guard) in config.login_guards.iter().enumerate() {
            // Locks are listed by the names of who keeps them.
            if guard.name.value == EMBEDDED && config.token_service.is_some() {
                let finding = Finding::error(guard.name.place, "the name `embedded` is that of the token service built in");
                self.report.add(finding.help("choose another name, so that their locks are told apart"));
            }
            let compiled = self.login_guard(LoginGuardId(index), &guard.name.value, &guard.value);
            directory.list(&guard.name, compiled.map(Arc::new));
        }
        directory
    }

    fn login_guard(&mut self, id: LoginGuardId, name: &str, written: &At<config::LoginGuard>) -> Option<LoginGuard> {
        let guard = &written.value;
        self.check_signs(guard);
        let rule = self.budget_rule(guard)?;
        let by = self.counters(guard, &rule)?;
        self.check_outage(guard, &rule);
        Some(LoginGuard {
            id,
            name: name.into(),
            account: guard.account.as_ref()?.value.clone(),
            client: guard.client.as_ref().map(|client| client.value.clone()),
            answers: AnswerRule {
                success: guard.success.as_ref().map(|signs| bare(&signs.value)),
                failure: bare(&guard.failure.value),
            },
            by,
            rule,
            without_store: guard.on_store_outage.value,
        })
    }

    /// What is said of an outage makes sense.
    fn check_outage(&mut self, guard: &config::LoginGuard, rule: &BudgetRule) {
        let outage = &guard.on_store_outage;
        let Some(valkey) = &self.config.store.valkey else {
            if outage.written {
                let finding = Finding::error(outage.place, "there is no shared store that could be away");
                self.report.add(finding.help("this is for kind = \"valkey\" in [store]; leave it out"));
            }
            return;
        };
        let nodes = &valkey.value.nodes;
        if outage.value == WithoutStore::Local && outage.written && rule.part(nodes.value).is_none() {
            let title = format!("a part of this budget for each of {} gateways is no attempt at all", nodes.value);
            let finding = Finding::warning(outage.place, title).label("while the store is away, every login is refused");
            self.report.add(finding.context(nodes.place, "how many there are"));
        }
    }

    /// What is said twice, or could never be reached, is a mistake.
    fn check_signs(&mut self, guard: &config::LoginGuard) {
        let failures = &guard.failure.value;
        let successes: &[At<Sign>] = guard.success.as_ref().map(|success| &*success.value).unwrap_or_default();
        for (index, sign) in failures.iter().enumerate() {
            self.check_sign(sign, failures.get(..index).unwrap_or_default(), "a failure already, whatever its body says");
        }
        for (index, sign) in successes.iter().enumerate() {
            self.check_sign(sign, successes.get(..index).unwrap_or_default(), "a success already, whatever its body says");
            let clash = |failure: &&At<Sign>| failure.value == sign.value || covers(failure, sign);
            let Some(failure) = failures.iter().find(clash) else { continue };
            let title = format!("{} cannot mean success and failure", sign.value.status);
            let finding = Finding::error(sign.place, title);
            let written = guard.failure.written;
            self.report.add(if written { finding.context(failure.place, "also named here") } else { finding });
        }
    }

    fn check_sign(&mut self, sign: &At<Sign>, before: &[At<Sign>], means: &str) {
        if let Some(other) = before.iter().find(|other| other.value == sign.value || covers(other, sign) || covers(sign, other))
        {
            let finding = Finding::error(sign.place, format!("every answer with {} is {means}", sign.value.status));
            self.report.add(finding.context(other.place, "named here").help("leave one of them out"));
        }
    }

    /// The lock alone unless a window is written; both if both are.
    fn budget_rule(&mut self, guard: &config::LoginGuard) -> Option<BudgetRule> {
        let window = match (&guard.attempts, &guard.within) {
            (Some(attempts), Some(within)) => {
                let count_success = guard.count_success.value;
                Some(FailureWindow { attempts: attempts.value, within: within.value, count_success })
            }
            (None, None) => {
                if guard.count_success.written {
                    let finding = Finding::error(guard.count_success.place, "`count_success` is about a window");
                    self.report.add(finding.help("add `attempts` and `within`"));
                }
                None
            }
            (Some(lone), None) => return self.half_a_window(lone, "within"),
            (None, Some(lone)) => return self.half_a_window(lone, "attempts"),
        };
        let locks = window.is_none() || guard.consecutive.written || guard.lock_for.written;
        let lock = locks.then(|| LockRule::new(guard.consecutive.value, guard.lock_for.value));
        Some(BudgetRule { lock, window })
    }

    fn half_a_window<T>(&mut self, lone: &At<T>, missing: &str) -> Option<BudgetRule> {
        self.report.add(Finding::error(lone.place, format!("`{missing}` is missing beside this")));
        None
    }

    fn counters(&mut self, guard: &config::LoginGuard, rule: &BudgetRule) -> Option<NonEmpty<CountedBy>> {
        let by = &guard.by;
        let mut counters: Vec<CountedBy> = Vec::new();
        for counted_by in &by.value {
            if !counters.contains(counted_by) {
                counters.push(*counted_by);
            }
        }
        self.check_client(guard, counters.contains(&CountedBy::Client));
        if counters.contains(&CountedBy::Client) && rule.window.is_none() {
            let finding = Finding::error(by.place, "a client is counted in a window, and there is none");
            self.report.add(finding.help("add `attempts` and `within`: there are no consecutive failures of a client"));
        }
        if counters.contains(&CountedBy::Source) && rule.window.is_none() {
            let finding = Finding::error(by.place, "a source is counted in a window, and there is none");
            let help =
                "add `attempts` and `within`: no success ends the failures of a source, so there are no consecutive ones";
            self.report.add(finding.help(help));
        }
        let names_account = counters.iter().any(|counted_by| counted_by.names_account());
        if rule.lock.is_some() && rule.window.is_some() && !names_account {
            let place = if guard.consecutive.written { guard.consecutive.place } else { guard.lock_for.place };
            let finding = Finding::error(place, "a lock is an account's, and no account is counted");
            self.report.add(finding.context(by.place, "add \"account\" or \"account+source\" here"));
        }
        NonEmpty::new(counters).ok()
    }

    fn check_client(&mut self, guard: &config::LoginGuard, counted: bool) {
        match (&guard.client, counted) {
            (None, true) => {
                let finding = Finding::error(guard.by.place, "`client` is missing beside this");
                self.report.add(finding.help("say where a login names its client: client = { form = \"client_id\" }"));
            }
            (Some(client), false) => {
                let finding = Finding::error(client.place, "no client is counted");
                self.report.add(finding.context(guard.by.place, "add \"client\" here"));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// The guards of a route, and those whose locks hold there.
    pub(super) fn guarded(&mut self, route: &config::Route, guards: &Directory<Arc<LoginGuard>>) -> Result<Guarded, Mistaken> {
        let mut places: Vec<Looking<'_>> = Vec::new();
        let (mut named, mut checks): (Vec<Arc<LoginGuard>>, Vec<GuardCheck>) = (Vec::new(), Vec::new());
        let mut mistaken = false;
        for name in route.login_guard.iter().flat_map(|names| &names.value) {
            let Some(guard) = guards.find(name, self.report) else {
                mistaken = true;
                continue;
            };
            self.check_first(name, &places);
            places.push(Looking { name, account: guard.account.clone(), client: guard.client.clone() });
            named.push(Arc::clone(guard));
        }
        for check in route.check.iter().flat_map(|checks| &checks.value) {
            let found = check.guard.as_ref().and_then(|name| Some((name, guards.find(name, self.report)?)));
            let Some((name, guard)) = found else {
                mistaken = true;
                continue;
            };
            self.check_first(name, &places);
            let account = check.account.as_ref().map_or(&guard.account, |account| &account.value).clone();
            let client = guard.client.clone();
            places.push(Looking { name, account: account.clone(), client: client.clone() });
            checks.push(GuardCheck { guard: guard.id, name: Arc::clone(&guard.name), account, client });
        }
        self.check_places(route, &places);
        // In one order on every route, so that two that wait do not wait for each other.
        named.sort_by_key(|guard| guard.id.0);
        if mistaken { Err(Mistaken) } else { Ok((named.into(), checks.into())) }
    }

    fn check_first(&mut self, name: &At<String>, before: &[Looking<'_>]) {
        if let Some(first) = before.iter().find(|first| first.name.value == name.value) {
            let finding = Finding::error(name.place, format!("`{}` is named twice", name.value));
            self.report.add(finding.context(first.name.place, "the first time"));
        }
    }

    fn check_places(&mut self, route: &config::Route, places: &[Looking<'_>]) {
        for (index, looking) in places.iter().enumerate() {
            self.check_token(route, looking);
            self.check_bodies(route, looking);
            let others = places.get(..=index).unwrap_or_default().iter();
            if let Some(other) = others.filter(|other| looking.differs_from(other.bodies())).last() {
                let place = looking.name.place;
                self.report.add(if other.name.place == place {
                    Finding::error(place, "a body is either JSON or a form, and this guard looks in both")
                } else {
                    let finding = Finding::error(place, "a body is either JSON or a form, and these two look in both");
                    finding.context(other.name.place, "the other one")
                });
            }
        }
    }

    fn check_token(&mut self, route: &config::Route, looking: &Looking<'_>) {
        let what = match (&looking.account, &looking.client) {
            (AccountPlace::Subject, _) => "subject",
            (AccountPlace::Told(_), Some(ClientPlace::Token)) => "client",
            (AccountPlace::Told(_), Some(ClientPlace::Told(_)) | None) => return,
        };
        let Some(access) = &route.access else { return };
        match access.value {
            AccessRule::Bearer(_) => {}
            AccessRule::Public | AccessRule::Optional(_) => {
                let title = format!("`{}` counts by the {what} of a token, but this route needs none", looking.name.value);
                self.report.add(Finding::error(looking.name.place, title).context(access.place, "`bearer` is needed here"));
            }
        }
    }

    /// A body is read in one way: what the role and the guard look for is in JSON or in a form, not in both.
    fn check_bodies(&mut self, route: &config::Route, looking: &Looking<'_>) {
        let Some(role) = &route.role else { return };
        let differs = |at: &&At<Location>| looking.differs_from(std::iter::once(&at.value));
        if let Some(other) = role.value.token.iter().chain(&role.value.subject).find(differs) {
            let finding =
                Finding::error(looking.name.place, "a body is either JSON or a form, and the account is in the other");
            self.report.add(finding.context(other.place, "what the role looks for"));
        }
    }
}

/// Where a guard looks in a route's requests.
struct Looking<'a> {
    name: &'a At<String>,
    account: AccountPlace,
    client: Option<ClientPlace>,
}

impl Looking<'_> {
    fn bodies(&self) -> impl Iterator<Item = &Location> {
        crate::plan::login_guard::places(&self.account, self.client.as_ref())
    }

    fn differs_from<'a>(&self, mut others: impl Iterator<Item = &'a Location>) -> bool {
        let differ = |one: &Location, other: &Location| {
            matches!((one, other), (Location::Json(_), Location::Form(_)) | (Location::Form(_), Location::Json(_)))
        };
        others.any(|other| self.bodies().any(|own| differ(own, other)))
    }
}

/// Whether a sign is about every answer that another is about.
fn covers(sign: &At<Sign>, other: &At<Sign>) -> bool {
    sign.value.status == other.value.status && sign.value.body.is_none()
}

fn bare(signs: &[At<Sign>]) -> Box<[Sign]> {
    signs.iter().map(|sign| sign.value.clone()).collect()
}
