//! The copy of a session's pair that a browser keeps, and its serialized form.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::SessionId;
use crate::clock::{StoreTime, Timestamp};
use crate::record::StoredPair;
use crate::record::format::Wiped;
use crate::record::marks::Marks;
use crate::session::{Brought, Copy, Session};
use crate::token::{PairId, TokenFamily, TokenPair};

/// The copy of a session's pair that a browser keeps in a cookie, with what an instance needs to go on with it, also one that has
/// never seen the session.
///
/// **The serialized form contains the tokens.** A service gives it to a browser only sealed, in a cookie that scripts cannot read,
/// and [presents](super::Sessions::present) only what it has itself sealed: the session's id and the pair come out of one seal, so
/// that a pair never counts for another session. `Debug` shows no secret.
///
/// The times of the pair are by the wall clock of the instance that made the copy. Instances whose clocks differ take the pair for
/// older or younger by that much.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct BrowserPair {
    id: SessionId,
    family: TokenFamily,
    version: u64,
    number: u64,
    sign_ins: u64,
    /// When the user signed in, by the wall clock.
    began: StoreTime,
    /// The provider's session and user, by which a logout of the provider finds the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<Marks>,
    #[serde(rename = "pair")]
    stored: StoredPair,
}

impl BrowserPair {
    pub(super) fn new(id: SessionId, copy: Copy, session: &Session) -> Self {
        let (now, wall) = (session.now(), StoreTime::from(session.wall()));
        let PairId { family, version } = copy.pair_id;
        Self {
            id,
            family,
            version,
            number: copy.number,
            sign_ins: copy.sign_ins,
            began: wall.before(now.since(copy.began)),
            upstream: copy.upstream,
            stored: StoredPair {
                issued_at: wall.before(now.since(copy.sent_at)),
                origin: copy.origin,
                pair: copy.pair,
            },
        }
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The tokens and their lifetimes, which count from the request for the pair.
    #[must_use]
    pub fn pair(&self) -> &TokenPair {
        &self.stored.pair
    }

    /// The id of the pair.
    #[must_use]
    pub fn pair_id(&self) -> PairId {
        PairId {
            family: self.family,
            version: self.version,
        }
    }

    /// The pair as a session compares it.
    pub(super) fn brought(&self, now: Timestamp, wall: Duration) -> Brought {
        let wall = StoreTime::from(wall);
        let at = |at: StoreTime| now.before(wall.since(at));
        Brought {
            pair: self.stored.pair.clone(),
            pair_id: self.pair_id(),
            number: self.number,
            sign_ins: self.sign_ins,
            sent_at: at(self.stored.issued_at),
            began: at(self.began),
            upstream: self.upstream,
            is_ours: true,
        }
    }
}

impl Serialize for BrowserPair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Reads what `Serialize` wrote. Only a format that describes itself, such as JSON, can be read.
impl<'de> Deserialize<'de> for BrowserPair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The texts of the form are wiped, whether it is valid or not. The form's own error may quote a token.
        let form = Wiped::from(Value::deserialize(deserializer)?);
        let invalid =
            |_| D::Error::custom("this is not the copy of a pair that was given to a browser");
        Self::deserialize(&*form).map_err(invalid)
    }
}
