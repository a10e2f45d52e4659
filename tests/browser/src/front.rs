//! One origin in front of the instances: each request goes to the next one. It notes what it has seen, and holds answers back.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// What the names of the gateway's cookies begin with.
pub const COOKIES: &str = "__Host-Http-session-";

/// How long a test waits for a request. It is long for a busy machine, and short against the tests of a minute.
const PATIENCE: Duration = Duration::from_secs(25);

/// One request, and what became of it.
#[derive(Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    /// The number of the instance.
    pub instance: usize,
    /// The status and the header of the answer, once the instance has answered. The answer may still be held back.
    pub answer: Option<(StatusCode, HeaderMap)>,
    /// Whether the browser still waits.
    pub fate: Fate,
}

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The browser waits.
    Open,
    /// The answer was given to the connection.
    Answered,
    /// The browser has closed the connection before.
    GivenUp,
}

impl Seen {
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|(status, _)| status.as_u16())
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the browser sent cookies of the gateway.
    pub fn has_cookies(&self) -> bool {
        self.field(COOKIE.as_str())
            .is_some_and(|cookies| cookies.contains(COOKIES))
    }

    /// The lines of the gateway's cookies in the answer.
    pub fn set(&self) -> Vec<&str> {
        let answer = self.answer.iter();
        let lines = answer.flat_map(|(_, headers)| headers.get_all(SET_COOKIE));
        lines.filter_map(|line| line.to_str().ok()).collect()
    }

    pub fn is_answered(&self) -> bool {
        self.fate == Fate::Answered
    }

    pub fn is_at(&self, path: &str) -> bool {
        self.path.split('?').next() == Some(path)
    }
}

/// Without the values of cookies.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.set().len();
        let (method, path, status) = (&self.method, &self.path, self.status());
        let purpose = self.field("sec-purpose");
        write!(
            f,
            "{method} {path} cookies={} purpose={purpose:?} instance={} -> {status:?} sets={sets} {:?}",
            self.has_cookies(),
            self.instance,
            self.fate
        )
    }
}

/// The front of the instances. Clones are one.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    port: u16,
    instances: Mutex<Vec<Router>>,
    log: watch::Sender<Vec<Seen>>,
    released: watch::Sender<HashSet<String>>,
}

impl Front {
    /// The instances come later, because they have to know the port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let shared = Shared {
            port: listener.local_addr().expect("an address").port(),
            instances: Mutex::default(),
            log: watch::Sender::default(),
            released: watch::Sender::default(),
        };
        let front = Self {
            shared: Arc::new(shared),
        };
        let router = Router::new().fallback(pass).with_state(front.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        front
    }

    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Adds an instance.
    pub fn add(&self, instance: Router) {
        self.shared.instances.lock().push(instance);
    }

    /// Puts an instance into the place of another one.
    pub fn replace(&self, number: usize, instance: Router) {
        self.shared.instances.lock()[number] = instance;
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.log.borrow().clone()
    }

    /// How many requests there were so far.
    pub fn count(&self) -> usize {
        self.shared.log.borrow().len()
    }

    /// Waits until a request after the first `skipped` ones is as asked.
    ///
    /// # Panics
    ///
    /// If none is after a while.
    pub async fn until(&self, skipped: usize, is_it: impl Fn(&Seen) -> bool) -> Seen {
        let found = self.until_some(skipped, 1, is_it).await;
        found.into_iter().next().expect("it was there")
    }

    /// Waits until so many requests after the first `skipped` ones are as asked.
    ///
    /// # Panics
    ///
    /// If there are fewer after a while.
    pub async fn until_some(
        &self,
        skipped: usize,
        count: usize,
        is_it: impl Fn(&Seen) -> bool,
    ) -> Vec<Seen> {
        let found = |log: &Vec<Seen>| -> Vec<Seen> {
            let new = log.iter().skip(skipped);
            new.filter(|seen| is_it(seen)).cloned().collect()
        };
        let mut log = self.shared.log.subscribe();
        let waited = log.wait_for(|log| found(log).len() >= count);
        match tokio::time::timeout(PATIENCE, waited).await {
            Ok(log) => found(&log.expect("the front has the sender")),
            Err(_) => panic!("not {count} such requests: {:#?}", self.seen()),
        }
    }

    /// Waits until the answer to a request with `hold=<name>` in its query is held back: the instance has answered.
    pub async fn held(&self, name: &str) -> Seen {
        let hold = format!("hold={name}");
        let is_it = |seen: &Seen| seen.path.contains(&hold) && seen.answer.is_some();
        self.until(0, is_it).await
    }

    /// Lets the answer go on that is held back.
    pub fn release(&self, name: &str) {
        let released = &self.shared.released;
        released.send_modify(|released| {
            released.insert(name.to_owned());
        });
    }

    fn arrived(&self, request: &Request) -> (usize, Router) {
        let instances = self.shared.instances.lock();
        let (mut number, mut instance) = (0, 0);
        self.shared.log.send_modify(|log| {
            number = log.len();
            instance = number % instances.len();
            log.push(Seen {
                method: request.method().to_string(),
                path: request.uri().to_string(),
                headers: request.headers().clone(),
                instance,
                answer: None,
                fate: Fate::Open,
            });
        });
        (number, instances[instance].clone())
    }
}

async fn pass(State(front): State<Front>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let hold = query.split('&').find_map(|part| part.strip_prefix("hold="));
    let hold = hold.map(str::to_owned);
    let (number, instance) = front.arrived(&request);
    let mut end = End {
        log: &front.shared.log,
        number,
        fate: Fate::GivenUp,
    };
    let response = instance.oneshot(request).await;
    let response: Response<Body> = response.unwrap_or_else(|never| match never {});
    let answer = (response.status(), response.headers().clone());
    let log = &front.shared.log;
    log.send_modify(|log| log[number].answer = Some(answer));
    if let Some(name) = hold {
        let mut released = front.shared.released.subscribe();
        let waited = released.wait_for(|released| released.contains(&name)).await;
        drop(waited);
    }
    end.fate = Fate::Answered;
    response
}

/// Notes the end of a request, also if its future is dropped because the browser has closed the connection.
struct End<'a> {
    log: &'a watch::Sender<Vec<Seen>>,
    number: usize,
    fate: Fate,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let (number, fate) = (self.number, self.fate);
        self.log.send_modify(|log| log[number].fate = fate);
    }
}
