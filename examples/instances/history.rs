//! The history of the shared record, as a frequent reader sees it. This module does no I/O and reads no clock.

use std::collections::HashMap;
use std::fmt;

use evertoken::protocol::{Digest, Lease, Record};
use evertoken::{EndReason, TokenFamily};
use serde::Deserialize;

use crate::messages::brief;

/// A record without its tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) family: TokenFamily,
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    /// The number of the lease that committed the pair.
    pub(crate) committed: u64,
    pub(crate) lease: Option<Lease>,
    pub(crate) end: Option<EndReason>,
}

/// Parts of a record that only its serialized form shows.
#[derive(Debug, Default, Deserialize)]
struct Inside {
    lease: Option<Lease>,
    committed_number: u64,
}

impl View {
    pub(crate) fn of(record: &Record) -> Self {
        let inside: Inside = serde_json::to_value(record)
            .and_then(serde_json::from_value)
            .unwrap_or_default();
        let pair_id = record.pair_id();
        Self {
            family: pair_id.family,
            version: pair_id.version,
            digest: record.digest(),
            committed: inside.committed_number,
            lease: inside.lease,
            end: record.end(),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, digest) = (self.family.to_string(), brief(&self.digest));
        write!(
            f,
            "{}/{} {digest} of lease {}",
            &family[..4],
            self.version,
            self.committed
        )?;
        if let Some(lease) = &self.lease {
            let owner = lease.owner.to_string();
            write!(
                f,
                ", lease {} of {} on {}",
                lease.number,
                &owner[..4],
                brief(&lease.digest)
            )?;
            write!(f, " since {}", lease.since.as_millis())?;
            if let Some(since) = lease.doubtful {
                write!(f, ", doubtful since {}", since.as_millis())?;
            }
            if lease.released {
                f.write_str(", released")?;
            }
            write!(f, ", second sendings {}", lease.sendings)?;
        }
        match &self.end {
            Some(reason) => write!(f, ", ended: {reason}"),
            None => Ok(()),
        }
    }
}

/// What one look at the record adds to the history.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// An instance rotated.
    Rotated { version: u64 },
    /// The record has the pair of a new sign-in.
    SignedIn { version: u64 },
    /// The session is over.
    Ended(EndReason),
    /// A pair was replaced by an older one, or by one that is not newer.
    Overwritten(String),
}

#[derive(Debug, Default)]
pub(crate) struct History {
    last: Option<View>,
    /// The first version of each pair, by digest.
    pairs: HashMap<Digest, u64>,
    ended: Vec<TokenFamily>,
    /// Pairs that were committed twice: a server may answer a second sending with the pair that is stored already.
    pub(crate) again: u64,
}

impl History {
    pub(crate) fn saw(&mut self, view: Option<View>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(view) = view else {
            if let Some(last) = self.last.take() {
                findings.push(Finding::Overwritten(format!("{last} is gone")));
            }
            return findings;
        };
        self.compare(&view, &mut findings);
        if let Some(reason) = view.end.clone()
            && !self.ended.contains(&view.family)
        {
            self.ended.push(view.family);
            findings.push(Finding::Ended(reason));
        }
        self.last = Some(view);
        findings
    }

    fn compare(&mut self, view: &View, findings: &mut Vec<Finding>) {
        let (version, digest) = (view.version, view.digest);
        let Some(last) = &self.last else {
            self.pairs.insert(digest, version);
            return findings.push(Finding::SignedIn { version });
        };
        let is_same = (last.version, last.family, last.digest) == (version, view.family, digest);
        let known = self.pairs.get(&digest);
        let older = known.is_some() && last.digest != digest;
        if version < last.version
            || version == last.version && !is_same
            || view.committed < last.committed
            || older
        {
            findings.push(Finding::Overwritten(format!("{last} by {view}")));
        }
        if version > last.version {
            self.again += u64::from(last.digest == digest);
            findings.push(match last.family == view.family {
                true => Finding::Rotated { version },
                false => Finding::SignedIn { version },
            });
        }
        self.pairs.entry(digest).or_insert(version);
    }

    pub(crate) fn last(&self) -> Option<&View> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use evertoken::ServerWord;

    use super::*;

    fn view(family: u32, version: u64, token: &str, committed: u64) -> View {
        View {
            family: format!("{family:032x}").parse().unwrap(),
            version,
            digest: Digest::of(token),
            committed,
            lease: None,
            end: None,
        }
    }

    fn overwrites(views: impl IntoIterator<Item = View>) -> usize {
        let mut history = History::default();
        let findings = views.into_iter().flat_map(|view| history.saw(Some(view)));
        let is_one = |finding: &Finding| matches!(finding, Finding::Overwritten(_));
        findings.filter(is_one).count()
    }

    #[test]
    fn rotations_and_a_new_sign_in_overwrite_nothing() {
        let views = [
            view(1, 1, "a", 0),
            view(1, 2, "b", 1),
            view(1, 2, "b", 1),
            view(1, 4, "d", 7),
            view(2, 5, "e", 7),
        ];
        assert_eq!(overwrites(views), 0);
    }

    #[test]
    fn a_record_that_goes_back_is_an_overwrite() {
        for after in [
            view(1, 2, "b", 2),
            view(1, 3, "x", 2),
            view(1, 4, "x", 1),
            view(1, 4, "a", 3),
            view(2, 3, "c", 2),
        ] {
            let before = [view(1, 1, "a", 0), view(1, 3, "c", 2)];
            let count = overwrites(before.into_iter().chain([after.clone()]));
            assert_eq!(count, 1, "{after}");
        }
        let mut history = History::default();
        history.saw(Some(view(1, 1, "a", 0)));
        assert!(matches!(history.saw(None)[..], [Finding::Overwritten(_)]));
    }

    #[test]
    fn a_pair_that_a_second_sending_brings_again_is_committed_twice() {
        let mut history = History::default();
        for (version, token) in [(1, "a"), (2, "b"), (3, "b")] {
            history.saw(Some(view(1, version, token, version)));
        }
        assert_eq!(history.again, 1);
    }

    #[test]
    fn an_end_is_found_once_for_each_sign_in() {
        let mut history = History::default();
        let mut ended = view(1, 1, "a", 0);
        let reason = EndReason::Rejected(ServerWord::default());
        ended.end = Some(reason.clone());
        let ends = |findings: Vec<Finding>| findings.contains(&Finding::Ended(reason.clone()));
        assert!(ends(history.saw(Some(ended.clone()))));
        assert!(!ends(history.saw(Some(ended))));
        let mut next = view(2, 2, "b", 0);
        next.end = Some(reason.clone());
        assert!(ends(history.saw(Some(next))));
    }
}
