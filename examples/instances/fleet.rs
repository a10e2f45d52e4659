//! The processes of the instances: start, kill, pause and end. No instance outlives its fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::instance::{STOP, Setup};
use crate::messages::Message;
use crate::run::Run;
use crate::site::{Answers, start_child};

/// The longest time that an instance needs to end: a task may wait for a token for 35 s.
const PATIENCE: Duration = Duration::from_secs(45);

pub(crate) struct Fleet {
    setup: Setup,
    run: Arc<Run>,
    instances: Vec<Instance>,
    started: u64,
    stop: watch::Sender<bool>,
}

struct Instance {
    number: u64,
    child: Child,
    attendant: JoinHandle<()>,
    /// Whether the instance has sent a message. A pause before the first message could let the instance outlive this process.
    is_ready: Arc<AtomicBool>,
    is_stopped: bool,
}

impl Instance {
    fn is_running(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && !self.is_stopped
    }
}

impl Fleet {
    pub(crate) fn start(count: usize, setup: Setup, run: Arc<Run>) -> anyhow::Result<Self> {
        let mut fleet = Self {
            setup,
            run,
            instances: Vec::new(),
            started: 0,
            stop: watch::Sender::new(false),
        };
        for _ in 0..count {
            let instance = fleet.another()?;
            fleet.instances.push(instance);
        }
        Ok(fleet)
    }

    fn another(&mut self) -> anyhow::Result<Instance> {
        self.started += 1;
        let number = self.started;
        let (child, orders, answers) = start_child("--instance")?;
        let mut setup = serde_json::to_string(&self.setup)?;
        setup.push('\n');
        self.run.started(number);
        let is_ready = Arc::<AtomicBool>::default();
        let pipes = Pipes {
            number,
            orders,
            answers,
            is_ready: Arc::clone(&is_ready),
            run: Arc::clone(&self.run),
        };
        let attendant = pipes.attend(setup, self.stop.subscribe());
        Ok(Instance {
            number,
            child,
            attendant: tokio::spawn(attendant),
            is_ready,
            is_stopped: false,
        })
    }

    /// The numbers of all instances.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let instances = self.instances.iter();
        instances.map(|instance| instance.number).collect()
    }

    /// The numbers of the instances that can be paused.
    pub(crate) fn running(&self) -> Vec<u64> {
        let all = self.instances.iter();
        let instances = all.filter(|instance| instance.is_running());
        instances.map(|instance| instance.number).collect()
    }

    /// Kills an instance, if it still exists, and starts another one in its place.
    pub(crate) fn kill(&mut self, number: u64) -> anyhow::Result<bool> {
        let mut instances = self.instances.iter();
        let Some(place) = instances.position(|instance| instance.number == number) else {
            return Ok(false);
        };
        // The attendant still reads the last messages; the runtime reaps the process.
        self.instances[place].child.start_kill()?;
        self.run.killed(number);
        self.instances[place] = self.another()?;
        Ok(true)
    }

    /// Pauses an instance, if it exists and runs.
    pub(crate) fn pause(&mut self, number: u64) -> anyhow::Result<bool> {
        let Some(instance) = self.find(number).filter(|instance| instance.is_running()) else {
            return Ok(false);
        };
        signal::stop(&instance.child)?;
        instance.is_stopped = true;
        self.run.paused(number);
        Ok(true)
    }

    pub(crate) fn resume(&mut self, number: u64) -> anyhow::Result<()> {
        let run = Arc::clone(&self.run);
        if let Some(instance) = self.find(number).filter(|instance| instance.is_stopped) {
            instance.is_stopped = false;
            run.resumed(number);
            signal::go_on(&instance.child)?;
        }
        Ok(())
    }

    fn find(&mut self, number: u64) -> Option<&mut Instance> {
        let mut instances = self.instances.iter_mut();
        instances.find(|instance| instance.number == number)
    }

    /// Ends all pauses. Returns the numbers of all instances.
    pub(crate) fn resume_all(&mut self) -> anyhow::Result<Vec<u64>> {
        let numbers = self.numbers();
        numbers.iter().try_for_each(|number| self.resume(*number))?;
        Ok(numbers)
    }

    /// Ends all instances cleanly; returns how many did not end so.
    pub(crate) async fn end(fleet: &Mutex<Self>) -> u64 {
        let instances = {
            let mut fleet = fleet.lock();
            fleet.stop.send_replace(true);
            std::mem::take(&mut fleet.instances)
        };
        let mut hanging = 0;
        for mut instance in instances {
            match timeout(PATIENCE, instance.child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                _ => hanging += 1,
            }
            // The attendant ends with the last line. The process of a hanging instance is killed when it is dropped.
            let _ = timeout(Duration::from_secs(1), instance.attendant).await;
        }
        hanging
    }
}

/// The pipes from and to an instance.
struct Pipes {
    number: u64,
    orders: ChildStdin,
    answers: Answers,
    is_ready: Arc<AtomicBool>,
    run: Arc<Run>,
}

impl Pipes {
    /// Reads the messages of an instance to the last, and passes the order to stop on.
    async fn attend(mut self, setup: String, mut stop: watch::Receiver<bool>) {
        // Writing fails if the instance was killed.
        let mut is_told = self.orders.write_all(setup.as_bytes()).await.is_err();
        loop {
            tokio::select! {
                line = self.answers.next_line() => {
                    let Ok(Some(line)) = line else { return };
                    self.is_ready.store(true, Ordering::Relaxed);
                    // A kill may cut the last line off.
                    if let Ok(message) = serde_json::from_str::<Message>(&line) {
                        self.run.heard(self.number, message);
                    }
                }
                () = asked(&mut stop), if !is_told => {
                    is_told = true;
                    let _ = self.orders.write_all(format!("{STOP}\n").as_bytes()).await;
                }
            }
        }
    }
}

async fn asked(stop: &mut watch::Receiver<bool>) {
    // Without a fleet, no order comes.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(unix)]
mod signal {
    use anyhow::Context as _;
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::process::Child;

    pub(super) fn stop(child: &Child) -> anyhow::Result<()> {
        send(child, Signal::STOP)
    }

    pub(super) fn go_on(child: &Child) -> anyhow::Result<()> {
        send(child, Signal::CONT)
    }

    /// The process id is not reused before the process is reaped.
    fn send(child: &Child, signal: Signal) -> anyhow::Result<()> {
        let id = child.id().context("an instance has ended by itself")?;
        let id = Pid::from_raw(id.try_into()?).context("an instance has the process id 0")?;
        Ok(kill_process(id, signal)?)
    }
}

#[cfg(not(unix))]
mod signal {
    use tokio::process::Child;

    pub(super) fn stop(_: &Child) -> anyhow::Result<()> {
        anyhow::bail!("pauses need Unix signals")
    }

    pub(super) fn go_on(_: &Child) -> anyhow::Result<()> {
        Ok(())
    }
}
