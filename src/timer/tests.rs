use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::testing::TestClock;

const SECOND: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_secs(5);

/// Notes each wake-up, and takes its next moment from a list.
#[derive(Default)]
struct Probe {
    seat: OnceLock<Seat>,
    woken: Mutex<Vec<Duration>>,
    next: Mutex<Vec<Timestamp>>,
    panics: AtomicBool,
}

/// A timer on a test clock, and the beginning of the test.
struct World {
    clock: TestClock,
    timer: Arc<Timer>,
    start: Timestamp,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let user_clock = UserClock::of(Some(Arc::new(clock.clone())));
        Self {
            timer: Timer::of(&Handle::current(), &user_clock),
            start: clock.now(),
            clock,
        }
    }

    fn probe(&self) -> Arc<Sitting> {
        let probe = Probe::default();
        assert!(probe.seat.set(Seat::new(Arc::clone(&self.timer))).is_ok());
        Arc::new(Sitting {
            probe,
            clock: self.clock.clone(),
            start: self.start,
        })
    }

    fn at(&self, seconds: u64) -> Timestamp {
        self.start + SECOND * u32::try_from(seconds).unwrap()
    }
}

struct Sitting {
    probe: Probe,
    clock: TestClock,
    start: Timestamp,
}

impl Sitting {
    fn plan(self: &Arc<Self>, at: Option<Timestamp>) {
        let this = Arc::downgrade(self);
        let seat = self.probe.seat.get().unwrap();
        seat.plan(|| this, at, POLL);
    }

    fn woken(&self) -> Vec<u64> {
        let woken = self.probe.woken.lock();
        woken.iter().map(Duration::as_secs).collect()
    }
}

impl Sleeper for Sitting {
    fn wake_up(self: Arc<Self>) {
        let age = self.clock.now().since(self.start);
        self.probe.woken.lock().push(age);
        assert!(
            !self.probe.panics.swap(false, Ordering::Relaxed),
            "on purpose"
        );
        let next = self.probe.next.lock().pop();
        self.plan(next);
    }

    fn seat(&self) -> Option<&Seat> {
        self.probe.seat.get()
    }
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn each_session_is_woken_at_its_moment_and_the_task_ends_with_the_last_entry() {
    let world = World::new();
    let (one, two) = (world.probe(), world.probe());
    *one.probe.next.lock() = vec![world.at(40)];
    assert_eq!(tasks(), 0);
    one.plan(Some(world.at(10)));
    two.plan(Some(world.at(20)));
    world.clock.advance(SECOND).await;
    assert_eq!(tasks(), 1, "one task for both sessions");
    world.clock.advance(60 * SECOND).await;
    assert_eq!((one.woken(), two.woken()), (vec![10, 40], vec![20]));
    assert_eq!(tasks(), 0);
    two.plan(Some(world.at(70)));
    world.clock.advance(60 * SECOND).await;
    assert_eq!(two.woken(), [20, 70], "the task starts again");
}

#[tokio::test(start_paused = true)]
async fn a_moment_can_be_moved_earlier_moved_later_and_removed() {
    let world = World::new();
    let (earlier, later, gone) = (world.probe(), world.probe(), world.probe());
    for probe in [&earlier, &later, &gone] {
        probe.plan(Some(world.at(100)));
    }
    world.clock.advance(SECOND).await;
    earlier.plan(Some(world.at(10)));
    later.plan(Some(world.at(200)));
    gone.plan(None);
    world.clock.advance(150 * SECOND).await;
    assert_eq!((earlier.woken(), later.woken()), (vec![10], vec![]));
    later.plan(None);
    world.clock.advance(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0, "the last entry is gone");
    world.clock.advance(150 * SECOND).await;
    assert!(later.woken().is_empty() && gone.woken().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_passed_while_the_machine_slept_is_found_at_the_next_poll() {
    let world = World::new();
    let probe = world.probe();
    probe.plan(Some(world.at(3_600)));
    world.clock.advance(SECOND).await;
    world.clock.suspend(3_600 * SECOND);
    world.clock.advance(POLL).await;
    assert_eq!(probe.woken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_sessions_are_woken_when_the_wall_clock_jumps_ahead_and_not_when_it_goes_back() {
    let world = World::new();
    let probe = world.probe();
    *probe.probe.next.lock() = vec![world.at(3_600)];
    probe.plan(Some(world.at(3_600)));
    world.clock.advance(SECOND).await;
    world.clock.step_wall_back(7_200 * SECOND);
    world.clock.advance(10 * SECOND).await;
    assert!(probe.woken().is_empty());
    world.clock.step_wall(7_200 * SECOND);
    world.clock.advance(10 * SECOND).await;
    assert_eq!(
        probe.woken().len(),
        1,
        "the session's moment may be earlier now"
    );
    world.clock.advance(100 * SECOND).await;
    assert_eq!(probe.woken().len(), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_is_woken_again_and_does_not_delay_another() {
    let world = World::new();
    let (bad, good) = (world.probe(), world.probe());
    bad.probe.panics.store(true, Ordering::Relaxed);
    bad.plan(Some(world.at(10)));
    good.plan(Some(world.at(10)));
    world.clock.advance(30 * SECOND).await;
    assert_eq!((bad.woken(), good.woken()), (vec![10, 15], vec![10]));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_is_not_woken() {
    let world = World::new();
    let probe = world.probe();
    probe.plan(Some(world.at(10)));
    drop(probe);
    world.clock.advance(20 * SECOND).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_sessions_than_one_batch_are_all_woken() {
    let world = World::new();
    let probes: Vec<_> = (0..3 * BATCH).map(|_| world.probe()).collect();
    probes
        .iter()
        .for_each(|probe| probe.plan(Some(world.at(10))));
    world.clock.advance(11 * SECOND).await;
    assert!(probes.iter().all(|probe| probe.woken() == [10]));
}

#[test]
fn a_runtime_that_was_shut_down_wakes_no_session_and_does_not_hang() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    };
    let first = runtime();
    let timer = Timer::of(first.handle(), &UserClock::of(None));
    assert!(Arc::ptr_eq(
        &timer,
        &Timer::of(first.handle(), &UserClock::of(None))
    ));
    let second = runtime();
    assert!(!Arc::ptr_eq(
        &timer,
        &Timer::of(second.handle(), &UserClock::of(None))
    ));
    let clock = second.block_on(async { TestClock::new() });
    let probe = Arc::new(Sitting {
        probe: Probe::default(),
        start: clock.now(),
        clock,
    });
    assert!(probe.probe.seat.set(Seat::new(Arc::clone(&timer))).is_ok());
    drop(first);
    for seconds in 1..4 {
        probe.plan(Some(probe.start + SECOND * seconds));
        assert!(!timer.agenda.lock().is_running);
    }
    assert!(probe.woken().is_empty());
}
