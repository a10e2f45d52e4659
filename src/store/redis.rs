//! Records in Redis or Valkey: a hash for each record. A script compares the revision, and writes what has changed.
//!
//! - [`script`]: the scripts, and a swap with the commands around its script
//! - [`connection`]: the connection, the checks of the server, and subscriptions to the changes of records
//! - [`index`]: from a token to its session
//! - [`failure`]: the report of a failure
//!
//! This store never decides by itself what a token means, and never sends a swap twice: after a failure, the server may
//! have carried the swap out.

mod connection;
mod failure;
mod index;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, Cmd, RedisError, RedisResult, Value, cmd, from_redis_value};

use self::connection::Connection;
use self::failure::Address;
use self::script::{Answer, LOADING, Replicas};
use super::codec::{Outline, Parts, sealing_settings};
use super::notify::Hub;
use super::{
    Codec, Loaded, Revision, Sealer, StoreError, StoreTime, Swap, TokenStore, refuse_other_key,
};
#[cfg(feature = "config")]
use crate::parameters::{ConfigError, FromParameters, PositiveSpan, Secret, set};
use crate::record::Record;
use crate::token::{Digest, Key};

const READING: &str = "reading from";
const WRITING: &str = "writing to";

/// How long a record is kept after nothing depends on it any more: longer than an instance that holds the record sleeps.
/// Without the record, the numbers of leases would begin anew.
const MARGIN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Keeps records in Redis or Valkey, for processes on many machines. It takes the feature `redis`.
///
/// A script replaces a record: it compares, writes and notifies in one step. Instances that wait for the rotation of
/// another instance receive a message; while no message can come, they poll 20 times a second. Clones share their
/// connections, which are made anew when they fail. A swap is never sent twice. The connections end with the last clone.
///
/// Use this store where a Redis is at hand and looked after. Redis may forget what it has acknowledged:
///
/// # What can be lost
///
/// - **At a restart**: what was in memory only. With `appendonly yes` that is the last second; with `appendfsync
///   always` as well it is nothing; without either it is everything. An instance that holds the pair writes the pair
///   again. But an instance that holds an older pair may come first and spend that pair again, and if all instances
///   restart, the session is lost.
/// - **At a failover**: what the new primary had not received. If that was a lease, two instances may spend one token,
///   which ends the session at a strict server. If that was a pair, the effect is that of a restart.
///   [`replicas`](Self::replicas) narrows both: a token is not spent under a lease that too few replicas have
///   acknowledged. A pair that was issued is kept, however many replicas have acknowledged it.
/// - **By a primary that is cut off** and continues for a while: everything that it writes. With
///   `min-replicas-to-write 1` the primary stops.
/// - **When the server is full**: nothing. Only `maxmemory-policy noeviction` is accepted, at each connection.
///
/// Where a lost session costs more than that, use a database. The store's time is the server's clock. The clocks of
/// primary and replicas have to agree within seconds: otherwise the age of a lease jumps at a failover.
///
/// # What is stored
///
/// - `<prefix>:{<digest of the key>}`, a hash: a record in parts, and its `revision`. `pair` has the tokens, `past` the
///   digests of the last past ones, `lease` what a lease changes, `record` everything else; the latter two are JSON. A
///   swap writes the parts that it changes. The hash expires a week after the last token that the record knows of, or
///   never where that time is unknown. The channel of the record's changes has the same name.
/// - `<prefix>:digest:<digest of a refresh token>`: the token's session, for [`find`](TokenStore::find). The entries are
///   written just before the record, when a pair is committed. The record has to confirm an entry, so a swap that is lost
///   does not make a token a known one. The entry of a past token that leaves the record is marked as past. Such an entry
///   is believed as long as the session has a record. It expires after the time that 256 access tokens live, at least
///   after an hour and at most after two days. Later, the token is not found. The other entries expire a week after the
///   last token that the record knows of, and after a year where that time is unknown.
/// - `<prefix>:access:<digest of an access token>`: the token's session, for
///   [`find_by_access`](TokenStore::find_by_access). The entry expires an hour after the token (after 30 days, where the
///   token's expiry is unknown). The record has to confirm that the token is the current one.
///
/// - `<prefix>:upstream:<mark>`: a sorted set of the sessions of a [provider's session or user](Record::upstream), for
///   [`find_by_upstream`](TokenStore::find_by_upstream), each with the time at which its record expires (a year after the
///   last rotation, where the record never expires). Sessions whose time is over leave the set with the next session that is
///   entered, and the set expires with the last one. It is written just before the record, when a pair is committed. The
///   record has to confirm that it has the mark.
///
/// A digest is the first 16 bytes of the SHA-256 in 32 hexadecimal digits, as [`Digest`] has it.
///
/// Keys, channels and messages never contain a token. The parts `pair` contain tokens unless the store is
/// [sealed](Self::sealed); then nothing that the store writes contains one.
///
/// # What is written
///
/// A lease and a commit are one round trip each. With a pair of 1.2 KB a rotation adds 3.3 KB to the append-only file
/// and to the stream of the replicas, and a session takes 2.6 KB of memory beside its entries, however many rotations
/// there were. With a [`Sealer`] a lease writes the whole sealed record again.
///
/// # Which servers
///
/// Redis from version 5 on, or Valkey. The store connects to one address, so that has to be the address of the primary: a
/// name that follows the primary, or a proxy. Each step touches one key, so a proxy of a cluster works, and so does a
/// cluster of one node. The store does not look for the nodes of a larger cluster.
///
/// ```no_run
/// use std::time::Duration;
///
/// use evertoken::RedisStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::connect("redis://127.0.0.1:6379").await?;
/// let store = store.prefix("imports").replicas(1, Duration::from_secs(1));
/// // TokenManager::builder(endpoint).store(store)
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    server: Arc<Server>,
    prefix: Arc<str>,
    codec: Codec,
    replicas: Option<Replicas>,
}

/// What clones share.
struct Server {
    address: Address,
    connection: Connection,
    /// The connection for swaps that wait for replicas: the server answers nothing else on it meanwhile.
    patient: Connection,
    changes: Hub,
}

impl RedisStore {
    /// Connects to the server at `redis://[user:password@]host[:port][/database]`, or by TLS at `rediss://..`, which
    /// takes the feature `rustls`. Connecting takes some seconds at most.
    ///
    /// # Errors
    ///
    /// If the URL is not of this form, or the server cannot be reached, refuses the user, is a replica, or deletes
    /// records when it is full: its `maxmemory-policy`, as `INFO` reports it, has to be `noeviction`. The error never
    /// contains the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::from_client(Client::open(url).map_err(|error| unusable(&error))?).await
    }

    /// Connects by a client of the crate `redis`, version 1. The client may have its own certificates.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_client(client: Client) -> Result<Self, StoreError> {
        let client = connection::without_delay(client).map_err(|error| unusable(&error))?;
        let address = Address::of(&client);
        let server = Server {
            connection: Connection::new(client.clone(), address.clone()),
            patient: Connection::new(client.clone(), address.clone()),
            changes: connection::hub(client, address.clone()),
            address,
        };
        server.connection.connection().await?;
        Ok(Self {
            server: Arc::new(server),
            prefix: "evertoken".into(),
            codec: Codec::plain(),
            replicas: None,
        })
    }

    /// Sets the prefix of all keys and channels. Default: `evertoken`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = prefix.as_ref().into();
        self
    }

    /// Lets `count` replicas acknowledge each swap, within `timeout` (`WAIT`). A swap that fewer
    /// have acknowledged is an error, although the record was written. Default: none.
    ///
    /// While there are fewer replicas, nothing is rotated; tokens are served as long as they are valid. Swaps of one
    /// store take turns. `timeout` has to be less than the manager's
    /// [`store_timeout`](crate::Builder::store_timeout).
    #[must_use]
    pub fn replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = (count > 0).then_some(Replicas { count, timeout });
        self
    }

    sealing_settings!();

    /// The key of a session's record, and the channel of its changes. The braces keep both on one node of a cluster.
    fn name(&self, session: &Digest) -> String {
        format!("{}:{{{session}}}", self.prefix)
    }

    /// The key of a refresh token's entry in the index.
    fn entry(&self, token: &Digest) -> String {
        format!("{}:digest:{token}", self.prefix)
    }

    /// The key of an access token's entry.
    fn access_entry(&self, token: &Digest) -> String {
        format!("{}:access:{token}", self.prefix)
    }

    /// The key of the set of a provider's session or user.
    fn upstream_entry(&self, mark: &Digest) -> String {
        format!("{}:upstream:{mark}", self.prefix)
    }

    async fn ask(&self, question: Cmd) -> Result<Value, StoreError> {
        let answer = self.server.connection.read(READING, question).await?;
        answer.map_err(|error| self.reading(&error))
    }

    fn reading(&self, error: &RedisError) -> StoreError {
        self.server.address.failed(READING, error)
    }

    /// The subject of an error about a value.
    fn untouched(&self, name: &str) -> String {
        format!(
            "`{name}` in Redis at {} was left as it is",
            self.server.address
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
        held: Option<(Parts, Revision)>,
    ) -> Result<Option<(Record, Revision)>, StoreError> {
        let Some((parts, revision)) = held else {
            return Ok(None);
        };
        let thing = self.untouched(name);
        let record = self.codec.decode_parts_async(key, parts, thing).await?;
        Ok(Some((record, revision)))
    }
}

fn unusable(error: &RedisError) -> StoreError {
    let what = "the URL of Redis cannot be used; write redis://user:password@host:port/database, or rediss:// with \
                the feature `rustls`, with special characters percent-encoded";
    match error.detail() {
        // The detail quotes the URL, which may contain the password.
        Some(_) => StoreError::new(what),
        None => StoreError::with_source(what, error.clone()),
    }
}

/// Shows the address, and nothing else of the client.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &format_args!("{}", self.server.address))
            .field("prefix", &self.prefix)
            .field("codec", &self.codec)
            .field("replicas", &self.replicas)
            .finish()
    }
}

#[async_trait]
impl TokenStore for RedisStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let (name, connection) = (self.name(&key.digest()), &self.server.connection);
        let call = |is_known| connection.read(READING, LOADING.call(is_known, &name, &[]));
        let mut answer = call(true).await?;
        if script::is_unknown(&answer) {
            answer = call(false).await?;
        }
        let read = answer.and_then(Answer::parse);
        let Answer { now, held, .. } = read.map_err(|error| self.reading(&error))?;
        let entry = self.decoded(key, &name, held).await?;
        Ok(Loaded { entry, now })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let (swap, _) = self.swap_timed(key, seen, next).await?;
        Ok(swap)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let (name, changes) = (self.name(&key.digest()), &self.server.changes);
        changes.changed(&name, seen, || self.revision(&name)).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let entry = self.entry(digest);
        let is_it = |outline: &Outline, is_past| is_past || outline.knows(digest);
        self.session_of(&entry, is_it).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let entry = self.access_entry(digest);
        let is_it = |outline: &Outline, _| outline.access_digest() == Some(*digest);
        self.session_of(&entry, is_it).await
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let found = self.sessions_of(&self.upstream_entry(mark), mark).await?;
        Ok(Some(found))
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let name = self.name(&key.digest());
        refuse_other_key(key, next)?;
        let parts = self.codec.encode_parts_async(next).await?;
        let answer = self.replace(&name, seen, next, &parts).await?;
        let swap = match answer.won {
            Some(revision) => Swap::Swapped(revision),
            None => Swap::Lost(self.decoded(key, &name, answer.held).await?),
        };
        Ok((swap, Some(answer.now)))
    }
}

/// About a hundred times what a replica in the same network needs.
#[cfg(feature = "config")]
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// What a configuration says of a Redis store.
#[cfg(feature = "config")]
#[derive(serde::Deserialize)]
pub(crate) struct Parameters {
    url: Secret,
    prefix: Option<String>,
    replicas: Option<u32>,
    replica_timeout: Option<PositiveSpan>,
    seal: Option<crate::seal::Keys>,
    seal_accepts_plain: Option<bool>,
}

#[cfg(feature = "config")]
impl FromParameters for RedisStore {
    type Parameters = Parameters;

    async fn from_parameters(parameters: Parameters) -> Result<Self, ConfigError> {
        let url = parameters.url.read_at("url")?;
        let timeout = parameters.replica_timeout.map(|timeout| timeout.0);
        if timeout.is_some() && parameters.replicas.is_none() {
            let problem = "requires `replicas`; set `replicas`, or remove this key";
            return Err(ConfigError::new("replica_timeout", problem));
        }
        let codec = Codec::configured(parameters.seal, parameters.seal_accepts_plain).await?;
        let connecting = Self::connect(&url).await;
        let store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
        let store = set(Self { codec, ..store }, parameters.prefix, Self::prefix);
        Ok(set(store, parameters.replicas, |store, count| {
            store.replicas(count, timeout.unwrap_or(REPLICA_TIMEOUT))
        }))
    }
}
