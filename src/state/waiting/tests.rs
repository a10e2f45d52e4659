use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::clock::Timestamp;
use crate::error::Error;

const SECOND: Duration = Duration::from_secs(1);

/// Counts how often it is woken, and may do something then.
struct Probe<F: Fn() + Send + Sync + 'static>(AtomicUsize, F);

impl<F: Fn() + Send + Sync + 'static> Probe<F> {
    fn new(then: F) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0), then))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl<F: Fn() + Send + Sync + 'static> Wake for Probe<F> {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        (self.1)();
    }
}

type Report = Poll<Result<Progress, Due>>;

/// Polls it once for this waker.
fn poll<F: Fn() + Send + Sync>(waiter: &mut Waiter, probe: &Arc<Probe<F>>) -> Report {
    let waker = Waker::from(Arc::clone(probe));
    waiter.poll(None, &Context::from_waker(&waker), |_| {})
}

/// Waits for a report in a task of its own, with the timer that the first one starts.
fn wait(room: &Arc<Room>, after: Duration) -> JoinHandle<(Result<Progress, Due>, Duration)> {
    let mut waiter = Waiter::new(room);
    let start = Instant::now();
    tokio::spawn(async move {
        let report = poll_fn(|context| {
            waiter.poll(Some(start + after), context, |room| {
                tokio::spawn(timer(Arc::clone(room)));
            })
        });
        (report.await, start.elapsed())
    })
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// The seats that are taken, all seats, and the deadlines.
fn seats(room: &Room) -> (usize, usize, usize) {
    let inside = room.inside.lock();
    let seats = &inside.seats;
    (seats.len(), seats.capacity(), inside.deadlines.len())
}

#[test]
fn each_report_wakes_each_waiter_once_until_it_looks_again() {
    let room = Room::new(None);
    let probe = Probe::new(|| {});
    let mut waiter = Waiter::new(&room);
    assert!(poll(&mut waiter, &probe).is_pending());
    let later = Timestamp::from_nanos(1);
    for (round, report) in [
        Progress::Waiting,
        Progress::Pausing(Error::Pending, later),
        Progress::Unstored(Error::Pending),
        Progress::Running,
        Progress::Done(Err(Error::Pending), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let kind = std::mem::discriminant(&report);
        drop(room.report(report));
        assert_eq!(probe.count(), round + 1);
        let Poll::Ready(Ok(heard)) = poll(&mut waiter, &probe) else {
            panic!("it hears of it");
        };
        assert_eq!(std::mem::discriminant(&heard), kind);
        assert_eq!(poll(&mut waiter, &probe).is_pending(), round < 4);
    }
    drop(room.report(Progress::Running));
    assert!(room.peek(Progress::is_over), "the last report stays");
}

#[test]
fn a_report_between_two_looks_is_not_lost() {
    let room = Room::new(None);
    let probe = Probe::new(|| {});
    // Before it has a seat, and before it has looked again.
    let mut waiter = Waiter::new(&room);
    drop(room.report(Progress::Waiting));
    assert!(poll(&mut waiter, &probe).is_ready());
    drop(room.report(Progress::Running));
    assert!(poll(&mut waiter, &probe).is_ready());
    assert!(poll(&mut waiter, &probe).is_pending());
    drop(room.report(Progress::Waiting));
    drop(room.report(Progress::Retry));
    assert_eq!(probe.count(), 1, "one waker is called once");
    let heard = poll(&mut waiter, &probe);
    assert!(matches!(heard, Poll::Ready(Ok(Progress::Retry))));
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_called() {
    let room = Room::new(None);
    let (first, second) = (Probe::new(|| {}), Probe::new(|| {}));
    let mut waiter = Waiter::new(&room);
    assert!(poll(&mut waiter, &first).is_pending());
    assert!(poll(&mut waiter, &second).is_pending());
    drop(room.report(Progress::Retry));
    assert_eq!((first.count(), second.count()), (0, 1));
}

#[test]
fn waiters_are_woken_in_the_order_in_which_they_came() {
    let room = Room::new(None);
    let order = Arc::new(Mutex::new(Vec::new()));
    let probe = |number: usize| {
        let order = Arc::clone(&order);
        Probe::new(move || order.lock().push(number))
    };
    let mut waiters: Vec<_> = (0..4).map(|_| Waiter::new(&room)).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        assert!(poll(waiter, &probe(number)).is_pending());
    }
    drop(waiters.remove(1));
    drop(room.report(Progress::Waiting));
    assert_eq!(*order.lock(), [0, 2, 3]);
}

#[test]
fn one_that_leaves_leaves_nothing_behind_and_is_not_counted() {
    let room = Room::new(None);
    let probe = Probe::new(|| {});
    assert!(!room.has_callers());
    let mut waiters: Vec<_> = (0..100).map(|_| Waiter::new(&room)).collect();
    assert!(!room.has_callers(), "none has been polled");
    for waiter in &mut waiters {
        let waker = Waker::from(Arc::clone(&probe));
        let deadline = Some(Instant::now() + SECOND);
        let context = Context::from_waker(&waker);
        assert!(waiter.poll(deadline, &context, |_| {}).is_pending());
    }
    let all = seats(&room).1;
    assert_eq!(seats(&room), (100, all, 100));
    // Woken, and dropped before it looked.
    drop(room.report(Progress::Waiting));
    assert!(room.has_callers());
    waiters.clear();
    assert_eq!(seats(&room), (0, all, 0));
    assert!(!room.has_callers());
    assert_eq!(Arc::strong_count(&probe), 1, "no waker is kept");
    assert_eq!(Arc::strong_count(&room), 1);
    // Their seats are taken again.
    let mut waiters: Vec<_> = (0..100).map(|_| Waiter::new(&room)).collect();
    for waiter in &mut waiters {
        assert!(poll(waiter, &probe).is_ready(), "of what was reported");
        assert!(poll(waiter, &probe).is_pending());
    }
    assert_eq!(seats(&room), (100, all, 0));
    drop(room.report(Progress::Retry));
    assert_eq!((probe.count(), seats(&room)), (200, (0, 0, 0)));
    waiters.clear();
    assert!(!room.has_callers());
}

#[test]
fn a_waiter_that_is_not_counted_is_woken() {
    let room = Room::new(None);
    let probe = Probe::new(|| {});
    let mut uncounted = Waiter::uncounted(&room);
    assert!(poll(&mut uncounted, &probe).is_pending());
    assert!(!room.has_callers());
    drop(room.report(Progress::Retry));
    assert_eq!(probe.count(), 1);
}

#[test]
fn a_waker_that_panics_leaves_none_of_the_others_asleep() {
    let room = Room::new(None);
    let bad = Probe::new(|| panic!("on purpose"));
    let good = Probe::new(|| {});
    let mut waiters: Vec<_> = (0..3).map(|_| Waiter::new(&room)).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        let pending = match number {
            1 => poll(waiter, &bad),
            _ => poll(waiter, &good),
        };
        assert!(pending.is_pending());
    }
    drop(room.report(Progress::Waiting));
    assert_eq!((bad.count(), good.count()), (1, 2));
    assert!(room.has_callers(), "the room is still in order");
}

/// As an executor does whose task ends with the wake, or that looks at once.
#[test]
fn a_waker_may_drop_waiters_and_poll_others_inside() {
    for last in [false, true] {
        let room = Room::new(None);
        let waiters: Arc<Mutex<Vec<Waiter>>> = Arc::default();
        let probe = {
            let (room, waiters) = (Arc::clone(&room), Arc::clone(&waiters));
            Probe::new(move || {
                drop(waiters.lock().pop());
                let mut another = Waiter::new(&room);
                assert!(poll(&mut another, &Probe::new(|| {})).is_ready());
            })
        };
        for _ in 0..3 {
            let mut waiter = Waiter::new(&room);
            assert!(poll(&mut waiter, &probe).is_pending());
            waiters.lock().push(waiter);
        }
        drop(room.report(if last {
            Progress::Retry
        } else {
            Progress::Waiting
        }));
        assert_eq!((probe.count(), waiters.lock().len()), (3, 0));
        assert!(!room.has_callers());
    }
}

#[tokio::test(start_paused = true)]
async fn each_deadline_is_kept_to_the_millisecond_by_one_timer_for_all() {
    let room = Room::new(None);
    let at = [700, 300, 301, 300, 5_000, 2].map(Duration::from_millis);
    let waiters = at.map(|after| (after, wait(&room, after)));
    settle().await;
    assert_eq!(tasks(), at.len() + 1);
    for (after, waiter) in waiters {
        let (report, took) = waiter.await.unwrap();
        assert!(matches!(report, Err(Due)));
        assert_eq!(took, after);
    }
    settle().await;
    assert_eq!((tasks(), seats(&room).0), (0, 0), "the timer has ended");
    // The next one starts it anew.
    assert_eq!(wait(&room, SECOND).await.unwrap().1, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_moved_holds_and_the_old_one_does_not() {
    let room = Room::new(None);
    let start = Instant::now();
    let mut waiter = Waiter::new(&room);
    let mut limit = SECOND;
    let report = poll_fn(|context| {
        loop {
            let deadline = Some(start + limit);
            let report = ready!(waiter.poll(deadline, context, |room| {
                tokio::spawn(timer(Arc::clone(room)));
            }));
            match report {
                Err(Due) if limit == SECOND => limit = 3 * SECOND,
                report => return Poll::Ready(report),
            }
        }
    });
    assert!(report.await.is_err());
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_timer_ends_with_the_room_and_with_the_last_that_waits() {
    let room = Room::new(None);
    let waiter = wait(&room, 60 * SECOND);
    settle().await;
    assert_eq!(tasks(), 2);
    waiter.abort();
    settle().await;
    assert_eq!((tasks(), seats(&room).2), (0, 0));
    let (waiter, other) = (wait(&room, 60 * SECOND), wait(&room, 40 * SECOND));
    settle().await;
    assert_eq!(tasks(), 3);
    drop(room.report(Progress::Retry));
    settle().await;
    assert_eq!(tasks(), 0);
    for waiter in [waiter, other] {
        let (report, took) = waiter.await.unwrap();
        assert!(matches!(report, Ok(Progress::Retry)) && took.is_zero());
    }
    assert_eq!(Arc::strong_count(&room), 1);
}

/// A process that was stopped finds both at once, and the report is worth more.
#[tokio::test(start_paused = true)]
async fn a_report_comes_before_a_deadline() {
    let room = Room::new(None);
    let probe = Probe::new(|| {});
    let waker = Waker::from(Arc::clone(&probe));
    let mut waiter = Waiter::new(&room);
    let deadline = Instant::now() + SECOND;
    let context = Context::from_waker(&waker);
    assert!(waiter.poll(Some(deadline), &context, |_| {}).is_pending());
    assert_eq!(room.ring(deadline, Waker::noop()), None);
    drop(room.report(Progress::Waiting));
    let heard = waiter.poll(Some(deadline), &context, |_| {});
    assert!(matches!(heard, Poll::Ready(Ok(Progress::Waiting))));
    let heard = waiter.poll(Some(deadline), &context, |_| {});
    assert!(matches!(heard, Poll::Ready(Err(Due))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_come_and_go_on_four_threads_and_each_hears_the_last_report() {
    const WAITERS: u64 = 10_000;
    let room = Room::new(None);
    let waiters: Vec<_> = (0..WAITERS)
        .map(|number| {
            let room = Arc::clone(&room);
            tokio::spawn(async move {
                if number % 3 == 0 {
                    // One that leaves early.
                    let early = Duration::from_millis(number % 7);
                    let _ = tokio::time::timeout(early, Waiter::new(&room).over()).await;
                }
                let mut waiter = Waiter::new(&room);
                let deadline = Instant::now() + Duration::from_secs(60 + number % 5);
                poll_fn(|context| {
                    loop {
                        let report = waiter.poll(Some(deadline), context, |room| {
                            tokio::spawn(timer(Arc::clone(room)));
                        });
                        match ready!(report) {
                            Ok(report) if report.is_over() => return Poll::Ready(true),
                            Ok(_) => {}
                            Err(Due) => return Poll::Ready(false),
                        }
                    }
                })
                .await
            })
        })
        .collect();
    for _ in 0..20 {
        drop(room.report(Progress::Waiting));
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(room.report(Progress::Running));
    }
    drop(room.report(Progress::Retry));
    for waiter in waiters {
        assert!(waiter.await.unwrap());
    }
    assert_eq!(seats(&room), (0, 0, 0));
}
