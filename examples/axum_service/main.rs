//! A service with tenants: a request of a tenant sends a call to an API with that tenant's token.
//! `cargo run --example axum_service`
//!
//! A handler makes the manager of its tenant and drops it with the request. The authorization server, the API and the clients
//! of the service run in this process, and the program ends after a number of requests.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Router, routing::post};
use evertoken::testing::{AuthorizationServer, ImportApi};
use evertoken::{OAuth2, Sessions};
use tokio::{net::TcpListener, time::sleep};

#[cfg(test)]
mod tests;
const TENANTS: usize = 20;
const ROUNDS: usize = 10;

#[derive(Clone)]
struct Service {
    sessions: Sessions,
    http: reqwest::Client,
    api: String,
}

/// A real service takes the tenant from what it has authenticated, because a key opens its session.
async fn order(State(service): State<Service>, Path(tenant): Path<String>) -> StatusCode {
    let key = service.sessions.key().tenant(tenant);
    let order = service.http.post(&service.api).body("an order");
    match service.sessions.manager(key).send(order).await {
        Ok(answer) => answer.status(),
        Err(error) if error.needs_sign_in() => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Debug, PartialEq)]
struct Served {
    ordered: usize,
    replays: u64,
    in_memory: usize,
}

async fn serve() -> anyhow::Result<Served> {
    let server = AuthorizationServer::builder().client("service", "secret");
    let server = server.access_ttl(Duration::from_millis(500)).build();
    let token_endpoint = server.listen().await?;
    let api = ImportApi::builder(&server).build().listen().await?;

    let endpoint = OAuth2::new(token_endpoint.url(), "service")?.client_secret("secret");
    let sessions = Sessions::builder(endpoint).origin(api.origin()).build()?;
    for tenant in 1..=TENANTS {
        // The tenant's user signs in, once.
        let tokens = sessions.manager(sessions.key().tenant(tenant.to_string()));
        tokens.replace(server.issue()).await?;
    }
    let service = Service {
        sessions: sessions.clone(),
        http: reqwest::Client::new(),
        api: api.url().to_owned(),
    };
    let http = service.http.clone();
    let routes = Router::new().route("/{tenant}/orders", post(order));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(axum::serve(listener, routes.with_state(service)).into_future());

    let mut ordered = 0;
    for _ in 0..ROUNDS {
        // No one has ever signed in for tenant 0.
        for tenant in 0..=TENANTS {
            let order = http.post(format!("http://{address}/{tenant}/orders"));
            match order.send().await?.status() {
                StatusCode::OK if tenant > 0 => ordered += 1,
                StatusCode::UNAUTHORIZED if tenant == 0 => {}
                other => anyhow::bail!("tenant {tenant} got {other}"),
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    serving.abort();
    let in_memory = sessions.in_memory();
    sessions.shutdown().await?;
    let (rotations, replays) = (server.rotations(), server.replays());
    println!("{ordered} orders, {rotations} rotations, {in_memory} sessions in memory");
    Ok(Served {
        ordered,
        replays,
        in_memory,
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    serve().await.map(drop)
}
