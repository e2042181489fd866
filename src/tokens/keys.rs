//! The keys that tokens are signed with, over their life: the first one, the next ones, and what everybody may see of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Denial, ErrorId, Now, Secret, Tick, Timestamp};
use crate::tokens::keyring::Keyring;
use crate::tokens::signing::{KeyState, PublicKey, Signed, Signing, SigningKey, Statement};
use crate::tokens::store::{SigningKeyRow, StoreFault, TokenStore};
use crate::tokens::{StartFault, Surroundings, TokenService, mint};

/// By when every gateway on a shared database has looked for new keys, which each does once a minute: none of them may be shown
/// a token that is signed with a key it has never seen.
const LEARNT_WITHIN: Duration = Duration::from_mins(2);

/// For how long a key that was not among those just read is nobody's. Far less than [`LEARNT_WITHIN`], so that a key that signs
/// was there when they were read; and long enough that tokens with made-up keys cost the database next to nothing.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// For how long the database is not asked for keys again that it could not tell. Who shows a key that is not known gets no
/// answer then (503), rather than a wrong one.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How the keys were last read from the database.
#[derive(Debug, Default)]
pub(super) struct Readings {
    last: Mutex<Reading>,
    /// Held by the one who reads because a key is missing; whoever waits for it takes what that brings.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// When the last that succeeded began, and how often hearing others had begun anew by then, if they were heard.
    done: Option<(Tick, Option<u64>)>,
    /// When the last one failed, if it was the last of all.
    failed: Option<Tick>,
}

impl Reading {
    /// Whether nobody can have made a key since that signs already.
    fn is_young(self, now: Tick) -> bool {
        self.done.is_some_and(|(at, _)| now.since(at) < READ_AGAIN_AFTER)
    }

    /// Whether others have been heard without a break since.
    fn is_whole(self, heard_since: Option<u64>) -> bool {
        heard_since.is_some() && self.done.is_some_and(|(_, by_then)| by_then == heard_since)
    }

    fn has_just_failed(self, now: Tick) -> bool {
        self.failed.is_some_and(|at| now.since(at) < TRY_AGAIN_AFTER)
    }
}

impl Readings {
    fn last(&self) -> Reading {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reading has ended that began so; when it failed, if it did.
    fn note(&self, began: (Tick, Option<u64>), failed: Option<Tick>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Reading { done: if failed.is_none() { Some(began) } else { last.done }, failed };
    }
}

/// A key, as its owner sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownKey {
    /// Its name (`kid`).
    pub id: Box<str>,
    /// What it is now.
    pub state: KeyState,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
}

/// The keys, as everybody sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedKeys {
    /// Their public halves, in the order in which they sign.
    pub keys: Vec<PublicKey>,
    /// How long they may be remembered.
    pub max_age: Duration,
}

/// No key was made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RotationRefused {
    /// No API signs its tokens.
    #[error("no API is mounted that signs its tokens")]
    NothingSigns,
    /// The one that was made last does not sign yet.
    #[error("there is a next key already; it does not sign yet")]
    NextExists,
    /// The token service could not do it now.
    #[error("the token service cannot do this now ({})", .0.reason())]
    Denied(Denial),
}

impl From<Denial> for RotationRefused {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// The keys of a service that starts. At its first start it makes one, which signs at once: nobody can be remembering others.
pub(super) async fn open(
    store: &dyn TokenStore,
    keyring: &Keyring,
    signing: Signing,
    surroundings: &Surroundings,
) -> Result<Signing, StartFault> {
    let mut rows = store.signing_keys().await?;
    if rows.is_empty() {
        let now = surroundings.clock.now().wall;
        let first = new_key(keyring, surroundings, now, now).await.ok_or(StartFault::NoSigningKey)?;
        store.add_signing_key(first, Timestamp::from_millis(i64::MIN)).await?;
        // Read again: another process may have been first.
        rows = store.signing_keys().await?;
    }
    signing.adopt(rows, keyring)?;
    Ok(signing)
}

/// Makes a key, on a thread that serves nothing else.
async fn new_key(
    keyring: &Keyring,
    surroundings: &Surroundings,
    created: Timestamp,
    signs_from: Timestamp,
) -> Option<SigningKeyRow> {
    let key = tokio::task::spawn_blocking(SigningKey::generate).await.ok().flatten()?;
    let sealed = keyring.seal_signing_key(key.id(), &key.to_pkcs8()?, surroundings.entropy.as_ref())?;
    Some(SigningKeyRow { kid: key.id().into(), sealed, created, signs_from })
}

impl TokenService {
    /// Makes the next key. It is published at once, and signs when nobody can be remembering the keys without it.
    ///
    /// # Errors
    /// [`RotationRefused`].
    pub async fn rotate_keys(&self) -> Result<KnownKey, RotationRefused> {
        let signing = self.signing.as_ref().ok_or(RotationRefused::NothingSigns)?;
        let now = self.now().wall;
        let mut signs_from = signing.schedule().signs_from(now);
        if self.store.is_shared() {
            signs_from = signs_from.max(now.after(LEARNT_WITHIN));
        }
        let row = new_key(&self.keyring, &self.surroundings, now, signs_from).await;
        let row = row.ok_or_else(|| self.fault("a signing key cannot be made"))?;
        let id = row.kid.clone();
        if !self.store.add_signing_key(row, now).await.map_err(Denial::from)? {
            return Err(RotationRefused::NextExists);
        }
        self.reload_keys(signing).await?;
        let state = if signs_from > now { KeyState::Next } else { KeyState::Active };
        Ok(KnownKey { id, state, created: now, signs_from })
    }

    /// The keys as they are in the database now.
    ///
    /// # Errors
    /// `StoreUnavailable`, `Internal`.
    pub async fn signing_keys(&self) -> Result<Vec<KnownKey>, Denial> {
        let Some(signing) = &self.signing else { return Ok(Vec::new()) };
        self.reload_keys(signing).await?;
        let keys = signing.keys(self.now().wall).into_iter().filter_map(|(held, state)| {
            Some(KnownKey { id: held.key.id().into(), state: state?, created: held.created, signs_from: held.signs_from })
        });
        Ok(keys.collect())
    }

    /// The same for everybody: those that are next, the one that is active, and those that are retired.
    ///
    /// # Errors
    /// `StoreUnavailable`, `Internal`.
    pub async fn published_keys(&self) -> Result<PublishedKeys, Denial> {
        let Some(signing) = &self.signing else { return Ok(PublishedKeys { keys: Vec::new(), max_age: Duration::ZERO }) };
        self.reload_keys(signing).await?;
        let keys = signing.keys(self.now().wall).into_iter();
        let keys = keys.filter_map(|(held, state)| state.map(|_| held.key.public())).collect();
        Ok(PublishedKeys { keys, max_age: signing.schedule().published_for })
    }

    /// Takes over the keys that another process made, and forgets those whose last token is over; how many.
    pub(super) async fn tend_keys(&self, now: Now) -> Result<usize, Denial> {
        let Some(signing) = &self.signing else { return Ok(0) };
        self.reload_keys(signing).await?;
        let mut forgotten = 0;
        for (held, state) in signing.keys(now.wall) {
            if state.is_none() {
                self.store.forget_signing_key(held.key.id()).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// Signs an access token. A gateway that was cut off from the database for a while must not go on signing with a key that
    /// others have put away meanwhile.
    ///
    /// # Errors
    /// `StoreUnavailable`, `Internal`.
    pub(super) async fn sign(&self, what: &Statement<'_>) -> Result<Secret, Denial> {
        if let Some(signing) = &self.signing {
            self.read_keys_unless(signing, |last, _| last.is_whole(self.store.heard_since())).await?;
        }
        let signed = self.signing.as_ref().and_then(|signing| signing.sign(what, self.entropy()));
        signed.ok_or_else(|| self.fault("a token cannot be signed"))
    }

    /// What a signed token says of itself; `None` if none of our keys signed it. Another gateway may have made the key, so one
    /// that is not known is looked for in the database.
    ///
    /// # Errors
    /// `StoreUnavailable`, `Internal`: the key may be there.
    pub(super) async fn verify(&self, signing: &Signing, token: &str, now: Now) -> Result<Option<Signed>, Denial> {
        let signed = signing.verify(token, now.wall);
        if signed.is_some() || !signing.names_unknown_key(token, now.wall) {
            return Ok(signed);
        }
        self.read_keys_unless(signing, Reading::is_young).await?;
        Ok(signing.verify(token, now.wall))
    }

    /// Reads the keys that others may have made, unless the last reading will do: one at a time, and after one that failed not
    /// for a while. Nothing happens where nobody else can make any.
    async fn read_keys_unless(&self, signing: &Signing, will_do: impl Fn(Reading, Tick) -> bool) -> Result<(), Denial> {
        if !self.store.is_shared() || will_do(self.readings.last(), self.now().tick) {
            return Ok(());
        }
        let _turn = self.readings.turn.lock().await;
        let (last, now) = (self.readings.last(), self.now().tick);
        if will_do(last, now) {
            return Ok(());
        }
        if last.has_just_failed(now) {
            return Err(StoreFault::Failed.into());
        }
        self.reload_keys(signing).await
    }

    async fn reload_keys(&self, signing: &Signing) -> Result<(), Denial> {
        let (began, heard_since) = (self.now().tick, self.store.heard_since());
        let read = self.read_keys(signing).await;
        // A database that hangs has taken its time until then: whoever waits for a turn is not to wait as long once more.
        let failed = read.is_err().then(|| self.now().tick);
        self.readings.note((began, heard_since), failed);
        read
    }

    async fn read_keys(&self, signing: &Signing) -> Result<(), Denial> {
        let rows = self.store.signing_keys().await?;
        signing.adopt(rows, &self.keyring).map_err(|fault| {
            tracing::error!(%fault, "the signing keys stay as they were");
            self.fault("a signing key cannot be opened")
        })
    }

    /// Our own fault, with the id under which the log has it.
    fn fault(&self, what: &'static str) -> Denial {
        let id = u64::from_be_bytes(mint::bytes(self.entropy()));
        tracing::error!(error_id = format!("{id:016x}"), "{what}");
        Denial::Internal(ErrorId(id))
    }
}
