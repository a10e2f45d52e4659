use proptest::prelude::*;

use super::super::builder::FolioServerBuilder;
use super::*;
use crate::testing::AccessCheck;

const DIKU: &str = "diku";
const START: u64 = 1_700_000_000;

fn state(system: System, seconds: &str) -> State {
    let builder = FolioServerBuilder::new(system).token_expiration(seconds);
    let account = |tenant: &str, name: &str| Account {
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        password: "secret".to_owned(),
    };
    let accounts = vec![
        account(DIKU, "jane"),
        account(DIKU, "joe"),
        account("b", "jane"),
    ];
    State::new(builder.unwrap().rules, accounts, 1)
}

fn okapi() -> State {
    state(System::Okapi, "accessToken:60,refreshToken:3600")
}

fn eureka() -> State {
    state(System::Eureka, "accessToken:60,refreshToken:3600")
}

/// Presents a refresh token to its own tenant.
fn rotate(state: &mut State, pair: &Pair, now: u64) -> Result<Pair, Refused> {
    state.refresh(&pair.refresh.token, DIKU, now)
}

fn is_live(state: &State, pair: &Pair, now: u64) -> bool {
    state.is_live_refresh(&pair.refresh.token, now)
}

fn check(state: &State, pair: &Pair, now: u64) -> AccessCheck {
    state.check(&pair.access.token, now)
}

#[test]
fn t2_a_refresh_brings_a_new_pair_and_consumes_the_old_token() {
    for mut state in [okapi(), eureka()] {
        let first = state.issue(0, START);
        let second = rotate(&mut state, &first, START + 1).unwrap();
        assert!(!is_live(&state, &first, START + 1));
        assert!(is_live(&state, &second, START + 1));
        assert_ne!(first.access.token, second.access.token);
        assert_eq!((state.counters.rotations, state.counters.replays), (1, 0));
    }
}

#[test]
fn t3_in_okapi_a_replay_ends_all_sessions_of_the_user_and_of_no_other() {
    let mut state = okapi();
    let [own, other_session, joes] = [0, 0, 1].map(|user| state.issue(user, START));
    let newest = rotate(&mut state, &own, START).unwrap();
    assert!(rotate(&mut state, &own, START).is_err());
    for dead in [&newest, &other_session] {
        assert!(!is_live(&state, dead, START));
        assert!(rotate(&mut state, dead, START).is_err());
    }
    assert!(is_live(&state, &joes, START));
    assert_eq!(state.counters.replays, 1);
    assert_eq!(state.counters.sessions_revoked, 2);
    // The user can sign in anew, and a dead token that is presented ends that session too.
    let anew = state.issue(0, START);
    assert!(rotate(&mut state, &newest, START).is_err());
    assert!(!is_live(&state, &anew, START));
}

#[test]
fn t9_in_eureka_a_replay_ends_its_session_and_no_other() {
    let mut state = eureka();
    let [own, other] = [0, 0].map(|user| state.issue(user, START));
    let newest = rotate(&mut state, &own, START).unwrap();
    assert!(rotate(&mut state, &own, START).is_err());
    assert!(rotate(&mut state, &newest, START).is_err());
    assert!(rotate(&mut state, &other, START).is_ok());
    assert_eq!(state.counters.replays, 1);
    assert_eq!(state.counters.sessions_revoked, 1);
}

#[test]
fn t11_an_expired_refresh_token_ends_no_session_though_it_was_used() {
    for mut state in [okapi(), eureka()] {
        let used = state.issue(0, START);
        rotate(&mut state, &used, START).unwrap();
        let unused = state.issue(0, START);
        let later = START + 3_600;
        let other = state.issue(0, later - 1);
        assert!(is_live(&state, &unused, later - 1));
        for expired in [&used, &unused] {
            assert!(rotate(&mut state, expired, later).is_err());
        }
        assert!(is_live(&state, &other, later));
        assert_eq!(
            (state.counters.replays, state.counters.sessions_revoked),
            (1, 0)
        );
    }
}

#[test]
fn sessions_are_prolonged_in_okapi_and_end_in_eureka() {
    let mut state = okapi();
    let first = state.issue(0, START);
    let second = rotate(&mut state, &first, START + 3_590).unwrap();
    assert_eq!((second.refresh.lives, second.access.lives), (3_600, 60));

    let mut state = eureka();
    let first = state.issue(0, START);
    let second = rotate(&mut state, &first, START + 3_590).unwrap();
    assert_eq!((second.refresh.lives, second.access.lives), (10, 10));
    assert!(!is_live(&state, &second, START + 3_600));
}

#[test]
fn an_access_token_is_good_for_its_last_second_in_okapi_and_not_in_eureka() {
    for (mut state, at_expiry) in [
        (okapi(), AccessCheck::Live),
        (eureka(), AccessCheck::Expired),
    ] {
        let pair = state.issue(0, START);
        assert_eq!(check(&state, &pair, START + 59), AccessCheck::Live);
        assert_eq!(check(&state, &pair, START + 60), at_expiry);
        assert_eq!(check(&state, &pair, START + 61), AccessCheck::Expired);
        assert_eq!(state.check("a guess", START), AccessCheck::Unknown);
        let refresh = &pair.refresh.token;
        assert_eq!(state.check(refresh, START), AccessCheck::Unknown);
    }
}

#[test]
fn t4_t10_a_logout_takes_the_refresh_token_and_leaves_the_access_token() {
    let mut state = okapi();
    let (first, other) = (state.issue(0, START), state.issue(0, START));
    let second = rotate(&mut state, &first, START).unwrap();
    // A logout with a used token ends no session.
    assert_eq!(state.log_out(&first.refresh.token), Ok(()));
    assert!(is_live(&state, &second, START) && is_live(&state, &other, START));
    assert_eq!(state.log_out(&second.refresh.token), Ok(()));
    assert_eq!(state.log_out(&second.refresh.token), Ok(()));
    assert!(!is_live(&state, &second, START) && is_live(&state, &other, START));
    assert_eq!(check(&state, &second, START), AccessCheck::Live);
    assert_eq!(state.log_out("unknown"), Err(Refused));
    assert_eq!(state.counters.sessions_revoked, 0);
}

#[test]
fn t8_in_eureka_a_logout_ends_the_session_with_its_newest_pair() {
    let mut state = eureka();
    let (first, other) = (state.issue(0, START), state.issue(0, START));
    let second = rotate(&mut state, &first, START).unwrap();
    assert_eq!(state.log_out(&first.refresh.token), Ok(()));
    assert!(!is_live(&state, &second, START));
    assert!(is_live(&state, &other, START));
    assert_eq!(state.log_out(&second.refresh.token), Ok(()));
    assert_eq!(check(&state, &second, START), AccessCheck::Live);
}

#[test]
fn a_logout_everywhere_ends_the_sessions_of_one_user_alone() {
    for mut state in [okapi(), eureka()] {
        let pairs = [0, 0, 1, 2].map(|user| state.issue(user, START));
        state.log_out_everywhere(0);
        let live = pairs.each_ref().map(|pair| is_live(&state, pair, START));
        assert_eq!(live, [false, false, true, true]);
    }
}

#[test]
fn okapi_requires_the_tenant_of_the_token_and_eureka_reads_it_from_the_token() {
    let mut state = okapi();
    let pair = state.issue(0, START);
    assert!(state.refresh(&pair.refresh.token, "b", START).is_err());
    assert!(is_live(&state, &pair, START), "it is not consumed");
    let mut state = eureka();
    let pair = state.issue(0, START);
    assert!(state.refresh(&pair.refresh.token, "b", START).is_ok());
}

#[test]
fn two_access_tokens_of_one_second_are_the_same_text_in_okapi() {
    let mut state = okapi();
    let first = state.issue(0, START);
    let second = rotate(&mut state, &first, START).unwrap();
    assert_eq!(first.access.token, second.access.token);
    assert_ne!(first.refresh.token, second.refresh.token);
}

#[test]
fn i13_a_module_gets_a_token_without_expiry_in_okapi_and_the_same_token_in_eureka() {
    let later = START + 1_000_000;
    let mut state = okapi();
    let pair = state.issue(0, START);
    let handed = state.handed_on(&pair.access.token, START).unwrap();
    assert_eq!(state.check(&handed, later), AccessCheck::Live);
    assert_eq!(state.handed_on(&pair.access.token, later), Err(Refused));

    let mut state = eureka();
    let pair = state.issue(0, START);
    let handed = state.handed_on(&pair.access.token, START);
    assert_eq!(handed, Ok(pair.access.token));
}

#[test]
fn a_code_is_taken_once_with_its_redirect_uri() {
    let mut state = eureka();
    let code = state.new_code(0, "http://ui");
    assert!(state.exchange_code(DIKU, &code, "http://ui", START).is_ok());
    assert!(
        state
            .exchange_code(DIKU, &code, "http://ui", START)
            .is_err()
    );
    for (tenant, redirect_uri) in [(DIKU, "http://other"), ("b", "http://ui")] {
        let code = state.new_code(0, "http://ui");
        let refused = state.exchange_code(tenant, &code, redirect_uri, START);
        assert!(refused.is_err());
    }
}

#[test]
fn tokens_have_the_form_of_folios() {
    let payload = |token: &str| {
        use base64::Engine as _;
        let payload = token.split('.').nth(1).unwrap();
        let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload);
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let mut state = okapi();
    let pair = state.issue(0, START);
    let said = payload(&pair.access.token);
    assert!(said.starts_with(r#"{"sub":"jane","user_id":""#), "{said}");
    let end = r#""type":"access","exp":1700000060,"iat":1700000000,"tenant":"diku"}"#;
    assert!(said.ends_with(end), "{said}");
    assert_eq!(pair.refresh.token.split('.').count(), 5);

    let mut state = eureka();
    let pair = state.issue(0, START);
    let said = payload(&pair.refresh.token);
    assert!(
        said.starts_with(r#"{"exp":1700003600,"iat":1700000000,"#),
        "{said}"
    );
    assert!(
        said.contains(r#""iss":"https://keycloak.test/realms/diku""#),
        "{said}"
    );
}

proptest! {
    /// For any tokens in any order, a refresh token brings a pair once, and only while it is live. After a replay, no token
    /// of the user is live in Okapi, and no token of the session in Eureka.
    #[test]
    fn a_refresh_token_brings_a_pair_once(
        is_okapi in any::<bool>(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..900_u64, 0..5_u8), 1..40),
    ) {
        let mut state = if is_okapi { okapi() } else { eureka() };
        let mut now = START;
        let mut pairs = vec![state.issue(0, now), state.issue(0, now)];
        for (chosen, seconds, step) in steps {
            now += seconds;
            let token = chosen.get(&pairs).refresh.token.clone();
            match step {
                0 => pairs.push(state.issue(0, now)),
                1 => prop_assert_eq!(state.log_out(&token), Ok(())),
                _ => {
                    let was_live = state.is_live_refresh(&token, now);
                    let replays = state.counters.replays;
                    let answer = state.refresh(&token, DIKU, now);
                    prop_assert_eq!(answer.is_ok(), was_live);
                    prop_assert!(!state.is_live_refresh(&token, now));
                    let expired = state.refresh[&Digest::of(&token)].expires_at <= now;
                    if is_okapi && state.counters.replays > replays && !expired {
                        prop_assert!(!pairs.iter().any(|pair| is_live(&state, pair, now)));
                    }
                    pairs.extend(answer);
                }
            }
            let live = pairs.iter().filter(|pair| is_live(&state, pair, now)).count();
            prop_assert!(live <= state.sessions.len(), "one of a session at most");
        }
    }
}
