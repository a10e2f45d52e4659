//! A service that runs for months: it signs in by itself, tells its log what happens to the session, and stops
//! cleanly when it is asked to.
//!
//! ```text
//! cargo run --example service
//! ```
//!
//! Ctrl-C or SIGTERM ends it. The authorization server and the API are its own here; a real service has URLs, a
//! secret from its environment, and a `FileStore`, so that a restart goes on with the pair that it stored.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, ImportApi};
use evertoken::{BackgroundTimer, Event, Events, OAuth2, TokenManager};
use tokio::time::{MissedTickBehavior, interval};

/// What the service does all day.
const PERIOD: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // What evertoken writes holds no secret.
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
        // Not inside the `select!`: a signal does not cut work in two.
        match tokens.send(http.post(api.url()).body("a record")).await {
            Ok(answer) => tracing::info!(status = %answer.status(), "posted"),
            // A service outlives its session: the endpoint signs in again where it can.
            Err(error) => tracing::error!(%error, retry_after = ?error.retry_after(), "not posted"),
        }
    }

    tracing::info!("stopping");
    // Waits for a rotation under way, so that its pair is stored. The session goes on at the next start; a
    // service that is taken down for good calls `tokens.logout().await` first.
    tokens.shutdown().await?;
    drop(tokens);
    watching.await?;
    Ok(())
}

/// Tells what happens to the session. It ends with the last handle of the manager.
async fn watch(mut events: Events) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Ended { reason, .. } => tracing::error!(%reason, "somebody has to sign in"),
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
