//! What becomes of tokens by the contract of the three APIs, in plain structs: no database, no cache, no cuts.
//!
//! Where the contract leaves something open, or a crash may have lost what was not written down yet, the oracle says so.

use std::fmt;

/// How the sessions of the three APIs live here, in seconds. Shorter than by default, so that ends are reached, and reached
/// while something is remembered of their tokens.
pub(super) mod lives {
    pub(crate) const OAUTH_ACCESS: i64 = 40 * 60;
    pub(crate) const OAUTH_REFRESH: i64 = 2 * 3600;
    pub(crate) const OAUTH_SESSION: i64 = 5 * 3600;
    /// How long an access token lives on after a refresh.
    pub(crate) const SUPERSEDED: i64 = 5;
    pub(crate) const IDLE: i64 = 60;
    pub(crate) const SESSION: i64 = 30 * 60;
    pub(crate) const BACK_OFFICE_ACCESS: i64 = 30 * 60;
    pub(crate) const BACK_OFFICE_REFRESH: i64 = 3600;
    pub(crate) const BACK_OFFICE_SESSION: i64 = 4 * 3600;
    /// A use is written down when the last one was so long ago, and somebody writes.
    pub(crate) const WRITTEN_EVERY: i64 = 15;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Api {
    OAuth,
    Session,
    BackOffice,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Access,
    Auth,
    Refresh,
}

/// What must become of a token that is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Passes,
    Refused,
    /// Either is right.
    Open,
}

#[derive(Debug)]
struct Session {
    account: usize,
    end: i64,
    over: bool,
    /// Whether somebody did what may have ended it.
    doubtful: bool,
    last_use: Option<LastUse>,
}

/// The last use of a session that dies of disuse. It was within these bounds.
#[derive(Clone, Copy, Debug)]
struct LastUse {
    earliest: i64,
    latest: i64,
    /// What a crash leaves of it, at least, and when that was surely written down.
    kept: i64,
    written: Option<i64>,
}

pub(super) struct Token {
    pub(super) text: String,
    pub(super) session: usize,
    pub(super) api: Api,
    pub(super) kind: Kind,
    /// Whether a second factor was shown for it.
    pub(super) strong: bool,
    end: i64,
    revoked: bool,
    /// Whether it was replaced by a refresh.
    pub(super) used: bool,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, api, kind, strong, end, revoked, used, .. } = self;
        write!(f, "{api:?} {kind:?} of session {session}, end {end}, strong {strong}, revoked {revoked}, used {used}")
    }
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) now: i64,
    sessions: Vec<Session>,
    pub(super) tokens: Vec<Token>,
}

impl Oracle {
    /// A session begins.
    pub(super) fn signed_in(&mut self, account: usize, api: Api) -> usize {
        let now = self.now;
        let life = match api {
            Api::OAuth => lives::OAUTH_SESSION,
            Api::Session => lives::SESSION,
            Api::BackOffice => lives::BACK_OFFICE_SESSION,
        };
        let last_use = (api == Api::Session).then_some(LastUse { earliest: now, latest: now, kept: now, written: None });
        self.sessions.push(Session { account, end: now + life, over: false, doubtful: false, last_use });
        self.sessions.len() - 1
    }

    /// A token is issued.
    pub(super) fn issued(&mut self, text: String, session: usize, api: Api, kind: Kind, strong: bool) {
        let life = match (api, kind) {
            (Api::OAuth, Kind::Refresh) => lives::OAUTH_REFRESH,
            (Api::OAuth, Kind::Access | Kind::Auth) => lives::OAUTH_ACCESS,
            (Api::Session, _) => lives::SESSION,
            (Api::BackOffice, Kind::Refresh) => lives::BACK_OFFICE_REFRESH,
            (Api::BackOffice, Kind::Access | Kind::Auth) => lives::BACK_OFFICE_ACCESS,
        };
        let end = self.now + life;
        self.tokens.push(Token { text, session, api, kind, strong, end, revoked: false, used: false });
    }

    pub(super) fn account_of(&self, token: usize) -> usize {
        self.sessions[self.tokens[token].session].account
    }

    /// Whether a token is alive, for whatever it is meant for.
    pub(super) fn life(&self, token: usize) -> Verdict {
        let token = &self.tokens[token];
        let session = &self.sessions[token.session];
        let unused_since = |instant: i64| self.now - instant >= lives::IDLE;
        if token.revoked
            || session.over
            || self.now >= token.end.min(session.end)
            || session.last_use.is_some_and(|last| unused_since(last.latest))
        {
            Verdict::Refused
        } else if session.doubtful || session.last_use.is_some_and(|last| unused_since(last.earliest)) {
            Verdict::Open
        } else {
            Verdict::Passes
        }
    }

    /// What becomes of it as a Bearer token.
    pub(super) fn bearer(&self, token: usize) -> Verdict {
        if self.tokens[token].kind == Kind::Refresh { Verdict::Refused } else { self.life(token) }
    }

    /// A token passed, which is a use.
    pub(super) fn passed(&mut self, token: usize) {
        let now = self.now;
        let session = &mut self.sessions[self.tokens[token].session];
        if let Some(last) = &mut session.last_use {
            (last.earliest, last.latest) = (now, now);
        }
    }

    /// A token of which it was open whether it lives was refused: its session is over, for nothing else is ever open.
    pub(super) fn refused(&mut self, token: usize) {
        if self.life(token) == Verdict::Open {
            self.end_session(token);
        }
    }

    pub(super) fn end_session(&mut self, token: usize) {
        let session = self.tokens[token].session;
        self.sessions[session].over = true;
    }

    pub(super) fn end_account(&mut self, account: usize) {
        self.sessions.iter_mut().filter(|session| session.account == account).for_each(|session| session.over = true);
    }

    pub(super) fn stepped_up(&mut self, token: usize) {
        self.tokens[token].strong = true;
    }

    /// What becomes of a refresh, and with a reuse what becomes of the family.
    pub(super) fn refresh_of(&mut self, token: usize) -> Verdict {
        let reused = self.tokens[token].used;
        if !reused {
            return self.life(token);
        }
        self.refresh_of_what_was_replaced(token);
        Verdict::Refused
    }

    /// Somebody shows a refresh token that was replaced. While it has not expired that ends the family; afterwards it may.
    fn refresh_of_what_was_replaced(&mut self, token: usize) {
        let expired = self.now >= self.tokens[token].end;
        let session = &mut self.sessions[self.tokens[token].session];
        if expired {
            session.doubtful = true;
        } else {
            session.over = true;
        }
    }

    /// A refresh token was replaced, and with it the access tokens of its session.
    pub(super) fn refreshed(&mut self, token: usize) {
        let (session, end) = (self.tokens[token].session, self.now + lives::SUPERSEDED);
        self.tokens[token].used = true;
        // It showed that its session lives.
        self.sessions[session].doubtful = false;
        for other in self.tokens.iter_mut().filter(|other| other.session == session && other.kind == Kind::Access) {
            other.end = other.end.min(end);
        }
    }

    /// A token was revoked (RFC 7009).
    pub(super) fn revoked(&mut self, token: usize) {
        match self.tokens[token].kind {
            Kind::Refresh if self.tokens[token].used || self.now >= self.tokens[token].end => {
                self.sessions[self.tokens[token].session].doubtful = true;
            }
            Kind::Refresh => self.end_session(token),
            Kind::Access | Kind::Auth => self.tokens[token].revoked = true,
        }
    }

    /// Somebody writes down what is due, or everything.
    pub(super) fn wrote_uses(&mut self, everything: bool) {
        let now = self.now;
        for last in self.sessions.iter_mut().filter_map(|session| session.last_use.as_mut()) {
            if everything || last.written.is_none_or(|written| now - written >= lives::WRITTEN_EVERY) {
                (last.kept, last.written) = (last.earliest, Some(now));
            }
        }
    }

    /// The process ended. What was not written down may be lost: a session may be older than it was, never younger.
    pub(super) fn died(&mut self) {
        for last in self.sessions.iter_mut().filter_map(|session| session.last_use.as_mut()) {
            last.earliest = last.kept;
        }
    }
}
