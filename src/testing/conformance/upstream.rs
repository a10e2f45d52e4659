//! A search by the mark of a provider's session or user finds every session that has it, and no other one.

use std::collections::BTreeSet;

use super::{Store, answer, key, nonce, record, swap, write};
use crate::record::marks::Marks;
use crate::record::{Record, RecordState};
use crate::store::Swap;
use crate::token::{Digest, Key};

/// More than a user has, and enough to find a store that reads one page of an answer.
const SESSIONS: usize = 120;

fn marked(key: &Key, version: u64, sid: Option<&str>, subject: Option<&str>) -> Record {
    let upstream = Marks::new(key, sid, subject);
    Record {
        upstream,
        ..record(key, version)
    }
}

async fn found(store: &Store, mark: &Digest) -> BTreeSet<Key> {
    let found = answer("find_by_upstream", store.find_by_upstream(mark)).await;
    let Some(keys) = found else {
        panic!("find_by_upstream answers that the store cannot search");
    };
    let count = keys.len();
    let keys = BTreeSet::from_iter(keys);
    assert_eq!(keys.len(), count, "find_by_upstream answers each key once");
    keys
}

async fn expect(store: &Store, mark: &Digest, keys: &[&Key], what: &str) {
    let keys: BTreeSet<Key> = keys.iter().copied().cloned().collect();
    let found = found(store, mark).await;
    assert_eq!(found, keys, "find_by_upstream by {what}");
}

/// The marks of a session of `key`.
fn marks(key: &Key, sid: &str, subject: &str) -> [Digest; 2] {
    let marks = Marks::new(key, Some(sid), Some(subject));
    let all: Vec<Digest> = marks.iter().flat_map(Marks::iter).copied().collect();
    let both = <[Digest; 2]>::try_from(all);
    both.unwrap_or_else(|all| panic!("two texts have two marks, not {}", all.len()))
}

pub(super) async fn a_mark_leads_to_all_its_keys(handles: &[Store]) {
    let (sid, subject) = (nonce(), nonce());
    let (sid, subject) = (Some(&*sid), Some(&*subject));
    let (both, subject_only, neither) = (key("both"), key("subject"), key("neither"));
    let [by_sid, by_subject] = marks(&both, sid.unwrap_or_default(), subject.unwrap_or_default());
    expect(&handles[0], &by_sid, &[], "a mark that was never written").await;
    let first = write(&handles[0], &both, None, &marked(&both, 1, sid, subject)).await;
    let of_subject = marked(&subject_only, 1, None, subject);
    write(&handles[1], &subject_only, None, &of_subject).await;
    write(&handles[2], &neither, None, &record(&neither, 1)).await;
    for store in handles {
        expect(store, &by_sid, &[&both], "the mark of a session").await;
        let of_the_user = [&both, &subject_only];
        expect(store, &by_subject, &of_the_user, "the mark of a user").await;
        expect(
            store,
            &Digest::of(nonce()),
            &[],
            "a mark that was never written",
        )
        .await;
    }
    // The digest of a token is no mark.
    let token = record(&both, 1).digest();
    expect(&handles[0], &token, &[], "a mark that was never written").await;
    // A rotation keeps the marks, and so does an end by the server.
    let mut next = marked(&both, 2, sid, subject);
    let second = write(&handles[1], &both, Some(first), &next).await;
    next.state = RecordState::Expired;
    let ended = next.clone();
    for store in handles {
        expect(
            store,
            &by_sid,
            &[&both],
            "the mark of a session that was rotated",
        )
        .await;
    }
    write(&handles[2], &both, Some(second), &ended).await;
    for store in handles {
        expect(
            store,
            &by_sid,
            &[&both],
            "the mark of a session that has ended",
        )
        .await;
    }
    let many: Vec<Key> = (0..SESSIONS)
        .map(|number| key(&format!("many {number}")))
        .collect();
    let name = nonce();
    for (key, store) in many.iter().zip(handles.iter().cycle()) {
        write(store, key, None, &marked(key, 1, None, Some(&name))).await;
    }
    let [_, by_name] = marks(&many[0], &name, &name);
    let all: Vec<&Key> = many.iter().collect();
    for store in handles {
        expect(
            store,
            &by_name,
            &all,
            "the mark of a user with many sessions",
        )
        .await;
    }
}

/// After a logout, and after a sign-in without marks or with others.
pub(super) async fn a_mark_that_left_its_record_leads_nowhere(handles: &[Store]) {
    let what = "a mark that has left its record";
    for number in 0..3 {
        let key = key("left");
        let (old, new) = (nonce(), nonce());
        let [by_sid, by_subject] = marks(&key, &old, &old);
        let [by_new, _] = marks(&key, &new, &new);
        let first = marked(&key, 1, Some(&old), Some(&old));
        let revision = write(&handles[0], &key, None, &first).await;
        for store in handles {
            expect(store, &by_sid, &[&key], "the mark of a session").await;
        }
        let next = match number {
            0 => first.ended(RecordState::LoggedOut),
            1 => record(&key, 2),
            _ => marked(&key, 2, Some(&new), Some(&new)),
        };
        write(&handles[1], &key, Some(revision), &next).await;
        for store in handles {
            expect(store, &by_sid, &[], what).await;
            expect(store, &by_subject, &[], what).await;
            let of_new: &[&Key] = if number == 2 { &[&key] } else { &[] };
            expect(store, &by_new, of_new, "the mark of a later sign-in").await;
        }
    }
}

pub(super) async fn a_lost_swap_enters_no_mark(handles: &[Store]) {
    let (key, name) = (key("lost mark"), nonce());
    let [by_sid, _] = marks(&key, &name, &name);
    let revision = write(&handles[0], &key, None, &record(&key, 1)).await;
    write(&handles[0], &key, Some(revision), &record(&key, 2)).await;
    let late = marked(&key, 3, Some(&name), Some(&name));
    for seen in [Some(revision), None] {
        let lost = matches!(swap(&handles[1], &key, seen, &late).await, Swap::Lost(_));
        assert!(lost, "a swap against an old revision is lost");
    }
    for store in handles {
        expect(store, &by_sid, &[], "a mark of a swap that was lost").await;
    }
}
