//! The outbox: how gateways that use one database hear of what each of them ends.
//!
//! A step writes what it ends into `revocation_event`, in its own transaction, and notifies. Every gateway listens, reads the
//! rows above the last that it has read, and cuts. Numbers are given under the lock that lets one writer in at a time, so they
//! are in the order of the commits: whoever has read number 7 will never see a 6 appear.
//!
//! # Why nothing that ended is used for longer than the bound
//! Each look that has read all there was moves the tick until which others are heard, to its own beginning plus the bound
//! (`silence`). Past that tick nothing that is remembered of our tokens is used, and none is looked up, whatever the thread that
//! looks is doing. So let a token be loaded before its end was committed, and be used at u. A look that began later than u less
//! the bound has been made; if the end was committed before that look began, its row was read, and the token is cut. An end
//! that is older than the bound therefore counts.
//!
//! Over a new session numbers are not compared: the server may be another, or have lost its last commits to a standby. There
//! the last number is read, then everything is cut, then the tick is moved. An end that was committed before is cut by that,
//! and one that comes later has a higher number. What is loaded after that cut comes from sessions that were opened after the
//! listener's (`store::sql::postgres::Ear`), so from the server that it listens at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{Tick, Timestamp};
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::sql::postgres::Ear;
use crate::store::sql::{self, Db, Row};
use crate::tokens::store::Hearer;
use crate::tokens::store::steps::rows::At;

/// Events that are read at once.
const PAGE: i64 = 1000;

/// Tells the others, if there can be any. A part of the step that ends what is reached.
pub(super) fn tell(db: &Db<'_>, reach: &Reach, now: Timestamp) -> sql::Result<()> {
    if !db.is_shared() {
        return Ok(());
    }
    let name = match reach {
        Reach::Token(Fingerprint(hash)) => &hash[..],
        Reach::Session(name) | Reach::Subject(name) | Reach::Client(name) => name.as_bytes(),
    };
    db.execute(
        "WITH told AS (INSERT INTO revocation_event (kind, reach, at) VALUES (?1, ?2, ?3) RETURNING seq)
         SELECT pg_notify('portcullis_' || current_schema(), '') FROM told",
        (reach.word(), name, At(now)),
    )?;
    Ok(())
}

/// Listens for one gateway.
pub(super) struct Outbox {
    last: Option<i64>,
    hearer: Arc<dyn Hearer>,
    /// How often hearing others has begun anew: what else they write was not looked at before.
    begun: Arc<AtomicU64>,
}

impl Outbox {
    pub(super) fn new(hearer: Arc<dyn Hearer>, begun: Arc<AtomicU64>) -> Self {
        Self { last: None, hearer, begun }
    }
}

impl Ear for Outbox {
    fn look(&mut self, db: &Db<'_>, anew: bool) -> sql::Result<()> {
        let Some(mut last) = self.last.filter(|_| !anew) else {
            let newest = db.one("SELECT coalesce(max(seq), 0) FROM revocation_event", (), |row| row.get(0))?;
            if self.last.replace(newest).is_some() {
                self.begun.fetch_add(1, Ordering::Release);
                self.hearer.everything();
            }
            return Ok(());
        };
        loop {
            let query = "SELECT seq, kind, reach FROM revocation_event WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let page = db.rows(query, (last, PAGE), event)?;
            let Some((end, _)) = page.last() else { return Ok(()) };
            last = *end;
            for (_, reach) in page {
                // What a later version tells in words of its own may reach anything.
                reach.map_or_else(|| self.hearer.everything(), |reach| self.hearer.ended(reach));
            }
            self.last = Some(last);
        }
    }

    fn heard(&mut self, until: Tick) {
        if self.hearer.is_deaf() {
            self.begun.fetch_add(1, Ordering::Release);
        }
        self.hearer.heard(until);
    }
}

fn event(row: &Row<'_>) -> sql::Result<(i64, Option<Reach>)> {
    let (kind, name): (Box<str>, Box<[u8]>) = (row.get(1)?, row.get(2)?);
    let text = || String::from_utf8(name.to_vec()).ok().map(String::into_boxed_str);
    let reach = match &*kind {
        "token" => <[u8; 32]>::try_from(&*name).ok().map(|hash| Reach::Token(Fingerprint(hash))),
        "session" => text().map(Reach::Session),
        "subject" => text().map(Reach::Subject),
        "client" => text().map(Reach::Client),
        _ => None,
    };
    Ok((row.get(0)?, reach))
}
