//! Guards on logins, and the routes that name them.

use std::sync::Arc;

use crate::config::{self, AccessRule, At, Finding};
use crate::model::{AccountPlace, CountedBy, Location, NonEmpty, WithoutStore};
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::plan::{LoginGuard, LoginGuardId};
use crate::rules::lockout::LockRule;
use crate::rules::login_budget::{BudgetRule, FailureWindow};

/// There is a mistake, and it is in the report.
pub(super) struct Mistaken;

impl Workshop<'_> {
    pub(super) fn login_guards(&mut self) -> Directory<Arc<LoginGuard>> {
        let config = self.config;
        let mut directory = Directory::new("login_guard", "login guard");
        for (index, guard) in config.login_guards.iter().enumerate() {
            let compiled = self.login_guard(LoginGuardId(index), &guard.name.value, &guard.value);
            directory.list(&guard.name, compiled.map(Arc::new));
        }
        directory
    }

    fn login_guard(&mut self, id: LoginGuardId, name: &str, written: &At<config::LoginGuard>) -> Option<LoginGuard> {
        let guard = &written.value;
        self.check_statuses(guard);
        let rule = self.budget_rule(guard)?;
        let by = self.counters(guard, &rule)?;
        self.check_outage(guard, &rule);
        Some(LoginGuard {
            id,
            name: name.into(),
            account: guard.account.as_ref()?.value.clone(),
            success: guard.success.as_ref().map(|statuses| statuses.value.clone().into()),
            failure: guard.failure.value.clone().into(),
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

    fn check_statuses(&mut self, guard: &config::LoginGuard) {
        let failures = &guard.failure;
        let is_success = |status: &&u16| match &guard.success {
            Some(success) => success.value.contains(status),
            None => false,
        };
        if let (Some(status), Some(success)) = (failures.value.iter().find(is_success), &guard.success) {
            let finding = Finding::error(success.place, format!("{status} cannot mean success and failure"));
            self.report.add(if failures.written { finding.context(failures.place, "also named here") } else { finding });
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

    /// The guard of a route, if it names one.
    pub(super) fn guarded(
        &mut self,
        route: &config::Route,
        guards: &Directory<Arc<LoginGuard>>,
    ) -> Result<Option<Arc<LoginGuard>>, Mistaken> {
        let Some(name) = &route.login_guard else { return Ok(None) };
        let guard = Arc::clone(guards.find(name, self.report).ok_or(Mistaken)?);
        self.check_subject(route, name, &guard);
        self.check_bodies(route, name, &guard);
        Ok(Some(guard))
    }

    fn check_subject(&mut self, route: &config::Route, name: &At<String>, guard: &LoginGuard) {
        let Some(access) = route.access.as_ref().filter(|_| guard.account == AccountPlace::Subject) else { return };
        match access.value {
            AccessRule::Bearer(_) => {}
            AccessRule::Public | AccessRule::Optional(_) => {
                let title = format!("`{}` counts by the subject of a token, but this route needs none", name.value);
                self.report.add(Finding::error(name.place, title).context(access.place, "`bearer` is needed here"));
            }
        }
    }

    /// A body is read in one way: what the role and the guard look for is in JSON or in a form, not in both.
    fn check_bodies(&mut self, route: &config::Route, name: &At<String>, guard: &LoginGuard) {
        let AccountPlace::Told(account) = &guard.account else { return };
        let Some(role) = &route.role else { return };
        let differ = |at: &At<Location>| {
            matches!((&at.value, account), (Location::Json(_), Location::Form(_)) | (Location::Form(_), Location::Json(_)))
        };
        if let Some(other) = role.value.token.iter().chain(&role.value.subject).find(|at| differ(at)) {
            let finding = Finding::error(name.place, "a body is either JSON or a form, and the account is in the other");
            self.report.add(finding.context(other.place, "what the role looks for"));
        }
    }
}
