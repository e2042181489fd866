//! The outbox: how gateways that use one database hear of what each of them ends.
//!
//! A step writes what it ends into `revocation_event`, in its own transaction, and notifies. Every gateway listens, reads the
//! rows above the last that it has read, and cuts. Numbers are given under the lock that lets one writer in at a time, so they
//! are in the order of the commits: whoever has read number 7 will never see a 6 appear.
//!
//! # Why two cuts of everything suffice when nothing can be heard
//! A gateway that cannot read the outbox may miss an end. Once that has lasted for the bound (`silence`), first `deaf` is set,
//! then everything is cut. While it is set no token is looked up, so nothing new is remembered. What was remembered before is
//! stale by that cut; so is what a look-up brings that began before and ends after it, because it carries the number that the
//! cuts had when it began. Whenever there is a new session, everything is cut again, after the last number has been read and
//! before `deaf` is taken back: an end that was committed before is cut by that, and one that comes later has a higher number.
//! So an end is missed for as long as the bound, and no longer. A server that lost its last commits when a standby took over
//! makes no difference: numbers are not compared over two sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::Timestamp;
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
    deaf: Arc<AtomicBool>,
    /// How often there was a break: what else others write was not looked at meanwhile either.
    breaks: Arc<AtomicU64>,
}

impl Outbox {
    pub(super) fn new(hearer: Arc<dyn Hearer>, deaf: Arc<AtomicBool>, breaks: Arc<AtomicU64>) -> Self {
        Self { last: None, hearer, deaf, breaks }
    }
}

impl Ear for Outbox {
    fn look(&mut self, db: &Db<'_>, anew: bool) -> sql::Result<()> {
        let Some(mut last) = self.last.filter(|_| !anew) else {
            let newest = db.one("SELECT coalesce(max(seq), 0) FROM revocation_event", (), |row| row.get(0))?;
            if self.last.replace(newest).is_some() {
                self.breaks.fetch_add(1, Ordering::SeqCst);
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

    fn deaf(&mut self) {
        self.deaf.store(true, Ordering::SeqCst);
        self.breaks.fetch_add(1, Ordering::SeqCst);
        self.hearer.everything();
    }

    fn hearing(&mut self) {
        self.deaf.store(false, Ordering::SeqCst);
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
