//! May they? The only place that makes a [`Permit`], and only a `Permit` is forwarded.
//!
//! A cached principal is asked anew on every request: nothing of the answer is remembered, so that a verdict cached for one
//! route never speaks for another.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Challenge, ClaimValue, Denial, IssuerId, NonEmpty, Principal, ScopeSet, Timestamp, TokenKind};

/// Who may use a route.
#[derive(Clone, PartialEq, Debug)]
pub enum Access {
    /// Anybody; no token is looked at.
    Public,
    /// Anybody; but a token that is presented must be good, and is then told upstream.
    Optional(Requirements),
    /// Only who presents a token that meets the requirements.
    Bearer(Requirements),
}

/// What a token must have. Every part must hold; none of the lists that allow something can be empty.
#[derive(Clone, PartialEq, Debug)]
pub struct Requirements {
    /// Whose tokens are taken. A token is never shown to an issuer outside this list.
    pub issuers: NonEmpty<IssuerId>,
    /// The kinds of token that are taken.
    pub kinds: NonEmpty<TokenKind>,
    /// Every one of these scopes.
    pub scopes: ScopeSet,
    /// At least one of these audiences; `None` asks for none.
    pub audience: Option<NonEmpty<Box<str>>>,
    /// Every one of these claims.
    pub claims: Box<[ClaimRule]>,
    /// How strongly, and how long ago, the subject must have been proven.
    pub assurance: Option<Assurance>,
}

/// A claim that must have a value.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimRule {
    /// The claim's name.
    pub name: Box<str>,
    /// The claim, or an element of it if it is a list, must be one of these.
    pub one_of: NonEmpty<ClaimValue>,
}

/// A step-up requirement (RFC 9470). At least one part is set; `plan` refuses a configuration with none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assurance {
    /// One of these authentication contexts.
    pub acr: Option<NonEmpty<Box<str>>>,
    /// One of these methods.
    pub methods: Option<NonEmpty<Box<str>>>,
    /// An authentication not older than this.
    pub max_age: Option<Duration>,
}

/// Proof that a route's access rule allowed a request. Only [`Access::permit`] makes one, and it cannot be made by hand:
///
/// ```compile_fail
/// let forged = portcullis::rules::access::Permit { principal: None };
/// ```
#[derive(Clone, Debug)]
pub struct Permit {
    principal: Option<Arc<Principal>>,
}

impl Permit {
    /// Who was allowed; `None` on a public route, or on an optional one without a token.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }
}

impl Access {
    /// The requirements on a presented token; `None` if tokens are not looked at.
    #[must_use]
    pub fn requirements(&self) -> Option<&Requirements> {
        match self {
            Self::Public => None,
            Self::Optional(requirements) | Self::Bearer(requirements) => Some(requirements),
        }
    }

    /// Decides. `caller` is who the presented token belongs to, `None` if nothing was presented.
    ///
    /// # Errors
    /// `CredentialMissing`, `CredentialInvalid` (an issuer or audience that this route does not take), `CredentialKind`,
    /// `ScopeMissing`, `ClaimMissing`, `StepUpRequired`.
    pub fn permit(&self, caller: Option<Arc<Principal>>, now: Timestamp) -> Result<Permit, Denial> {
        match (self, caller) {
            (Self::Public, _) | (Self::Optional(_), None) => Ok(Permit { principal: None }),
            (Self::Bearer(_), None) => Err(Denial::CredentialMissing),
            (Self::Optional(requirements) | Self::Bearer(requirements), Some(principal)) => {
                requirements.check(&principal, now)?;
                Ok(Permit { principal: Some(principal) })
            }
        }
    }
}

impl Requirements {
    fn check(&self, principal: &Principal, now: Timestamp) -> Result<(), Denial> {
        let facts = principal.facts();
        if !self.issuers.contains(&facts.issuer) {
            return Err(Denial::CredentialInvalid);
        }
        let audience_fits = |wanted: &NonEmpty<Box<str>>| facts.audience.iter().any(|held| wanted.contains(held));
        if !self.audience.as_ref().is_none_or(audience_fits) {
            return Err(Denial::CredentialInvalid);
        }
        if !self.kinds.contains(&facts.kind) {
            return Err(Denial::CredentialKind);
        }
        if !facts.scopes.contains_all(&self.scopes) {
            return Err(Denial::ScopeMissing(self.scopes.clone()));
        }
        if !self.claims.iter().all(|rule| rule.holds(principal)) {
            return Err(Denial::ClaimMissing);
        }
        match &self.assurance {
            Some(assurance) if !assurance.holds(principal, now) => Err(Denial::StepUpRequired(assurance.challenge())),
            Some(_) | None => Ok(()),
        }
    }
}

impl ClaimRule {
    fn holds(&self, principal: &Principal) -> bool {
        match principal.facts().claims.get(&self.name) {
            None => false,
            Some(ClaimValue::List(held)) => held.iter().any(|value| self.one_of.contains(value)),
            Some(held) => self.one_of.contains(held),
        }
    }
}

impl Assurance {
    fn holds(&self, principal: &Principal, now: Timestamp) -> bool {
        let facts = principal.facts();
        let context = self.acr.as_ref().is_none_or(|wanted| facts.acr.as_ref().is_some_and(|held| wanted.contains(held)));
        let method = self.methods.as_ref().is_none_or(|wanted| facts.amr.iter().any(|held| wanted.contains(held)));
        let recent = self.max_age.is_none_or(|limit| facts.auth_time.is_some_and(|at| now.since(at) <= limit));
        context && method && recent
    }

    fn challenge(&self) -> Challenge {
        let acr_values = self.acr.as_ref().map(|acr| acr.iter().cloned().collect()).unwrap_or_default();
        Challenge { acr_values, max_age: self.max_age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PrincipalFacts, Scope};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn requirements() -> Requirements {
        Requirements {
            issuers: NonEmpty::one(IssuerId(1)),
            kinds: NonEmpty::one(TokenKind::Access),
            scopes: ScopeSet::default(),
            audience: None,
            claims: Box::default(),
            assurance: None,
        }
    }

    fn facts() -> PrincipalFacts {
        PrincipalFacts::of_issuer(IssuerId(1))
    }

    fn ask(requirements: Requirements, facts: PrincipalFacts) -> Result<(), Denial> {
        let caller = Arc::new(Principal::new(facts).unwrap());
        Access::Bearer(requirements).permit(Some(caller), NOW).map(|_| ())
    }

    #[test]
    fn a_bearer_route_without_a_token_is_refused_and_an_optional_one_is_anonymous() {
        assert_eq!(Access::Bearer(requirements()).permit(None, NOW).unwrap_err(), Denial::CredentialMissing);
        assert!(Access::Optional(requirements()).permit(None, NOW).unwrap().principal().is_none());
    }

    #[test]
    fn a_public_route_tells_nobody_upstream_even_when_a_token_came_along() {
        let caller = Arc::new(Principal::new(facts()).unwrap());
        assert!(Access::Public.permit(Some(caller), NOW).unwrap().principal().is_none());
    }

    #[test]
    fn a_token_of_an_issuer_that_the_route_does_not_name_is_invalid_there() {
        let other = PrincipalFacts::of_issuer(IssuerId(2));
        assert_eq!(ask(requirements(), other), Err(Denial::CredentialInvalid));
    }

    #[test]
    fn a_token_meant_for_another_audience_or_for_none_is_invalid() {
        let wants = Requirements { audience: Some(NonEmpty::one("orders".into())), ..requirements() };
        assert_eq!(ask(wants.clone(), facts()), Err(Denial::CredentialInvalid));
        let other = PrincipalFacts { audience: Box::new(["billing".into()]), ..facts() };
        assert_eq!(ask(wants.clone(), other), Err(Denial::CredentialInvalid));
        let both = PrincipalFacts { audience: Box::new(["billing".into(), "orders".into()]), ..facts() };
        assert_eq!(ask(wants, both), Ok(()));
    }

    #[test]
    fn every_scope_must_be_held_and_the_refusal_names_all_that_are_asked_for() {
        let wanted = ScopeSet::parse("read write").unwrap();
        let wants = Requirements { scopes: wanted.clone(), ..requirements() };
        let held = PrincipalFacts { scopes: ScopeSet::new([Scope::parse("read").unwrap()]), ..facts() };
        assert_eq!(ask(wants, held), Err(Denial::ScopeMissing(wanted)));
    }

    #[test]
    fn a_temporary_token_is_the_wrong_kind_rather_than_invalid() {
        let temporary = PrincipalFacts { kind: TokenKind::Temporary, ..facts() };
        assert_eq!(ask(requirements(), temporary), Err(Denial::CredentialKind));
    }

    #[test]
    fn a_claim_is_met_by_its_value_or_by_an_element_of_its_list() {
        let rule = ClaimRule { name: "role".into(), one_of: NonEmpty::one(ClaimValue::Text("ops".into())) };
        let wants = Requirements { claims: Box::new([rule]), ..requirements() };
        let with = |value: ClaimValue| PrincipalFacts { claims: [("role".into(), value)].into(), ..facts() };
        assert_eq!(ask(wants.clone(), facts()), Err(Denial::ClaimMissing));
        assert_eq!(ask(wants.clone(), with(ClaimValue::Text("ops".into()))), Ok(()));
        let list = ClaimValue::List(Box::new([ClaimValue::Text("dev".into()), ClaimValue::Text("ops".into())]));
        assert_eq!(ask(wants.clone(), with(list)), Ok(()));
        assert_eq!(ask(wants, with(ClaimValue::Bool(true))), Err(Denial::ClaimMissing));
    }

    #[test]
    fn step_up_asks_for_a_context_and_for_its_age_and_an_unknown_age_is_too_old() {
        let assurance =
            Assurance { acr: Some(NonEmpty::one("2fa".into())), methods: None, max_age: Some(Duration::from_mins(5)) };
        let challenge = Challenge { acr_values: Box::new(["2fa".into()]), max_age: Some(Duration::from_mins(5)) };
        let wants = Requirements { assurance: Some(assurance), ..requirements() };
        let refused = Err(Denial::StepUpRequired(challenge));
        let proven = |seconds_ago: i64| PrincipalFacts {
            acr: Some("2fa".into()),
            auth_time: Some(Timestamp::from_secs(NOW.as_secs() - seconds_ago)),
            ..facts()
        };
        assert_eq!(ask(wants.clone(), facts()), refused);
        assert_eq!(ask(wants.clone(), proven(300)), Ok(()));
        assert_eq!(ask(wants.clone(), proven(301)), refused);
        assert_eq!(ask(wants, PrincipalFacts { auth_time: None, ..proven(0) }), refused);
    }
}
