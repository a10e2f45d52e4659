//! Something between a store and its server, as networks are: it can be led elsewhere, cut, and fall silent.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    port: u16,
    target: Arc<Mutex<u16>>,
    /// Counted up, what was connected before is cut.
    era: watch::Sender<u64>,
    /// Counted up, what was connected before hears nothing any more.
    silences: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(Mutex::new(server));
        let (era, silences) = (watch::Sender::new(0), watch::Sender::new(0));
        let (eras, all_silences, towards) = (era.clone(), silences.clone(), target.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (mut era, silence) = (eras.subscribe(), all_silences.subscribe());
                let target = *towards.lock();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = era.changed() => {}
                        () = pass(near, target, silence) => {}
                    }
                });
            }
        });
        Self {
            port,
            target,
            era,
            silences,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.era.send_modify(|era| *era += 1);
    }

    /// As a name that follows the primary does.
    pub(crate) fn lead_to(&self, server: u16) {
        *self.target.lock() = server;
        self.cut();
    }

    /// What is connected hears nothing any more, and is not closed either. What comes later is not concerned.
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

async fn pass(mut near: TcpStream, target: u16, mut silence: watch::Receiver<u64>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = silence.changed() => std::future::pending().await,
    }
}
