//! A stream that gateways write and read: what is appended by one is read by all, in one order.
//!
//! Imports `model` and the neighbours. Entries are appended through the shared connection, many in one script, and read through
//! one of the reader's own (`Tail`), because a read that waits would hold up everybody on a shared one. Every entry names the
//! one before it: a server tells neither what it has trimmed nor what it has lost, and a chain tells both. Deliberately absent:
//! what entries mean, and what follows from a broken chain (`store::feed`).

use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use redis::{ErrorKind, FromRedisValue, RedisError, Script, Value, cmd};

use crate::store::valkey::link::{CONNECTING, Link, LinkFault, Opener};
use crate::store::valkey::{Outage, Terms, Valkey};

/// The most entries that one read brings.
pub const BATCH: usize = 1_000;

/// How much longer than it may wait a read may take.
const MARGIN: Duration = Duration::from_secs(1);

/// Appends every argument from the third on, each naming the entry before it; then trims. The server's clock dates entries,
/// so that the clocks of gateways do not matter. Answers which server this is, as [`LOOK`] does.
const APPEND: &str = "
    local now = redis.call('TIME')
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    local before = last[1] and last[1][1] or '0-0'
    for at = 3, #ARGV do
        before = redis.call('XADD', KEYS[1], '*', 'before', before, 'event', ARGV[at])
    end
    local edge = math.max(0, now[1] * 1000 - tonumber(ARGV[1]))
    redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', edge))
    redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[2])
    local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
    return process .. ':' .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '')
";

/// Tells which server this is, and the youngest entry it knows of. Which server is the process and the history that it writes:
/// a process that was a replica for a while has thrown its own away, and begins another when it is promoted. It writes too: a replica refuses that, and so does a master
/// that has lost its replicas and is told to mind; neither has anything to tell.
const LOOK: &str = "
    redis.call('SET', KEYS[2], '1', 'PX', 1000)
    local last = '0-0'
    local found = redis.pcall('XINFO', 'STREAM', KEYS[1])
    if not found.err then
        for at = 1, #found, 2 do
            if found[at] == 'last-generated-id' then last = found[at + 1] end
        end
    end
    local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
    local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
    return { process .. ':' .. history, last }
";

/// What an entry is called: when it was appended by the server's clock, in milliseconds since the Unix epoch, and which it is
/// of that millisecond. Ordered as the stream is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct EntryId {
    /// When.
    pub millis: u64,
    /// Which of that millisecond.
    pub number: u64,
}

impl EntryId {
    /// Before every entry.
    pub const NONE: Self = Self { millis: 0, number: 0 };

    fn parse(text: &str) -> Option<Self> {
        let (millis, number) = text.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, number: number.parse().ok()? })
    }

    fn text(self) -> String {
        format!("{}-{}", self.millis, self.number)
    }
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is called.
    pub id: EntryId,
    /// The one before it when it was appended; [`EntryId::NONE`] if there was none, or if it does not say.
    pub before: EntryId,
    /// What was appended; empty if it is none of ours.
    pub body: Box<[u8]>,
}

/// How a server stands to a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Which server it is: another after each start of it, on each machine, and after each promotion.
    pub server: Box<str>,
    /// The youngest entry that it knows of, be it trimmed since; [`EntryId::NONE`] if there is no stream.
    pub last: EntryId,
}

/// What is kept of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For how long entries are kept, at least.
    pub retention: Duration,
    /// How many are kept, about.
    pub most: usize,
}

impl Valkey {
    /// Appends entries to the stream under `key`, in their order and all of them or none; to which server.
    ///
    /// # Errors
    /// As [`Valkey::run`]; they may have been appended all the same.
    pub async fn append(
        &self,
        operation: &'static str,
        key: &str,
        bounds: Bounds,
        bodies: &[Vec<u8>],
    ) -> Result<Box<str>, Outage> {
        let script = Script::new(APPEND);
        let mut call = script.key(key);
        call.arg(u64::try_from(bounds.retention.as_millis()).unwrap_or(u64::MAX)).arg(bounds.most);
        for body in bodies {
            call.arg(body.as_slice());
        }
        self.run::<String>(operation, &call).await.map(String::into_boxed_str)
    }
}

/// The reading end of a stream, on a connection of its own.
pub struct Tail {
    opener: Opener,
    link: Option<Link>,
    key: String,
    /// In the slot of the stream.
    beat: String,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The stream cannot be read now; why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(Box<str>);

impl Unread {
    /// It may be the wrong server.
    #[must_use]
    pub fn in_doubt() -> Self {
        Self("the other connection leads to another server".into())
    }
}

impl From<RedisError> for Unread {
    fn from(error: RedisError) -> Self {
        Self(error.to_string().into())
    }
}

impl Tail {
    /// Of the stream under `key`. Does not connect yet.
    ///
    /// # Errors
    /// [`LinkFault`]: the terms cannot be used.
    pub fn new(terms: &Terms, key: &str) -> Result<Self, LinkFault> {
        Ok(Self { opener: Opener::new(terms)?, link: None, key: key.to_owned(), beat: format!("{{{key}}}:beat") })
    }

    /// Connects anew.
    ///
    /// # Errors
    /// [`Unread`], within a few seconds.
    pub async fn open(&mut self) -> Result<(), Unread> {
        self.link = None;
        let opened = tokio::time::timeout(CONNECTING * 2, self.opener.open()).await;
        self.link = Some(opened.map_err(|_| Unread("connecting takes too long".into()))??);
        Ok(())
    }

    /// How the server stands to the stream.
    ///
    /// # Errors
    /// [`Unread`]: it is gone, late, or not one to ask. [`Tail::open`] comes next.
    pub async fn look(&mut self) -> Result<Standing, Unread> {
        let (script, link) = (Script::new(LOOK), self.link.as_mut());
        let link = link.ok_or_else(|| Unread("there is no connection".into()))?;
        let mut call = script.key(&self.key);
        call.key(&self.beat);
        let answer = tokio::time::timeout(MARGIN, call.invoke_async::<(String, String)>(link)).await;
        let (server, last) = answer.map_err(|_| Unread("it does not answer".into()))??;
        let last = EntryId::parse(&last).ok_or_else(|| Unread("it names entries in a way of its own".into()))?;
        Ok(Standing { server: server.into(), last })
    }

    /// The entries after this one, at most [`BATCH`]. Without any, waits for the next, but no longer than `patience`; not at
    /// all if that is zero.
    ///
    /// # Errors
    /// As [`Tail::look`].
    pub async fn read(&mut self, after: EntryId, patience: Duration) -> Result<Vec<Entry>, Unread> {
        let link = self.link.as_mut().ok_or_else(|| Unread("there is no connection".into()))?;
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(BATCH);
        // To the server zero means for ever.
        if let Some(millis) = u64::try_from(patience.as_millis()).ok().filter(|millis| *millis > 0) {
            command.arg("BLOCK").arg(millis);
        }
        command.arg("STREAMS").arg(&self.key).arg(after.text());
        let answer = tokio::time::timeout(patience + MARGIN, command.query_async::<Option<StreamReadReply>>(link)).await;
        let reply = answer.map_err(|_| Unread("it does not answer".into()))??;
        let found = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids);
        Ok(found.map(|entry| read(&entry)).collect::<Result<_, _>>()?)
    }
}

fn read(entry: &StreamId) -> Result<Entry, RedisError> {
    let id = EntryId::parse(&entry.id).ok_or((ErrorKind::UnexpectedReturnType, "an entry has no name"))?;
    let before = entry.map.get("before").and_then(|value| String::from_redis_value_ref(value).ok());
    let body = match entry.map.get("event") {
        Some(Value::BulkString(bytes)) => bytes.clone(),
        Some(_) | None => Vec::new(),
    };
    let before = before.and_then(|text| EntryId::parse(&text)).unwrap_or(EntryId::NONE);
    Ok(Entry { id, before, body: body.into() })
}
