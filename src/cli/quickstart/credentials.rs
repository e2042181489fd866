//! The quick start's credentials: made at random, kept in a file that a shell can source.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::app::new_password;
use crate::tokens::store::EmailFactor;

/// Where codes may be sent; nobody listens there, and nobody needs to: codes are read from the answer.
pub(super) const REDIRECT_URI: &str = "https://client.example/callback";

/// Everything that a newcomer needs to try things out. `Debug` is left out on purpose.
pub(super) struct Credentials {
    pub(super) url: String,
    pub(super) admin_url: String,
    pub(super) admin_token: String,
    pub(super) oauth_client_id: String,
    pub(super) oauth_client_secret: String,
    pub(super) account: Person,
    pub(super) two_factor: Person,
    pub(super) expired: Person,
    pub(super) session_api_key: String,
    pub(super) session_callback_secret: String,
    pub(super) introspect_client_id: String,
    pub(super) introspect_client_secret: String,
}

/// An account's credentials.
pub(super) struct Person {
    email: String,
    phone: String,
    password: String,
}

/// An account to be made.
pub(super) struct Enrolment<'c> {
    pub(super) email: &'c str,
    pub(super) phone: Option<&'c str>,
    pub(super) password: &'c str,
    pub(super) state: State,
    pub(super) email_factor: EmailFactor,
}

/// In which state an account is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// With every channel enrolled.
    Complete,
    /// With a password that is good for a new one and nothing else, and no channel enrolled.
    PasswordExpired,
}

impl Credentials {
    /// New ones. The clients' secrets are made by the token service.
    pub(super) fn new() -> Self {
        let secret = || new_password().expose().to_owned();
        let person = |email: &str, phone: &str| Person { email: email.into(), phone: phone.into(), password: secret() };
        Self {
            url: String::new(),
            admin_url: String::new(),
            admin_token: secret(),
            oauth_client_id: "quickstart-app".into(),
            oauth_client_secret: String::new(),
            account: person("person@example.com", "+40711111298"),
            two_factor: person("two-factor@example.com", "+40711111299"),
            expired: person("expired@example.com", "+40711111300"),
            session_api_key: String::new(),
            session_callback_secret: secret(),
            introspect_client_id: "quickstart-introspection".into(),
            introspect_client_secret: String::new(),
        }
    }

    /// Where the gateway is this time.
    pub(super) fn move_to(&mut self, listen: SocketAddr, admin: SocketAddr) {
        self.url = format!("http://{listen}");
        self.admin_url = format!("http://{admin}");
    }

    /// The accounts to be made.
    pub(super) fn people(&self) -> Vec<Enrolment<'_>> {
        let (complete, expired) = (State::Complete, State::PasswordExpired);
        let (on, off) = (EmailFactor::On, EmailFactor::Off);
        [(&self.account, complete, off), (&self.two_factor, complete, on), (&self.expired, expired, off)]
            .into_iter()
            .map(|(person, state, email_factor)| Enrolment {
                email: &person.email,
                phone: Some(&person.phone),
                password: &person.password,
                email_factor,
                state,
            })
            .collect()
    }

    /// The file: one assignment a line.
    pub(super) fn to_env(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.assignments() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }

    fn assignments(&self) -> [(&'static str, &str); 18] {
        [
            ("URL", &self.url),
            ("ADMIN_URL", &self.admin_url),
            ("ADMIN_TOKEN", &self.admin_token),
            ("OAUTH_CLIENT_ID", &self.oauth_client_id),
            ("OAUTH_CLIENT_SECRET", &self.oauth_client_secret),
            ("OAUTH_REDIRECT_URI", REDIRECT_URI),
            ("ACCOUNT_EMAIL", &self.account.email),
            ("ACCOUNT_PHONE", &self.account.phone),
            ("ACCOUNT_PASSWORD", &self.account.password),
            ("TWOFA_EMAIL", &self.two_factor.email),
            ("TWOFA_PASSWORD", &self.two_factor.password),
            ("EXPIRED_EMAIL", &self.expired.email),
            ("EXPIRED_PASSWORD", &self.expired.password),
            ("SESSION_API_KEY", &self.session_api_key),
            ("INTROSPECT_CLIENT_ID", &self.introspect_client_id),
            ("INTROSPECT_CLIENT_SECRET", &self.introspect_client_secret),
            ("TWOFA_PHONE", &self.two_factor.phone),
            ("SESSION_CALLBACK_SECRET", &self.session_callback_secret),
        ]
    }

    /// From the file; the name of what is missing if something is.
    pub(super) fn from_env(text: &str) -> Result<Self, &'static str> {
        let assigned: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim().split_once('=')).collect();
        let take = |name: &'static str| {
            assigned.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned()).ok_or(name)
        };
        let person = |email, phone: Option<&'static str>, password| -> Result<Person, &'static str> {
            Ok(Person {
                email: take(email)?,
                phone: phone.map(take).transpose()?.unwrap_or_default(),
                password: take(password)?,
            })
        };
        Ok(Self {
            url: take("URL")?,
            admin_url: take("ADMIN_URL")?,
            admin_token: take("ADMIN_TOKEN")?,
            oauth_client_id: take("OAUTH_CLIENT_ID")?,
            oauth_client_secret: take("OAUTH_CLIENT_SECRET")?,
            account: person("ACCOUNT_EMAIL", Some("ACCOUNT_PHONE"), "ACCOUNT_PASSWORD")?,
            two_factor: person("TWOFA_EMAIL", Some("TWOFA_PHONE"), "TWOFA_PASSWORD")?,
            expired: person("EXPIRED_EMAIL", None, "EXPIRED_PASSWORD")?,
            session_api_key: take("SESSION_API_KEY")?,
            session_callback_secret: take("SESSION_CALLBACK_SECRET")?,
            introspect_client_id: take("INTROSPECT_CLIENT_ID")?,
            introspect_client_secret: take("INTROSPECT_CLIENT_SECRET")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Credentials {
        let mut credentials = Credentials::new();
        credentials.move_to("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:9901".parse().unwrap());
        credentials.oauth_client_secret = "a".into();
        credentials.session_api_key = "c".into();
        credentials.introspect_client_secret = "b".into();
        credentials
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let written = complete().to_env();
        assert_eq!(Credentials::from_env(&written).map(|read| read.to_env()), Ok(written));
    }

    #[test]
    fn a_missing_credential_is_named() {
        let written = complete().to_env().replace("ACCOUNT_PASSWORD=", "SOMETHING_ELSE=");
        assert_eq!(Credentials::from_env(&written).err(), Some("ACCOUNT_PASSWORD"));
    }

    #[test]
    fn every_value_can_be_sourced_by_a_shell_as_it_is() {
        for line in complete().to_env().lines() {
            let (_, value) = line.split_once('=').unwrap();
            assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+".contains(&b)), "{line}");
        }
    }

    #[test]
    fn no_two_starts_share_a_credential() {
        assert_ne!(Credentials::new().account.password, Credentials::new().account.password);
    }
}
