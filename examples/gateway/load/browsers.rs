//! A user's browser with its tabs, over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use evertoken::testing::Browser;
use evertoken::testing::browser::{Call, Request, Tab};
use http::{Method, StatusCode, Version};
use reqwest::Response;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::Run;
use crate::command::seed;

/// The browser's origin. Cookies know no ports, so one jar serves for all instances.
const ORIGIN: &str = "http://127.0.0.1:8080";

/// How often a request is sent again that met no instance.
const TRIES: u32 = 200;

/// A user with one browser. Clones are one user.
#[derive(Clone)]
pub(crate) struct User {
    run: Arc<Run>,
    browser: Browser,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Counts what the jar got.
    generation: AtomicU64,
    /// Held while the user signs in anew.
    signing_in: Mutex<()>,
    sign_ins: AtomicU64,
}

impl User {
    pub(super) fn new(run: Arc<Run>) -> anyhow::Result<Self> {
        Ok(Self {
            run,
            browser: Browser::new(ORIGIN)?,
            state: Arc::default(),
        })
    }

    /// Sends a request to some instance, and to another one if that is not there.
    async fn send(&self, request: &Request) -> anyhow::Result<Response> {
        for _ in 0..TRIES {
            let mut url = Url::parse(request.url())?;
            let address = self.run.fleet.address(draw());
            let port = address
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            // An HTTP URL takes every port.
            let _ = url.set_port(port);
            let headers = request.headers(Version::HTTP_11);
            let sent = self
                .run
                .http
                .request(request.method().clone(), url)
                .headers(headers);
            match sent.send().await {
                Ok(answer) => return Ok(answer),
                // The instance was killed. A browser shows an error, and its user or its script tries again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        anyhow::bail!("no instance answers")
    }

    /// The status of an answer that has arrived, whose cookies the browser has now.
    fn arrived(&self, request: Request, answer: &Response) {
        let sets = answer.headers().contains_key(http::header::SET_COOKIE);
        request.arrived(answer.status(), answer.headers());
        if sets {
            self.state.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Signs in. A login that fails, because the server is out of order, is begun anew.
    pub(super) async fn sign_in(&self) -> anyhow::Result<()> {
        let mut tries = 0;
        while let Err(error) = self.try_sign_in().await {
            tries += 1;
            ensure!(tries < TRIES, error);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Signs in as a browser does: to the server's page by a redirect, and back by the button.
    async fn try_sign_in(&self) -> anyhow::Result<()> {
        let login = self.browser.send(Call::navigation("/login?to=%2Fserved"));
        let answer = self.send(&login).await?;
        let to_server = location(&answer)?;
        self.arrived(login, &answer);
        let back = self.run.site.server.authorize(&Url::parse(&to_server)?)?;
        let path = back.as_str().get(url_path(&back)..).unwrap_or_default();
        let callback = self.browser.send(Call::navigation(path));
        let answer = self.send(&callback).await?;
        ensure!(
            answer.status() == StatusCode::SEE_OTHER,
            "the login ended with {}",
            answer.status()
        );
        self.arrived(callback, &answer);
        Ok(())
    }

    /// Sends requests until the run is over.
    pub(super) async fn tab(self) -> anyhow::Result<()> {
        let tab = self.browser.tab();
        let (run, counts) = (&self.run, &self.run.counts);
        tokio::time::sleep(run.pace.mul_f64(share())).await;
        while !run.is_over.load(Ordering::Relaxed) {
            match draw() % 10 {
                0 if run.storms => self.storm(&tab).await?,
                1 if run.storms => self.give_up(&tab).await?,
                2 if run.storms => self.late(&tab).await?,
                4 => drop(self.ask(&tab, Call::fetch("/api/orders")).await?),
                5 => drop(self.ask(&tab, Call::navigation("/served")).await?),
                _ => drop(self.ask(&tab, Call::fetch("/served")).await?),
            }
            tokio::time::sleep(run.pace.mul_f64(2.0 * share())).await;
        }
        // The pair of the last rotation is shown by one more request.
        self.ask(&tab, Call::fetch("/served")).await?;
        counts.tabs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends a heartbeat whenever the last one asked for it, until the run is over.
    pub(super) async fn beat(self) -> anyhow::Result<()> {
        let tab = self.browser.tab();
        while !self.run.is_over.load(Ordering::Relaxed) {
            let beat = Call::fetch("/session/heartbeat").method(Method::POST);
            let body = self.ask(&tab, beat).await?;
            let state: Value = serde_json::from_slice(&body).unwrap_or_default();
            let next = state["next_heartbeat_in"].as_u64().unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(next)).await;
        }
        Ok(())
    }

    /// One request, whose answer arrives.
    async fn ask(&self, tab: &Tab, call: Call) -> anyhow::Result<Bytes> {
        let sign_ins = self.state.sign_ins.load(Ordering::SeqCst);
        let generation = self.state.generation.load(Ordering::SeqCst);
        let request = tab.send(call);
        let began = Instant::now();
        let answer = self.send(&request).await?;
        self.run.counts.took(began.elapsed());
        self.judge(request, answer, generation, sign_ins).await
    }

    /// A reload three times in quick succession: only the last one counts.
    async fn storm(&self, tab: &Tab) -> anyhow::Result<()> {
        for _ in 0..2 {
            let overtaken = tab.send(Call::navigation("/served"));
            self.leave(&overtaken).await;
        }
        self.ask(tab, Call::navigation("/served")).await?;
        Ok(())
    }

    /// A request that the page gives up.
    async fn give_up(&self, tab: &Tab) -> anyhow::Result<()> {
        let request = tab.send(Call::fetch("/served"));
        self.leave(&request).await;
        Ok(())
    }

    /// Closes the connection after a moment.
    async fn leave(&self, request: &Request) {
        let span = Duration::from_millis(draw() % 40);
        let left = tokio::time::timeout(span, self.send(request)).await;
        self.run.counts.requests.fetch_add(1, Ordering::Relaxed);
        // An answer may have come, and the browser no longer wants it.
        drop(left);
    }

    /// A request that is on its way for long, with the cookies of its beginning.
    async fn late(&self, tab: &Tab) -> anyhow::Result<()> {
        let sign_ins = self.state.sign_ins.load(Ordering::SeqCst);
        let generation = self.state.generation.load(Ordering::SeqCst);
        let request = tab.send(Call::fetch("/served").keepalive(true));
        tokio::time::sleep(Duration::from_millis(draw() % 3_000)).await;
        let is_late = self.state.generation.load(Ordering::SeqCst) != generation;
        let answer = self.send(&request).await?;
        if is_late {
            let counts = &self.run.counts;
            let counter = match answer.status() {
                StatusCode::UNAUTHORIZED => Some(&counts.late_refused),
                status if status.is_success() => Some(&counts.late_served),
                _ => None,
            };
            if let Some(counter) = counter {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.judge(request, answer, generation, sign_ins).await?;
        Ok(())
    }

    /// Counts an answer, and returns its body. A user who is signed out signs in again.
    async fn judge(
        &self,
        request: Request,
        answer: Response,
        generation: u64,
        sign_ins: u64,
    ) -> anyhow::Result<Bytes> {
        let status = answer.status();
        // A page that leads to the login is the same as a 401 of a script.
        let is_out = status == StatusCode::UNAUTHORIZED || status == StatusCode::SEE_OTHER;
        // The browser had a newer cookie already.
        let is_old = self.state.generation.load(Ordering::SeqCst) != generation;
        self.arrived(request, &answer);
        let arrived = self.state.generation.load(Ordering::SeqCst);
        let body = answer.bytes().await.unwrap_or_default();
        let counts = &self.run.counts;
        counts.requests.fetch_add(1, Ordering::Relaxed);
        match (status.is_success(), is_out) {
            (true, _) => counts.ok.fetch_add(1, Ordering::Relaxed),
            (false, true) => 0,
            (false, false) => counts.unavailable.fetch_add(1, Ordering::Relaxed),
        };
        if !is_out {
            return Ok(body);
        }
        // Another tab may sign in meanwhile, or get the next pair.
        let _signing_in = self.state.signing_in.lock().await;
        let is_old = is_old || self.state.generation.load(Ordering::SeqCst) != arrived;
        if self.state.sign_ins.load(Ordering::SeqCst) != sign_ins || is_old {
            return Ok(body);
        }
        // Without a store, a browser that has a pair, and not the one that is alive, cannot get that. A browser without any has
        // lost it by the gateway.
        let by_nature =
            self.run.is_stateless && self.run.site.is_live(&self.browser)? == Some(false);
        let counter = match by_nature {
            true => &counts.lost_by_nature,
            false => &counts.unauthorized,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if !by_nature {
            counts.logged_out.fetch_add(1, Ordering::Relaxed);
        }
        self.sign_in().await?;
        self.state.sign_ins.fetch_add(1, Ordering::SeqCst);
        Ok(body)
    }
}

fn location(answer: &Response) -> anyhow::Result<String> {
    let location = answer.headers().get(http::header::LOCATION);
    let location = location.context("the login leads nowhere")?;
    Ok(location.to_str()?.to_owned())
}

/// Where the path of a URL begins.
fn url_path(url: &Url) -> usize {
    url.as_str().len() - url[url::Position::BeforePath..].len()
}

fn draw() -> u64 {
    seed(None) >> 11
}

/// A share between 0 and 1.
fn share() -> f64 {
    f64::from(u32::try_from(draw() % 1_000).unwrap_or_default()) / 1_000.0
}
