//! Records in Redis or Valkey: a hash for each, of which a script replaces what changed.
//!
//! - [`script`]: what the server runs
//! - [`write`]: a swap, with what goes before it and after it
//! - [`connection`]: the connection, and what is asked of a [`server`] when it is made
//! - [`changes`]: who waits for a change, and how he hears of it
//! - [`index`]: whose token is this
//! - [`failure`]: what is told of a failure

mod changes;
mod connection;
mod failure;
mod index;
mod script;
mod server;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, Cmd, RedisError, RedisResult, Value, cmd, from_redis_value};

use self::changes::Changes;
use self::connection::Connection;
use self::failure::Address;
use self::script::{Answer, Held, LOADING};
use self::write::Replicas;
use super::{Codec, Loaded, Revision, Sealer, StoreError, StoreTime, Swap, TokenStore};
use crate::record::Record;
use crate::token::{Digest, Key};

const READING: &str = "reading from";

/// How long a record is kept once nothing depends on it any more: longer than an instance that holds it sleeps, as
/// the numbers of leases would begin anew.
const MARGIN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often a waiter looks while changes are told, for one that was lost on its way all the same; and while they
/// are not.
const POLL_WITH_LISTEN: Duration = Duration::from_secs(1);
const POLL_WITHOUT_LISTEN: Duration = Duration::from_millis(50);

/// After a look that failed.
const POLL_AFTER_ERROR: Duration = Duration::from_millis(200);

/// Keeps records in Redis or Valkey, for processes on many machines. It takes the feature `redis`.
///
/// A record is replaced by a script that compares, writes and tells the others in one step. Instances that wait for
/// another's rotation hear of it by a message; while none can come they look, 20 times a second. Clones share
/// their connections, which are made anew when they fail. A swap is never sent twice. Nothing outlives the last clone.
///
/// Take it where a Redis is at hand and looked after, and mind that it may forget what it has acknowledged:
///
/// # What can be lost
///
/// - **At a restart**, what was in memory only. With `appendonly yes` that is the last second, with `appendfsync
///   always` as well nothing, without either everything. An instance that holds the pair writes it again; but one
///   that holds an older pair may come first and spend it again, and if all of them restart, the session is lost.
/// - **At a failover**, what the new primary had not heard of. Was it a lease, two instances may spend one token,
///   which ends the session at a strict server. Was it a pair, it is as after a restart.
///   [`replicas`](Self::replicas) narrows both: no token is spent under a lease that too few replicas know of. A pair
///   that was issued is kept, whoever has heard of it.
/// - **By a primary that is cut off** and goes on for a while, everything it writes. `min-replicas-to-write 1` has it
///   stop.
/// - **When it is full**, nothing: only `maxmemory-policy noeviction` is accepted, at each connection.
///
/// Where a lost session costs more than that, take a database. The store's time is the server's clock. Primary and
/// replicas have to agree within seconds: what a lease's age is measured by would jump at a failover.
///
/// # What is there
///
/// - `<prefix>:{<digest of the key>}`, a hash: a record in parts, and its `revision`. `pair` has the tokens, `past` the
///   digests of the last past ones, `lease` what a lease changes, `record` everything else; the latter two are JSON. A
///   swap writes the parts that it changes. The hash expires a week after the last token that it knows of, or never,
///   where that is unknown. The channel of its changes has the same name.
/// - `<prefix>:digest:<digest of a refresh token>`: whose it is, for [`find`](TokenStore::find). The entries are written
///   just before the record, when a pair is committed, and have to be confirmed by the record, so that a swap that is lost makes
///   no token a known one. That of a past token which leaves the record says so, and is believed as long as there is a
///   record of the session: it is there for as long as 256 access tokens live, at least an hour and at most two days.
///   Later, such a token leads nowhere. The others are there for a week longer than the last token that the record
///   knows of, and for a year where that is not known.
/// - `<prefix>:access:<digest of an access token>`: whose it is, for [`find_by_access`](TokenStore::find_by_access),
///   until an hour after it has expired (for 30 days, where that is not known). The record has to confirm that it is the
///   current one.
///
/// A digest is the first 16 bytes of the SHA-256 in 32 hexadecimal digits, as [`Digest`] has it.
///
/// No token is in a key, a channel or a message. The parts `pair` hold them unless the store is
/// [sealed](Self::sealed); then the server, its logs, its files and its replicas have none.
///
/// # What is written
///
/// A lease and a commit are one round trip each. With a pair of 1.2 KB a rotation adds 3.3 KB to the append-only file
/// and to the stream of the replicas, and a session takes 2.6 KB of memory beside its entries, however many rotations
/// there were. With a [`Sealer`] a lease writes the whole sealed record again.
///
/// # Which servers
///
/// Redis from version 5 on, or Valkey. One address is asked, so it has to be that of the primary: a name that
/// follows it, or a proxy. Each step touches one key, so that a proxy of a cluster will do, and a cluster of one
/// node, but nodes of a larger one are not looked for.
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
#[derive(Debug)]
struct Server {
    address: Address,
    connection: Connection,
    /// A connection of its own for swaps that wait for replicas: nothing else is answered on it meanwhile.
    patient: Connection,
    changes: Changes,
}

impl RedisStore {
    /// Connects to the server at `redis://[user:password@]host[:port][/database]`, or by TLS at `rediss://..`, which
    /// takes the feature `rustls`. It takes some seconds at most.
    ///
    /// # Errors
    ///
    /// If that is no such URL, or the server cannot be reached, refuses the user, is a replica, or deletes what it was
    /// given once it is full: its `maxmemory-policy`, as `INFO` tells it, has to be `noeviction`. What is wrong is
    /// told without the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::from_client(Client::open(url).map_err(|error| unusable(&error))?).await
    }

    /// Connects by a client of one's own, which may have certificates of its own. It is of the crate `redis`,
    /// version 1.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_client(client: Client) -> Result<Self, StoreError> {
        let client = server::prompt(client).map_err(|error| unusable(&error))?;
        let address = Address::of(&client);
        let server = Server {
            connection: Connection::new(client.clone(), address.clone()),
            patient: Connection::new(client.clone(), address.clone()),
            changes: Changes::new(client, address.clone()),
            address,
        };
        server.connection.connect().await?;
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

    /// Has each swap acknowledged by so many replicas, within `timeout` (`WAIT`). If they have not, the swap is an
    /// error, although the record was written. Default: none.
    ///
    /// Nothing is rotated while there are fewer; tokens are served as long as they are valid. Swaps of one store
    /// take turns. The time has to be less than the manager's [`store_timeout`](crate::Builder::store_timeout).
    #[must_use]
    pub fn replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = (count > 0).then_some(Replicas { count, timeout });
        self
    }

    /// Seals the records, and refuses plain ones, see [`Codec`].
    #[must_use]
    pub fn sealed(mut self, sealer: impl Sealer) -> Self {
        self.codec = self.codec.with_sealer(sealer);
        self
    }

    /// Accepts plain records although there is a sealer, and seals them when they are written next: for the time in
    /// which a store that was used without a sealer is given one. Default: no.
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Self {
        self.codec = self.codec.accept_plain(accept);
        self
    }

    /// The key of a session's record, and the channel on which its changes are told. The braces keep all that
    /// belongs to a session on one node of a cluster.
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

    async fn ask(&self, question: Cmd) -> Result<Value, StoreError> {
        let answer = self.server.connection.read(READING, question).await?;
        answer.map_err(|error| self.reading(&error))
    }

    fn reading(&self, error: &RedisError) -> StoreError {
        self.server.address.failed(READING, error)
    }

    /// What an error is about.
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
        held: Option<Held>,
    ) -> Result<Option<(Record, Revision)>, StoreError> {
        let Some(Held { revision, parts }) = held else {
            return Ok(None);
        };
        let thing = self.untouched(name);
        let record = self.codec.decode_parts_aside(key, parts, thing).await?;
        Ok(Some((record, revision)))
    }
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
            .field("server", &self.server.address)
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
        let connection = &self.server.connection;
        let mut answer = connection.read(READING, LOADING.call(&name, &[])).await?;
        if script::is_unknown(&answer) {
            answer = connection.read(READING, LOADING.teach(&name, &[])).await?;
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
        let name = self.name(&key.digest());
        let mut watch = self.server.changes.watch(&name);
        loop {
            let mut pause = match watch.is_told() {
                true => POLL_WITH_LISTEN,
                false => POLL_WITHOUT_LISTEN,
            };
            match self.revision(&name).await {
                Ok(held) if held != seen => return,
                Ok(_) => {}
                // It may come back; whoever waits has a limit.
                Err(_) => pause = POLL_AFTER_ERROR,
            }
            watch.notifications(pause).await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.whose(digest).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.whose_access(digest).await
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let name = self.name(&key.digest());
        if next.key() != key {
            return Err(StoreError::new(format!(
                "the record of another session cannot be written to `{name}`"
            )));
        }
        let parts = self.codec.encode_parts_aside(next).await?;
        let answer = self.replace(&name, seen, next, &parts).await?;
        let swap = match answer.won {
            Some(revision) => Swap::Swapped(revision),
            None => Swap::Lost(self.decoded(key, &name, answer.held).await?),
        };
        Ok((swap, Some(answer.now)))
    }
}
