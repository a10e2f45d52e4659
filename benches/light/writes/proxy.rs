//! A proxy on the loopback that counts round trips: how often it is the server's turn, on any connection.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

pub(super) struct Proxy {
    port: u16,
    trips: Arc<AtomicU32>,
}

impl Proxy {
    /// Before the server at this port of the loopback. It lives as long as the process.
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

/// Passes on what either says. What a client says while it is the server's turn begins no trip of its own, so that a
/// command in several pieces, or several commands in one go, are one.
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

/// Says that something came before it passes it on.
fn copy(mut from: TcpStream, mut to: TcpStream, came: impl Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        came();
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
