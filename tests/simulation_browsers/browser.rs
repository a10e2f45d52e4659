//! The browsers: a task for each tab, and one for each of its requests, from the jar to the jar.

use std::sync::Arc;

use evertoken::testing::browser::{Call, Request, Tab};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use crate::gateway::{self, Answer, Job};
use crate::scenario::{Act, Net, Step, millis};
use crate::world::World;

/// The name of the cookie.
pub(crate) const NAME: &str = "__Host-Http-id";

/// The number of the cookie with this value.
pub(crate) fn number(value: &str) -> Option<usize> {
    value.strip_prefix('c')?.parse().ok()
}

fn headers(answer: Answer) -> HeaderMap {
    let line = match answer {
        Answer::Served(Some(number)) => format!("{NAME}=c{number}"),
        Answer::LoggedOut => format!("{NAME}=; Max-Age=0"),
        _ => return HeaderMap::new(),
    };
    let line = format!("{line}; Path=/; Secure; HttpOnly; SameSite=Lax");
    HeaderMap::from_iter([(SET_COOKIE, line.parse().expect("a header field"))])
}

fn status(answer: Answer) -> StatusCode {
    match answer {
        Answer::Served(_) | Answer::LoggedOut => StatusCode::OK,
        Answer::Refused => StatusCode::UNAUTHORIZED,
        Answer::Failed | Answer::Nothing => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The acts of one tab, each at its time.
pub(crate) async fn tab(world: Arc<World>, browser: usize, steps: Vec<Step>) {
    let mut tab = world.browsers[browser].tab();
    let mut requests = Vec::new();
    for step in steps {
        sleep_until(world.began + millis(step.at)).await;
        let carrier = Carrier {
            world: world.clone(),
            browser,
            net: step.net,
            until: None,
        };
        let is_out = world.jar(browser).is_none() || world.is_signed_out(browser);
        let act = if is_out { Act::SignIn } else { step.act };
        world.observer.note(|| format!("b{browser} {act:?}"));
        match act {
            Act::SignIn => {
                let job = Job::SignIn { browser };
                requests.push(carrier.carry(tab.navigate("/login"), job));
            }
            Act::LogOut => requests.push(carrier.carry(tab.navigate("/logout"), Job::LogOut)),
            Act::Load => requests.push(carrier.carry(tab.navigate("/"), Job::Present)),
            Act::Fetch => requests.push(carrier.carry(tab.send(fetch()), Job::Present)),
            Act::Reload => {
                let request = tab.reload().unwrap_or_else(|| tab.navigate("/"));
                requests.push(carrier.carry(request, Job::Present));
            }
            Act::Storm(count) => {
                for _ in 0..count {
                    requests.push(carrier.clone().carry(tab.send(fetch()), Job::Present));
                }
            }
            Act::Abort(after) => {
                let carrier = Carrier {
                    until: Some(after),
                    ..carrier
                };
                requests.push(carrier.carry(tab.send(fetch()), Job::Present));
            }
            Act::CloseTab(after) => {
                requests.push(carrier.carry(tab.send(fetch()), Job::Present));
                sleep(millis(after)).await;
                tab = another(tab, &world, browser);
            }
            Act::Stale(back) => {
                if let Some(cookie) = world.cookie_before(browser, back) {
                    requests.push(carrier.go(cookie, Job::Present));
                }
            }
            Act::Mixed(other) => {
                let other = world.jar(other % world.browsers.len());
                if let (Some(own), Some(other)) = (world.jar(browser), other) {
                    requests.push(carrier.go(own, Job::Mixed(other)));
                }
            }
            Act::Bare => {
                if let Some(own) = world.jar(browser) {
                    requests.push(carrier.go(own, Job::Bare));
                }
            }
        }
    }
    for request in requests {
        if request.await.is_err() {
            world.observer.violation("a request panicked".to_owned());
        }
    }
}

fn fetch() -> Call {
    Call::fetch("/api")
}

fn another(tab: Tab, world: &World, browser: usize) -> Tab {
    tab.close();
    world.browsers[browser].tab()
}

/// The way of a request to an instance and back.
#[derive(Clone)]
struct Carrier {
    world: Arc<World>,
    browser: usize,
    net: Net,
    /// After how many milliseconds the browser aborts the request.
    until: Option<u64>,
}

/// The work of the service on a request, which ends with the connection if the service does so.
struct Work {
    task: JoinHandle<Answer>,
    is_cancelled: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.is_cancelled {
            self.task.abort();
        }
    }
}

impl Carrier {
    /// Carries a request of a tab, whose answer comes to the jar if the browser still waits for it.
    fn carry(self, request: Request, job: Job) -> JoinHandle<()> {
        let value = request.cookie();
        let value = value.as_ref().and_then(|value| value.to_str().ok());
        let cookie = value.and_then(|value| number(value.split_once('=')?.1));
        tokio::spawn(async move {
            let world = &self.world;
            let aborted = async {
                match self.until {
                    Some(after) => sleep(millis(after)).await,
                    None => std::future::pending().await,
                }
            };
            let answer = tokio::select! {
                biased;
                () = request.lost() => None,
                () = aborted => None,
                answer = self.answer(cookie, job) => Some(answer),
            };
            let answer = answer.filter(|_| !self.net.is_lost);
            let browser = self.browser;
            let Some(answer) = answer else {
                world.observer.count("requests whose answer a browser lost");
                world
                    .observer
                    .note(|| format!("b{browser} loses the answer"));
                return;
            };
            if answer != Answer::Nothing {
                let arrival = request.arrived(status(answer), &headers(answer));
                world.observer.note(|| {
                    let lost = if arrival.is_lost() { ", too late" } else { "" };
                    format!("b{browser} gets {answer:?}{lost}")
                });
                if !arrival.is_lost() {
                    world.arrived(browser, cookie, answer);
                }
            }
        })
    }

    /// Carries a request that no jar knows of.
    fn go(self, cookie: usize, job: Job) -> JoinHandle<()> {
        tokio::spawn(async move {
            self.answer(Some(cookie), job).await;
        })
    }

    async fn answer(&self, cookie: Option<usize>, job: Job) -> Answer {
        let (world, net) = (&self.world, self.net);
        sleep(millis(net.way_ms)).await;
        let node = match world.scenario.is_sticky {
            true => world.scenario.browsers[self.browser].home,
            false => net.node,
        };
        let Some(node) = world.route(node) else {
            return Answer::Nothing;
        };
        let work = gateway::handle(world.clone(), node, job, cookie, net.work_ms);
        let mut work = Work {
            task: tokio::spawn(work),
            is_cancelled: world.scenario.cancels,
        };
        let answer = (&mut work.task).await.unwrap_or(Answer::Nothing);
        sleep(millis(net.back_ms)).await;
        answer
    }
}
