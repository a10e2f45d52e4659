//! The front stands before a server and passes connections on to it. During an outage the front answers in the server's
//! place.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 512;

/// What becomes of a request in place of an answer of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// No connection is accepted.
    Refused,
    /// Status, content type and body.
    Answered(u16, &'static str, &'static str),
    /// The connection is reset in the middle of an answer.
    Reset,
}

/// A front, which is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Mutex<Door>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    effect: Mutex<Option<Effect>>,
    /// How many requests it has answered in place of the server.
    answered: watch::Sender<u64>,
}

#[derive(Debug)]
enum Door {
    Open(JoinHandle<()>),
    /// The socket keeps the port.
    Closed(TcpSocket),
    /// While it changes.
    Moving,
}

impl Front {
    /// On a free port of the loopback.
    pub(crate) async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            server,
            effect: Mutex::default(),
            answered: watch::Sender::new(0),
        });
        Ok(Self {
            address: listener.local_addr()?,
            door: Mutex::new(Door::Open(accept(listener, &shared))),
            shared,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    pub(super) fn answered(&self) -> u64 {
        *self.shared.answered.borrow()
    }

    /// Resolves when it has answered so many requests.
    pub(super) async fn answers(&self, count: u64) {
        let mut answered = self.shared.answered.subscribe();
        // It fails only without a sender, which is `self`.
        let _ = answered.wait_for(|answered| *answered >= count).await;
    }

    pub(super) async fn begin(&self, effect: Effect) -> io::Result<()> {
        *self.shared.effect.lock() = Some(effect);
        if effect != Effect::Refused {
            return Ok(());
        }
        let door = std::mem::replace(&mut *self.door.lock(), Door::Moving);
        if let Door::Open(accepting) = door {
            accepting.abort();
            // The port is free once the task is gone.
            let _ = accepting.await;
        }
        let socket = TcpSocket::new_v4()?;
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        *self.door.lock() = Door::Closed(socket);
        Ok(())
    }

    pub(super) fn end(&self) -> io::Result<()> {
        *self.shared.effect.lock() = None;
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

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            // Either side may hang up.
            connections.spawn(async move { drop(shared.serve(stream).await) });
            while connections.try_join_next().is_some() {}
        }
    })
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> anyhow::Result<()> {
        let effect = *self.effect.lock();
        let Some(effect) = effect else {
            let mut server = TcpStream::connect(self.server).await?;
            copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        };
        if effect == Effect::Reset {
            client.set_zero_linger()?;
        }
        let answer = service_fn(|request: Request<Incoming>| async move {
            // A client that is still sending would not read the answer.
            let _ = request.into_body().collect().await;
            self.answered.send_modify(|answered| *answered += 1);
            self::answer(effect)
        });
        http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(client), answer)
            .await?;
        Ok(())
    }
}

fn answer(effect: Effect) -> Result<Response<BoxBody<Bytes, io::Error>>, hyper::http::Error> {
    let (status, content_type, body) = match effect {
        Effect::Answered(status, content_type, body) => {
            let body = Full::new(Bytes::from_static(body.as_bytes()));
            let body = body.map_err(|never: Infallible| match never {});
            (status, content_type, body.boxed())
        }
        Effect::Reset | Effect::Refused => (200, "application/json", half_a_body()),
    };
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type);
    match effect {
        Effect::Answered(300..=399, ..) => response.header(LOCATION, "/sign-in"),
        Effect::Reset => response.header(CONTENT_LENGTH, 500),
        _ => response,
    }
    .body(body)
}

fn half_a_body() -> BoxBody<Bytes, io::Error> {
    let half = Frame::data(Bytes::from_static(b"{\"token_type\":"));
    let end = io::Error::from(io::ErrorKind::ConnectionReset);
    StreamBody::new(stream::iter([Ok(half), Err(end)])).boxed()
}
