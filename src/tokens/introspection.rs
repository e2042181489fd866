//! What a token says: who it belongs to, for how long, and how strongly that was proven.

use crate::model::{Credential, Denial, Now, PrincipalFacts, Scope, ScopeSet, Secret};
use crate::tokens::TokenService;
use crate::tokens::client::{Client, ClientRight};
use crate::tokens::keyring::fingerprint;
use crate::tokens::refusal::Refusal;
use crate::tokens::signing::Signed;
use crate::tokens::store::LiveToken;

/// What a caller takes a token to be (`token_type_hint`, RFC 7662 section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// An access token, or nothing was said.
    AccessToken,
    /// A refresh token.
    RefreshToken,
}

impl TokenService {
    /// What is known of an access token. `None` for whatever is not a good one, refresh tokens included: those never pass
    /// as Bearer tokens.
    ///
    /// # Errors
    /// `StoreUnavailable`: the token may be good. `Internal` if a signing key cannot be opened.
    pub async fn introspect(&self, token: &str) -> Result<Option<PrincipalFacts>, Denial> {
        if token.len() > Credential::MAX_LEN {
            return Ok(None);
        }
        let now = self.now();
        // A signed token is a token like the others, whose signature is checked as well: it costs less than to ask the store,
        // and nobody can make one up.
        let signed = match (&self.signing, token.contains('.')) {
            (Some(signing), true) => match self.verify(signing, token, now).await? {
                Some(signed) => Some(signed),
                None => return Ok(None),
            },
            (_, _) => None,
        };
        let live = self.store.live_token(fingerprint(token), now.wall).await?;
        let facts = live.map(|live| self.facts(live, now));
        let facts = facts.filter(|facts| facts.activity.as_ref().is_none_or(|activity| !activity.is_over(now.tick)));
        Ok(match signed {
            Some(signed) => facts.and_then(|facts| agreed(facts, signed)),
            None => facts,
        })
    }

    /// The same for a client that asks over HTTP: it learns about its own tokens, and about those of others if it has the
    /// right to. It asks because somebody uses the token, so a session that lives by being used lives on. Of a refresh token
    /// it learns only if it says that this may be one: who merely protects a resource must never take one for good.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn introspect_for(&self, client: &Client, token: &Secret, hint: Hint) -> Result<Option<PrincipalFacts>, Refusal> {
        let may_see =
            |facts: &PrincipalFacts| client.may(ClientRight::Introspection) || facts.client.as_deref() == Some(&*client.id);
        let mut facts = self.introspect(token.expose()).await?.filter(may_see);
        if let Some(facts) = &mut facts
            && let Some(activity) = &facts.activity
        {
            let now = self.now();
            activity.note(now.tick);
            facts.expires_at = facts.expires_at.map(|end| end.min(now.wall.after(activity.left(now.tick))));
        }
        if facts.is_none() && hint == Hint::RefreshToken {
            let now = self.now();
            let live = self.store.live_refresh_token(fingerprint(token.expose()), now.wall).await?;
            facts = live.map(|live| self.facts(live, now)).filter(may_see);
        }
        Ok(facts)
    }

    pub(in crate::tokens) fn facts(&self, live: LiveToken, now: Now) -> PrincipalFacts {
        let activity = live.idle.map(|(last, idle)| self.activities.of(&live.sid, last, idle, now));
        PrincipalFacts {
            subject: Some(live.account.to_string().into()),
            client: live.client,
            session: Some(live.sid),
            kind: live.kind,
            // Scopes were checked when they were granted; what is none by now grants nothing.
            scopes: ScopeSet::new(live.scope.split(' ').filter_map(|word| Scope::parse(word).ok())),
            acr: Some(live.acr),
            amr: live.amr.split_whitespace().map(Into::into).collect(),
            auth_time: Some(live.auth_time),
            issued_at: Some(live.issued),
            expires_at: Some(live.expires),
            activity,
            ..PrincipalFacts::of_issuer(self.issuer)
        }
    }
}

/// What the store knows of a token, and what the token says of itself: nothing, should they not agree.
fn agreed(facts: PrincipalFacts, signed: Signed) -> Option<PrincipalFacts> {
    let same = facts.session.as_deref() == Some(&*signed.sid);
    let end = facts.expires_at.map_or(signed.expires, |end| end.min(signed.expires));
    let audience = Box::new([signed.audience]);
    same.then_some(PrincipalFacts { token_id: Some(signed.token_id), audience, expires_at: Some(end), ..facts })
}
