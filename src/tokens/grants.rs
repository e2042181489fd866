//! Grants: a code becomes tokens, tokens become their successors, and all of it ends.

use std::time::Duration;

use crate::model::{Denial, Secret};
use crate::store::cuts::Reach;
use crate::tokens::account::AccountId;
use crate::tokens::client::{Client, ClientRight};
use crate::tokens::keyring::{fingerprint, seal, unseal};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::SessionRule;
use crate::tokens::store::{Issued, RedeemStep, Redemption, Revocation, RotateStep, Rotation};
use crate::tokens::{TokenService, mint};

/// A pair of tokens.
#[derive(Clone, Debug)]
pub struct TokenPair {
    /// The access token.
    pub access: Secret,
    /// The refresh token.
    pub refresh: Secret,
    /// For how long the access token is good.
    pub expires_in: Duration,
    /// Whose they are.
    pub account: AccountId,
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
            Redemption::Issued(Issued { account, access_expires }) => {
                Ok(TokenPair { access: access.text, refresh: refresh.text, expires_in: access_expires.since(now), account })
            }
            Redemption::Invalid => Err(Refusal::CodeInvalid),
            Redemption::Reused(sid) => {
                self.cut(Reach::Session(sid));
                Err(Refusal::CodeInvalid)
            }
            Redemption::Locked(until) => Err(Denial::Locked(until.since(now)).into()),
        }
    }

    /// Exchanges a refresh token for a new pair. The session's older access tokens end within the rule's
    /// `superseded_access`. A token that was used before gets the same pair again within the rule's grace; after it, its
    /// whole family ends (RFC 9700 section 4.14.2).
    ///
    /// # Errors
    /// `ClientNotAllowed`, `RefreshInvalid`; `StoreUnavailable`.
    pub async fn refresh(&self, rule: &SessionRule, client: &Client, token: &Secret) -> Result<TokenPair, Refusal> {
        let refresh_rule = rule.refresh.filter(|_| client.may(ClientRight::RefreshToken));
        let refresh_rule = refresh_rule.ok_or(Refusal::ClientNotAllowed)?;
        let access = mint::token(rule.format, self.entropy());
        let refresh = mint::token(rule.format, self.entropy());
        let now = self.now().wall;
        let graceful = !refresh_rule.grace.is_zero();
        let pair = format!("{} {}", access.text.expose(), refresh.text.expose());
        let step = RotateStep {
            used: fingerprint(token.expose()),
            client: client.id.clone(),
            rule: refresh_rule,
            access_ttl: rule.access_ttl,
            access: access.fingerprint,
            refresh: refresh.fingerprint,
            sealed: if graceful { seal(token, &pair, self.entropy()) } else { None },
            now,
        };
        match self.store.rotate(step).await? {
            Rotation::Rotated(Issued { account, access_expires }, sid) => {
                // What the gateway remembers of the older access tokens has too late an end now.
                self.cut(Reach::Session(sid));
                Ok(TokenPair { access: access.text, refresh: refresh.text, expires_in: access_expires.since(now), account })
            }
            Rotation::Repeated(Issued { account, access_expires }, sealed) => {
                let pair = unseal(token, &sealed).ok_or(Refusal::RefreshInvalid)?;
                let (access, refresh) = pair.expose().split_once(' ').ok_or(Refusal::RefreshInvalid)?;
                let (access, refresh) = (Secret::new(access.to_owned()), Secret::new(refresh.to_owned()));
                Ok(TokenPair { access, refresh, expires_in: access_expires.since(now), account })
            }
            Rotation::Invalid => Err(Refusal::RefreshInvalid),
            Rotation::Reused(sid) => {
                self.cut(Reach::Session(sid));
                Err(Refusal::RefreshInvalid)
            }
        }
    }

    /// Revokes a token of this client (RFC 7009): an access token alone, a refresh token with its grant and all access
    /// tokens of it. A token that is unknown, or another client's, is left alone without a word.
    ///
    /// # Errors
    /// `StoreUnavailable`: nothing is revoked and the client must try again (RFC 7009 section 2.2.1).
    pub async fn revoke(&self, client: &Client, token: &Secret) -> Result<(), Refusal> {
        let token = fingerprint(token.expose());
        match self.store.revoke(token, &client.id, self.now().wall).await? {
            Revocation::Nothing => {}
            Revocation::Token => self.cut(Reach::Token(token)),
            Revocation::Grant(sid) => self.cut(Reach::Session(sid)),
        }
        Ok(())
    }
}
