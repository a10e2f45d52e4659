//! Records in Redis or Valkey: a hash for each, replaced by a script.
//!
//! - [`script`]: what the server runs
//! - [`link`]: the connection, and what is asked of a [`server`] when it is made
//! - [`changes`]: who waits for a change, and how he hears of it
//! - [`index`]: whose token is this
//! - [`trouble`]: what is told of a failure

mod changes;
mod index;
mod link;
mod script;
mod server;
mod trouble;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, Cmd, Pipeline, RedisError, RedisResult, Value, cmd, from_redis_value};
use zeroize::Zeroizing;

use self::changes::Changes;
use self::link::Link;
use self::script::{Held, LOADING, Read, SWAPPING, Swapping};
use self::server::ANSWERING;
use self::trouble::Place;
use super::codec::{Flaw, Outline};
use super::{Codec, Loaded, Revision, Sealer, StoreError, Swap, TokenStore, whole_millis};
use crate::clock::{Clock, SystemClock};
use crate::record::Record;
use crate::token::{Digest, Key};

/// How long a record is kept once nothing depends on it any more: longer than an instance that holds it sleeps, as
/// the numbers of claims would begin anew.
const MARGIN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often a waiter looks while changes are told, for one that was lost on its way all the same; and while they
/// are not.
const LOOK_WHEN_TOLD: Duration = Duration::from_secs(1);
const LOOK_UNTOLD: Duration = Duration::from_millis(50);

/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Keeps records in Redis or Valkey, for processes on many machines.
#[derive(Clone)]
pub struct RedisStore {
    server: Arc<Server>,
    prefix: Arc<str>,
    codec: Codec,
    replicas: Option<Replicas>,
}

/// What clones share.
#[derive(Debug)]
struct Server {
    place: Place,
    link: Link,
    /// A connection of its own for swaps that wait for replicas: nothing else is answered on it meanwhile.
    patient: Link,
    changes: Changes,
}

/// How many replicas have to know of a swap, and how long they have for that.
#[derive(Debug, Clone, Copy)]
struct Replicas {
    count: u32,
    timeout: Duration,
}

impl RedisStore {
    /// Connects to the server at `redis://[user:password@]host[:port][/database]`. With `rediss://`, by TLS; it
    /// takes the feature `rustls`.
    ///
    /// # Errors
    ///
    /// If that is no such URL, the server cannot be reached or refuses the user, is a replica, or evicts: only
    /// `maxmemory-policy noeviction` keeps what it was given. None of them shows the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::from_client(Client::open(url).map_err(|error| unusable(&error))?).await
    }

    /// Connects by a client of one's own, with certificates for example. It is a type of the crate `redis`, version
    /// 1.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_client(client: Client) -> Result<Self, StoreError> {
        let client = server::prompt(client).map_err(|error| unusable(&error))?;
        let place = Place::of(&client);
        let server = Server {
            link: Link::new(client.clone(), place.clone()),
            patient: Link::new(client.clone(), place.clone()),
            changes: Changes::new(client, place.clone()),
            place,
        };
        server.link.connect().await?;
        Ok(Self {
            server: Arc::new(server),
            prefix: "evertoken".into(),
            codec: Codec::plain(),
            replicas: None,
        })
    }

    /// What all keys and channels begin with. Default: `evertoken`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = prefix.as_ref().into();
        self
    }

    /// Has each swap acknowledged by so many replicas. If they have not within `timeout`, it is an error, although
    /// the record was written. Default: none.
    #[must_use]
    pub fn replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = (count > 0).then_some(Replicas { count, timeout });
        self
    }

    /// Seals the pairs. Plain records are read, and sealed when they are written next.
    #[must_use]
    pub fn sealed(mut self, sealer: impl Sealer) -> Self {
        self.codec = Codec::sealed(sealer);
        self
    }

    /// The key of a session's record, and the channel on which its changes are told. The braces keep all that
    /// belongs to a session on one node of a cluster.
    fn name(&self, session: &Digest) -> String {
        format!("{}:{{{session}}}", self.prefix)
    }

    /// The key of a token's entry in the index.
    fn entry(&self, token: &Digest) -> String {
        format!("{}:digest:{token}", self.prefix)
    }

    async fn ask(&self, question: Cmd) -> Result<Value, StoreError> {
        let answer = self.server.link.read(READING, question).await?;
        answer.map_err(|error| self.reading(&error))
    }

    fn reading(&self, error: &RedisError) -> StoreError {
        self.server.place.failed(READING, error)
    }

    fn writing(&self, error: &RedisError) -> StoreError {
        self.server.place.failed(WRITING, error)
    }

    /// What an error is about.
    fn untouched(&self, name: &str) -> String {
        format!(
            "`{name}` in Redis at {} was left as it is",
            self.server.place
        )
    }

    async fn revision(&self, name: &str) -> Result<Option<Revision>, StoreError> {
        let mut question = cmd("HGET");
        question.arg(name).arg("revision");
        let answer = self.ask(question).await?;
        let revision: RedisResult<Option<u64>> = from_redis_value(answer).map_err(Into::into);
        let revision = revision.map_err(|error| self.reading(&error))?;
        Ok(revision.map(Revision::new))
    }

    async fn decoded(
        &self,
        key: &Key,
        name: &str,
        held: Option<Held>,
    ) -> Result<Option<(Record, Revision)>, StoreError> {
        let Some(Held { revision, record }) = held else {
            return Ok(None);
        };
        let thing = self.untouched(name);
        let record = self.codec.decode_aside(key, record, thing).await?;
        Ok(Some((record, revision)))
    }

    /// Calls the script that swaps, and has the replicas acknowledge it if they are to.
    async fn write(&self, next: &Record, call: Cmd) -> Result<RedisResult<Value>, StoreError> {
        let mut commands = Pipeline::new();
        let wall = SystemClock.wall().into();
        index::enter(&mut commands, next, |token| self.entry(token), wall);
        commands.add_command(call);
        let Some(Replicas { count, timeout }) = self.replicas else {
            let answers = self.server.link.write(WRITING, commands, ANSWERING).await?;
            return Ok(swap_among(answers));
        };
        let link = &self.server.patient;
        // What was closed while it was idle is found out by what may be asked twice.
        let _ = link.read(WRITING, cmd("PING")).await?;
        // 0 would be for ever.
        let millis = whole_millis(timeout).max(1);
        commands.cmd("WAIT").arg(count).arg(millis);
        let mut answers = link.write(WRITING, commands, ANSWERING + timeout).await?;
        let acknowledged = answers.pop().unwrap_or(Ok(Value::Nil));
        let swapped = swap_among(answers);
        if !matches!(swapped.as_ref().map(Swapping::is_won), Ok(true)) {
            return Ok(swapped);
        }
        let acknowledged = acknowledged.and_then(|count| Ok(from_redis_value::<u32>(count)?));
        match acknowledged.map_err(|error| self.writing(&error))? {
            enough if enough >= count => Ok(swapped),
            few => Err(StoreError::new(format!(
                "Redis at {} has written, but {few} of {count} replicas have acknowledged it within {} s; a \
                 failover may lose it",
                self.server.place,
                timeout.as_secs_f64()
            ))),
        }
    }
}

const READING: &str = "reading from";
const WRITING: &str = "writing to";

/// The last one: before it come those to the index, which is a hint, and does without.
fn swap_among(mut answers: Vec<RedisResult<Value>>) -> RedisResult<Value> {
    let swapped = answers.pop().unwrap_or(Ok(Value::Nil));
    if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
        tracing::debug!(code = error.code(), "a token is not found by its digest");
    }
    swapped
}

fn unusable(error: &RedisError) -> StoreError {
    let what = "the URL of Redis cannot be used; it is redis://user:password@host:port/database, or rediss:// \
                with the feature `rustls`, with special characters percent-encoded";
    match error.detail() {
        // It quotes what was given.
        Some(_) => StoreError::new(what),
        None => StoreError::with_source(what, error.clone()),
    }
}

/// Shows where it is, and nothing of the client.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &self.server.place)
            .field("prefix", &self.prefix)
            .field("codec", &self.codec)
            .field("replicas", &self.replicas)
            .finish()
    }
}

#[async_trait]
impl TokenStore for RedisStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let name = self.name(&key.digest());
        let link = &self.server.link;
        let mut answer = link.read(READING, LOADING.call(&name, &[])).await?;
        if script::is_unknown(&answer) {
            answer = link.read(READING, LOADING.teach(&name, &[])).await?;
        }
        let read = answer.and_then(Read::parse);
        let Read { now, held } = read.map_err(|error| self.reading(&error))?;
        let entry = self.decoded(key, &name, held).await?;
        Ok(Loaded { entry, now })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let name = self.name(&key.digest());
        if next.key() != key {
            return Err(StoreError::new(format!(
                "the record of another session cannot be written to `{name}`"
            )));
        }
        let record = self.codec.encode_aside(next).await?;
        let seen = seen.map_or_else(String::new, |seen| seen.number().to_string());
        let until = next.needed_until();
        let until = until.map_or_else(String::new, |until| until.as_millis().to_string());
        let margin = whole_millis(MARGIN).to_string();
        let arguments = [
            seen.as_bytes(),
            &record,
            until.as_bytes(),
            margin.as_bytes(),
        ];
        let mut answer = self.write(next, SWAPPING.call(&name, &arguments)).await?;
        if script::is_unknown(&answer) {
            answer = self.write(next, SWAPPING.teach(&name, &arguments)).await?;
        }
        let swapping = answer.and_then(Swapping::parse);
        match swapping.map_err(|error| self.writing(&error))? {
            Swapping::Swapped(revision) => Ok(Swap::Swapped(revision)),
            Swapping::Lost(held) => self.decoded(key, &name, held).await.map(Swap::Lost),
        }
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let name = self.name(&key.digest());
        let mut watch = self.server.changes.watch(&name);
        loop {
            let mut pause = match watch.is_told() {
                true => LOOK_WHEN_TOLD,
                false => LOOK_UNTOLD,
            };
            match self.revision(&name).await {
                Ok(held) if held != seen => return,
                Ok(_) => {}
                // It may come back; whoever waits has a limit.
                Err(_) => pause = LOOK_AGAIN,
            }
            watch.news(pause).await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let entry = self.entry(digest);
        let mut question = cmd("GET");
        question.arg(&entry);
        let found: RedisResult<Option<String>> =
            from_redis_value(self.ask(question).await?).map_err(Into::into);
        let Some(session) = found.map_err(|error| self.reading(&error))? else {
            return Ok(None);
        };
        let session: Digest = session
            .parse()
            .map_err(|error| StoreError::with_source(self.untouched(&entry), error))?;
        let name = self.name(&session);
        let mut question = cmd("HGET");
        question.arg(&name).arg("record");
        let Value::BulkString(record) = self.ask(question).await? else {
            return Ok(None);
        };
        let outline = Outline::read(&Zeroizing::new(record));
        let outline = outline.map_err(|flaw: Flaw| flaw.of(self.untouched(&name)))?;
        // A copy under another name is nobody's.
        let is_its = outline.knows(digest) && outline.record.key.digest() == session;
        Ok(is_its.then_some(outline.record.key))
    }
}
