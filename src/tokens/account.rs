//! Accounts: who can sign in. One account serves all APIs.
//!
//! Imports `model` and the identifiers. Deliberately absent: the password, which only the sign-in ever sees.

use std::fmt;

use crate::model::{Secret, Timestamp};
use crate::tokens::identifier::{EmailAddress, PhoneNumber};

/// An account's number, which is also the subject of its tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub i64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AccountId {
    /// From the subject of a token.
    #[must_use]
    pub fn from_subject(subject: &str) -> Option<Self> {
        // The form it is issued in and no other: no sign, no leading zero.
        subject.parse().ok().map(Self).filter(|id| id.to_string() == subject)
    }
}

/// Whose account it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccountKind {
    /// A person's.
    #[default]
    Person,
    /// The system's own.
    System,
    /// The support staff's.
    Support,
    /// Another system's.
    Integration,
}

/// Whether an account can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountStatus {
    /// It can.
    Active,
    /// It cannot sign in, refresh or use a token.
    Disabled,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Whose it is.
    pub kind: AccountKind,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Its e-mail address as it was given.
    pub email: Box<str>,
    /// Its phone number, E.164.
    pub phone: Option<Box<str>>,
    /// The phone number's country, ISO 3166.
    pub country: Option<Box<str>>,
    /// Whether it has a password and so can sign in.
    pub registered: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When anything of it last changed.
    pub modified: Timestamp,
    /// When it last signed in.
    pub last_authentication: Option<Timestamp>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its e-mail address.
    pub email: EmailAddress,
    /// Its phone number, without which it cannot sign in with API A.
    pub phone: Option<PhoneNumber>,
    /// Its password, 8 characters to 1024 bytes. Without one it cannot sign in.
    pub password: Option<Secret>,
    /// The phone number's country; by its calling code when absent.
    pub country: Option<Box<str>>,
    /// Whose it is.
    pub kind: AccountKind,
}
