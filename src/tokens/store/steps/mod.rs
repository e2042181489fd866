//! The token store on a database: each step in SQL that every database we know understands.
//!
//! The threads, and how a database is opened, are those of `store::sql`; here is what this one keeps.

mod accounts;
mod attempts;
mod challenges;
mod clean_up;
mod clients;
mod endings;
mod entries;
mod factors;
mod grants;
mod identities;
mod locks;
mod outbox;
mod redeem;
mod rows;
mod schema;
mod sessions;
mod signing_keys;
mod step_up;
mod windows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::cuts::{Fingerprint, Reach};
use crate::store::sql::postgres::{Listener, Terms, open_server};
use crate::store::sql::{self, Readers, SqlFault, Writer, open_file};
use crate::tokens::account::{Account, AccountId, AccountStatus};
use crate::tokens::client::{Client, NewClient};
use crate::tokens::identifier::Identifier;
use crate::tokens::keyring::Mac;
use crate::tokens::store::steps::outbox::Outbox;
use crate::tokens::store::{
    AccountRow, Answer, ChallengeId, ChallengeKind, ChallengeRow, ClientRow, Enrolled, Hearer, LiveToken, Opening,
    PasswordReplacement, RedeemStep, Redemption, Revocation, RotateStep, Rotation, SignInStep, SigningKeyStore as _,
    StoreFault, Taken, TokenStore,
};

pub use schema::SCHEMA_VERSION;

/// The token store in one database.
#[derive(Debug)]
pub struct StepStore {
    readers: Readers,
    writer: Writer,
    /// Who hears of what other gateways end, if there are any.
    hearer: Option<Arc<dyn Hearer>>,
    /// How often hearing them has begun anew.
    begun: Arc<AtomicU64>,
    _listener: Option<Listener>,
}

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// It says no, or cannot be reached.
    #[error(transparent)]
    Sql(#[from] sql::OpenFault),
    /// What is in it is not what it should be.
    #[error("the schema of the database {place} cannot be brought up to date: {source}")]
    Schema {
        /// Which one.
        place: Box<str>,
        /// What it says.
        source: SqlFault,
    },
    /// A newer program has written it. Going on would mean guessing what its columns mean.
    #[error("the database {place} has schema version {found}; this program knows versions up to {SCHEMA_VERSION}")]
    TooNew {
        /// Which one.
        place: Box<str>,
        /// Its schema version.
        found: i64,
    },
}

impl StepStore {
    /// Opens a file of SQLite, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenFault`].
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, OpenFault> {
        let place = path.display().to_string();
        let (readers, writer) = open_file(path, "token", READERS, |db| schema::migrate(db, &place, now))?;
        Ok(Self { readers, writer, hearer: None, begun: Arc::default(), _listener: None })
    }

    /// Connects to a schema of PostgreSQL, makes it if it is not there, and brings it up to date. `hearer` is told what other
    /// gateways end from now on. Blocks until there is an answer.
    ///
    /// # Errors
    /// [`OpenFault`].
    pub(crate) fn connect(terms: Terms, hearer: Option<Arc<dyn Hearer>>, now: Timestamp) -> Result<Self, OpenFault> {
        let place = terms.place();
        let terms = Arc::new(terms);
        let begun = Arc::<AtomicU64>::default();
        let (readers, writer) = open_server(&terms, "token", move |db| schema::migrate(db, &place, now))?;
        let listen = |hearer| Listener::start(&terms, "token-listener", Outbox::new(hearer, Arc::clone(&begun)));
        let listener = hearer.clone().map(listen).transpose()?;
        Ok(Self { readers, writer, hearer, begun, _listener: listener })
    }

    /// # Errors
    /// If other gateways may have ended what here seems to live: the sessions that would say so may be at a server that was left.
    fn hears(&self) -> Result<(), StoreFault> {
        self.heard_since().map(drop).ok_or(StoreFault::Failed)
    }
}

/// Two: a look-up takes some 20 µs, and more readers would only fight over the cores.
const READERS: usize = 2;

#[async_trait]
impl TokenStore for StepStore {
    fn is_shared(&self) -> bool {
        match &self.writer {
            Writer::Sqlite(_) => false,
            Writer::Postgres(_) => true,
        }
    }

    async fn adopt_key(&self, check: Mac) -> Result<bool, StoreFault> {
        self.writer.step(move |db| clients::adopt_key(db, check)).await
    }

    async fn add_account(&self, account: AccountRow) -> Result<Result<Account, Taken>, StoreFault> {
        self.writer.step(move |db| accounts::add(db, &account)).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreFault> {
        self.readers.read(move |db| accounts::by_id(db, id)).await
    }

    async fn enrolled(&self, identifier: Identifier<'_>) -> Result<Option<Enrolled>, StoreFault> {
        let key = accounts::Key::of(identifier);
        self.readers.read(move |db| accounts::enrolled(db, &key)).await
    }

    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreFault> {
        self.readers.read(move |db| accounts::page(db, after, limit)).await
    }

    async fn switch_account(&self, id: AccountId, status: AccountStatus, now: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| accounts::switch(db, id, status, now)).await
    }

    async fn replace_password(&self, replacement: PasswordReplacement) -> Result<(), StoreFault> {
        self.writer.step(move |db| accounts::replace_password(db, &replacement)).await
    }

    async fn add_client(&self, client: NewClient, secret: Mac, now: Timestamp) -> Result<bool, StoreFault> {
        self.writer.step(move |db| clients::add(db, &client, secret, now)).await
    }

    async fn client(&self, id: &str) -> Result<Option<ClientRow>, StoreFault> {
        let id = id.to_owned();
        self.readers.read(move |db| clients::by_id(db, &id)).await
    }

    async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        self.readers.read(clients::all).await
    }

    async fn rotate_client(&self, id: &str, secret: Mac, now: Timestamp) -> Result<bool, StoreFault> {
        let id = id.to_owned();
        self.writer.step(move |db| clients::rotate(db, &id, secret, now)).await
    }

    async fn open_challenge(&self, challenge: ChallengeRow) -> Result<Opening, StoreFault> {
        self.writer.step(move |db| challenges::open(db, &challenge)).await
    }

    async fn open_challenge_of(
        &self,
        kind: ChallengeKind,
        destination: Mac,
        now: Timestamp,
    ) -> Result<Option<ChallengeId>, StoreFault> {
        self.readers.read(move |db| challenges::open_one(db, kind, destination, now)).await
    }

    async fn answer_challenge(&self, answer: Answer) -> Result<bool, StoreFault> {
        self.writer.step(move |db| challenges::answer(db, &answer)).await
    }

    async fn sign_in(&self, step: SignInStep) -> Result<bool, StoreFault> {
        self.writer.step(move |db| challenges::sign_in(db, &step)).await
    }

    async fn redeem(&self, step: RedeemStep) -> Result<Redemption, StoreFault> {
        self.writer.step(move |db| redeem::redeem(db, &step)).await
    }

    async fn rotate(&self, step: RotateStep) -> Result<Rotation, StoreFault> {
        self.writer.step(move |db| grants::rotate(db, &step)).await
    }

    async fn revoke(&self, token: Fingerprint, client: &str, now: Timestamp) -> Result<Revocation, StoreFault> {
        let client = client.to_owned();
        self.writer.step(move |db| grants::revoke(db, token, &client, now)).await
    }

    async fn end(&self, reach: Reach, now: Timestamp) -> Result<Option<Box<str>>, StoreFault> {
        self.writer.step(move |db| endings::end(db, &reach, now)).await
    }

    async fn live_token(&self, token: Fingerprint, now: Timestamp) -> Result<Option<LiveToken>, StoreFault> {
        self.hears()?;
        self.readers.read(move |db| grants::live_token(db, token, now)).await
    }

    async fn live_refresh_token(&self, token: Fingerprint, now: Timestamp) -> Result<Option<LiveToken>, StoreFault> {
        self.hears()?;
        self.readers.read(move |db| grants::live_refresh_token(db, token, now)).await
    }

    async fn clean_up(&self, now: Timestamp, limit: u32) -> Result<usize, StoreFault> {
        self.writer.step(move |db| clean_up::clean_up(db, now, limit)).await
    }
}
