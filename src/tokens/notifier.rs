//! Who carries one-time codes to people.
//!
//! Imports `model` and the identifiers. Deliberately absent: any carrier for real; SMS, mail and push come as adapters.

use std::fmt;

use async_trait::async_trait;

use crate::model::Secret;
use crate::tokens::account::AccountId;
use crate::tokens::factor::Channel;
use crate::tokens::identifier::{EmailAddress, PhoneNumber};

/// A message was not sent; the log line says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message was not sent")]
pub struct NotSent;

/// A question to be shown on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Push {
    /// The challenge's number, which comes back with the answer.
    pub id: Box<str>,
    /// On which of the account's devices.
    pub channel: Channel,
    /// Whose device it is.
    pub account: AccountId,
}

/// Carries one-time codes and questions.
#[async_trait]
pub trait Notifier: Send + Sync + fmt::Debug {
    /// Sends a code. `language` is a BCP 47 tag.
    ///
    /// # Errors
    /// [`NotSent`].
    async fn send(&self, to: &PhoneNumber, code: &Secret, language: &str) -> Result<(), NotSent>;

    /// Sends a code to an e-mail address. A notifier that says nothing of it carries no e-mail.
    ///
    /// # Errors
    /// [`NotSent`].
    async fn send_by_email(&self, _to: &EmailAddress, _code: &Secret) -> Result<(), NotSent> {
        Err(NotSent)
    }

    /// Shows a question on a device. What is answered comes back by itself.
    ///
    /// # Errors
    /// [`NotSent`].
    async fn push(&self, _question: &Push) -> Result<(), NotSent> {
        Err(NotSent)
    }

    /// The code that is always used, because nothing is ever sent. Refused outside the sandbox.
    fn fixed_code(&self) -> Option<&'static str> {
        None
    }
}

/// The sandbox: nothing is sent, and every code is 123456.
#[derive(Clone, Copy, Debug, Default)]
pub struct SandboxNotifier;

#[async_trait]
impl Notifier for SandboxNotifier {
    async fn send(&self, _: &PhoneNumber, _: &Secret, _: &str) -> Result<(), NotSent> {
        Ok(())
    }

    async fn send_by_email(&self, _: &EmailAddress, _: &Secret) -> Result<(), NotSent> {
        Ok(())
    }

    async fn push(&self, _: &Push) -> Result<(), NotSent> {
        Ok(())
    }

    fn fixed_code(&self) -> Option<&'static str> {
        Some("123456")
    }
}

/// No carrier is configured: codes are made and never arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNotifier;

#[async_trait]
impl Notifier for NoNotifier {
    async fn send(&self, _: &PhoneNumber, _: &Secret, _: &str) -> Result<(), NotSent> {
        Err(NotSent)
    }
}
