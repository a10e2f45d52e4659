//! Whether the reqwest of this build has TLS.
//!
//! Without TLS, reqwest has no tunnel either: it sends a request to an `https` URL to a proxy in the clear, with the token
//! in it, and over a SOCKS proxy or a socket of the program as well. A feature of this crate is not the answer, because any
//! crate of the program may enable TLS in reqwest.

use reqwest::ClientBuilder;

/// Whether an `https` URL is reached by TLS.
///
/// The compiler decides: [`ClientBuilder::tls_info`] exists with TLS only, and goes before the method of [`WithoutTls`].
pub(crate) fn is_there() -> bool {
    const fn found<T: Outcome>(_: fn(ClientBuilder) -> T) -> bool {
        T::HAS_TLS
    }
    const { found(|builder| builder.tls_info(false)) }
}

/// Has the method that a [`ClientBuilder`] lacks without TLS, with another outcome.
trait WithoutTls {
    #[allow(dead_code, reason = "with TLS, reqwest's own method is taken")]
    fn tls_info(self, is_wanted: bool) -> Missing;
}

impl WithoutTls for ClientBuilder {
    fn tls_info(self, _: bool) -> Missing {
        Missing
    }
}

struct Missing;

trait Outcome {
    const HAS_TLS: bool;
}

impl Outcome for ClientBuilder {
    const HAS_TLS: bool = true;
}

impl Outcome for Missing {
    const HAS_TLS: bool = false;
}
