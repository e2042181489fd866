//! Asking for a second factor on an enrolled channel: to step a token up, or to enrol the channel itself.
//!
//! A challenge belongs to the token from which it was asked for, and a right answer changes that token alone: others of the
//! session stay as they are, those it is exchanged for afterwards inherit it.

use std::time::Duration;

use crate::model::Secret;
use crate::plan::ChallengeLimits;
use crate::store::cuts::Reach;
use crate::tokens::factor::{Channel, Means};
use crate::tokens::holder::Holder;
use crate::tokens::identifier::PhoneNumber;
use crate::tokens::notifier::{Content, Message};
use crate::tokens::refusal::{Conflict, Refusal};
use crate::tokens::session::Authentication;
use crate::tokens::store::{ChallengeId, ChallengeKind, ChallengeRow, CodeAnswer, CodeVerdict, IfOpen, Opening, Reachable};
use crate::tokens::{TokenService, mint};

/// What a right answer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It steps the token up.
    StepUp,
    /// It enrols the channel.
    Enrolment,
}

/// Whether a question is a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tokens) enum Asked {
    /// It is, and has to go out.
    Now,
    /// It went out before.
    Before,
}

/// What somebody wants to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// On which channel, by its name.
    pub channel: &'a str,
    /// What for.
    pub purpose: Purpose,
    /// The caller's own name for this call; under the same one it is asked once, however often it is sent.
    pub reference: Option<&'a str>,
}

/// References are unique for a day (contract section 2).
const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// The window in which the challenges of an account are counted; it slides.
const BUDGET_WINDOW: Duration = Duration::from_mins(10);

impl TokenService {
    /// Sends a one-time code, unless this was asked before under the same reference. A code that was sent before for the same
    /// token and channel is void.
    ///
    /// # Errors
    /// `Conflict`; `StoreUnavailable`.
    pub async fn begin_code(&self, limits: &ChallengeLimits, holder: &Holder, question: Question<'_>) -> Result<(), Refusal> {
        let (channel, reachable) = self.channel(holder, question.channel, Means::Code, question.purpose).await?;
        let phone = reachable.phone.as_deref().and_then(|phone| PhoneNumber::parse(phone).ok());
        let phone = phone.ok_or(Conflict::NoPhoneNumber)?;
        let code = self.one_time_code();
        let kind = question.purpose.kind(Means::Code);
        let id = self.challenge_id(holder, kind, channel, question.reference);
        let challenge = ChallengeRow {
            kind,
            code: self.keyring.one_time_code(id, code.expose()),
            if_open: IfOpen::Replace,
            remembered_for: question.remembered_for(),
            ..self.challenge(id, limits, holder, channel)
        };
        let expires = challenge.expires;
        if self.open_challenge(challenge).await? == Asked::Now {
            let content = Content::Sms { to: phone, code, language: "en".into() };
            self.surroundings.notifier.send(Message { id: id.to_number().into(), account: holder.account, expires, content });
        }
        Ok(())
    }

    /// Answers with the code that was sent. The first wrong code of a challenge counts as a failed login; while there is a lock, no
    /// code is looked at. A right one forgets no failure: it shows less than a login does.
    ///
    /// # Errors
    /// `Conflict`; `Locked`, `StoreUnavailable`.
    pub async fn answer_code(&self, holder: &Holder, channel: &str, purpose: Purpose, code: &Secret) -> Result<(), Refusal> {
        let (channel, _) = self.channel(holder, channel, Means::Code, purpose).await?;
        let latest = self.store.latest_challenge(purpose.kind(Means::Code), holder.token, channel).await?;
        let challenge = latest.ok_or(Conflict::State)?;
        let subject = self.subject_of(holder.account);
        self.heed(subject, &[]).await?;
        let now = self.now().wall;
        let answer = CodeAnswer {
            if_wrong: self.lock_terms(subject),
            challenge,
            token: holder.token,
            code: self.keyring.one_time_code(challenge, code.expose()),
            authentication: Authentication::second_factor(now),
            now,
        };
        match self.store.answer_code(answer).await? {
            CodeVerdict::Right => {
                // What the gateway remembers of the token is weaker than it is now.
                self.cut(Reach::Token(holder.token)).await;
                Ok(())
            }
            CodeVerdict::Wrong => Err(Conflict::CodeWrong.into()),
            CodeVerdict::Expired => Err(Conflict::CodeExpired.into()),
            CodeVerdict::Void => Err(Conflict::ChallengeLimit.into()),
            CodeVerdict::Closed => Err(Conflict::State.into()),
        }
    }

    /// The channel of this name and where it leads, if it asks by these means and can be used for this.
    ///
    /// # Errors
    /// `Conflict`; `StoreUnavailable`.
    pub(in crate::tokens) async fn channel(
        &self,
        holder: &Holder,
        name: &str,
        means: Means,
        purpose: Purpose,
    ) -> Result<(Channel, Reachable), Refusal> {
        let channel = Channel::named(name).filter(|channel| channel.means() == means);
        let channel = channel.ok_or(Conflict::ChannelNotSupported)?;
        let reachable = self.store.reachable(holder.account).await?;
        match (purpose, reachable.channels.contains(&channel)) {
            (Purpose::StepUp, false) => Err(Conflict::ChannelNotRegistered.into()),
            (Purpose::Enrolment, true) => Err(Conflict::ChannelAlreadyRegistered.into()),
            (Purpose::StepUp, true) | (Purpose::Enrolment, false) => Ok((channel, reachable)),
        }
    }

    /// A challenge for a holder, which no code answers yet.
    pub(in crate::tokens) fn challenge(
        &self,
        id: ChallengeId,
        limits: &ChallengeLimits,
        holder: &Holder,
        channel: Channel,
    ) -> ChallengeRow {
        let now = self.now().wall;
        ChallengeRow {
            id,
            kind: ChallengeKind::StepUpPush,
            destination: self.keyring.channel(holder.account, channel),
            account: Some(holder.account),
            asked: Some((holder.token, channel)),
            code: self.keyring.one_time_code(id, ""),
            max_tries: limits.tries,
            now,
            expires: now.after(limits.ttl),
            resend_interval: limits.resend_interval,
            budget: limits.per_account,
            budget_window: BUDGET_WINDOW,
            if_open: IfOpen::Keep,
            remembered_for: Duration::ZERO,
        }
    }

    /// A random name for a challenge, or the one that goes with the reference.
    pub(in crate::tokens) fn challenge_id(
        &self,
        holder: &Holder,
        kind: ChallengeKind,
        channel: Channel,
        reference: Option<&str>,
    ) -> ChallengeId {
        match reference {
            Some(reference) => self.keyring.challenge(holder.token, kind, channel, reference),
            None => ChallengeId(mint::bytes(self.entropy())),
        }
    }

    pub(in crate::tokens) async fn open_challenge(&self, challenge: ChallengeRow) -> Result<Asked, Refusal> {
        match self.store.open_challenge(challenge).await? {
            Opening::Opened => Ok(Asked::Now),
            Opening::Repeated => Ok(Asked::Before),
            Opening::TooSoon(wait) => Err(Conflict::TooSoon(wait).into()),
            Opening::Exhausted(_) => Err(Conflict::ChallengeLimit.into()),
            Opening::AlreadyOpen => Err(Conflict::State.into()),
        }
    }
}

impl Question<'_> {
    /// How long its reference, if it has one, is remembered.
    pub(in crate::tokens) fn remembered_for(&self) -> Duration {
        self.reference.map_or(Duration::ZERO, |_| REMEMBERED_FOR)
    }
}

impl Purpose {
    /// The kind of a challenge for this, by these means.
    pub(in crate::tokens) fn kind(self, means: Means) -> ChallengeKind {
        match (self, means) {
            (Self::StepUp, Means::Code) => ChallengeKind::StepUpCode,
            (Self::StepUp, Means::Push) => ChallengeKind::StepUpPush,
            (Self::Enrolment, Means::Code) => ChallengeKind::EnrolCode,
            (Self::Enrolment, Means::Push) => ChallengeKind::EnrolPush,
        }
    }
}
