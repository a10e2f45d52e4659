//! The wall clock is stepped while managers rotate and callers ask.

use evertoken::{BackgroundTimer, OnRequest, OptimisticEarly, RefreshStrategy};

use crate::support::{HOUR, MINUTE, SECOND, World};

/// Makes a request in each of this many seconds, with `step` called before each request. Returns the number of
/// exchanges.
async fn run(strategy: impl RefreshStrategy, seconds: u32, step: impl Fn(&World, u32)) -> u64 {
    let (world, tokens) = World::managed(strategy).await;
    for second in 0..seconds {
        step(&world, second);
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.clock.advance(SECOND).await;
    }
    world.assert_unharmed();
    world.server.exchanges()
}

/// A wall clock that steps back by an hour changes no rotation.
#[tokio::test(start_paused = true)]
async fn fm18_a_wall_clock_that_steps_back_costs_nothing() {
    let back = |world: &World, second| {
        if second == 100 {
            world.clock.step_wall_back(HOUR);
        }
    };
    // The rotations come at the same times as without the step: at 590 and 1180, 480 and 960, 540 and 1080 s.
    assert_eq!(run(OnRequest::default(), 1_200, back).await, 2);
    assert_eq!(run(BackgroundTimer::default(), 1_200, back).await, 2);
    assert_eq!(run(OptimisticEarly::default(), 1_200, back).await, 2);
}

/// A wall clock that steps ahead by an hour costs one rotation; the times count from there.
#[tokio::test(start_paused = true)]
async fn fm18_a_wall_clock_that_steps_ahead_costs_one_needless_rotation() {
    let ahead = |world: &World, second| {
        if second == 100 {
            world.clock.step_wall(HOUR);
        }
    };
    // A rotation at 100 s for the step, and the next ones 590, 480 and 540 s later.
    assert_eq!(run(OnRequest::default(), 689, ahead).await, 1);
    assert_eq!(run(OnRequest::default(), 691, ahead).await, 2);
    assert_eq!(run(BackgroundTimer::default(), 579, ahead).await, 1);
    assert_eq!(run(BackgroundTimer::default(), 581, ahead).await, 2);
    assert_eq!(run(OptimisticEarly::default(), 639, ahead).await, 1);
    assert_eq!(run(OptimisticEarly::default(), 641, ahead).await, 2);
}

/// A wall clock that swings by an hour costs a rotation where a step leads beyond the latest time seen.
#[tokio::test(start_paused = true)]
async fn fm18_a_wall_clock_that_swings_costs_a_rotation_for_each_step_ahead_of_its_maximum() {
    let swing = |world: &World, second| match second % 120 {
        30 => world.clock.step_wall(HOUR),
        90 => world.clock.step_wall_back(HOUR),
        _ => {}
    };
    // Rotations at 30 s for the step, at 620 s while the clock is back, and at 630 s for the next step.
    assert_eq!(run(OnRequest::default(), 1_200, swing).await, 3);
    // Rotations at 30 s for the step, at 510 and 990 s by the timer just before a step, and after each of the two for
    // the step.
    assert_eq!(run(BackgroundTimer::default(), 1_200, swing).await, 5);
}

/// Corrections of a tenth of a second, back and forth, change no rotation.
#[tokio::test(start_paused = true)]
async fn fm18_a_wall_clock_under_constant_correction_costs_nothing() {
    let nudge = |world: &World, second| {
        let span = SECOND / 10;
        if second % 2 == 0 {
            world.clock.step_wall(span);
        } else {
            world.clock.step_wall_back(span);
        }
    };
    assert_eq!(run(OnRequest::default(), 1_200, nudge).await, 2);
    assert_eq!(run(BackgroundTimer::default(), 1_200, nudge).await, 2);
}

/// A step ahead does not prolong the access token of a session that has ended.
#[tokio::test(start_paused = true)]
async fn fm18_a_step_ahead_prolongs_no_token_of_a_session_that_has_ended() {
    let world = World::new(MINUTE);
    let tokens = world.manager(OnRequest::default()).await;
    world.server.revoke_all();
    assert!(tokens.rotate().await.unwrap_err().needs_sign_in());
    world.clock.advance(40 * SECOND).await;
    world.clock.step_wall(30 * SECOND);
    tokens.token().await.unwrap();
    world.clock.advance(20 * SECOND).await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
}
