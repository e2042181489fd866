//! Identities: as whom an account acts. A person has their own, and may act for corporations beside it.
//!
//! Imports the account's number. Deliberately absent: what an identity may do, which is for the upstream to know.

use crate::model::Secret;
use crate::tokens::account::AccountId;

/// An identity's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IdentityId(pub i64);

/// Whose identity it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdentityKind {
    /// A person's own.
    Consumer,
    /// A corporation's.
    Corporate,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Consumer, Self::Corporate];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Corporate => "corporate",
        }
    }
}

/// In which part an account acts as an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The identity is its own.
    Root,
    /// It was let in.
    User,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Root, Self::User];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }
}

/// An identity that an account can act as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its number.
    pub id: IdentityId,
    /// Whose it is.
    pub kind: IdentityKind,
    /// What it is called.
    pub name: Box<str>,
    /// In which part the account acts as it.
    pub role: Role,
}

/// An identity as somebody names it who wants to act as it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedIdentity {
    /// Its number.
    pub id: IdentityId,
    /// Whose it is said to be. One of another kind is not the one that is meant.
    pub kind: IdentityKind,
}

/// An identity to be made for an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewIdentity {
    /// Whose it is.
    pub kind: IdentityKind,
    /// What it is called.
    pub name: Box<str>,
    /// In which part the account acts as it.
    pub role: Role,
}

/// A token that acts as an identity.
#[derive(Clone, Debug)]
pub struct IdentityToken {
    /// Its text.
    pub token: Secret,
    /// Whose it is.
    pub account: AccountId,
    /// As whom it acts.
    pub identity: Identity,
}
