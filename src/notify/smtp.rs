//! Codes as plain text mail, handed to a mail server (RFC 5321).
//!
//! Imports `model`, `fetch` (certificates), `plan` (the server) and the messages of `tokens`. Each try is a connection of its own:
//! codes are few, and a kept connection would be one more thing to break. Headers are written by lettre from typed parts, so no
//! address or subject can add one. Deliberately absent: HTML, attachments, DKIM, which is the mail server's.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::fetch;
use crate::model::Timestamp;
use crate::notify::{Carrier, Failure, SetupError};
use crate::plan::{Smtp, SmtpTls};
use crate::tokens::notifier::{Content, Message};

/// Hands mail to a server.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    subject: Box<str>,
    deadline: Duration,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The transport holds the password.
        f.debug_struct("Mailer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mailer {
    pub(super) fn new(plan: &Smtp) -> Result<Self, SetupError> {
        // "Dangerous" is the builder that says nothing about TLS; it is said here in each case.
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&*plan.server)
            .port(plan.port)
            .tls(tls(plan)?)
            .hello_name(ClientId::Domain(plan.from.email.domain().to_owned()))
            .timeout(Some(plan.deadline));
        if let Some((name, password)) = &plan.login {
            transport = transport.credentials(Credentials::new(name.to_string(), password.expose().to_owned()));
        }
        Ok(Self {
            transport: transport.build(),
            from: plan.from.clone(),
            subject: plan.subject.clone(),
            deadline: plan.deadline,
        })
    }

    fn mail(&self, message: &Message, now: Timestamp) -> Result<Mail, Failure> {
        let Content::Email { to, code } = &message.content else {
            return Err(Failure::Permanent("it is no mail".to_owned()));
        };
        let cannot = |_| Failure::Permanent("mail cannot be sent to its address".to_owned());
        let to: Address = to.as_given().parse().map_err(cannot)?;
        let minutes = message.expires.since(now).as_secs().div_ceil(60);
        let text = format!(
            "Your code is {}.\r\n\r\nIt can be used once, within {minutes} minutes.\r\n\
             If you did not ask for it, change your password: somebody else knows it.\r\n",
            code.expose()
        );
        Mail::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&*self.subject)
            .date(UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0)))
            // The same on each try, so that a mailbox that gets it twice can show it once.
            .message_id(Some(format!("<{}@{}>", message.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| Failure::Permanent(error.to_string()))
    }
}

#[async_trait]
impl Carrier for Mailer {
    async fn carry(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let mail = self.mail(message, now)?;
        match tokio::time::timeout(self.deadline, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(verdict(&error)),
            Err(_) => Err(Failure::Temporary("it took longer than its deadline".to_owned())),
        }
    }
}

/// What the server says in its own words may name the addressee, so the log gets the status alone.
fn verdict(error: &Error) -> Failure {
    match error.status() {
        Some(status) if error.is_permanent() => Failure::Permanent(format!("it answers {status}")),
        Some(status) => Failure::Temporary(format!("it answers {status}")),
        None if error.is_client() => Failure::Permanent(with_causes(error)),
        None => Failure::Temporary(with_causes(error)),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn tls(plan: &Smtp) -> Result<Tls, SetupError> {
    let parameters = || -> Result<TlsParameters, SetupError> {
        let refused = |error: Error| SetupError::Smtp(with_causes(&error));
        let mut builder = TlsParameters::builder(plan.server.to_string());
        if let Some(path) = &plan.ca_file {
            builder = builder.certificate_store(CertificateStore::None);
            for certificate in fetch::certificates(path)? {
                builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(refused)?);
            }
        }
        builder.build_rustls().map_err(refused)
    };
    Ok(match plan.tls {
        SmtpTls::Implicit => Tls::Wrapper(parameters()?),
        SmtpTls::StartTls => Tls::Required(parameters()?),
        SmtpTls::None => Tls::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{NOW, email, push};

    fn mailer(subject: &str) -> Mailer {
        let plan = Smtp {
            server: "127.0.0.1".into(),
            port: 25,
            tls: SmtpTls::None,
            login: None,
            from: "Example <no-reply@example.com>".parse().unwrap(),
            subject: subject.into(),
            deadline: Duration::from_secs(1),
            ca_file: None,
        };
        Mailer::new(&plan).unwrap()
    }

    fn lines(mail: &Mail) -> Vec<String> {
        String::from_utf8(mail.formatted()).unwrap().split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_mail_is_plain_text_with_the_code() {
        let expected = [
            "From: Example <no-reply@example.com>",
            "To: Ann@example.com",
            "Subject: Your code",
            "Date: Tue, 10 Mar 2026 09:32:45 +0000",
            "Message-ID: <17@example.com>",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "Your code is 402913.",
            "",
            "It can be used once, within 5 minutes.",
            "If you did not ask for it, change your password: somebody else knows it.",
            "",
        ];
        assert_eq!(lines(&mailer("Your code").mail(&email("Ann@example.com"), NOW).unwrap()), expected);
    }

    #[test]
    fn no_subject_and_no_address_adds_a_header() {
        let mail = mailer("Code\r\nBcc: eve@example.com").mail(&email("ann@example.com"), NOW).unwrap();
        assert!(!lines(&mail).iter().any(|line| line.starts_with("Bcc:")), "{:?}", lines(&mail));
        for address in ["ann,eve@example.com", "ann>@example.com", "<ann@example.com", "ann@example.com>", "\"a\"b@example.com"]
        {
            let refused = Err(Failure::Permanent("mail cannot be sent to its address".to_owned()));
            assert_eq!(mailer("Your code").mail(&email(address), NOW).map(drop), refused, "{address}");
        }
        assert!(mailer("Your code").mail(&push(), NOW).is_err());
    }

    #[test]
    fn certificates_that_are_not_there_are_said_at_the_start() {
        let plan = Smtp {
            server: "mail.example".into(),
            port: 465,
            tls: SmtpTls::Implicit,
            login: None,
            from: "no-reply@example.com".parse().unwrap(),
            subject: "Your code".into(),
            deadline: Duration::from_secs(1),
            ca_file: Some("/nowhere/ca.pem".into()),
        };
        let error = Mailer::new(&plan).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
