//! The report of a failure: where it happened, what may help, and never the password.

use std::fmt;

use redis::{Client, ErrorKind, RedisError, ServerErrorKind};
use zeroize::Zeroizing;

use crate::store::StoreError;

/// Whether a connection must not be used any more after this error.
///
/// Time-outs count: a peer that vanished never closes its connection. Errors of a server that became a replica count
/// too: the primary may be found at the same address.
pub(super) fn is_over(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::AuthenticationFailed
            | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    ) || error.code() == Some("NOAUTH")
}

/// The address of a server, for error messages.
#[derive(Clone)]
pub(super) struct Address {
    address: String,
    password: Option<Zeroizing<String>>,
}

impl Address {
    pub(super) fn of(client: &Client) -> Self {
        let info = client.get_connection_info();
        let password = info.redis_settings().password();
        let password = password.filter(|word| !word.is_empty());
        Self {
            address: info.addr().to_string(),
            password: password.map(|word| word.to_owned().into()),
        }
    }

    /// The error of what failed ("writing to"), with a hint.
    pub(super) fn failed(&self, what: &str, error: &RedisError) -> StoreError {
        self.because(what, hint(error), self.quote(error))
    }

    /// The error of a connection that could not be made, with a hint.
    pub(super) fn not_connected(&self, error: &RedisError) -> StoreError {
        let quote = self.quote(error);
        let corrupt = "received corrupt message";
        let hint = if error.is_connection_refusal() {
            Some("nothing listens at this address; check the host and the port")
        } else if quote.contains("certificate") {
            Some(
                "its certificate is not trusted; install the authority's certificate on this machine, or give it to a \
                 client for `RedisStore::from_client`",
            )
        } else if error.is_connection_dropped() || quote.contains(corrupt) {
            Some("the server may want TLS, or not speak it; change between rediss:// and redis://")
        } else {
            hint(error)
        };
        self.because("connecting to", hint, quote)
    }

    fn because(&self, what: &str, hint: Option<&str>, quote: String) -> StoreError {
        let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
        StoreError::with_source(format!("{what} Redis at {self} failed{hint}"), quote)
    }

    /// The error's text without the password: a server quotes a command that it does not know, and `AUTH` may be one.
    fn quote(&self, error: &RedisError) -> String {
        let text = error.to_string();
        match &self.password {
            Some(password) => text.replace(password.as_str(), "[REDACTED]"),
            None => text,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

fn hint(error: &RedisError) -> Option<&'static str> {
    Some(match error.kind() {
        _ if error.is_timeout() => "it has not answered in time; check the server and the network",
        ErrorKind::AuthenticationFailed => {
            "it refuses the user name or the password; correct them in the URL, \
             redis://user:password@host, with special characters percent-encoded"
        }
        ErrorKind::Parse => {
            "the server does not speak the protocol of Redis; check the host and the port"
        }
        ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::NoPerm => {
                "its access list forbids this; the user needs the commands `info`, `eval`, `evalsha`, \
                 `hget`, `hmget`, `hset`, `exists`, `persist`, `pexpireat`, `pttl`, `time`, `get`, \
                 `set`, `publish`, `subscribe`, `unsubscribe`, `ping` and `wait`, and keys and \
                 channels that begin with the prefix"
            }
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot => {
                "it is one node of a cluster, and the session belongs to another node; connect to a \
                 proxy that knows the cluster, or to a server that is not in a cluster"
            }
            ServerErrorKind::ClusterDown => {
                "its cluster does not serve the session now; check the cluster"
            }
            ServerErrorKind::ReadOnly => "it is a replica; connect to the primary",
            ServerErrorKind::BusyLoading => "it is still loading its data; try again later",
            _ => return None,
        },
        ErrorKind::Extension => match error.code()? {
            "NOAUTH" => "it wants a password; put it into the URL, redis://user:password@host",
            "WRONGTYPE" | "FOREIGN" => {
                "the value at this key is not a record, and was left as it is; choose another prefix"
            }
            "OOM" => "it is full and does not write; give it more memory",
            "NOREPLICAS" => {
                "it has fewer replicas than `min-replicas-to-write` and does not write; check the replicas"
            }
            "MISCONF" => "it cannot save its data and does not write; read its log for the reason",
            _ => return None,
        },
        _ => return None,
    })
}
