//! Who carries one-time codes and questions to people.
//!
//! Imports `model`. Deliberately absent: how they are carried, which is the business of `notify`.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use lettre::message::Mailbox;

use crate::config::{MessageKind, SmtpTls};
use crate::model::{NonEmpty, Secret};

/// The carriers; at least one.
#[derive(Debug)]
pub struct Notifier {
    /// How often a message is tried; 1 to 10.
    pub attempts: u32,
    /// Signed JSON over HTTP.
    pub webhook: Option<Webhook>,
    /// E-mail; then the webhook carries none.
    pub smtp: Option<Smtp>,
}

/// A server that messages are posted to.
#[derive(Debug)]
pub struct Webhook {
    /// Where.
    pub url: Uri,
    /// The key under which messages are signed.
    pub secret: Secret,
    /// Which messages.
    pub carries: NonEmpty<MessageKind>,
    /// For one try, from its first byte to the last of the answer.
    pub deadline: Duration,
    /// The certificates to trust; `None` for the system's.
    pub ca_file: Option<PathBuf>,
}

/// A mail server.
#[derive(Debug)]
pub struct Smtp {
    /// Its name or address.
    pub server: Box<str>,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted; `None` on this machine only.
    pub tls: SmtpTls,
    /// Name and password, if it wants any.
    pub login: Option<(Box<str>, Secret)>,
    /// From whom the mail is.
    pub from: Mailbox,
    /// The mail's subject, one line.
    pub subject: Box<str>,
    /// For one try, with connecting.
    pub deadline: Duration,
    /// The certificates to trust; `None` for the system's.
    pub ca_file: Option<PathBuf>,
}
