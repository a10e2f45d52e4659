use proptest::prelude::*;

use super::super::AuthorizationServerBuilder;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn at(span: Duration) -> Timestamp {
    Timestamp::from_nanos(0) + span
}

fn server(change: impl FnOnce(&mut Rules)) -> State {
    let mut rules = AuthorizationServerBuilder::new().rules;
    change(&mut rules);
    State::new(rules, 1)
}

fn grace(answer: GraceAnswer) -> State {
    let window = MINUTE;
    server(|rules| rules.reuse = Reuse::Grace { window, answer })
}

fn access(issued: &Issued) -> String {
    let access = issued.access.as_ref();
    access.map_or("", AccessToken::expose).to_owned()
}

fn refresh(issued: &Issued) -> String {
    let refresh = issued.refresh.as_ref();
    refresh.map_or("", RefreshToken::expose).to_owned()
}

/// What the access token is worth.
fn worth(state: &State, issued: &Issued, now: Timestamp) -> AccessCheck {
    state.check(&access(issued), now)
}

/// `[rotations, replays, families revoked]`.
fn counts(state: &State) -> [u64; 3] {
    let counters = state.counters;
    [
        counters.rotations,
        counters.replays,
        counters.families_revoked,
    ]
}

/// Rotates, and returns the new pair.
fn rotated(state: &mut State, from: &Issued, now: Timestamp) -> Issued {
    replayed(state, from, now).unwrap()
}

fn replayed(state: &mut State, token: &Issued, now: Timestamp) -> Decision {
    state.refresh(&refresh(token), &Scope::default(), None, now)
}

fn is_live(state: &State, issued: &Issued, now: Timestamp) -> bool {
    state.is_live_refresh(&refresh(issued), now)
}

#[test]
fn a_reuse_revokes_the_winners_pair_too() {
    let mut state = server(|_| {});
    let now = at(SECOND);
    let first = state.issue(now);
    let second = rotated(&mut state, &first, now);
    assert_eq!(worth(&state, &first, now), AccessCheck::Live);
    let refused = replayed(&mut state, &first, now).err();
    assert_eq!(refused, Some(Refusal::InvalidGrant));
    for pair in [&first, &second] {
        assert_eq!(worth(&state, pair, now), AccessCheck::Revoked);
        assert!(!is_live(&state, pair, now));
    }
    assert!(replayed(&mut state, &second, now).is_err());
    assert!(replayed(&mut state, &first, now).is_err());
    assert_eq!(counts(&state), [1, 2, 1]);
}

#[test]
fn a_reuse_revokes_its_own_family_and_no_other() {
    let mut state = server(|_| {});
    let now = at(SECOND);
    let (one, other) = (state.issue(now), state.issue(now));
    rotated(&mut state, &one, now);
    assert!(replayed(&mut state, &one, now).is_err());
    assert!(is_live(&state, &other, now));
    state.revoke_all();
    assert!(!is_live(&state, &other, now));
    assert_eq!(state.counters.families_revoked, 1);
}

#[test]
fn a_lenient_server_refuses_a_reuse_and_keeps_the_family() {
    let mut state = server(|rules| rules.reuse = Reuse::Refuse);
    let now = at(SECOND);
    let first = state.issue(now);
    let second = rotated(&mut state, &first, now);
    assert!(replayed(&mut state, &first, now).is_err());
    assert!(is_live(&state, &second, now));
    assert_eq!(counts(&state)[1..], [1, 0]);
}

#[test]
fn tokens_die_at_their_expiry_to_the_nanosecond() {
    let ttl = Duration::from_millis(100);
    let mut state = server(|rules| {
        rules.access_ttl = ttl;
        rules.refresh_ttl = 2 * ttl;
    });
    let pair = state.issue(at(SECOND));
    assert_eq!(pair.expires_in, Some(ttl));
    assert_eq!(pair.refresh_expires_in, Some(2 * ttl));
    let last = Duration::from_nanos(1);
    assert_eq!(
        worth(&state, &pair, at(SECOND + ttl - last)),
        AccessCheck::Live
    );
    assert_eq!(worth(&state, &pair, at(SECOND + ttl)), AccessCheck::Expired);
    assert!(is_live(&state, &pair, at(SECOND + 2 * ttl - last)));
    assert!(!is_live(&state, &pair, at(SECOND + 2 * ttl)));
    assert!(replayed(&mut state, &pair, at(SECOND + 2 * ttl)).is_err());
    assert_eq!(state.counters.replays, 0);
    assert_eq!(state.check("at-0", at(SECOND)), AccessCheck::Unknown);
}

#[test]
fn a_sliding_session_is_prolonged_and_an_absolute_one_ends() {
    let hour = 60 * MINUTE;
    for (expiry, left, access_left) in [
        (RefreshExpiry::Sliding, hour, 10 * MINUTE),
        (RefreshExpiry::Absolute, 5 * MINUTE, 5 * MINUTE),
    ] {
        let mut state = server(|rules| {
            rules.refresh_ttl = hour;
            rules.refresh_expiry = expiry;
        });
        let first = state.issue(at(SECOND));
        let second = rotated(&mut state, &first, at(SECOND + 55 * MINUTE));
        assert_eq!(second.refresh_expires_in, Some(left));
        assert_eq!(second.expires_in, Some(access_left));
        assert_eq!(second.refresh_expiry, expiry);
        let over = at(SECOND + hour);
        assert_eq!(
            is_live(&state, &second, over),
            expiry == RefreshExpiry::Sliding
        );
    }
}

#[test]
fn grace_with_the_same_pair_ends_with_the_window_and_with_the_next_generation() {
    let mut state = grace(GraceAnswer::SamePair);
    let first = state.issue(at(SECOND));
    let second = rotated(&mut state, &first, at(SECOND));
    let again = replayed(&mut state, &first, at(MINUTE)).unwrap();
    assert_eq!(
        (access(&again), refresh(&again)),
        (access(&second), refresh(&second))
    );
    assert_eq!(again.expires_in, second.expires_in);
    assert_eq!(counts(&state)[..2], [1, 1]);

    let third = rotated(&mut state, &second, at(MINUTE));
    assert!(replayed(&mut state, &first, at(MINUTE)).is_err());
    assert!(!is_live(&state, &third, at(MINUTE)));

    let first = state.issue(at(SECOND));
    let second = rotated(&mut state, &first, at(SECOND));
    assert!(replayed(&mut state, &first, at(SECOND + MINUTE)).is_err());
    assert!(!is_live(&state, &second, at(SECOND + MINUTE)));
    assert_eq!(state.counters.families_revoked, 2);
}

#[test]
fn a_fork_keeps_every_pair_live() {
    let mut state = grace(GraceAnswer::Fork);
    let now = at(SECOND);
    let first = state.issue(now);
    let branches = [(); 3].map(|()| rotated(&mut state, &first, now));
    let live = branches.iter().filter(|pair| is_live(&state, pair, now));
    assert_eq!(live.count(), 3);
    assert!(replayed(&mut state, &first, now + MINUTE).is_err());
    assert!(!branches.iter().any(|pair| is_live(&state, pair, now)));
}

#[test]
fn the_last_pair_wins_until_it_was_used() {
    let mut state = grace(GraceAnswer::LastWins);
    let now = at(SECOND);
    let first = state.issue(now);
    let second = rotated(&mut state, &first, now);
    let third = rotated(&mut state, &first, now);
    assert!(!is_live(&state, &second, now));
    assert_eq!(worth(&state, &second, now), AccessCheck::Revoked);
    assert!(replayed(&mut state, &second, now).is_err());
    assert!(is_live(&state, &third, now));
    assert_eq!(worth(&state, &third, now), AccessCheck::Live);
    assert_eq!(counts(&state)[1..], [1, 0]);

    assert_eq!(state.accept(&access(&third), now), AccessCheck::Live);
    assert!(replayed(&mut state, &first, now).is_err());
    assert!(!is_live(&state, &third, now));
    assert_eq!(state.counters.families_revoked, 1);
}

#[test]
fn a_token_that_is_echoed_omitted_or_empty_is_never_consumed() {
    for (mode, reported) in [
        (
            RefreshTokens::Echoed,
            Some(refresh as fn(&Issued) -> String),
        ),
        (RefreshTokens::Omitted, None),
        (RefreshTokens::Empty, None),
    ] {
        let mut state = server(|rules| {
            rules.refresh_tokens = mode;
            rules.refresh_ttl = MINUTE;
            rules.old_access_dies = true;
        });
        let first = state.issue(at(SECOND));
        let second = rotated(&mut state, &first, at(MINUTE));
        assert_eq!(
            refresh(&second),
            reported.map_or(String::new(), |same| same(&first))
        );
        assert_eq!(second.refresh.is_none(), mode == RefreshTokens::Omitted);
        assert_ne!(access(&second), access(&first));
        assert_eq!(worth(&state, &first, at(MINUTE)), AccessCheck::Revoked);
        let prolonged = is_live(&state, &first, at(SECOND + MINUTE));
        assert_eq!(prolonged, mode == RefreshTokens::Echoed);
        assert_eq!(second.refresh_expires_in.is_some(), prolonged);
        rotated(&mut state, &first, at(MINUTE));
        assert_eq!(state.counters.replays, 0);
    }
}

#[test]
fn the_old_access_token_dies_at_the_rotation_where_a_rule_says_so() {
    let mut state = server(|rules| rules.old_access_dies = true);
    let now = at(SECOND);
    let first = state.issue(now);
    let second = rotated(&mut state, &first, now);
    assert_eq!(worth(&state, &first, now), AccessCheck::Revoked);
    assert_eq!(worth(&state, &second, now), AccessCheck::Live);
}

#[test]
fn revoking_either_token_ends_the_family() {
    let mut state = server(|_| {});
    let now = at(SECOND);
    for token in [access, refresh] {
        let pair = state.issue(now);
        assert_eq!(state.revoke(&token(&pair), None), Ok(()));
        assert!(!is_live(&state, &pair, now));
        assert_eq!(worth(&state, &pair, now), AccessCheck::Revoked);
    }
    assert_eq!(state.revoke("unknown", None), Ok(()));
    assert_eq!(
        (state.counters.revocations, state.counters.families_revoked),
        (3, 0)
    );
}

#[test]
fn a_wrong_client_is_refused_and_may_burn_the_token() {
    let client = |secret: &str| Client {
        id: "importer".to_owned(),
        secret: secret.to_owned(),
    };
    for burns in [false, true] {
        let mut state = server(|rules| {
            rules.client = Some(client("right"));
            rules.wrong_client_burns = burns;
        });
        let now = at(SECOND);
        let pair = state.issue(now);
        for stranger in [None, Some(&client("wrong"))] {
            let answer = state.refresh(&refresh(&pair), &Scope::default(), stranger, now);
            assert_eq!(answer.err(), Some(Refusal::InvalidClient));
        }
        let answer = state.refresh(
            &refresh(&pair),
            &Scope::default(),
            Some(&client("right")),
            now,
        );
        assert_eq!(answer.err(), burns.then_some(Refusal::InvalidGrant));
        assert_eq!(state.counters.replays, 0);
    }
}

#[test]
fn a_client_signs_in_only_where_a_rule_allows_it() {
    let mut state = server(|_| {});
    let refused = state.sign_in(None, at(SECOND)).err();
    assert_eq!(refused, Some(Refusal::UnauthorizedClient));
    let mut state = server(|rules| rules.sign_in = true);
    let pair = state.sign_in(None, at(SECOND)).unwrap();
    assert!(is_live(&state, &pair, at(SECOND)));
}

proptest! {
    /// For any tokens in any order, a strict family has at most one live refresh token, and none after a replay.
    #[test]
    fn a_strict_family_never_has_two_live_refresh_tokens(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..40_u64), 1..40),
    ) {
        let mut state = server(|rules| rules.refresh_ttl = MINUTE);
        let mut now = at(SECOND);
        let mut pairs = vec![state.issue(now)];
        for (chosen, seconds) in steps {
            now = now + Duration::from_secs(seconds);
            let presented = chosen.get(&pairs).clone();
            let was_live = is_live(&state, &presented, now);
            let answer = replayed(&mut state, &presented, now);
            prop_assert_eq!(answer.is_ok(), was_live);
            pairs.extend(answer);
            let live = pairs.iter().filter(|pair| is_live(&state, pair, now)).count();
            prop_assert!(live <= usize::from(state.counters.replays == 0));
            prop_assert_eq!(pairs.len() as u64, state.counters.rotations + 1);
        }
    }
}
