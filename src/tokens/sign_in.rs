//! Signing in: the password and what else an API asks for, checked as one.
//!
//! Whatever is wrong, the way through here is the same: one look-up, one reservation, one hash, one conditional write, one
//! failure counted. Neither the answer nor its time tells which part it was (RTS (EU) 2018/389 Art. 4(3)(a)).

use crate::model::{Secret, Source, Timestamp};
use crate::rules::lockout::Ending;
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountId;
use crate::tokens::client::{Client, ClientRight};
use crate::tokens::guard::{Attempt, Held, Subject};
use crate::tokens::identifier::{Identifier, PhoneNumber};
use crate::tokens::passwords::Verdict;
use crate::tokens::refusal::Refusal;
use crate::tokens::session::{Authentication, CodeRule};
use crate::tokens::store::{ChallengeKind, Charge, Enrolled, Operation, PasswordReplacement, SignInStep, StoreFault};
use crate::tokens::verification::proof_fingerprint;
use crate::tokens::{TokenService, mint};

/// A sign-in by phone number, password and the token of a verified phone number.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// The client, authenticated.
    pub client: &'a Client,
    /// Who.
    pub phone: &'a PhoneNumber,
    /// The password.
    pub password: &'a Secret,
    /// The verification token.
    pub proof: &'a Secret,
    /// From where.
    pub source: Source,
}

/// A code that was issued.
#[derive(Clone, Debug)]
pub struct IssuedCode {
    /// Its text.
    pub code: Secret,
    /// Until when it can be redeemed.
    pub expires: Timestamp,
    /// Whose it is.
    pub account: AccountId,
}

/// A sign-in whose password has been looked at.
pub(in crate::tokens) struct Tried {
    pub(in crate::tokens) attempt: Attempt,
    /// The account, if the password is its own.
    pub(in crate::tokens) proven: Option<Enrolled>,
    pub(in crate::tokens) verdict: Verdict,
}

impl TokenService {
    /// Signs an account in and issues a code to the client. The verification token is consumed with the success and only
    /// then: who mistypes the password need not ask for another message, and the lock bounds the tries.
    ///
    /// # Errors
    /// `ClientNotAllowed`, `ProofWrong`; `Locked`, `LimitReached`, `Overloaded`, `StoreUnavailable`.
    pub async fn sign_in(&self, rule: &CodeRule, request: SignIn<'_>) -> Result<IssuedCode, Refusal> {
        if !request.client.may(ClientRight::AuthorizationCode) {
            return Err(Refusal::ClientNotAllowed);
        }
        let identifier = Identifier::Phone(request.phone);
        let account = self.store.enrolled(identifier).await?;
        let subject = self.subject(account.as_ref(), identifier);
        let of_source = rule.per_source.map(|rule| self.of_source(Operation::OAuthSignInFrom, rule, request.source));
        let charges: Vec<_> = of_source.into_iter().chain(self.failures_of(request.source)).collect();
        let tried = self.try_password_of(subject, account, request.password, &charges).await?;
        let code = mint::token(rule.format, self.entropy());
        let now = self.now();
        let expires = now.wall.after(rule.ttl);
        let account = tried.proven.as_ref().map(|account| account.id);
        let step = SignInStep {
            account,
            kind: ChallengeKind::Phone,
            destination: self.keyring.destination(identifier),
            // What is no UUID is the fingerprint of nothing, and takes the same way to its refusal.
            proof: proof_fingerprint(request.proof.expose()).unwrap_or(Fingerprint([0; 32])),
            client: request.client.id.clone(),
            code: code.fingerprint,
            code_expires: expires,
            authentication: Authentication::second_factor(now.wall),
            now: now.wall,
        };
        let done = self.store.sign_in(step).await?;
        let Some(account) = account.filter(|_| done) else {
            self.settle(tried.attempt, Ending::Failed).await?;
            return Err(Refusal::ProofWrong);
        };
        self.succeed(tried.attempt).await;
        self.renew_hash(tried.proven, tried.verdict, request.password).await;
        Ok(IssuedCode { code: code.text, expires, account })
    }

    /// Reserves an attempt, counts it in the windows, and checks the password of an account that has been looked up. If this
    /// fails, the reservation is given back.
    pub(in crate::tokens) async fn try_password_of(
        &self,
        subject: Subject,
        account: Option<Enrolled>,
        password: &Secret,
        charges: &[Charge],
    ) -> Result<Tried, Held> {
        let attempt = self.begin(subject, charges).await?;
        let kept = account.as_ref().and_then(|account| account.password.clone());
        let verdict = match self.passwords.check(kept, password).await {
            Ok(verdict) => verdict,
            Err(denial) => {
                self.conclude(attempt, Ending::Abandoned).await;
                return Err(Held::Denied(denial));
            }
        };
        let proven = match verdict {
            Verdict::Wrong => None,
            Verdict::Right | Verdict::RightButOutdated => account,
        };
        Ok(Tried { attempt, proven, verdict })
    }

    /// Settles an attempt that succeeded. What it was for is done; that failures before it go on counting does not undo that.
    pub(in crate::tokens) async fn succeed(&self, attempt: Attempt) {
        self.conclude(attempt, Ending::Succeeded).await;
    }

    /// Settles an attempt that has not failed.
    pub(in crate::tokens) async fn conclude(&self, attempt: Attempt, ending: Ending) {
        if let Err(fault) = self.settle(attempt, ending).await {
            tracing::warn!(%fault, "the end of an attempt was not written down; it counts as in flight until its lease is over");
        }
    }

    /// Settles an attempt, before anybody hears the outcome.
    pub(in crate::tokens) async fn settle(&self, attempt: Attempt, ending: Ending) -> Result<(), StoreFault> {
        self.note(ending);
        attempt.settle(ending, self.now().wall).await
    }

    /// Brings the hash of a right password to today's cost. If it cannot be done now, it will be at the next sign-in.
    pub(in crate::tokens) async fn renew_hash(&self, account: Option<Enrolled>, verdict: Verdict, password: &Secret) {
        let Some(Enrolled { id, password: Some(old), .. }) = account else { return };
        if verdict != Verdict::RightButOutdated {
            return;
        }
        if let Ok(new) = self.passwords.hash(password, self.entropy()).await
            && let Err(fault) = self.store.replace_password(PasswordReplacement { account: id, old, new }).await
        {
            tracing::warn!(%fault, "an outdated password hash was kept");
        }
    }
}
