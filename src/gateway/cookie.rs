//! The cookies of a gateway: their names, how they are found in a request, and the lines that set and delete them.
//!
//! A sign-in has cookies of its own: their names have a tag of the session. So what a late response sets or deletes touches only
//! the sign-in that it belongs to. The value of a sign-in is split into parts, because browsers ignore a cookie whose name and
//! value have more than 4096 bytes together.

use std::fmt;
use std::time::Duration;

use cookie::{Cookie, SameSite as SameSiteAttribute, time};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use sha2::{Digest as _, Sha256};

use crate::sessions::SessionId;

/// `__Host-` has browsers refuse the cookie for a whole domain, `__Host-Http-` also from a script. A browser that does not know the
/// longer prefix takes it for the shorter one.
const PREFIX: &str = "__Host-Http-";

/// What a browser stores of a cookie: name and value together (RFC 6265bis section 5.6).
const LONGEST_COOKIE: usize = 4096;

/// The most parts of a value. A number of parts is one digit.
pub(super) const PARTS: usize = 2;

/// The longest value of a sign-in over all parts. A server in front may refuse a field of more than 8 KB (nginx, Apache), and
/// there are the names and other cookies.
pub(super) const LONGEST_VALUE: usize = 7 * 1024;

/// The most sign-ins of one request that are looked at. A browser has one, and for a while perhaps the one before it.
pub(super) const SIGN_INS: usize = 8;

/// The longest time that a browser keeps a cookie (RFC 6265bis section 5.5).
const LONGEST_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// When a browser sends the cookies with a request that another site began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize))]
#[cfg_attr(feature = "config", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum SameSite {
    /// With navigations to a page alone.
    #[default]
    Lax,
    /// Never. A page that a link of another site opens gets no cookie, and neither does a reload of it: a gateway that sends such a
    /// page to its login does so for ever.
    Strict,
}

/// Names a sign-in in the names of its cookies. It is computed from the id of the session, and discloses nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tag([u8; Self::LENGTH]);

impl Tag {
    const LENGTH: usize = 8;

    pub(super) fn of(id: &SessionId) -> Self {
        let text = zeroize::Zeroizing::new(id.to_string());
        let digest = Sha256::new()
            .chain_update("evertoken cookie tag 1\n")
            .chain_update(text.as_bytes())
            .finalize();
        let mut tag = [0; Self::LENGTH];
        for (digit, half) in tag
            .iter_mut()
            .zip(digest.iter().flat_map(|byte| [byte >> 4, byte & 15]))
        {
            *digit = b"0123456789abcdef"[usize::from(half)];
        }
        Self(tag)
    }

    fn parse(text: &str) -> Option<Self> {
        let tag: [u8; Self::LENGTH] = text.as_bytes().try_into().ok()?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        tag.iter().all(is_digit).then_some(Self(tag))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the cookies of one gateway are named, and their attributes.
#[derive(Debug, Clone)]
pub(super) struct Cookies {
    /// What every name of this gateway begins with.
    prefix: String,
    same_site: SameSite,
}

/// The cookies of one sign-in that a request has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried<'a> {
    pub(super) tag: Tag,
    /// By the number of the part.
    parts: [Option<&'a str>; PARTS],
    /// The numbers of all parts that are there, as bits.
    numbers: u8,
    /// Whether a part is there twice. Which of them is the browser's cannot be known.
    is_ambiguous: bool,
}

impl<'a> Carried<'a> {
    /// The parts of the value in their order, without the leading number; `None` unless all are there.
    pub(super) fn value(&self) -> Option<(&'a str, &'a str)> {
        let first = self.parts[0].filter(|_| !self.is_ambiguous)?;
        let (count, first) = first.split_at_checked(1)?;
        match count {
            "1" => Some((first, "")),
            "2" => Some((first, self.parts[1]?)),
            _ => None,
        }
    }

    pub(super) fn numbers(&self) -> Numbers {
        Numbers {
            tag: self.tag,
            numbers: self.numbers,
        }
    }
}

/// Which parts of a sign-in a browser has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) tag: Tag,
    numbers: u8,
}

impl Cookies {
    pub(super) fn new(name: &str, same_site: SameSite) -> Self {
        Self {
            prefix: format!("{PREFIX}{name}-"),
            same_site,
        }
    }

    /// Whether a text may be the name that a program chooses: letters, digits and underscores.
    pub(super) fn is_name(name: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=32).contains(&name.len()) && name.bytes().all(is_part)
    }

    /// The tag and the number of the part in a name of this gateway.
    fn parse(&self, name: &str) -> Option<(Tag, u8)> {
        let (tag, number) = name.strip_prefix(&*self.prefix)?.split_once('-')?;
        let number = match number.as_bytes() {
            [digit @ b'0'..=b'7'] => digit - b'0',
            _ => return None,
        };
        Some((Tag::parse(tag)?, number))
    }

    fn name(&self, tag: Tag, number: usize) -> String {
        format!("{}{}-{number}", self.prefix, tag.as_str())
    }

    /// The sign-ins of which a request has cookies. There may be several fields: over HTTP/2 a browser sends one for each cookie.
    pub(super) fn carried<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = Carried<'a>> {
        let mut found: [Option<Carried<'a>>; SIGN_INS] = [None; SIGN_INS];
        for (tag, number, value) in self.own(headers) {
            let is_its = |place: &&mut Option<Carried<'a>>| match place {
                Some(carried) => carried.tag == tag,
                None => true,
            };
            let Some(place) = found.iter_mut().find(is_its) else {
                continue;
            };
            let carried = place.get_or_insert(Carried {
                tag,
                parts: [None; PARTS],
                numbers: 0,
                is_ambiguous: false,
            });
            carried.is_ambiguous |= carried.numbers & (1 << number) != 0;
            carried.numbers |= 1 << number;
            if let Some(part) = carried.parts.get_mut(usize::from(number)) {
                *part = Some(value);
            }
        }
        found.into_iter().flatten()
    }

    /// The cookies of this gateway in a request.
    fn own<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = (Tag, u8, &'a str)> {
        let own = pairs(headers).filter(|pair| self.is_own(pair));
        own.filter_map(|pair| {
            let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
            let (tag, number) = self.parse(name)?;
            Some((tag, number, value))
        })
    }

    fn is_own(&self, pair: &[u8]) -> bool {
        pair.starts_with(self.prefix.as_bytes())
    }

    /// Removes the cookies of this gateway from a request.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        if !pairs(headers).any(|pair| self.is_own(pair)) {
            return;
        }
        let others: Vec<_> = pairs(headers).filter(|pair| !self.is_own(pair)).collect();
        let rest = others.join(&b"; "[..]);
        match HeaderValue::from_bytes(&rest) {
            Ok(rest) if !rest.is_empty() => drop(headers.insert(COOKIE, rest)),
            _ => drop(headers.remove(COOKIE)),
        }
    }

    /// The lines that give a browser this value of a sign-in, and delete the parts that it has of a longer one. `None` if the value
    /// is too long for a browser.
    pub(super) fn set(
        &self,
        tag: Tag,
        value: &str,
        max_age: Option<Duration>,
        has: Option<Numbers>,
    ) -> Option<Vec<HeaderValue>> {
        let room = LONGEST_COOKIE - self.name(tag, 0).len();
        // The number of parts stands before the value.
        let count = (1 + value.len()).div_ceil(room).max(1);
        if count > PARTS || value.len() > LONGEST_VALUE {
            return None;
        }
        let mut lines = Vec::with_capacity(count);
        let mut rest = format!("{count}{value}");
        for number in 0..count {
            let tail = rest.split_off(rest.len().min(room));
            let part = std::mem::replace(&mut rest, tail);
            lines.push(self.line(tag, number, part, Some(max_age.unwrap_or(LONGEST_AGE))));
        }
        if let Some(has) = has {
            lines.extend(self.delete_from(has, count));
        }
        Some(lines)
    }

    /// The lines that delete the parts that a browser has.
    pub(super) fn delete(&self, has: Numbers) -> impl Iterator<Item = HeaderValue> {
        self.delete_from(has, 0)
    }

    fn delete_from(&self, has: Numbers, first: usize) -> impl Iterator<Item = HeaderValue> {
        let numbers = (first..8).filter(move |number| has.numbers & (1 << number) != 0);
        numbers.map(move |number| self.line(has.tag, number, String::new(), None))
    }

    /// The lines that delete every cookie of this gateway that a request has, but for those of one sign-in.
    pub(super) fn delete_others(&self, headers: &HeaderMap, but: Option<Tag>) -> Vec<HeaderValue> {
        let others = self.own(headers).filter(|(tag, ..)| Some(*tag) != but);
        let lines =
            others.map(|(tag, number, _)| self.line(tag, number.into(), String::new(), None));
        lines.collect()
    }

    /// One line. `None` in place of an age deletes the cookie.
    fn line(
        &self,
        tag: Tag,
        number: usize,
        value: String,
        max_age: Option<Duration>,
    ) -> HeaderValue {
        let age = max_age.unwrap_or_default().min(LONGEST_AGE);
        // Rounded up: a browser must not drop the cookie while its session lives.
        let age = i64::try_from(age.as_millis().div_ceil(1_000)).unwrap_or_default();
        let same_site = match self.same_site {
            SameSite::Lax => SameSiteAttribute::Lax,
            SameSite::Strict => SameSiteAttribute::Strict,
        };
        let cookie = Cookie::build((self.name(tag, number), value))
            .path("/")
            .secure(true)
            .http_only(true)
            .same_site(same_site)
            .max_age(time::Duration::seconds(age))
            .build();
        // The name and the value are of characters that a field may have.
        let mut line = HeaderValue::try_from(cookie.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        line.set_sensitive(true);
        line
    }

    /// Whether a response sets or deletes cookies of this gateway.
    pub(super) fn are_set_by(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(SET_COOKIE).iter();
        lines.any(|line| self.is_own(line.as_bytes()))
    }

    /// Whether a response sets or deletes cookies of this sign-in.
    pub(super) fn sets(&self, headers: &HeaderMap, tag: Tag) -> bool {
        let mut lines = headers.get_all(SET_COOKIE).iter();
        lines.any(|line| {
            let rest = line.as_bytes().strip_prefix(self.prefix.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(&tag.0))
        })
    }
}

/// The cookies of a request as `name=value`, over all its fields.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let pairs = fields.flat_map(|field| Pairs(Some(field.as_bytes())));
    pairs
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// The parts of a field between its semicolons. Cookies of other programs may be of any bytes, so a field may be no text.
struct Pairs<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Pairs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let (pair, next) = match memchr(b';', rest) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        self.0 = next;
        Some(pair)
    }
}
