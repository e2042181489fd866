//! Who carries one-time codes and questions to people.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use lettre::message::Mailbox;

use crate::config::At;
use crate::config::notation::{Filled, Keys, Lasting, Placed, Whole, Word};
use crate::config::sections::SecretReference;
use crate::config::table::Table;
use crate::config::units::{millis, minutes, seconds};
use crate::config::values::{FILE, HOST, MAILBOX, SecretNotation, TEXT, URL};

/// `[token_service.notifier]`
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) attempts: At<u32>,
    pub(crate) webhook: Option<At<Webhook>>,
    pub(crate) smtp: Option<At<Smtp>>,
}

/// What a message is carried by: a text message, a mail, a question on a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageKind {
    /// A text message with a code.
    Sms,
    /// A mail with a code.
    Email,
    /// A question on a device.
    Push,
}

const KINDS: &[(&str, MessageKind)] = &[("sms", MessageKind::Sms), ("email", MessageKind::Email), ("push", MessageKind::Push)];

impl MessageKind {
    /// Its word in the configuration, in messages and in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Push => "push",
        }
    }
}

impl Notifier {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            attempts: t.or("attempts", Whole(1..=10), 6, "How often a message is tried before it is given up."),
            webhook: t.optional("webhook", Keys(Webhook::read), "Messages go to a server of yours, as signed JSON over HTTP."),
            smtp: t.optional("smtp", Keys(Smtp::read), "E-mail goes to a mail server."),
        }
    }
}

/// `[token_service.notifier.webhook]`
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) url: Option<At<Uri>>,
    pub(crate) secret: Option<At<SecretReference>>,
    pub(crate) carries: Option<At<Vec<At<MessageKind>>>>,
    pub(crate) deadline: At<Duration>,
    pub(crate) ca_file: Option<At<PathBuf>>,
}

impl Webhook {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            url: t.required("url", URL, "Where messages are posted."),
            secret: t.required("secret", SecretNotation, "The key under which messages are signed (HMAC-SHA256)."),
            carries: t.required(
                "carries",
                Filled(Placed(Word(KINDS))),
                "Which messages go there: \"sms\", \"email\", \"push\".",
            ),
            deadline: t.or("deadline", deadline(), seconds(5), "For one try, from its first byte to the last of the answer."),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
        }
    }
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpTls {
    /// From its first byte (RFC 8314).
    Implicit,
    /// After STARTTLS, and not at all if the server does not offer it (RFC 3207).
    StartTls,
    /// Never.
    None,
}

/// `[token_service.notifier.smtp]`
#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) server: Option<At<String>>,
    pub(crate) port: Option<At<u16>>,
    pub(crate) tls: At<SmtpTls>,
    pub(crate) login: Option<At<SmtpLogin>>,
    pub(crate) from: Option<At<Mailbox>>,
    pub(crate) subject: At<String>,
    pub(crate) deadline: At<Duration>,
    pub(crate) ca_file: Option<At<PathBuf>>,
}

/// How the gateway says to a mail server who it is.
#[derive(Debug)]
pub(crate) struct SmtpLogin {
    pub(crate) username: Option<At<String>>,
    pub(crate) password: Option<At<SecretReference>>,
}

impl Smtp {
    fn read(t: &mut Table<'_>) -> Self {
        let tls = &[("implicit", SmtpTls::Implicit), ("starttls", SmtpTls::StartTls), ("none", SmtpTls::None)];
        Self {
            server: t.required("server", HOST, "The mail server's name or address."),
            port: t.optional(
                "port",
                Whole(1..=65_535),
                "Its port; 465, 587 or 25 as `tls` is \"implicit\", \"starttls\" or \"none\".",
            ),
            tls: t.or(
                "tls",
                Word(tls),
                SmtpTls::Implicit,
                "How the connection is encrypted; \"none\" only to a server on this machine.",
            ),
            login: t.optional("login", Keys(SmtpLogin::read), "How the gateway says who it is; it does not when left out."),
            from: t.required("from", MAILBOX, "From whom the mail is."),
            subject: t.or("subject", TEXT, "Your code".to_owned(), "The mail's subject."),
            deadline: t.or("deadline", deadline(), seconds(20), "For one try, with connecting."),
            ca_file: t.optional("ca_file", FILE, "PEM file of the certificates to trust; the system's when left out."),
        }
    }
}

impl SmtpLogin {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            username: t.required("username", TEXT, "The name."),
            password: t.required("password", SecretNotation, "The password: { env = \"VARIABLE\" } or { file = \"PATH\" }."),
        }
    }
}

fn deadline() -> Lasting {
    Lasting(millis(100)..=minutes(1))
}
