//! What a store on a server needs: a session that rotates again and again, and a proxy on the loopback that counts round trips.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use evertoken::{TokenManager, TokenStore};

use crate::shared::{float, warm};

/// Rotations over which the cost is averaged.
pub(super) const STRETCH: u32 = 200;

/// Rotations before a stretch: afterwards statements are prepared and pages have been touched.
pub(super) const WARM_UP: u32 = 50;

/// Rotations after which a session counts as young, and as old.
pub(super) const YOUNG: u32 = 10;
pub(super) const OLD: u32 = 1_000;

pub(super) struct Session {
    tokens: TokenManager,
    pub(super) rotated: u32,
}

impl Session {
    pub(super) async fn new(store: impl TokenStore) -> Self {
        let tokens = warm(|builder| builder.store(store)).await;
        Self { tokens, rotated: 0 }
    }

    pub(super) async fn rotate(&mut self, times: u32) {
        for _ in 0..times {
            self.tokens.rotate().await.expect("it rotates");
        }
        self.rotated += times;
    }

    pub(super) async fn rotate_until(&mut self, age: u32) {
        self.rotate(age.saturating_sub(self.rotated)).await;
    }

    /// Rotates for a stretch. Returns the numbers of these rotations, and the round trips of each that the proxy counted.
    pub(super) async fn trips(&mut self, proxy: &Proxy) -> (String, String) {
        let (from, before) = (self.rotated, proxy.trips());
        self.rotate(STRETCH).await;
        let trips = f64::from(proxy.trips() - before) / f64::from(STRETCH);
        (format!("{from} to {}", self.rotated), format!("{trips:.2}"))
    }
}

/// The bytes of a stretch for each of its rotations.
pub(super) fn each(bytes: i64) -> String {
    format!("{:.0}", float(bytes) / f64::from(STRETCH))
}

pub(super) struct Proxy {
    port: u16,
    trips: Arc<AtomicU32>,
}

impl Proxy {
    /// A proxy before the server at this port of the loopback. It lives as long as the process.
    pub(super) fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let trips = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&trips);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).expect("it is up");
                pass(client, server, &counter);
            }
        });
        Self { port, trips }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn trips(&self) -> u32 {
        self.trips.load(Ordering::SeqCst)
    }
}

/// Passes data on in both directions. Data of the client during the server's turn begins no new trip, so a command in several
/// pieces, or several commands together, are one trip.
fn pass(client: TcpStream, server: TcpStream, trips: &Arc<AtomicU32>) {
    let is_servers_turn = Arc::new(AtomicBool::new(false));
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    let (to_server, to_client) = (clone(&server), clone(&client));
    let (turn, trips) = (Arc::clone(&is_servers_turn), Arc::clone(trips));
    thread::spawn(move || {
        copy(client, to_server, || {
            if !turn.swap(true, Ordering::SeqCst) {
                trips.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    thread::spawn(move || {
        copy(server, to_client, || {
            is_servers_turn.store(false, Ordering::SeqCst);
        });
    });
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket")
}

/// Copies data, and calls `came` before it passes the data on.
fn copy(mut from: TcpStream, mut to: TcpStream, came: impl Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        came();
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either side may have closed its connection.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
