use std::sync::LazyLock;

use redis::{
    Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value, cmd, from_redis_value,
};
use zeroize::Zeroizing;

use crate::store::codec::Parts;
use crate::store::{Revision, StoreTime};

/// Reads what is held, and refuses what is no record: a value of another kind is refused by `HMGET` itself.
///
/// Both scripts answer alike: whether they have written, the time, and what is held: revision, record, lease, past,
/// pair.
const HELD: &str = "
local held = redis.call('HMGET', KEYS[1], 'revision', 'record', 'lease', 'past', 'pair')
if not (tonumber(held[1] or '') and held[2] and held[3]) and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN a hash that is no record')
end
local time = redis.call('TIME')
";

const LOAD: &str = "
return {0, time[1], time[2], held[1], held[2], held[3], held[4], held[5]}
";

/// Arguments: the revision seen (empty: none), the record, its lease, its past tokens and its pair, and when it is of no use any
/// more and how long it is kept after that, in milliseconds (empty: for good).
///
/// A part is written where it differs from what is there, and so is the expiry: what is written goes to the server's
/// files and to its replicas.
///
/// Numbers of Lua are floating point ones, exact to 2^53: as microseconds, until the year 2255. They are
/// written by `%.0f`, as they would get an exponent otherwise.
///
/// A revision that was given out is not given again: not after the record was deleted, and not by a replica
/// that was promoted and had not heard of it, unless its clock is behind.
///
/// A user whom the access list forbids to publish has written all the same; waiters poll, then. An expiry in the past
/// would delete the record on the spot, although an instance is using it.
const SWAP: &str = "
if (held[1] or '') ~= ARGV[1] then
  return {0, time[1], time[2], held[1], held[2], held[3], held[4], held[5]}
end
local now = time[1] * 1000000 + time[2]
local revision = string.format('%.0f', math.max(now, (held[1] or 0) + 1))
local fields = {'revision', revision}
for at, name in ipairs({'record', 'lease', 'past', 'pair'}) do
  if (held[at + 1] or '') ~= ARGV[at + 1] then
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[at + 1]
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
local left = redis.call('PTTL', KEYS[1])
if ARGV[6] == '' then
  if left >= 0 then
    redis.call('PERSIST', KEYS[1])
  end
else
  local last = math.max(tonumber(ARGV[6]), now / 1000) + ARGV[7]
  if left < 0 or math.abs(now / 1000 + left - last) > 1000 then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
  end
end
redis.pcall('PUBLISH', KEYS[1], revision)
return {1, time[1], time[2], revision, false, false, false, false}
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

/// A record as it is held: parts that a codec reads.
pub(super) struct Held {
    pub(super) revision: Revision,
    pub(super) parts: Parts,
}

/// What a script answers.
pub(super) struct Answer {
    /// The revision of what was written, if something was.
    pub(super) won: Option<Revision>,
    pub(super) now: StoreTime,
    /// What is held, if nothing was written.
    pub(super) held: Option<Held>,
}

impl Answer {
    /// Whether something was written.
    pub(super) fn is_won(answer: &Value) -> bool {
        matches!(answer, Value::Array(parts) if parts.first() == Some(&Value::Int(1)))
    }

    pub(super) fn parse(answer: Value) -> RedisResult<Self> {
        let [
            has_written,
            seconds,
            micros,
            revision,
            record,
            lease,
            past,
            pair,
        ] = parts(answer)?;
        let seconds: u64 = from_redis_value(seconds)?;
        let micros: u64 = from_redis_value(micros)?;
        let millis = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        let revision: Option<u64> = from_redis_value(revision)?;
        let revision = revision.map(Revision::new);
        let has_written: bool = from_redis_value(has_written)?;
        // Taken as they are: a conversion might leave a copy behind.
        let held = match (revision, record) {
            (Some(revision), Value::BulkString(rest)) => Some(Held {
                revision,
                parts: Parts {
                    rest: Zeroizing::new(rest),
                    lease: Zeroizing::new(bytes(lease)?.ok_or_else(unexpected)?),
                    past: bytes(past)?.unwrap_or_default(),
                    pair: bytes(pair)?.map(Zeroizing::new),
                },
            }),
            (revision, Value::Nil) if revision.is_some() == has_written => None,
            _ => return Err(unexpected()),
        };
        Ok(Self {
            won: revision.filter(|_| has_written),
            now: StoreTime::from_millis(millis),
            held,
        })
    }
}

/// A part that is not there is an empty one.
fn bytes(part: Value) -> RedisResult<Option<Vec<u8>>> {
    match part {
        Value::BulkString(bytes) => Ok((!bytes.is_empty()).then_some(bytes)),
        Value::Nil => Ok(None),
        _ => Err(unexpected()),
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
