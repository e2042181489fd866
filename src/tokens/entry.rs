//! Entering by e-mail address and password: a session at once, or after a code that is sent to that address.
//!
//! The lock on failures speaks first, then the limit on tries; both know an address that is nobody's as well as any other.

use std::time::Duration;

use crate::model::{Denial, Secret, Source, Timestamp};
use crate::rules::lockout::Ending;
use crate::rules::window::WindowRule;
use crate::store::cuts::{Fingerprint, Reach};
use crate::tokens::account::{AccountId, AccountStatus};
use crate::tokens::grants::{Successors, TokenPair};
use crate::tokens::guard::Subject;
use crate::tokens::identifier::{EmailAddress, Identifier};
use crate::tokens::keyring::fingerprint;
use crate::tokens::notifier::{Content, Message};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{Api, Authentication, EntryRule};
use crate::tokens::store::{
    ChallengeId, ChallengeKind, ChallengeRow, Charge, Confirmation, Descent, IfOpen, NO_CLIENT, OpenStep, Opening, Operation,
    SignOut,
};
use crate::tokens::verification::proof_fingerprint;
use crate::tokens::{TokenService, mint};

/// Somebody at the door.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Who they say they are.
    pub email: &'a EmailAddress,
    /// The password.
    pub password: &'a Secret,
    /// Where they come from.
    pub source: Source,
}

/// What became of a right password.
#[derive(Clone, Debug)]
pub enum Entered {
    /// A session is open.
    Open(TokenPair),
    /// A code was sent; it and this token open one.
    SecondFactor(SecondFactor),
}

/// A second factor that is asked for.
#[derive(Clone, Debug)]
pub struct SecondFactor {
    /// What the code is to be answered with.
    pub token: Secret,
    /// Until when.
    pub expires: Timestamp,
}

impl TokenService {
    /// Checks a password, and opens a session or asks for the second factor that the account has.
    ///
    /// # Errors
    /// `ProofWrong`; `Locked`, `LimitReached`, `Overloaded`, `StoreUnavailable`, `Internal`.
    pub async fn enter(&self, rule: &EntryRule, entry: Entry<'_>) -> Result<Entered, Refusal> {
        let identifier = Identifier::Email(entry.email);
        let account = self.store.enrolled(identifier).await?;
        let subject = self.subject(account.as_ref(), identifier);
        let own = self.of_subject_from(Operation::SignIn, rule.sign_ins, subject, entry.source);
        let of_source = rule.per_source.map(|rule| self.of_source(Operation::BackOfficeSignInFrom, rule, entry.source));
        let charges: Vec<_> = [own].into_iter().chain(of_source).chain(self.failures_of(entry.source)).collect();
        let tried = self.try_password_of(subject, account, entry.password, &charges).await?;
        let entered = match tried.proven.as_ref().filter(|account| account.status == AccountStatus::Active) {
            Some(account) => match self.store.email_factor(account.id).await? {
                Some(address) => Some(self.ask_for_code(rule, account.id, identifier, &address).await?),
                None => self.open_at_once(rule, account.id).await?.map(Entered::Open),
            },
            None => None,
        };
        let Some(entered) = entered else {
            self.settle(tried.attempt, Ending::Failed).await?;
            return Err(Refusal::ProofWrong);
        };
        // With a second factor still to come nothing is shown yet that would make up for a wrong code.
        let ending = match entered {
            Entered::Open(_) => Ending::Succeeded,
            Entered::SecondFactor(_) => Ending::Abandoned,
        };
        self.conclude(tried.attempt, ending).await;
        self.renew_hash(tried.proven, tried.verdict, entry.password).await;
        Ok(entered)
    }

    /// Opens the session of a sign-in whose code is right. Of all that try it at once, one succeeds.
    ///
    /// # Errors
    /// `ProofWrong` if the token or the code is wrong, expired, used or tried too often; `Locked`, `LimitReached`,
    /// `StoreUnavailable`, `Internal`.
    pub async fn confirm(&self, rule: &EntryRule, token: &Secret, code: &Secret, source: Source) -> Result<TokenPair, Refusal> {
        let presented = proof_fingerprint(token.expose());
        let challenge = presented.map(challenge_of);
        let account = match challenge {
            Some(challenge) => self.store.challenged(challenge, ChallengeKind::SignIn).await?,
            None => None,
        };
        let subject = self.bearer_of(account, token);
        let charges = self.of_secret(Operation::Confirm, rule.confirmations, rule, subject, source);
        self.heed(subject, &charges).await?;
        let now = self.now();
        let (Some(challenge), Some(account)) = (challenge, account) else { return Err(Refusal::ProofWrong) };
        let authentication = Authentication::second_factor(now.wall);
        let (pair, step) = self.first_tokens(rule, account, authentication).await?;
        let if_wrong = self.lock_terms(subject);
        let answer = Confirmation { if_wrong, challenge, code: self.keyring.one_time_code(challenge, code.expose()) };
        if self.store.confirm_entry(answer, step).await? { Ok(pair) } else { Err(Refusal::ProofWrong) }
    }

    /// Exchanges a refresh token that belongs to no client for a new pair, as [`TokenService::refresh`] does one that does.
    ///
    /// # Errors
    /// `RefreshInvalid`; `LimitReached`, `StoreUnavailable`, `Internal`.
    pub async fn refresh_own(&self, rule: &EntryRule, token: &Secret, source: Source) -> Result<TokenPair, Refusal> {
        let descent = self.store.descent(fingerprint(token.expose()), rule.session.api).await?;
        let subject = self.bearer_of(descent.as_ref().map(|descent| descent.account), token);
        self.charge(&self.of_secret(Operation::Refresh, rule.refreshes, rule, subject, source)).await?;
        let now = self.now();
        let descent = descent.ok_or(Refusal::RefreshInvalid)?;
        let successors = self.successors(&rule.session, &descent, now.wall).await?;
        self.rotate(&rule.session, NO_CLIENT, token, successors).await
    }

    /// Ends a session of this API, and with it every token that it has. False if it had ended already: it is cut all the same,
    /// since whoever comes with a token of it was let in, so this gateway has not heard of its end.
    ///
    /// # Errors
    /// `StoreUnavailable`: the caller must try again; the session may have ended.
    pub async fn sign_out(&self, api: Api, sid: &str) -> Result<bool, Denial> {
        let out = self.store.end_own_session(sid, api, self.now().wall).await?;
        match out {
            SignOut::Ended | SignOut::EndedBefore => self.cut(Reach::Session(sid.into())).await,
            // One of another API goes on. One whose time is over, or of which nothing is kept any more, is remembered by nobody.
            SignOut::NoSession => {}
        }
        Ok(out == SignOut::Ended)
    }

    async fn ask_for_code(
        &self,
        rule: &EntryRule,
        account: AccountId,
        identifier: Identifier<'_>,
        address: &str,
    ) -> Result<Entered, Refusal> {
        let (factor, code) = (rule.second_factor, self.one_time_code());
        let token = mint::token(factor.format, self.entropy());
        let id = challenge_of(token.fingerprint);
        let now = self.now().wall;
        let expires = now.after(factor.ttl);
        let challenge = ChallengeRow {
            id,
            kind: ChallengeKind::SignIn,
            destination: self.keyring.destination(identifier),
            account: Some(account),
            asked: None,
            code: self.keyring.one_time_code(id, code.expose()),
            max_tries: factor.tries,
            now,
            expires,
            resend_interval: factor.resend_interval,
            budget: factor.budget,
            budget_window: factor.budget_window,
            if_open: IfOpen::Join,
            remembered_for: Duration::ZERO,
        };
        if let Opening::TooSoon(wait) | Opening::Exhausted(wait) = self.store.open_challenge(challenge).await? {
            return Err(Denial::LimitReached(wait).into());
        }
        // The address as it is enrolled, not as it was typed: the two may differ where only the enrolled one is known to work.
        if let Ok(to) = EmailAddress::parse(address) {
            let content = Content::Email { to, code };
            self.surroundings.notifier.send(Message { id: id.to_number().into(), account, expires, content });
        }
        Ok(Entered::SecondFactor(SecondFactor { token: token.text, expires }))
    }

    async fn open_at_once(&self, rule: &EntryRule, account: AccountId) -> Result<Option<TokenPair>, Refusal> {
        let (pair, step) = self.first_tokens(rule, account, Authentication::password(self.now().wall)).await?;
        Ok(self.store.open_entry(step).await?.then_some(pair))
    }

    /// The first tokens of a session that is not open yet, and the step that opens it.
    async fn first_tokens(
        &self,
        rule: &EntryRule,
        account: AccountId,
        authentication: Authentication,
    ) -> Result<(TokenPair, OpenStep), Denial> {
        let sid: Box<str> = mint::uuid(self.entropy()).into();
        let (session, now) = (rule.session, authentication.at);
        let refresh_idle = session.refresh.map_or(Duration::ZERO, |refresh| refresh.idle);
        let descent = Descent {
            account,
            sid: sid.clone(),
            acr: authentication.context.into(),
            amr: authentication.methods.into(),
            auth_time: authentication.at,
            end: now.after(session.absolute),
        };
        let Successors { access, refresh, at: _ } = self.successors(&session, &descent, now).await?;
        let pair = TokenPair {
            access: access.text,
            refresh: refresh.text,
            issued: now,
            access_expires: now.after(session.access_ttl).min(descent.end),
            refresh_expires: now.after(refresh_idle).min(descent.end),
            expires_in: session.access_ttl.min(session.absolute),
            account,
        };
        let step = OpenStep {
            account,
            sid,
            rule: session,
            authentication,
            access: access.fingerprint,
            refresh: refresh.fingerprint,
            refresh_idle,
            now,
        };
        Ok((pair, step))
    }

    /// The windows of whoever presents a secret. One that leads to nobody costs a source as much as a sign-in does: it costs no hash,
    /// but what is counted has to be written down.
    fn of_secret(
        &self,
        operation: Operation,
        window: WindowRule,
        rule: &EntryRule,
        subject: Subject,
        source: Source,
    ) -> Vec<Charge> {
        let own = self.of_subject_from(operation, window, subject, source);
        let unknown = rule.per_source.filter(|_| subject.account.is_none());
        [own].into_iter().chain(unknown.map(|rule| self.of_source(Operation::UnknownFrom, rule, source))).collect()
    }

    /// Who presents a secret: the account that it leads to, or whoever made it up.
    fn bearer_of(&self, account: Option<AccountId>, secret: &Secret) -> Subject {
        let key = match account {
            Some(account) => self.keyring.attempts_of_account(account),
            None => self.keyring.attempts_with(fingerprint(secret.expose())),
        };
        Subject { key, account }
    }
}

/// A challenge that is found by a token is named after it, so that the token itself is kept nowhere.
fn challenge_of(token: Fingerprint) -> ChallengeId {
    let [name @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = token.0;
    ChallengeId(name)
}
