use std::sync::LazyLock;

use redis::{
    Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value, cmd, from_redis_value,
};
use zeroize::Zeroizing;

use crate::store::{Revision, StoreTime};

/// Reads what is held, and refuses what is no record: a value of another kind is refused by `HMGET` itself.
const HELD: &str = "
local held = redis.call('HMGET', KEYS[1], 'revision', 'record')
if not (tonumber(held[1] or '') and held[2]) and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN a hash that is no record')
end
local time = redis.call('TIME')
";

const LOAD: &str = "
return {time[1], time[2], held[1], held[2]}
";

/// Arguments: the revision seen (empty: none), the record, and when it is of no use any more and how long it
/// is kept after that, in milliseconds (empty: for good).
///
/// Numbers of Lua are floating point ones, exact to 2^53: as microseconds, until the year 2255. They are
/// written by `%.0f`, as they would get an exponent otherwise.
///
/// A revision that was given out is not given again: not after the record was deleted, and not by a replica
/// that was promoted and had not heard of it, unless its clock is behind.
///
/// Whom the access list forbids to publish has written all the same; waiters poll, then. An expiry in the past
/// would delete the record on the spot, although somebody is using it.
const SWAP: &str = "
if (held[1] or '') ~= ARGV[1] then
  return {0, held[1], held[2]}
end
local now = time[1] * 1000000 + time[2]
local revision = string.format('%.0f', math.max(now, (held[1] or 0) + 1))
redis.call('HSET', KEYS[1], 'revision', revision, 'record', ARGV[2])
if ARGV[3] == '' then
  redis.call('PERSIST', KEYS[1])
else
  local last = math.max(tonumber(ARGV[3]), now / 1000) + ARGV[4]
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
end
redis.pcall('PUBLISH', KEYS[1], revision)
return {1, revision, false}
";

/// What the server runs in one go. Each touches one key, so that it runs in a cluster as well.
pub(super) static LOADING: LazyLock<Code> = LazyLock::new(|| Code::new(LOAD));
pub(super) static SWAPPING: LazyLock<Code> = LazyLock::new(|| Code::new(SWAP));

pub(super) struct Code {
    text: String,
    hash: String,
}

impl Code {
    fn new(tail: &str) -> Self {
        let text = format!("{HELD}{tail}");
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call by the script's hash.
    pub(super) fn call(&self, key: &str, arguments: &[&[u8]]) -> Cmd {
        Self::calling("EVALSHA", &self.hash, key, arguments)
    }

    /// The same by its text, for a server that does not know it yet.
    pub(super) fn teach(&self, key: &str, arguments: &[&[u8]]) -> Cmd {
        Self::calling("EVAL", &self.text, key, arguments)
    }

    fn calling(name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
        let mut call = cmd(name);
        call.arg(script).arg(1).arg(key).arg(arguments);
        call
    }
}

/// Whether the server does not know the script, and so has done nothing.
pub(super) fn is_unknown(answer: &RedisResult<Value>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == unknown)
}

/// A record as it is held: bytes that a codec reads.
pub(super) struct Held {
    pub(super) revision: Revision,
    pub(super) record: Zeroizing<Vec<u8>>,
}

/// What loading answers.
pub(super) struct Read {
    pub(super) now: StoreTime,
    pub(super) held: Option<Held>,
}

impl Read {
    pub(super) fn parse(answer: Value) -> RedisResult<Self> {
        let [seconds, micros, revision, record] = parts(answer)?;
        let seconds: u64 = from_redis_value(seconds)?;
        let micros: u64 = from_redis_value(micros)?;
        let millis = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        Ok(Self {
            now: StoreTime::from_millis(millis),
            held: Held::parse(revision, record)?,
        })
    }
}

/// What a swap answers.
pub(super) enum Swapping {
    Swapped(Revision),
    Lost(Option<Held>),
}

impl Swapping {
    /// Whether something was written.
    pub(super) fn is_won(answer: &Value) -> bool {
        matches!(answer, Value::Array(parts) if parts.first() == Some(&Value::Int(1)))
    }

    pub(super) fn parse(answer: Value) -> RedisResult<Self> {
        let [swapped, revision, record] = parts(answer)?;
        if from_redis_value(swapped)? {
            return Ok(Self::Swapped(Revision::new(from_redis_value(revision)?)));
        }
        Held::parse(revision, record).map(Self::Lost)
    }
}

impl Held {
    fn parse(revision: Value, record: Value) -> RedisResult<Option<Self>> {
        match (revision, record) {
            (Value::Nil, Value::Nil) => Ok(None),
            // Taken as it is: a conversion might leave a copy behind.
            (revision, Value::BulkString(record)) => Ok(Some(Self {
                record: Zeroizing::new(record),
                revision: Revision::new(from_redis_value(revision)?),
            })),
            _ => Err(unexpected()),
        }
    }
}

fn parts<const N: usize>(answer: Value) -> RedisResult<[Value; N]> {
    let parts = match answer {
        Value::Array(parts) => parts.try_into().ok(),
        _ => None,
    };
    parts.ok_or_else(unexpected)
}

fn unexpected() -> RedisError {
    let what = "a script answered something else than it says";
    (ErrorKind::UnexpectedReturnType, what).into()
}
