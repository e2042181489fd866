//! Who holds a token of a session, and what they may do with the session itself: see identities, exchange, log out.

use crate::model::{Secret, TokenKind};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::revocations::Cause;
use crate::tokens::account::AccountId;
use crate::tokens::guard::Subject;
use crate::tokens::identity::{Identity, IdentityToken, NamedIdentity, NewIdentity};
use crate::tokens::keyring::fingerprint;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::SessionRule;
use crate::tokens::store::{Exchange, ExchangeStep};
use crate::tokens::{TokenService, mint};

/// Who holds a token that was good when it was looked up.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Whose it is.
    pub account: AccountId,
    /// What it is for.
    pub kind: TokenKind,
    pub(in crate::tokens) token: Fingerprint,
}

impl TokenService {
    /// Who holds this token, shown by the program that its session belongs to. That it was used is noted once it is known to
    /// be of a kind that may be used for what is asked.
    ///
    /// # Errors
    /// `TokenInvalid`, `TokenKind`; `StoreUnavailable`.
    pub async fn holder(&self, token: &Secret, program: &str, kinds: &[TokenKind]) -> Result<Holder, Refusal> {
        let (token, now) = (fingerprint(token.expose()), self.now());
        let live = self.store.live_token(token, now.wall).await?;
        if live.is_none() {
            self.doubt(token).await?;
        }
        let live = live.filter(|live| live.client.as_deref() == Some(program)).ok_or(Refusal::TokenInvalid)?;
        let (account, kind) = (live.account, live.kind);
        let activity = self.facts(live, now).activity;
        if activity.as_ref().is_some_and(|activity| activity.is_over(now.tick)) {
            return Err(Refusal::TokenInvalid);
        }
        if !kinds.contains(&kind) {
            return Err(Refusal::TokenKind);
        }
        if let Some(activity) = &activity {
            activity.note(now.tick);
        }
        Ok(Holder { account, kind, token })
    }

    /// A token is shown that is not good any more. The gateway may not have heard of that: somebody who logs out once more,
    /// because the answer to the first time was lost, is to be refused after a cut. There is none for tokens that are made up.
    async fn doubt(&self, token: Fingerprint) -> Result<(), Refusal> {
        if let Some(sid) = self.store.session_of(token).await? {
            let now = self.now();
            self.surroundings.revocations.suspect(self.issuer, Reach::Session(sid), Cause::Embedded, now);
        }
        Ok(())
    }

    /// The identities that an account can act as, its own first.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn identities(&self, account: AccountId) -> Result<Vec<Identity>, Refusal> {
        Ok(self.store.identities(account).await?)
    }

    /// Makes an identity that an account can act as.
    ///
    /// # Errors
    /// `IdentityForeign` if there is no such account; `StoreUnavailable`.
    pub async fn add_identity(&self, account: AccountId, new: NewIdentity) -> Result<Identity, Refusal> {
        self.store.add_identity(account, new, self.now().wall).await?.ok_or(Refusal::IdentityForeign)
    }

    /// A token that acts as one of the holder's identities. It is of the same session, and as strongly proven as the one that
    /// is shown for it. Not while the account is locked.
    ///
    /// # Errors
    /// `TokenInvalid`, `IdentityForeign`; `Locked`, `StoreUnavailable`.
    pub async fn exchange(
        &self,
        rule: &SessionRule,
        holder: &Holder,
        identity: NamedIdentity,
    ) -> Result<IdentityToken, Refusal> {
        self.heed(self.subject_of(holder.account), &[]).await?;
        let minted = mint::token(rule.format, self.entropy());
        let step = ExchangeStep {
            held: holder.token,
            identity,
            access_ttl: rule.access_ttl,
            token: minted.fingerprint,
            now: self.now().wall,
        };
        match self.store.exchange(step).await? {
            Exchange::Issued(identity) => Ok(IdentityToken { token: minted.text, account: holder.account, identity }),
            Exchange::NotTheirs => Err(Refusal::IdentityForeign),
            Exchange::Gone => Err(Refusal::TokenInvalid),
        }
    }

    /// Ends the holder's session: the token from the login, and every one it was exchanged for.
    ///
    /// # Errors
    /// `TokenInvalid` if it has ended meanwhile; `StoreUnavailable`: nothing has ended and the caller must try again.
    pub async fn log_out(&self, holder: &Holder) -> Result<(), Refusal> {
        let sid = self.store.end_session(holder.token, self.now().wall).await?.ok_or(Refusal::TokenInvalid)?;
        self.cut(Reach::Session(sid)).await;
        Ok(())
    }

    /// Whose attempts those of this account are.
    pub(in crate::tokens) fn subject_of(&self, account: AccountId) -> Subject {
        Subject { key: self.keyring.attempts_of_account(account), account: Some(account) }
    }
}
