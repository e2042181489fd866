//! Asking on a device: the question goes out through a carrier, and the carrier tells what was answered, signed.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::{Secret, Timestamp};
use crate::plan::ChallengeLimits;
use crate::store::cuts::Reach;
use crate::tokens::TokenService;
use crate::tokens::factor::Means;
use crate::tokens::holder::Holder;
use crate::tokens::notifier::{Content, Message};
use crate::tokens::refusal::{Conflict, Refusal};
use crate::tokens::session::Authentication;
use crate::tokens::step_up::{Asked, Question};
use crate::tokens::store::{Approval, ChallengeId, ChallengeRow, IfOpen, PushAnswer, PushVerdict};

/// A key that is shared with a carrier: one signs with it, the other checks. `Debug` prints nothing of it.
pub struct CarrierKey(hmac::Key);

impl std::fmt::Debug for CarrierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CarrierKey(…)")
    }
}

/// How far a carrier's clock may be from ours, and so how long a signature is good. A challenge is answered once, so that
/// sending a signed answer again within this time does nothing.
const SIGNED_FOR: Duration = Duration::from_mins(5);

impl CarrierKey {
    /// From the secret shared with the carrier.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    /// Whether `signature` is the HMAC-SHA256, in base64, of the time in milliseconds, a full stop and the body; and the time
    /// is about now. Compared in constant time.
    #[must_use]
    pub fn signed(&self, published: &str, body: &[u8], signature: &str, now: Timestamp) -> bool {
        let Ok(at) = published.parse().map(Timestamp::from_millis) else { return false };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let apart = now.since(at).max(at.since(now));
        let message = [published.as_bytes(), b".", body].concat();
        apart <= SIGNED_FOR && hmac::verify(&self.0, &message, &signature).is_ok()
    }

    /// The signature of a body that is published at this time.
    #[must_use]
    pub fn sign(&self, published: Timestamp, body: &[u8]) -> String {
        let message = [published.as_millis().to_string().as_bytes(), b".", body].concat();
        STANDARD.encode(hmac::sign(&self.0, &message))
    }
}

impl ChallengeId {
    /// Its name as a number, for APIs whose ids are numbers.
    #[must_use]
    pub fn to_number(self) -> String {
        u128::from_be_bytes(self.0).to_string()
    }

    /// From the number that [`to_number`](Self::to_number) gives, and no other spelling of it.
    #[must_use]
    pub fn from_number(text: &str) -> Option<Self> {
        let id = text.parse::<u128>().ok().map(|number| Self(number.to_be_bytes()))?;
        (id.to_number() == text).then_some(id)
    }
}

impl TokenService {
    /// Whether a carrier has signed this, about now.
    #[must_use]
    pub fn is_signed(&self, key: &CarrierKey, published: &str, body: &[u8], signature: &str) -> bool {
        key.signed(published, body, signature, self.now().wall)
    }

    /// Asks on a device, unless this was asked before under the same reference. Not while another question is open for the
    /// same token and channel.
    ///
    /// # Errors
    /// `Conflict`; `StoreUnavailable`.
    pub async fn begin_push(
        &self,
        limits: &ChallengeLimits,
        holder: &Holder,
        question: Question<'_>,
    ) -> Result<ChallengeId, Refusal> {
        let (channel, _) = self.channel(holder, question.channel, Means::Push, question.purpose).await?;
        let kind = question.purpose.kind(Means::Push);
        let id = self.challenge_id(holder, kind, channel, question.reference);
        let challenge = self.challenge(id, limits, holder, channel);
        let expires = challenge.expires;
        // One at a time is interval enough.
        let (resend_interval, remembered_for) = (Duration::ZERO, question.remembered_for());
        let challenge = ChallengeRow { kind, if_open: IfOpen::Keep, resend_interval, remembered_for, ..challenge };
        if self.open_challenge(challenge).await? == Asked::Now {
            let content = Content::Push { channel };
            self.surroundings.notifier.send(Message { id: id.to_number().into(), account: holder.account, expires, content });
        }
        Ok(id)
    }

    /// Takes what a device answered. Who tells it must have been authenticated.
    ///
    /// # Errors
    /// `Conflict` if nothing waits for it; `StoreUnavailable`.
    pub async fn answer_push(&self, challenge: ChallengeId, approval: Approval) -> Result<(), Refusal> {
        let now = self.now().wall;
        let answer = PushAnswer { challenge, approval, authentication: Authentication::approval(now), now };
        match self.store.answer_push(answer).await? {
            PushVerdict::Taken(token) => {
                self.cut(Reach::Token(token)).await;
                Ok(())
            }
            PushVerdict::Closed => Err(Conflict::State.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_773_135_165);

    #[test]
    fn a_signature_is_good_for_its_body_its_time_and_its_key_only() {
        let key = CarrierKey::new(&Secret::new("shared".into()));
        let signature = key.sign(NOW, b"{}");
        let published = NOW.as_millis().to_string();
        assert!(key.signed(&published, b"{}", &signature, NOW));
        assert!(key.signed(&published, b"{}", &signature, NOW.after(SIGNED_FOR)));
        assert!(key.signed(&published, b"{}", &signature, NOW.before(SIGNED_FOR)));
        let late = NOW.after(SIGNED_FOR + Duration::from_millis(1));
        assert!(!key.signed(&published, b"{}", &signature, late));
        assert!(!key.signed(&published, b"{ }", &signature, NOW));
        assert!(!key.signed(&(NOW.as_millis() + 1).to_string(), b"{}", &signature, NOW));
        assert!(!key.signed("soon", b"{}", &signature, NOW));
        assert!(!key.signed(&published, b"{}", "", NOW));
        assert!(!CarrierKey::new(&Secret::new("other".into())).signed(&published, b"{}", &signature, NOW));
    }

    #[test]
    fn a_challenge_has_one_number() {
        let id = ChallengeId([7; 16]);
        assert_eq!(ChallengeId::from_number(&id.to_number()), Some(id));
        assert!(id.to_number().bytes().all(|b| b.is_ascii_digit()));
        for bad in ["", "+1", "01", "-1", "x", "340282366920938463463374607431768211456"] {
            assert_eq!(ChallengeId::from_number(bad), None, "{bad}");
        }
    }
}
