//! A front between clients and their server: it passes connections on, and during an outage it answers in the server's
//! place. The front never handles a token.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::until;
use super::fault::Answer;
use super::http::{ANY_PORT, Sent, answer_on, next_connection, typed};

/// The most connections that wait to be accepted.
const BACKLOG: u32 = 512;

/// The body of an answer whose second half is missing.
const BODY: &str = r#"{"token_type":"Bearer","expires_in":3600}"#;

/// What a client gets in place of the server's answer. The server does not see the request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outage {
    /// The front accepts no connection.
    Refused,
    /// The front gives this answer, as a proxy, a gateway or a firewall does.
    Answered(Answer),
    /// The connection is reset in the middle of an answer.
    Reset,
}

/// A front on the loopback, which accepts connections until it is dropped.
///
/// ```
/// use evertoken::testing::{Answer, AuthorizationServer, Front, Outage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = AuthorizationServer::builder().build().listen().await?;
/// let front = Front::before(server.addr()).await?;
/// let token_url = format!("{}/token", front.origin());
/// // The client's requests arrive at the server, until the outage begins.
/// front.begin(Outage::Answered(Answer::status(503))).await?;
/// front.end()?;
/// # let _ = token_url;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Mutex<Door>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    /// The present outage, and whether one request alone meets it.
    present: Mutex<Option<(Outage, bool)>>,
    /// The number of requests that the front answered.
    answered: watch::Sender<u64>,
}

#[derive(Debug)]
enum Door {
    Open(JoinHandle<()>),
    /// A socket that does not listen keeps the port.
    Closed(TcpSocket),
    /// Between the other two, and after an error of either.
    Moving,
}

impl Front {
    /// A front on a free port of the loopback, before the server at this address. The front runs on the current tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// An error of listening on the loopback.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let shared = Arc::new(Shared {
            server,
            present: Mutex::default(),
            answered: watch::Sender::new(0),
        });
        Ok(Self {
            address: listener.local_addr()?,
            door: Mutex::new(Door::Open(accept(listener, &shared))),
            shared,
        })
    }

    /// The origin for clients: `http`, the host and the port, without a slash at the end.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests that the front has answered in place of the server.
    #[must_use]
    pub fn answered(&self) -> u64 {
        *self.shared.answered.borrow()
    }

    /// Waits until [`answered`](Self::answered) is at least `count`.
    pub async fn answers(&self, count: u64) {
        until(&self.shared.answered, |answered| *answered >= count).await;
    }

    /// Begins an outage, which replaces the present one.
    ///
    /// # Errors
    ///
    /// An error of keeping the port while the front accepts no connection.
    pub async fn begin(&self, outage: Outage) -> io::Result<()> {
        self.end()?;
        let closes = matches!(outage, Outage::Refused);
        *self.shared.present.lock() = Some((outage, false));
        if closes {
            let door = std::mem::replace(&mut *self.door.lock(), Door::Moving);
            if let Door::Open(accepting) = door {
                accepting.abort();
                // The port is free once the task has ended.
                let _ = accepting.await;
            }
            let socket = TcpSocket::new_v4()?;
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(self.address)?;
            *self.door.lock() = Door::Closed(socket);
        }
        Ok(())
    }

    /// Lets one request meet this outage. Under [`Outage::Refused`], its connection is reset.
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    pub fn begin_once(&self, outage: Outage) -> io::Result<()> {
        self.end()?;
        *self.shared.present.lock() = Some((outage, true));
        Ok(())
    }

    /// Ends the outage. A request that has met the outage is still answered by it.
    ///
    /// # Errors
    ///
    /// An error of listening again.
    pub fn end(&self) -> io::Result<()> {
        *self.shared.present.lock() = None;
        let mut door = self.door.lock();
        *door = match std::mem::replace(&mut *door, Door::Moving) {
            Door::Closed(socket) => Door::Open(accept(socket.listen(BACKLOG)?, &self.shared)),
            other => other,
        };
        Ok(())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Door::Open(accepting) = self.door.get_mut() {
            accepting.abort();
        }
    }
}

/// Accepts connections. Each has a task of its own, which outlives the listener: a request that was passed on is never cut
/// off, because a strict server has consumed its refresh token.
fn accept(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            let stream = next_connection(&listener).await;
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { shared.serve(stream).await });
        }
    })
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) {
        let Some(outage) = self.outage() else {
            if let Ok(mut server) = TcpStream::connect(self.server).await {
                // Either side hangs up.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
            return;
        };
        let is_reset = !matches!(outage, Outage::Answered(_));
        if is_reset && client.set_zero_linger().is_err() {
            return;
        }
        let answer = |request: hyper::Request<Incoming>| async {
            // A client that is still sending does not read the answer.
            let _ = request.into_body().collect().await;
            self.answered.send_modify(|answered| *answered += 1);
            match outage.clone() {
                // The next request comes on a new connection, and does not meet an outage that is over.
                Outage::Answered(answer) => {
                    Sent::Whole(answer.header("connection", "close").into_response())
                }
                Outage::Reset | Outage::Refused => Sent::Half(typed(200, "application/json", BODY)),
            }
        };
        answer_on(client, answer).await;
    }

    fn outage(&self) -> Option<Outage> {
        let mut present = self.present.lock();
        let (outage, is_once) = present.clone()?;
        if is_once {
            *present = None;
        }
        Some(outage)
    }
}
