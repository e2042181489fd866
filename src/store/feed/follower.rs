//! Whether a reader of the stream has missed anything: a pure function of what it has read and what it is shown.
//!
//! Imports the names of entries only. Why nothing is missed unnoticed, whatever servers do:
//!
//! - Entries form a chain, each naming the one before it, so whatever was trimmed or lost between two entries that are read
//!   shows at the second.
//! - What a server lost *behind* the last entry that was read shows in a look: it knows of nothing that young.
//! - What a server lost that was never read shows nowhere in the stream. But a server loses only by ending (a restart, another
//!   server in its place) or by following another for a while, and after either it has another name, which a look tells.
//!
//! Deliberately absent: what is done about a gap (`reader`).

use crate::store::valkey::stream::{Entry, EntryId, Standing};

/// What a reader cannot know it has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    /// The stream no longer begins where it began; seen by who reads it from its beginning. Up to this entry.
    Beginning(EntryId),
    /// Entries were trimmed before they were read, up to this one.
    Trimmed(EntryId),
    /// The stream has lost what was read: it is read again from its beginning.
    Lost,
    /// Another server has taken the place of the one that was read from, or the same was started again.
    Server,
}

/// How far the stream has been read, and at which server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Follower {
    server: Option<Box<str>>,
    last: EntryId,
}

impl Follower {
    /// The entry that was read last; [`EntryId::NONE`] to read from the beginning.
    pub(super) fn last(&self) -> EntryId {
        self.last
    }

    /// Which server was seen last.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The server has been looked at. Without a gap, everything that was ever appended there until this look is in the stream
    /// after [`Follower::last`], or was read.
    pub(super) fn look(&mut self, standing: &Standing) -> Option<Gap> {
        let other = self.server.as_ref().is_some_and(|server| *server != standing.server);
        self.server = Some(standing.server.clone());
        if standing.last < self.last {
            self.last = EntryId::NONE;
            return Some(Gap::Lost);
        }
        other.then_some(Gap::Server)
    }

    /// An entry has been read. [`Gap::Lost`] takes it back; after any other gap it counts.
    pub(super) fn take(&mut self, entry: &Entry) -> Option<Gap> {
        let (last, before) = (self.last, entry.before);
        self.last = entry.id;
        if before == last {
            None
        } else if last == EntryId::NONE {
            Some(Gap::Beginning(before))
        } else if before > last {
            Some(Gap::Trimmed(before))
        } else {
            self.last = EntryId::NONE;
            Some(Gap::Lost)
        }
    }
}

#[cfg(test)]
mod tests;
