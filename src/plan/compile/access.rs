//! Who may use a route.

use crate::config::{AccessRule, At, AuthTokenUse, Bearer, Finding, Place};
use crate::model::{IssuerId, NonEmpty, ScopeSet, TokenKind};
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::rules::access::{Access, Assurance, ClaimRule, Requirements};

impl Workshop<'_> {
    pub(super) fn access(&mut self, rule: &At<AccessRule>, issuers: &Directory<IssuerId>) -> Option<Access> {
        match &rule.value {
            AccessRule::Public => Some(Access::Public),
            AccessRule::Optional(bearer) => self.requirements(bearer, rule.place, issuers).map(Access::Optional),
            AccessRule::Bearer(bearer) => self.requirements(bearer, rule.place, issuers).map(Access::Bearer),
        }
    }

    fn requirements(&mut self, bearer: &Bearer, place: Place, issuers: &Directory<IssuerId>) -> Option<Requirements> {
        let issuers = self.chosen_issuers(bearer, place, issuers);
        let kinds = self.kinds(bearer, issuers.as_ref());
        let rules = bearer.claims.iter().flat_map(|claims| &claims.value).map(|claim| {
            let one_of = NonEmpty::new(claim.value.clone()).ok()?;
            Some(ClaimRule { name: claim.name.value.as_str().into(), one_of })
        });
        Some(Requirements {
            issuers: issuers?,
            kinds: NonEmpty::new(kinds).ok()?,
            scopes: bearer.scopes.as_ref().map(|scopes| ScopeSet::new(scopes.value.clone())).unwrap_or_default(),
            audience: listed(bearer.audience.as_ref()),
            claims: rules.collect::<Option<_>>()?,
            assurance: assurance(bearer),
        })
    }

    /// The kinds of token that a route takes. Tokens that are for the exchange only are taken nowhere.
    fn kinds(&mut self, bearer: &Bearer, issuers: Option<&NonEmpty<IssuerId>>) -> Vec<TokenKind> {
        let service = self.config.token_service.as_ref().filter(|_| issuers.is_some_and(|all| all.contains(&IssuerId(0))));
        let session = service.and_then(|service| service.value.session.as_ref());
        let exchange_only = session.is_some_and(|api| api.value.auth_token.value == AuthTokenUse::ExchangeOnly);
        let Some(accept) = &bearer.accept else {
            return if exchange_only { vec![TokenKind::Access] } else { vec![TokenKind::Access, TokenKind::Auth] };
        };
        if exchange_only && accept.value.contains(&TokenKind::Auth) {
            let finding = Finding::error(accept.place, "tokens from a login of the session API are for the exchange only");
            self.report.add(finding.help("leave \"auth\" out, or set auth_token = \"any\" in [token_service.session]"));
        }
        accept.value.clone()
    }

    fn chosen_issuers(&mut self, bearer: &Bearer, place: Place, issuers: &Directory<IssuerId>) -> Option<NonEmpty<IssuerId>> {
        if let Some(chosen) = &bearer.issuers {
            let found: Vec<_> = chosen.value.iter().map(|name| issuers.find(name, self.report).copied()).collect();
            return NonEmpty::new(found.into_iter().collect::<Option<Vec<_>>>()?).ok();
        }
        let names: Vec<&str> = issuers.names().collect();
        match names.as_slice() {
            [] => {
                let finding = Finding::error(place, "there is nobody to ask about tokens");
                self.report.add(finding.help("add an [issuer.NAME], or the [token_service] that is built in"));
                None
            }
            [_] => issuers.only().copied().map(NonEmpty::one),
            [_, _, ..] => {
                let finding = Finding::error(place, "it is not said whose tokens are taken here");
                let listed = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
                self.report.add(finding.help(format!("add issuers = [...] with some of {listed}")));
                issuers.spare();
                None
            }
        }
    }
}

fn assurance(bearer: &Bearer) -> Option<Assurance> {
    let assurance = Assurance {
        acr: listed(bearer.acr.as_ref()),
        methods: listed(bearer.methods.as_ref()),
        max_age: bearer.max_age.as_ref().map(|age| age.value),
    };
    let asks = assurance.acr.is_some() || assurance.methods.is_some() || assurance.max_age.is_some();
    asks.then_some(assurance)
}

fn listed(texts: Option<&At<Vec<String>>>) -> Option<NonEmpty<Box<str>>> {
    NonEmpty::new(texts?.value.iter().map(|text| text.as_str().into()).collect()).ok()
}
