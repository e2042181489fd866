//! Proving a phone number: a one-time code is sent, and exchanged for a token that a sign-in consumes.
//!
//! A number that belongs to nobody is treated alike in every answer, budget and lock; only the message is not sent.

use std::time::Duration;

use crate::model::{Denial, Secret, Source, Timestamp};
use crate::store::cuts::Fingerprint;
use crate::tokens::account::AccountStatus;
use crate::tokens::guard::Subject;
use crate::tokens::identifier::{Identifier, PhoneNumber};
use crate::tokens::keyring::fingerprint;
use crate::tokens::notifier::{Content, Message};
use crate::tokens::refusal::Refusal;
use crate::tokens::session::VerificationRule;
use crate::tokens::store::{Answer, ChallengeId, ChallengeKind, ChallengeRow, Enrolled, IfOpen, Opening, Operation};
use crate::tokens::{TokenService, mint};

/// A code that was sent, or seems to have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verification {
    /// Until when it can be answered.
    pub expires: Timestamp,
}

impl TokenService {
    /// Sends a one-time code to a phone number. The code before it becomes void. The answer is the same for a number that
    /// belongs to nobody.
    ///
    /// # Errors
    /// `LimitReached` within the resend interval, or beyond the budget of the number or of the source; `StoreUnavailable`.
    pub async fn request_code(
        &self,
        rule: &VerificationRule,
        phone: &PhoneNumber,
        language: &str,
        source: Source,
    ) -> Result<Verification, Refusal> {
        if let Some(rule) = rule.per_source {
            self.charge(&[self.of_source(Operation::CodeFrom, rule, source)]).await?;
        }
        let identifier = Identifier::Phone(phone);
        let account = self.store.enrolled(identifier).await?;
        let code = self.one_time_code();
        let id = ChallengeId(mint::bytes(self.entropy()));
        let now = self.now().wall;
        let challenge = ChallengeRow {
            id,
            kind: ChallengeKind::Phone,
            destination: self.keyring.destination(identifier),
            account: account.as_ref().map(|account| account.id),
            asked: None,
            code: self.keyring.one_time_code(id, code.expose()),
            max_tries: rule.tries,
            now,
            expires: now.after(rule.ttl),
            resend_interval: rule.resend_interval,
            budget: rule.budget,
            budget_window: rule.budget_window,
            if_open: IfOpen::Replace,
            remembered_for: Duration::ZERO,
        };
        let expires = challenge.expires;
        match self.store.open_challenge(challenge).await? {
            Opening::TooSoon(wait) | Opening::Exhausted(wait) => Err(Denial::LimitReached(wait).into()),
            // Void is what this kind of challenge makes of one that is open, and its name is random.
            Opening::Opened | Opening::AlreadyOpen | Opening::Repeated => {
                if let Some(account) = account.filter(|account| account.status == AccountStatus::Active) {
                    let content = Content::Sms { to: phone.clone(), code, language: language.into() };
                    self.surroundings.notifier.send(Message {
                        id: id.to_number().into(),
                        account: account.id,
                        expires,
                        content,
                    });
                }
                Ok(Verification { expires })
            }
        }
    }

    /// Exchanges a one-time code for a token that proves the phone number once, for a sign-in. The first wrong code of a challenge
    /// counts as a failed sign-in; a right one forgets no failure, since it shows the phone and not the password.
    ///
    /// # Errors
    /// `ProofWrong` if the code is wrong, expired, used, void or tried too often; `Locked`; `StoreUnavailable`.
    pub async fn verify_code(&self, rule: &VerificationRule, phone: &PhoneNumber, code: &Secret) -> Result<Secret, Refusal> {
        let identifier = Identifier::Phone(phone);
        let account = self.store.enrolled(identifier).await?;
        let subject = self.subject(account.as_ref(), identifier);
        self.heed(subject, &[]).await?;
        let now = self.now();
        let open = self.store.open_challenge_of(ChallengeKind::Phone, self.keyring.destination(identifier), now.wall).await?;
        let challenge = open.ok_or(Refusal::ProofWrong)?;
        let proof = mint::token(rule.format, self.entropy());
        let answer = Answer {
            if_wrong: self.lock_terms(subject),
            challenge,
            code: self.keyring.one_time_code(challenge, code.expose()),
            proof: proof.fingerprint,
            proof_expires: now.wall.after(rule.ttl),
            now: now.wall,
        };
        if self.store.answer_challenge(answer).await? { Ok(proof.text) } else { Err(Refusal::ProofWrong) }
    }

    /// Whose attempts those of this identifier are.
    pub(in crate::tokens) fn subject(&self, account: Option<&Enrolled>, identifier: Identifier<'_>) -> Subject {
        let account = account.map(|account| account.id);
        Subject { key: self.keyring.attempts_of(account, identifier), account }
    }

    pub(in crate::tokens) fn one_time_code(&self) -> Secret {
        match self.surroundings.notifier.fixed_code() {
            Some(fixed) => Secret::new(fixed.to_owned()),
            None => mint::one_time_code(self.entropy()),
        }
    }
}

/// Whether a text has the form of a one-time code.
#[must_use]
pub fn is_one_time_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text has the form of a proof: a UUID with its hyphens, in either case.
#[must_use]
pub fn is_proof(text: &str) -> bool {
    proof_fingerprint(text).is_some()
}

/// The fingerprint of a proof as it was presented. A UUID has two spellings; it is kept in lower case.
pub(in crate::tokens) fn proof_fingerprint(text: &str) -> Option<Fingerprint> {
    let uuid = uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)?;
    Some(fingerprint(&uuid.hyphenated().to_string()))
}
