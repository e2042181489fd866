//! Whether a bound on the revocation lag bounds anything.

use crate::config::{Config, Finding, Report, Settings};
use crate::model::IssuerId;
use crate::rules::access::Access;

/// Warns if every answer that the route uses is forgotten before the bound would apply.
pub(super) fn check(settings: &Settings, access: &Access, config: &Config, report: &mut Report) {
    let lag = &settings.max_revocation_lag;
    let Some(requirements) = access.requirements().filter(|_| lag.written) else { return };
    let first = usize::from(config.token_service.is_some());
    let remote = |id: &IssuerId| config.issuers.get(usize::from(id.0).checked_sub(first)?);
    let asked = requirements.issuers.iter().map(|id| Some(&remote(id)?.value.value.introspection.as_ref()?.value));
    let Some(asked) = asked.collect::<Option<Vec<_>>>() else { return };
    let longest = asked.into_iter().max_by_key(|issuer| issuer.remembered());
    if let Some(issuer) = longest.filter(|issuer| issuer.remembered() < lag.value) {
        let finding = Finding::warning(lag.place, "this bound has no effect: answers are not remembered that long");
        let life = crate::config::show_duration(issuer.remembered());
        report.add(match issuer.idle.as_ref().filter(|_| issuer.remembered() < issuer.cache_ttl.value) {
            Some(idle) => finding.context(idle.place, format!("so that uses are told in time, they are for {life}")),
            None => finding.context(issuer.cache_ttl.place, format!("cache_ttl is {life}")),
        });
    }
}
