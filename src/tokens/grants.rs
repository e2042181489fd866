//! Grants: a code becomes tokens, tokens become their successors, and all of it ends.

use std::time::Duration;

use crate::model::{Denial, Secret, Timestamp};
use crate::store::cuts::Reach;
use crate::tokens::account::AccountId;
use crate::tokens::client::{Client, ClientRight};
use crate::tokens::keyring::{fingerprint, seal, unseal};
use crate::tokens::mint::Minted;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{AccessForm, SessionRule};
use crate::tokens::signing::Statement;
use crate::tokens::store::{Descent, Issued, RedeemStep, Redemption, Revocation, RotateStep, Rotation};
use crate::tokens::{TokenService, mint};

/// A pair of tokens.
#[derive(Clone, Debug)]
pub struct TokenPair {
    /// The access token.
    pub access: Secret,
    /// The refresh token.
    pub refresh: Secret,
    /// When they were issued.
    pub issued: Timestamp,
    /// Until when the access token is good.
    pub access_expires: Timestamp,
    /// Until when the refresh token is.
    pub refresh_expires: Timestamp,
    /// For how long the access token is good.
    pub expires_in: Duration,
    /// Whose they are.
    pub account: AccountId,
}

/// Tokens that were made and are not issued yet.
#[derive(Debug)]
pub(in crate::tokens) struct Successors {
    pub(in crate::tokens) access: Minted,
    pub(in crate::tokens) refresh: Minted,
    /// When they are to be issued.
    pub(in crate::tokens) at: Timestamp,
}

impl TokenPair {
    fn of(access: Secret, refresh: Secret, issued: &Issued, now: Timestamp) -> Self {
        Self {
            access,
            refresh,
            issued: issued.at,
            access_expires: issued.access_expires,
            refresh_expires: issued.refresh_expires,
            expires_in: issued.access_expires.since(now),
            account: issued.account,
        }
    }
}

impl TokenService {
    /// Redeems a code, once. Whoever redeems it again, being otherwise entitled to, ends what it was redeemed for
    /// (RFC 6749 section 4.1.2): one of the two is a thief.
    ///
    /// # Errors
    /// `ClientNotAllowed`, `CodeInvalid`; `Locked`, `StoreUnavailable`.
    pub async fn redeem_code(
        &self,
        rule: &SessionRule,
        client: &Client,
        code: &Secret,
        redirect_uri: &str,
    ) -> Result<TokenPair, Refusal> {
        let refresh_rule = rule.refresh.filter(|_| client.may(ClientRight::AuthorizationCode));
        let refresh_rule = refresh_rule.ok_or(Refusal::ClientNotAllowed)?;
        // Before the code is looked at: who does not know where the code belongs can neither burn nor revoke it.
        if !client.redirects_to(redirect_uri) {
            return Err(Refusal::CodeInvalid);
        }
        let access = mint::token(rule.format, self.entropy());
        let refresh = mint::token(rule.format, self.entropy());
        let now = self.now().wall;
        let step = RedeemStep {
            code: fingerprint(code.expose()),
            client: client.id.clone(),
            redirect_uri: redirect_uri.into(),
            sid: mint::uuid(self.entropy()).into(),
            rule: *rule,
            refresh_idle: refresh_rule.idle,
            access: access.fingerprint,
            refresh: refresh.fingerprint,
            now,
        };
        match self.store.redeem(step).await? {
            Redemption::Issued(issued) => Ok(TokenPair::of(access.text, refresh.text, &issued, now)),
            Redemption::Invalid => Err(Refusal::CodeInvalid),
            Redemption::Reused(sid) => {
                self.cut(Reach::Session(sid)).await;
                Err(Refusal::CodeInvalid)
            }
            Redemption::Locked(until) => Err(self.locked_until(until, now).into()),
        }
    }

    /// Exchanges a refresh token for a new pair. The session's older access tokens end within the rule's
    /// `superseded_access`. A token that was used before gets the same pair again within the rule's grace; after it, its
    /// whole family ends (RFC 9700 section 4.14.2).
    ///
    /// # Errors
    /// `ClientNotAllowed`, `RefreshInvalid`; `StoreUnavailable`.
    pub async fn refresh(&self, rule: &SessionRule, client: &Client, token: &Secret) -> Result<TokenPair, Refusal> {
        if !client.may(ClientRight::RefreshToken) {
            return Err(Refusal::ClientNotAllowed);
        }
        let successors = Successors {
            access: mint::token(rule.format, self.entropy()),
            refresh: mint::token(rule.format, self.entropy()),
            at: self.now().wall,
        };
        self.rotate(rule, &client.id, token, successors).await
    }

    /// The tokens that follow those of a session.
    pub(in crate::tokens) async fn successors(
        &self,
        rule: &SessionRule,
        of: &Descent,
        now: Timestamp,
    ) -> Result<Successors, Denial> {
        let access = match rule.access {
            AccessForm::Opaque => mint::token(rule.format, self.entropy()),
            AccessForm::Signed => Minted::of(
                self.sign(&Statement {
                    account: of.account,
                    sid: &of.sid,
                    acr: &of.acr,
                    amr: &of.amr,
                    auth_time: of.auth_time,
                    issued: now,
                    expires: now.after(rule.access_ttl).min(of.end),
                })
                .await?,
            ),
        };
        Ok(Successors { access, refresh: mint::token(rule.format, self.entropy()), at: now })
    }

    pub(in crate::tokens) async fn rotate(
        &self,
        rule: &SessionRule,
        client: &str,
        token: &Secret,
        Successors { access, refresh, at: now }: Successors,
    ) -> Result<TokenPair, Refusal> {
        let refresh_rule = rule.refresh.ok_or(Refusal::RefreshInvalid)?;
        let graceful = !refresh_rule.grace.is_zero();
        let pair = Secret::new(format!("{} {}", access.text.expose(), refresh.text.expose()));
        let step = RotateStep {
            used: fingerprint(token.expose()),
            client: client.into(),
            api: rule.api,
            rule: refresh_rule,
            access_ttl: rule.access_ttl,
            access: access.fingerprint,
            refresh: refresh.fingerprint,
            sealed: if graceful { seal(token, pair.expose(), self.entropy()) } else { None },
            now,
        };
        match self.store.rotate(step).await? {
            Rotation::Rotated(issued, sid) => {
                // What the gateway remembers of the older access tokens has too late an end now.
                self.cut(Reach::Session(sid)).await;
                Ok(TokenPair::of(access.text, refresh.text, &issued, now))
            }
            Rotation::Repeated(issued, sealed) => {
                let pair = unseal(token, &sealed).ok_or(Refusal::RefreshInvalid)?;
                let (access, refresh) = pair.expose().split_once(' ').ok_or(Refusal::RefreshInvalid)?;
                let (access, refresh) = (Secret::new(access.to_owned()), Secret::new(refresh.to_owned()));
                Ok(TokenPair::of(access, refresh, &issued, now))
            }
            Rotation::Invalid => Err(Refusal::RefreshInvalid),
            Rotation::Reused(sid) => {
                self.cut(Reach::Session(sid)).await;
                Err(Refusal::RefreshInvalid)
            }
        }
    }

    /// Revokes a token of this client (RFC 7009): an access token alone, a refresh token with its grant and all access
    /// tokens of it. A token that is unknown, or another client's, is left alone without a word. One that was revoked before
    /// is cut once more: the client may ask again because the answer to the first time was lost, and with it the cut.
    ///
    /// # Errors
    /// `StoreUnavailable`: the client must try again (RFC 7009 section 2.2.1); the token may have been revoked.
    pub async fn revoke(&self, client: &Client, token: &Secret) -> Result<(), Refusal> {
        let token = fingerprint(token.expose());
        match self.store.revoke(token, &client.id, self.now().wall).await? {
            // Whatever is remembered of a token has a row as long as it is good, and an hour beyond its grant's end. Where there
            // is none, there is nothing to cut; and a cut for each token that somebody makes up would fill the table of cuts.
            // What is cut below, and told to others, a client could cut and tell as often by rotating it.
            Revocation::Nothing => {}
            Revocation::Token => self.cut(Reach::Token(token)).await,
            Revocation::Grant(sid) => self.cut(Reach::Session(sid)).await,
        }
        Ok(())
    }
}
