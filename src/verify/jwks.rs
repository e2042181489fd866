//! Where an issuer's keys come from: files that are read once, or a JWKS document that is fetched again when it must be.
//!
//! Imports `model`, `plan` (the source). Keys that are there go on being used while their issuer cannot be reached; an unknown
//! key id costs at most one fetch per cooldown, whoever makes it up. Deliberately absent: what keys are used for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Uri};
use http_body_util::Full;

use crate::fetch::{Bounds, Fetcher};
use crate::model::{Clock, NonEmpty, Tick};
use crate::plan::KeySource;
use crate::verify::answer::Unreadable;
use crate::verify::authority::Unavailable;
use crate::verify::keys::KeySet;
use crate::verify::setup::SetupError;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub(crate) enum KeyRing {
    /// Read at start.
    Fixed(Arc<KeySet>),
    /// Fetched.
    Fetched(Arc<Published>),
}

/// A JWKS document.
#[derive(Debug)]
pub(crate) struct Published {
    url: Uri,
    fetcher: Fetcher,
    refresh: Duration,
    cooldown: Duration,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Held by the one who fetches; whoever waits for it uses what it brings.
    turn: tokio::sync::Mutex<()>,
    refreshing: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Tick)>,
    last: Option<Attempt>,
    attempts: u64,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Tick,
    result: Result<(), Unavailable>,
}

impl KeyRing {
    /// Reads the files, or prepares the fetching.
    pub(crate) fn new(source: &KeySource, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        match source {
            KeySource::Files(paths) => Ok(Self::Fixed(Arc::new(from_files(paths)?))),
            KeySource::Url { url, deadline, refresh, cooldown, ca_file } => {
                let bounds = Bounds { deadline: *deadline, answer: LARGEST_DOCUMENT, idle: 1 };
                Ok(Self::Fetched(Arc::new(Published {
                    url: url.clone(),
                    fetcher: Fetcher::new(url, ca_file.as_deref(), bounds)?,
                    refresh: *refresh,
                    cooldown: *cooldown,
                    clock,
                    known: RwLock::default(),
                    turn: tokio::sync::Mutex::default(),
                    refreshing: AtomicBool::new(false),
                })))
            }
        }
    }

    /// The keys as they are known; waits only if none has ever been seen.
    pub(crate) async fn current(&self) -> Result<Arc<KeySet>, Unavailable> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            Self::Fetched(published) => published.current().await,
        }
    }

    /// Other keys than `held`, which could not tell; `None` if there are none.
    pub(crate) async fn newer(&self, held: &Arc<KeySet>) -> Result<Option<Arc<KeySet>>, Unavailable> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Fetched(published) => published.newer(held).await,
        }
    }
}

impl Published {
    async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, Unavailable> {
        let now = self.clock.now().tick;
        let known = self.read(|known| known.keys.clone());
        if let Some((keys, fetched)) = known {
            if now.since(fetched) >= self.refresh {
                self.refresh_behind(now);
            }
            return Ok(keys);
        }
        self.fetch(now, RETRY).await?;
        self.read(|known| known.keys.clone()).map(|(keys, _)| keys).ok_or(Unavailable::Lost)
    }

    async fn newer(&self, held: &Arc<KeySet>) -> Result<Option<Arc<KeySet>>, Unavailable> {
        let other =
            |known: &Known| known.keys.as_ref().map(|(keys, _)| Arc::clone(keys)).filter(|keys| !Arc::ptr_eq(keys, held));
        if let Some(keys) = self.read(other) {
            return Ok(Some(keys));
        }
        self.fetch(self.clock.now().tick, self.cooldown).await?;
        Ok(self.read(other))
    }

    /// Fetches unless the last attempt was less than `cooldown` ago, or [`RETRY`] if it failed: then its result stands.
    async fn fetch(&self, now: Tick, cooldown: Duration) -> Result<(), Unavailable> {
        let arrived = self.read(|known| known.attempts);
        if let Some(attempt) = self.read(|known| known.last)
            && now.since(attempt.at) < if attempt.result.is_ok() { cooldown } else { cooldown.min(RETRY) }
        {
            return attempt.result;
        }
        let _turn = self.turn.lock().await;
        if let Some(result) = self.read(|known| known.last.filter(|_| known.attempts != arrived).map(|attempt| attempt.result))
        {
            return result;
        }
        let fetched = self.ask().await;
        let at = self.clock.now().tick;
        let result = fetched.as_ref().map(drop).map_err(|reason| *reason);
        if let Err(reason) = result {
            tracing::warn!(host = self.url.host(), %reason, "cannot fetch an issuer's keys");
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.attempts += 1;
        known.last = Some(Attempt { at, result });
        if let Ok(keys) = fetched {
            known.keys = Some((Arc::new(keys), at));
        }
        result
    }

    async fn ask(&self) -> Result<KeySet, Unavailable> {
        let request = Request::get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let request = request.body(Full::<Bytes>::default()).map_err(|_| Unavailable::Lost)?;
        let (status, document) = self.fetcher.fetch(request).await?;
        if status != http::StatusCode::OK {
            return Err(Unavailable::Failing(status.as_u16()));
        }
        KeySet::from_jwks(&document).map_err(|Unreadable(what)| Unavailable::Unreadable(what))
    }

    /// Keys that have got old are fetched again while they go on being used.
    fn refresh_behind(self: &Arc<Self>, now: Tick) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let published = Arc::clone(self);
        tokio::spawn(async move {
            // If it fails that is logged, and the old keys stay.
            let _ = published.fetch(now, RETRY).await;
            published.refreshing.store(false, Ordering::Release);
        });
    }

    fn read<T>(&self, what: impl FnOnce(&Known) -> T) -> T {
        what(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn from_files(paths: &NonEmpty<PathBuf>) -> Result<KeySet, SetupError> {
    let sets = paths.iter().map(|path| from_file(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(KeySet::joined(sets))
}

fn from_file(path: &Path) -> Result<KeySet, SetupError> {
    let failed = |reason: String| SetupError::Keys { path: path.to_owned(), reason };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let json = text.trim_ascii_start().starts_with(b"{");
    let keys = if json { KeySet::from_jwks(&text) } else { KeySet::from_pem(&text) };
    keys.map_err(|Unreadable(what)| failed(what.to_owned()))
}

/// The shortest time between two fetches while they fail, or while nothing is known.
const RETRY: Duration = Duration::from_secs(1);
/// The largest JWKS document, in bytes.
const LARGEST_DOCUMENT: usize = 256 * 1024;

#[cfg(test)]
mod tests;
