//! A login at a token service that is not ours, as a guard in front of it sees it.

use crate::model::{Location, Pointer};

/// Where a login names its account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountPlace {
    /// It is the subject of the token that the route asks for.
    Subject,
    /// The request tells it here; never the Bearer token.
    Told(Location),
}

/// Where a login names the client, the software that asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientPlace {
    /// It is the client of the token that the route asks for.
    Token,
    /// The request tells it here; never the Bearer token.
    Told(Location),
}

/// One way in which a token service says how a login ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sign {
    /// The status of its answer.
    pub status: u16,
    /// What the JSON object in it must have besides, if that matters.
    pub body: Option<BodySign>,
}

/// A member of an answer's JSON object that means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodySign {
    /// Which.
    pub pointer: Pointer,
    /// What it must be.
    pub wanted: Wanted,
}

/// What a member must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// This text.
    Text(Box<str>),
    /// This number, written as a whole one.
    Whole(i64),
    /// This.
    Flag(bool),
    /// There, whatever it is; null is not there.
    There,
    /// Not there.
    Absent,
}

/// What attempts are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CountedBy {
    /// The account, wherever the attempt comes from. A source from which it has succeeded lately is counted for itself, so
    /// that nobody elsewhere can lock it out.
    Account,
    /// The source, whatever account it names.
    Source,
    /// The account and the source together.
    AccountAndSource,
    /// The client, whatever account it names.
    Client,
}

impl CountedBy {
    /// Whether it is about one account only, so that a success of that account means something.
    #[must_use]
    pub fn names_account(self) -> bool {
        match self {
            Self::Account | Self::AccountAndSource => true,
            Self::Source | Self::Client => false,
        }
    }
}

/// What a guard does about a login while the store that gateways share is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WithoutStore {
    /// It allows this gateway's part of the budget, by what this gateway knows.
    #[default]
    Local,
    /// It refuses.
    Deny,
}
