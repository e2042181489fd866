//! Who carries one-time codes and questions, and whether everything that the APIs send has a carrier.

use crate::config::{self, At, Environment, Finding, MessageKind, Place, SmtpTls};
use crate::model::{NonEmpty, Secret};
use crate::plan::compile::Workshop;
use crate::plan::compile::issuers::{is_loopback, warn_of_plain_http};
use crate::plan::{Notifier, Smtp, Webhook};

impl Workshop<'_> {
    /// The carriers; `None` if none are configured, or if something is wrong with them, which is in the report then.
    pub(super) fn notifier(&mut self, service: &config::TokenService) -> Option<Notifier> {
        self.check_carriers(service);
        let from = service.notifier.as_ref()?;
        let webhook = from.value.webhook.as_ref().map(|webhook| self.webhook(&webhook.value));
        let smtp = from.value.smtp.as_ref().map(|smtp| self.smtp(&smtp.value));
        if webhook.is_none() && smtp.is_none() {
            self.report.add(Finding::error(from.place, "`webhook` or `smtp` is missing"));
        }
        if let (Some(email), Some(smtp)) = (place_of(&from.value, MessageKind::Email), &from.value.smtp) {
            let finding = Finding::error(email, "e-mail has two carriers").context(smtp.place, "this is the other one");
            self.report.add(finding.help("leave \"email\" out here, or the mail server"));
        }
        let attempts = from.value.attempts.value;
        match (webhook, smtp) {
            (Some(None), _) | (_, Some(None)) => None,
            (webhook, smtp) => Some(Notifier { attempts, webhook: webhook.flatten(), smtp: smtp.flatten() }),
        }
    }

    /// What an API sends and nobody carries. In the sandbox without carriers nothing is sent, and nothing is missed.
    fn check_carriers(&mut self, service: &config::TokenService) {
        let sandbox = self.config.environment.value == Environment::Sandbox;
        if sandbox && service.notifier.is_none() {
            return;
        }
        let carries = |kind| service.notifier.as_ref().is_some_and(|notifier| carries(&notifier.value, kind));
        let mut complain = |place: Place, what: &str, kind: MessageKind| {
            let finding = Finding::error(place, format!("nobody carries {what}"));
            let help = format!("name \"{}\" in `carries` of [token_service.notifier.webhook]", kind.word());
            let try_out =
                if service.notifier.is_none() { "; or set environment = \"sandbox\" to try this API out" } else { "" };
            self.report.add(finding.label("this needs them").help(format!("{help}{try_out}")));
        };
        if !carries(MessageKind::Sms) {
            let places = [service.oauth.as_ref().map(|api| api.place), service.session.as_ref().map(|api| api.place)];
            places.into_iter().flatten().for_each(|place| complain(place, "text messages", MessageKind::Sms));
        }
        let session = service.session.as_ref().map(|session| &session.value);
        let callback = session.and_then(|session| session.callback_secret.as_ref());
        if let (Some(callback), false) = (callback, carries(MessageKind::Push)) {
            complain(callback.place, "questions to devices", MessageKind::Push);
        }
        let pushed = service.notifier.as_ref().and_then(|notifier| place_of(&notifier.value, MessageKind::Push));
        if let (Some(pushed), Some(_), None) = (pushed, session, callback) {
            let finding = Finding::warning(pushed, "nothing is asked on devices");
            self.report.add(finding.label("without `callback_secret` of [token_service.session] no answer could be believed"));
        }
        if let (Some(api), false) = (&service.back_office, carries(MessageKind::Email)) {
            let finding = Finding::warning(api.place, "nobody carries e-mail");
            self.report.add(finding.label("accounts with a second factor by e-mail cannot sign in here"));
        }
    }

    fn webhook(&mut self, from: &config::Webhook) -> Option<Webhook> {
        if let Some(url) = &from.url {
            warn_of_plain_http(url, "one-time codes", self.report);
        }
        let secret = from.secret.as_ref().and_then(|secret| self.secret(secret));
        let carries = from.carries.as_ref()?.value.iter().map(|kind| kind.value).collect();
        Some(Webhook {
            url: from.url.as_ref()?.value.clone(),
            secret: secret?,
            carries: NonEmpty::new(carries).ok()?,
            deadline: from.deadline.value,
            ca_file: from.ca_file.as_ref().map(|path| self.machine.locate(&path.value)),
        })
    }

    fn smtp(&mut self, from: &config::Smtp) -> Option<Smtp> {
        let tls = from.tls.value;
        if let (SmtpTls::None, Some(server)) = (tls, &from.server)
            && !is_loopback(&server.value)
        {
            let finding = Finding::error(from.tls.place, "one-time codes would cross the network in the clear");
            let finding = finding.context(server.place, "this server is not on this machine");
            self.report.add(finding.help("write tls = \"implicit\" or tls = \"starttls\""));
        }
        let login = from.login.as_ref().map(|login| self.smtp_login(&login.value));
        let port = match tls {
            SmtpTls::Implicit => 465,
            SmtpTls::StartTls => 587,
            SmtpTls::None => 25,
        };
        Some(Smtp {
            server: from.server.as_ref()?.value.as_str().into(),
            port: from.port.as_ref().map_or(port, |port| port.value),
            tls,
            login: match login {
                Some(login) => Some(login?),
                None => None,
            },
            from: from.from.as_ref()?.value.clone(),
            subject: from.subject.value.as_str().into(),
            deadline: from.deadline.value,
            ca_file: from.ca_file.as_ref().map(|path| self.machine.locate(&path.value)),
        })
    }

    fn smtp_login(&mut self, from: &config::SmtpLogin) -> Option<(Box<str>, Secret)> {
        let password = from.password.as_ref().and_then(|password| self.secret(password));
        Some((from.username.as_ref()?.value.as_str().into(), password?))
    }
}

/// Whether a kind of message has a carrier. A list that cannot be read is complained of already.
fn carries(notifier: &config::Notifier, kind: MessageKind) -> bool {
    let unreadable = notifier.webhook.as_ref().is_some_and(|webhook| webhook.value.carries.is_none());
    let by_mail = kind == MessageKind::Email && notifier.smtp.is_some();
    unreadable || by_mail || place_of(notifier, kind).is_some()
}

/// Where the webhook is said to carry this.
fn place_of(notifier: &config::Notifier, kind: MessageKind) -> Option<Place> {
    let carried = &notifier.webhook.as_ref()?.value.carries.as_ref()?.value;
    carried.iter().find(|carried| carried.value == kind).map(|carried: &At<MessageKind>| carried.place)
}
