//! Another site on the loopback, whose pages try to act on the site under test. As `localhost` it is of the same site, at another
//! port; as `127.0.0.1` it is of another site.

use std::net::Ipv4Addr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;

/// A page whose script and elements act on the site of the query.
const PAGE: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Another site</title>
<link rel="icon" href="data:,"></head><body id="page"><h1>Another site</h1>
<p><a id="link">a link</a></p>
<form id="form" method="post"><button id="post">post</button></form>
<p>Last answer: <code id="answer">none</code></p>
<script>
const target = new URLSearchParams(location.search).get('target');
document.getElementById('link').href = target + '/account';
document.getElementById('form').action = target + '/api/change';
const show = text => { document.getElementById('answer').textContent = text; };
async function send(path, init) {
    try {
        const answer = await fetch(target + path, { mode: 'no-cors', credentials: 'include', ...init });
        show(`sent ${answer.type}`);
    } catch (error) {
        show(error.name);
    }
}
function socket(path) {
    const socket = new WebSocket(target.replace('http', 'ws') + path);
    socket.onopen = () => show('open');
    socket.onclose = () => { if (document.getElementById('answer').textContent !== 'open') show('closed'); };
}
</script></body></html>"#;

/// A site of others.
pub struct Neighbour {
    port: u16,
}

impl Neighbour {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new().route("/", get(async || Html(PAGE)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port }
    }

    /// The page of this host that acts on a site.
    pub fn page(&self, host: &str, target: &str) -> String {
        format!("http://{host}:{}/?target={target}", self.port)
    }
}
