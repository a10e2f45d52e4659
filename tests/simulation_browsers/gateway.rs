//! The service between browsers and an API: what an instance does with a request, over `Sessions::present`.

use std::sync::Arc;

use evertoken::{BrowserPair, Error, Presentation, Presented, SessionId};
use tokio::time::sleep;

use crate::observer::{Cookie, Observer, Visit};
use crate::scenario::{Form, millis};
use crate::world::{Node, World};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Present,
    LogOut,
    SignIn {
        browser: usize,
    },
    /// The pair of this cookie comes under the id of the request's own cookie.
    Mixed(usize),
    /// The pair of the request's cookie comes without the id.
    Bare,
}

/// What the browser gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request was served, and the browser gets this cookie.
    Served(Option<usize>),
    LoggedOut,
    /// The user has to sign in.
    Refused,
    /// The session may be alive, and the cookie stays.
    Failed,
    /// No instance answered.
    Nothing,
}

/// A presentation that counts as dropped unless it ends otherwise.
struct Guard<'a> {
    observer: &'a Observer,
    visit: Option<Visit>,
}

impl<'a> Guard<'a> {
    fn new(world: &'a World, node: &Node, cookie: &Cookie, access: Option<&str>) -> Self {
        let visit = world.observer.presents(cookie, node.life, access);
        Self {
            observer: &world.observer,
            visit: Some(visit),
        }
    }

    /// The visit, if the instance still runs.
    fn ended(mut self, node: &Node) -> Option<Visit> {
        match node.gate.is_dead() {
            true => None,
            false => self.visit.take(),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.observer.dropped(visit);
        }
    }
}

/// An instance handles a request. The work takes `work_ms` between the token and the head of the answer.
pub(crate) async fn handle(
    world: Arc<World>,
    node: Node,
    job: Job,
    cookie: Option<usize>,
    work_ms: u64,
) -> Answer {
    let gate = node.gate.clone();
    let answer = async {
        match (job, cookie) {
            (Job::SignIn { browser }, _) => sign_in(&world, &node, browser).await,
            (Job::Present, Some(cookie)) => present(&world, &node, cookie, work_ms).await,
            (Job::LogOut, Some(cookie)) => log_out(&world, &node, cookie).await,
            (Job::Mixed(other), Some(cookie)) => mixed(&world, &node, cookie, other).await,
            (Job::Bare, Some(cookie)) => bare(&world, &node, cookie).await,
            (_, None) => Answer::Refused,
        }
    };
    let answer = tokio::select! {
        biased;
        () = gate.dead() => Answer::Nothing,
        answer = answer => answer,
    };
    match gate.is_dead() {
        true => Answer::Nothing,
        false => answer,
    }
}

pub(crate) fn opened(cookie: &Cookie) -> BrowserPair {
    serde_json::from_str(&cookie.text).expect("a pair as it was written")
}

fn id_of(cookie: &Cookie) -> SessionId {
    match cookie.token {
        Some(_) => opened(cookie).id().clone(),
        None => cookie.text.parse().expect("an id"),
    }
}

/// Presents the cookie, and judges what comes of it.
async fn shown(world: &World, node: &Node, number: usize) -> Result<Option<Presentation>, Answer> {
    let observer = &world.observer;
    let cookie = observer.cookie(number);
    let pair = cookie.token.map(|_| opened(&cookie));
    let presented = match &pair {
        Some(pair) => Presented::from(pair),
        None => Presented::from(id_of(&cookie)),
    };
    let access = pair.as_ref().and_then(|pair| pair.pair().access.as_ref());
    let guard = Guard::new(
        world,
        node,
        &cookie,
        access.map(evertoken::AccessToken::expose),
    );
    observer.count("presentations");
    let result = node.sessions.present(presented).await;
    let Some(visit) = guard.ended(node) else {
        return Err(Answer::Nothing);
    };
    let (life, what) = (node.life, observer.show(number));
    match result {
        Ok(presentation) => {
            observer.note(|| {
                let version = presentation.token().pair_id().version;
                format!("{life} serves {what} with v{version}")
            });
            observer.accepted(visit, presentation.token());
            Ok(Some(presentation))
        }
        Err(error) => {
            observer.note(|| format!("{life} does not serve {what}: {error}"));
            match error.needs_sign_in() {
                true => {
                    observer.refused(visit, &error, world);
                    Err(Answer::Refused)
                }
                false => {
                    observer.failed(visit, &error);
                    Err(Answer::Failed)
                }
            }
        }
    }
}

pub(crate) async fn present(world: &World, node: &Node, number: usize, work_ms: u64) -> Answer {
    let presentation = match shown(world, node, number).await {
        Ok(Some(presentation)) => presentation,
        Ok(None) => return Answer::Nothing,
        Err(answer) => return answer,
    };
    sleep(millis(work_ms)).await;
    let cookie = world.observer.cookie(number);
    if cookie.token.is_none() {
        return Answer::Served(None);
    }
    let renewal = presentation.renewal();
    let is_other = presentation.token().pair_id() != opened(&cookie).pair_id();
    if renewal.is_none() && is_other && world.observer.goes_on(&cookie) {
        let (life, what) = (node.life, world.observer.show(number));
        world.observer.violation(format!(
            "B4 {life} gives {what} no pair, and serves another one"
        ));
    }
    Answer::Served(renewal.map(|pair| world.observer.bake(cookie.session, &pair)))
}

async fn sign_in(world: &World, node: &Node, browser: usize) -> Answer {
    let observer = &world.observer;
    let pair = world.server.issue();
    let session = observer.issued(&pair, browser);
    observer.count("sign-ins");
    let id = match node.sessions.sign_in(pair).policy("page").await {
        Ok(id) => id,
        Err(error) => {
            observer.note(|| format!("{} does not sign s{session} in: {error}", node.life));
            return Answer::Failed;
        }
    };
    observer.opened(session, &id);
    let first = observer.bake_id(session, &id);
    match (shown(world, node, first).await, world.scenario.form) {
        (Ok(_), Form::Id) => Answer::Served(Some(first)),
        (Ok(presentation), Form::Copy) => {
            let pair = presentation.and_then(|it| it.pair());
            Answer::Served(pair.map(|pair| observer.bake(session, &pair)))
        }
        (Err(answer), _) => answer,
    }
}

async fn log_out(world: &World, node: &Node, number: usize) -> Answer {
    let presentation = match shown(world, node, number).await {
        Ok(Some(presentation)) => presentation,
        Ok(None) => return Answer::Nothing,
        Err(answer) => return answer,
    };
    let session = world.observer.cookie(number).session;
    world.observer.left(session, node.life);
    let logout = presentation.tokens().logout().await;
    let life = node.life;
    world
        .observer
        .note(|| format!("{life} logs s{session} out: {}", logout.is_complete()));
    world.observer.count("logouts");
    Answer::LoggedOut
}

/// A pair comes under the id of another session.
async fn mixed(world: &World, node: &Node, number: usize, other: usize) -> Answer {
    let (own, other) = (world.observer.cookie(number), world.observer.cookie(other));
    if own.session == other.session || other.token.is_none() {
        return Answer::Failed;
    }
    let mut form = serde_json::to_value(opened(&other)).expect("a pair serializes");
    form["id"] = serde_json::to_value(id_of(&own)).expect("an id serializes");
    let pair: BrowserPair = serde_json::from_value(form).expect("a pair");
    abuse(world, node, own.session, &other, Presented::from(pair)).await
}

/// A pair comes without the id of its session.
async fn bare(world: &World, node: &Node, number: usize) -> Answer {
    let cookie = world.observer.cookie(number);
    if cookie.token.is_none() {
        return Answer::Failed;
    }
    let pair = opened(&cookie).pair().clone();
    abuse(
        world,
        node,
        cookie.session,
        &cookie,
        Presented::from(pair).policy("page"),
    )
    .await
}

async fn abuse(
    world: &World,
    node: &Node,
    under: usize,
    of: &Cookie,
    presented: Presented,
) -> Answer {
    world.observer.count("pairs presented elsewhere");
    world.observer.abuses(under, of.session);
    let result = node.sessions.present(presented).await;
    if node.gate.is_dead() {
        return Answer::Nothing;
    }
    // The store may also have been set back meanwhile.
    world.observer.abuses(under, of.session);
    let life = node.life;
    let said = match &result {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    world.observer.note(|| {
        format!(
            "{life} is presented the pair of s{} elsewhere: {said}",
            of.session
        )
    });
    let result: Result<(), &Error> = result.as_ref().map(|_| ());
    world.observer.abused(under, of, life, result);
    Answer::Failed
}
