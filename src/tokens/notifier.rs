//! Who carries one-time codes and questions to people.
//!
//! Imports `model`, `plan` (kinds of messages) and the identifiers. Deliberately absent: any carrier for real; those are
//! `notify`'s.

use std::fmt;

use crate::model::{Secret, Timestamp};
use crate::plan::MessageKind;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identifier::{EmailAddress, PhoneNumber};

/// A message to a person. A challenge has one, so both have the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The challenge's number in decimal digits. It comes back with the answer to a question.
    pub id: Box<str>,
    /// Whose challenge it is.
    pub account: AccountId,
    /// Until when it can be answered. Later it is of no use to anybody.
    pub expires: Timestamp,
    /// What is to be said, and to whom.
    pub content: Content,
}

/// What is to be said, and to whom.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A code in a text message.
    Sms {
        /// The phone.
        to: PhoneNumber,
        /// Six digits.
        code: Secret,
        /// In which language, a BCP 47 tag.
        language: Box<str>,
    },
    /// A code in a mail.
    Email {
        /// The address.
        to: EmailAddress,
        /// Six digits.
        code: Secret,
    },
    /// A question on a device. What is answered comes back by itself.
    Push {
        /// On which of the account's devices.
        channel: Channel,
    },
}

impl Content {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Sms { .. } => MessageKind::Sms,
            Self::Email { .. } => MessageKind::Email,
            Self::Push { .. } => MessageKind::Push,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().word())
    }
}

/// Carries messages.
pub trait Notifier: Send + Sync + fmt::Debug {
    /// Takes a message over. Does not wait, for a carrier or for room, and does not say what becomes of it: an answer that
    /// depended on either would tell whether there was anything to send, and so whether an account exists.
    fn send(&self, message: Message);

    /// The code that is always used, because nothing is ever sent. Refused outside the sandbox.
    fn fixed_code(&self) -> Option<&'static str> {
        None
    }
}

/// The sandbox: nothing is sent, and every code is 123456.
#[derive(Clone, Copy, Debug, Default)]
pub struct SandboxNotifier;

impl Notifier for SandboxNotifier {
    fn send(&self, _: Message) {}

    fn fixed_code(&self) -> Option<&'static str> {
        Some("123456")
    }
}

/// For a service that answers to nobody, as the commands that change accounts open one: it sends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNotifier;

impl Notifier for NoNotifier {
    fn send(&self, _: Message) {}
}
