//! Time that runs faster. Tokio's time is paused: it jumps to the next timer when nothing can run, and by
//! itself an hour would be over at once, while an answer is still on its way through a socket. So it is let
//! go on a short step at a time, and stands still in between.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use evertoken::clock::{Clock as _, SystemClock};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::sleep;

/// What is due within one step comes in its order, and what goes through a socket may take one step longer.
const STEP: Duration = Duration::from_millis(250);

/// How often sockets are looked at before each step, at least: a request and its answer go from hand to hand.
const LOOKS: usize = 16;

/// Lets tokio's paused time go `scale` times as fast as real time, or as fast as the machine can.
pub(crate) async fn pace(scale: f64) -> anyhow::Result<Infallible> {
    let start = SystemClock.now();
    let mut simulated = Duration::ZERO;
    loop {
        let due = simulated.div_f64(scale);
        let early = due.saturating_sub(SystemClock.now().since(start));
        // Paused time stands still as long as something blocks.
        spawn_blocking(move || thread::sleep(early)).await?;
        for _ in 0..LOOKS {
            yield_now().await;
        }
        sleep(STEP).await;
        simulated += STEP;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_takes_as_long_as_it_is_told() {
        let (began, really) = (Instant::now(), SystemClock.now());
        tokio::select! {
            _ = pace(36_000.0) => {}
            () = sleep(Duration::from_secs(3_600)) => {}
        }
        assert_eq!(began.elapsed(), Duration::from_secs(3_600));
        // At least: a machine that is busy takes longer.
        assert!(SystemClock.now().since(really) >= Duration::from_millis(99));
    }
}
