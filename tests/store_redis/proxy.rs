//! A proxy between a store and its server: it can lead elsewhere, cut connections, and fall silent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    port: u16,
    target: Arc<Mutex<u16>>,
    /// A higher number cuts the connections that were made before.
    era: watch::Sender<u64>,
    /// A higher number silences the connections that were made before.
    silences: watch::Sender<u64>,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(Mutex::new(server));
        let (era, silences) = (watch::Sender::new(0), watch::Sender::new(0));
        let requests = Arc::<AtomicU64>::default();
        let counted = requests.clone();
        let (eras, all_silences, towards) = (era.clone(), silences.clone(), target.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (mut era, silence) = (eras.subscribe(), all_silences.subscribe());
                let (target, counted) = (*towards.lock(), counted.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = era.changed() => {}
                        () = pass(near, target, silence, counted) => {}
                    }
                });
            }
        });
        Self {
            port,
            target,
            era,
            silences,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How often a client sent something after an answer.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.era.send_modify(|era| *era += 1);
    }

    /// Leads to another server, as a name that follows the primary does.
    pub(crate) fn lead_to(&self, server: u16) {
        *self.target.lock() = server;
        self.cut();
    }

    /// Silences the open connections without closing them. Later connections work.
    pub(crate) fn silence(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass(
    mut near: TcpStream,
    target: u16,
    mut silence: watch::Receiver<u64>,
    requests: Arc<AtomicU64>,
) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    tokio::select! {
        _ = relay(&mut near, &mut far, &requests) => {}
        _ = silence.changed() => std::future::pending().await,
    }
}

/// A request may come in several pieces, and counts once.
async fn relay(near: &mut TcpStream, far: &mut TcpStream, requests: &AtomicU64) -> io::Result<()> {
    let (mut from_near, mut to_near) = near.split();
    let (mut from_far, mut to_far) = far.split();
    let mut is_answered = true;
    let (mut asked, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            length = from_near.read(&mut asked) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                if std::mem::replace(&mut is_answered, false) {
                    requests.fetch_add(1, Ordering::SeqCst);
                }
                to_far.write_all(&asked[..length]).await?;
            }
            length = from_far.read(&mut answer) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                is_answered = true;
                to_near.write_all(&answer[..length]).await?;
            }
        }
    }
}
