//! What is told of a failure: where, what to do about it, and never the password.

use std::fmt;

use redis::{Client, ErrorKind, RedisError, ServerErrorKind};
use zeroize::Zeroizing;

use crate::store::StoreError;

/// Whether a connection is not to be used any more.
///
/// A time-out is among them: a peer that vanished without a word never closes its connection. So is a server
/// that became a replica, for another may be found at its address.
pub(super) fn is_over(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::AuthenticationFailed
            | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    ) || error.code() == Some("NOAUTH")
}

/// Where a server is, for messages.
#[derive(Clone)]
pub(super) struct Address {
    address: String,
    password: Option<Zeroizing<String>>,
}

impl Address {
    pub(super) fn of(client: &Client) -> Self {
        let info = client.get_connection_info();
        let password = info.redis_settings().password();
        Self {
            address: info.addr().to_string(),
            password: password
                .filter(|word| !word.is_empty())
                .map(|word| word.to_owned().into()),
        }
    }

    /// What could not be done ("connecting to"), and what may help.
    pub(super) fn failed(&self, what: &str, error: &RedisError) -> StoreError {
        self.because(what, hint(error), self.quote(error))
    }

    /// That it could not be connected to.
    pub(super) fn unreached(&self, error: &RedisError) -> StoreError {
        let quote = self.quote(error);
        let corrupt = "received corrupt message";
        let hint = if error.is_connection_refusal() {
            Some("nothing listens there")
        } else if quote.0.contains("certificate") {
            Some(
                "its certificate is not trusted; install its authority's on this machine, or give it to a client for \
                 `RedisStore::from_client`",
            )
        } else if error.is_connection_dropped() || quote.0.contains(corrupt) {
            Some("if it wants TLS, or wants none, change between rediss:// and redis://")
        } else {
            hint(error)
        };
        self.because("connecting to", hint, quote)
    }

    fn because(&self, what: &str, hint: Option<&str>, quote: Quote) -> StoreError {
        let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
        StoreError::with_source(format!("{what} Redis at {self} failed{hint}"), quote)
    }

    /// A server quotes a command that it does not know, and `AUTH` may be one.
    fn quote(&self, error: &RedisError) -> Quote {
        let text = error.to_string();
        Quote(match &self.password {
            Some(password) => text.replace(password.as_str(), "[REDACTED]"),
            None => text,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// What the client library said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Quote(String);

fn hint(error: &RedisError) -> Option<&'static str> {
    Some(match error.kind() {
        _ if error.is_timeout() => "it has not answered in time",
        ErrorKind::AuthenticationFailed => {
            "it refuses the user name or the password; they stand in the URL, \
             redis://user:password@host, with special characters percent-encoded"
        }
        ErrorKind::Parse => "what listens there does not speak the protocol of Redis",
        ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::NoPerm => {
                "its access list forbids that; the user needs the commands `info`, `eval`, `evalsha`, \
                 `hget`, `hmget`, `hset`, `exists`, `persist`, `pexpireat`, `pttl`, `time`, `get`, \
                 `set`, `publish`, `subscribe`, `unsubscribe`, `ping` and `wait`, and keys and \
                 channels that begin with the prefix"
            }
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot => {
                "it is one node of a cluster, and the session belongs to another; connect to a proxy \
                 that knows the cluster, or to a server that is none"
            }
            ServerErrorKind::ClusterDown => "its cluster does not serve the session at the moment",
            ServerErrorKind::ReadOnly => "it is a replica; connect to the primary",
            ServerErrorKind::BusyLoading => "it is still loading its data",
            _ => return None,
        },
        ErrorKind::Extension => match error.code()? {
            "NOAUTH" => "it wants a password; give one in the URL, redis://user:password@host",
            "WRONGTYPE" | "FOREIGN" => {
                "what is there is not this store's, and was left as it is; choose another prefix"
            }
            "OOM" => "it is full, and writes nothing; give it more memory",
            "NOREPLICAS" => {
                "it has fewer replicas than `min-replicas-to-write`, and writes nothing"
            }
            "MISCONF" => "it cannot save its data, and writes nothing; its log says why",
            _ => return None,
        },
        _ => return None,
    })
}
