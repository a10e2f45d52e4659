//! A service that runs for months: it signs in by itself, logs what happens to its session, and shuts down cleanly.
//!
//! ```text
//! cargo run --example service
//! ```
//!
//! Ctrl-C or SIGTERM ends the service. This example embeds the authorization server and the API. A real service has URLs, a
//! secret from its environment, and a `FileStore`, so that the service continues with the stored pair after a restart.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, ImportApi};
use evertoken::{BackgroundTimer, Event, Events, OAuth2, TokenManager};
use tokio::time::{MissedTickBehavior, interval};

/// The time between two requests.
const PERIOD: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The log of evertoken contains no secret.
    tracing_subscriber::fmt().without_time().init();

    let server = AuthorizationServer::builder()
        .client("service", "secret")
        .sign_in(true)
        .access_ttl(Duration::from_secs(5))
        .build();
    let token_endpoint = server.listen().await?;
    let api = ImportApi::builder(&server).build().listen().await?;

    let endpoint = OAuth2::new(token_endpoint.url(), "service")?
        .client_secret("secret")
        .sign_in_as_client()
        .revocation_url(token_endpoint.url().replace("/token", "/revoke"))?;
    let tokens = TokenManager::builder(endpoint)
        .strategy(BackgroundTimer::default())
        .origin(api.origin())
        .build()?;
    let watching = tokio::spawn(watch(tokens.subscribe()));

    let http = reqwest::Client::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stop = std::pin::pin!(asked_to_stop());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            result = &mut stop => break result?,
        }
        // A signal does not cancel this request, because the request is outside the `select!`.
        match tokens.send(http.post(api.url()).body("a record")).await {
            Ok(answer) => tracing::info!(status = %answer.status(), "posted"),
            // A service outlives its session: the endpoint signs in again where it can.
            Err(error) => tracing::error!(%error, retry_after = ?error.retry_after(), "not posted"),
        }
    }

    tracing::info!("stopping");
    // A shutdown waits for a rotation under way, so that its pair is stored. The session continues at the next start. A service
    // that is removed for good calls `tokens.logout().await` first.
    tokens.shutdown().await?;
    drop(tokens);
    watching.await?;
    Ok(())
}

/// Logs what happens to the session, until the last handle of the manager is dropped.
async fn watch(mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Ended { reason, .. } => tracing::error!(%reason, "a user must sign in"),
            Event::Expiring { left, .. } => tracing::warn!(?left, "the session ends soon"),
            Event::Unpersisted { error, .. } => {
                tracing::error!(%error, "a new pair is only in memory")
            }
            Event::Failed { error, .. } => tracing::warn!(%error, "a rotation failed"),
            event => tracing::info!(?event, "session"),
        }
    }
}

/// Ctrl-C; on Unix also SIGTERM, by which service managers stop a process.
async fn asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
