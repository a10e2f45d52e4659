//! The HTTP face: it reads requests whole, and decides nothing.

use std::io;
use std::net::SocketAddr;

use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::super::http::{HttpServer, Sent, serve};
use super::FolioServer;

pub(super) async fn listen(server: FolioServer, addr: SocketAddr) -> io::Result<HttpServer> {
    let path = server.path().to_owned();
    serve(addr, &path, move |request| answer(server.clone(), request)).await
}

async fn answer(server: FolioServer, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    match body.collect().await {
        Ok(body) => {
            let request = Request::from_parts(head, body.to_bytes());
            server.answer(request).await
        }
        Err(_) => Sent::Nothing,
    }
}
