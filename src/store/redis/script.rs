//! The scripts that the server runs, their answers, and a swap with the commands before and after its script.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value, cmd,
    from_redis_value,
};
use zeroize::Zeroizing;

use super::{MARGIN, RedisStore, WRITING, index};
use crate::clock::{Clock, SystemClock};
use crate::record::Record;
use crate::store::Share;
use crate::store::codec::Parts;
use crate::store::{Revision, StoreError, StoreTime, whole_millis};

/// Reads what is held, and refuses a hash that is not a record. A value of another kind is refused by `HMGET` itself.
///
/// Both scripts have the same answer: whether they have written, the time, and what is held (revision, record, lease,
/// past, pair).
const HELD: &str = "
local held = redis.call('HMGET', KEYS[1], 'revision', 'record', 'lease', 'past', 'pair')
if not (tonumber(held[1] or '') and held[2] and held[3]) and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN a hash that is not a record')
end
local time = redis.call('TIME')
";

const LOAD: &str = "
return {0, time[1], time[2], held[1], held[2], held[3], held[4], held[5]}
";

/// Arguments: the revision seen (empty: none), the record, its lease, its past tokens and its pair; then the time until
/// which the record is needed (empty: always) and how long it is kept after that, in milliseconds.
///
/// A part is written only where it differs from the part that is there, and so is the expiry: every write goes to the
/// server's files and to its replicas.
///
/// Numbers of Lua are floating point ones, exact to 2^53: as microseconds, until the year 2255. `%.0f` writes them
/// without an exponent.
///
/// A revision is never given out twice: not after the record was deleted, and not by a promoted replica that had not
/// received the last writes, unless the replica's clock is behind.
///
/// A user whose access list forbids to publish has written all the same; waiters poll then. The expiry is never in the
/// past: that would delete the record at once, although an instance is using it.
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

/// The scripts. Each touches one key, so that it runs in a cluster as well.
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

    /// The call by the script's hash, or by its text for a server that does not know the script yet.
    pub(super) fn call(&self, is_known: bool, key: &str, arguments: &[&[u8]]) -> Cmd {
        let (name, script) = match is_known {
            true => ("EVALSHA", &self.hash),
            false => ("EVAL", &self.text),
        };
        let mut call = cmd(name);
        call.arg(script).arg(1).arg(key).arg(arguments);
        call
    }
}

/// Whether the server does not know the script, and so has not run it.
pub(super) fn is_unknown(answer: &RedisResult<Value>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == unknown)
}

/// The answer of a script.
pub(super) struct Answer {
    /// The new revision, if the script has written.
    pub(super) won: Option<Revision>,
    pub(super) now: StoreTime,
    /// The record that is held, if the script has not written.
    pub(super) held: Option<(Parts, Revision)>,
}

impl Answer {
    /// Whether the script has written.
    fn is_won(answer: &Value) -> bool {
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
        // The bytes are moved: a conversion may leave a copy of a secret behind.
        let held = match (revision, record) {
            (Some(revision), Value::BulkString(rest)) => {
                let parts = Parts {
                    rest: Zeroizing::new(rest),
                    lease: Zeroizing::new(bytes(lease)?.ok_or_else(unexpected)?),
                    past: bytes(past)?.unwrap_or_default(),
                    pair: bytes(pair)?.map(Zeroizing::new),
                };
                Some((parts, revision))
            }
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

/// A part of a record. `None` for an empty part and for a missing one.
pub(super) fn bytes(part: Value) -> RedisResult<Option<Vec<u8>>> {
    match part {
        Value::BulkString(bytes) => Ok((!bytes.is_empty()).then_some(bytes)),
        Value::Nil => Ok(None),
        _ => Err(unexpected()),
    }
}

pub(super) fn parts<const N: usize>(answer: Value) -> RedisResult<[Value; N]> {
    let parts = match answer {
        Value::Array(parts) => parts.try_into().ok(),
        _ => None,
    };
    parts.ok_or_else(unexpected)
}

fn unexpected() -> RedisError {
    let what = "the answer of a script has an unexpected form";
    (ErrorKind::UnexpectedReturnType, what).into()
}

/// How many replicas have to acknowledge a swap, and within which time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) timeout: Duration,
}

impl RedisStore {
    /// Replaces the record called `name` by these parts of `next`, if it still has the revision `seen`.
    pub(super) async fn replace(
        &self,
        name: &str,
        seen: Option<Revision>,
        next: &Record,
        parts: &Parts,
    ) -> Result<Answer, StoreError> {
        let number = |number: u64| number.to_string();
        let is_first = seen.is_none();
        let seen = seen.map_or_else(String::new, |seen| number(seen.number()));
        let until = next.needed_until();
        let until = until.map_or_else(String::new, |until| number(until.as_millis()));
        let margin = number(whole_millis(MARGIN));
        let pair = parts.pair.as_ref().map_or(&[][..], |pair| pair);
        let arguments = [
            seen.as_bytes(),
            &parts.rest,
            &parts.lease,
            &parts.past,
            pair,
            until.as_bytes(),
            margin.as_bytes(),
        ];
        let call = |is_known| self.call(next, is_first, SWAPPING.call(is_known, name, &arguments));
        let mut answer = call(true).await?;
        if is_unknown(&answer) {
            answer = call(false).await?;
        }
        let answer = answer.and_then(Answer::parse);
        answer.map_err(|error| self.writing(&error))
    }

    /// Calls the script after the commands for the index, and before the one for the replicas.
    async fn call(
        &self,
        next: &Record,
        is_first: bool,
        call: Cmd,
    ) -> Result<RedisResult<Value>, StoreError> {
        let mut commands = Pipeline::new();
        let wall = SystemClock.wall().into();
        index::enter(&mut commands, self, next, is_first, wall);
        commands.add_command(call);
        let Some(Replicas { count, timeout }) = self.replicas else {
            let answers = self.server.connection.write(commands, Duration::ZERO);
            return Ok(swap_among(answers.await?));
        };
        let connection = &self.server.patient;
        // Finds out a connection that was closed while it was idle, by a command that may be sent twice.
        let _ = connection.read(WRITING, cmd("PING")).await?;
        // A time of 0 has no limit.
        let millis = whole_millis(timeout).max(1);
        commands.cmd("WAIT").arg(count).arg(millis);
        // After that time, a server that answers reports how many replicas have acknowledged.
        let least = timeout.saturating_add(Share::current().reserve / 2);
        let mut answers = connection.write(commands, least).await?;
        let acknowledged = answers.pop().unwrap_or(Ok(Value::Nil));
        let swapped = swap_among(answers);
        if !swapped.as_ref().is_ok_and(Answer::is_won) {
            return Ok(swapped);
        }
        let acknowledged = acknowledged.and_then(|number| Ok(from_redis_value::<u32>(number)?));
        let acknowledged = acknowledged.map_err(|error| self.writing(&error))?;
        if acknowledged >= count {
            return Ok(swapped);
        }
        Err(StoreError::new(format!(
            "Redis at {} has written, but only {acknowledged} of {count} replicas have acknowledged it within {} s, so a \
             failover may lose it; check the replicas",
            self.server.address,
            timeout.as_secs_f64()
        )))
    }

    fn writing(&self, error: &RedisError) -> StoreError {
        self.server.address.failed(WRITING, error)
    }
}

/// The last answer. The answers before it are those to the index's commands: the index is a hint, so their errors are
/// not errors of the swap.
fn swap_among(mut answers: Vec<RedisResult<Value>>) -> RedisResult<Value> {
    let swapped = answers.pop().unwrap_or(Ok(Value::Nil));
    if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
        tracing::debug!(
            code = error.code(),
            "a token was not entered in the index and cannot be found by its digest"
        );
    }
    swapped
}
