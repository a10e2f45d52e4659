use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, cmd, from_redis_value};

use super::script::{self, Answer, SWAPPING};
use super::{MARGIN, RedisStore, index};
use crate::clock::{Clock, SystemClock};
use crate::record::Record;
use crate::store::budget::Share;
use crate::store::codec::Parts;
use crate::store::{Revision, StoreError, whole_millis};

const WHAT: &str = "writing to";

/// How many replicas have to know of a swap, and how long they have for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) timeout: Duration,
}

impl RedisStore {
    /// Replaces the record called `name`, where it still has the revision `seen`, by these parts of `next`.
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
        let call = SWAPPING.call(name, &arguments);
        let mut answer = self.call(next, is_first, call).await?;
        if script::is_unknown(&answer) {
            let call = SWAPPING.teach(name, &arguments);
            answer = self.call(next, is_first, call).await?;
        }
        let answer = answer.and_then(Answer::parse);
        answer.map_err(|error| self.writing(&error))
    }

    /// Calls the script, with what goes before it and after it.
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
        match self.replicas {
            Some(replicas) => self.acknowledged(commands, replicas).await,
            None => {
                let answers = self.server.connection.write(WHAT, commands, Duration::ZERO);
                Ok(swap_among(answers.await?))
            }
        }
    }

    async fn acknowledged(
        &self,
        mut commands: Pipeline,
        Replicas { count, timeout }: Replicas,
    ) -> Result<RedisResult<Value>, StoreError> {
        let connection = &self.server.patient;
        // A connection that was closed while it was idle is found out by what may be asked twice.
        let _ = connection.read(WHAT, cmd("PING")).await?;
        // 0 would be for ever.
        let millis = whole_millis(timeout).max(1);
        commands.cmd("WAIT").arg(count).arg(millis);
        // A server that answers says itself, after that time, who has not acknowledged.
        let least = timeout.saturating_add(Share::current().reserve / 2);
        let mut answers = connection.write(WHAT, commands, least).await?;
        let heard = answers.pop().unwrap_or(Ok(Value::Nil));
        let swapped = swap_among(answers);
        if !swapped.as_ref().is_ok_and(Answer::is_won) {
            return Ok(swapped);
        }
        let heard = heard.and_then(|heard| Ok(from_redis_value::<u32>(heard)?));
        let heard = heard.map_err(|error| self.writing(&error))?;
        if heard >= count {
            return Ok(swapped);
        }
        Err(StoreError::new(format!(
            "Redis at {} has written, but {heard} of {count} replicas have acknowledged it within {} s; a failover \
             may lose it",
            self.server.address,
            timeout.as_secs_f64()
        )))
    }

    fn writing(&self, error: &RedisError) -> StoreError {
        self.server.address.failed(WHAT, error)
    }
}

/// The last one: before it come those to the index, which is a hint, and does without.
fn swap_among(mut answers: Vec<RedisResult<Value>>) -> RedisResult<Value> {
    let swapped = answers.pop().unwrap_or(Ok(Value::Nil));
    if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
        tracing::debug!(code = error.code(), "a token is not found by its digest");
    }
    swapped
}
