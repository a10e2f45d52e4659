//! A request through the gateway's layer, warm, beside a layer that only passes on.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::FromRequestParts;
use bytes::Bytes;
use evertoken::gateway::GatewayLayer;
use evertoken::{Gateway, Presentation, SealingKeys, SessionPolicy, Sessions, TokenPair};
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::here;
use crate::reads::sample;
use crate::shared::{Issuer, Sample, Samples, table, token};

/// The lengths of the tokens: a pair that is about 2 KB when it is sealed.
const TOKENS: (usize, usize) = (1_000, 300);

const HOUR: Duration = Duration::from_secs(3_600);

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(here);

/// What a handler does: it takes the session, if `asks`, and answers.
#[derive(Clone, Copy)]
struct Handler {
    asks: bool,
}

type Answered = Result<Response<Full<Bytes>>, Infallible>;

impl Service<Request<()>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Ready<Answered> {
        if self.asks {
            let (mut parts, ()) = request.into_parts();
            let presented = Presentation::from_request_parts(&mut parts, &());
            let presented = presented.now_or_never().expect("it is warm");
            black_box(presented.expect("it is alive").token().expose().len());
        }
        let mut answer = Response::new(Full::default());
        let kind = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        ready(Ok(answer))
    }
}

/// A layer that only passes on.
struct Passing(Handler);

/// What a router has put into the request before.
#[derive(Clone)]
struct Matched;

impl Service<Request<()>> for Passing {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Answered>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.call(request)
    }
}

/// A gateway, and the cookies of its browser.
fn signed_in() -> (GatewayLayer, HeaderMap, usize) {
    RUNTIME.block_on(async {
        let policy = SessionPolicy::new().retired_for(Duration::from_secs(30));
        let builder = Sessions::builder(Issuer::new()).default_policy(policy);
        let sessions = builder.build().expect("it holds");
        let key = SealingKeys::random_key().expect("a random source");
        let gateway = Gateway::builder(&sessions)
            .sealer(SealingKeys::from_text(&key).expect("a key"))
            .build()
            .expect("it holds");
        let pair = TokenPair::new(token(1, TOKENS.0))
            .refresh_token(token(1, TOKENS.1))
            .expires_in(HOUR);
        let mut set = HeaderMap::new();
        let signed_in = gateway.sign_in(&HeaderMap::new(), pair).await;
        signed_in.expect("it is stored").apply(&mut set);
        let lines = set.get_all(SET_COOKIE).iter();
        let pairs: Vec<_> = lines
            .map(|line| {
                line.to_str()
                    .expect("a text")
                    .split(';')
                    .next()
                    .expect("a pair")
            })
            .collect();
        let cookies = pairs.join("; ");
        let mut request = HeaderMap::new();
        let length = cookies.len();
        request.insert(COOKIE, HeaderValue::try_from(cookies).expect("a value"));
        (gateway.layer(), request, length)
    })
}

fn request(headers: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().clone_from(headers);
    request.extensions_mut().insert(Matched);
    request
}

async fn pass(
    service: &mut (impl Service<Request<()>, Response = Response<Full<Bytes>>> + Send),
    headers: &HeaderMap,
) -> bool {
    service
        .call(request(headers))
        .await
        .is_ok_and(|answer| !answer.headers().contains_key(SET_COOKIE))
}

pub(crate) fn run() {
    let (layer, headers, length) = signed_in();
    let _entered = RUNTIME.enter();
    let through = |asks| layer.layer(Handler { asks });
    let calls: [(&str, &dyn Fn() -> Sample, u64); 3] = [
        (
            "a layer that passes on",
            &|| {
                sample(1, &async || {
                    pass(&mut Passing(Handler { asks: false }), &headers).await
                })
            },
            allocations(Passing(Handler { asks: false }), &headers),
        ),
        (
            "the gateway's, no token asked for",
            &|| sample(1, &async || pass(&mut through(false), &headers).await),
            allocations(through(false), &headers),
        ),
        (
            "the gateway's, with the token",
            &|| sample(1, &async || pass(&mut through(true), &headers).await),
            allocations(through(true), &headers),
        ),
    ];
    let mut samples: [Samples; 3] = Default::default();
    while !samples.iter().all(Samples::are_enough) {
        for ((_, call, _), samples) in calls.iter().zip(&mut samples) {
            samples.add(call());
        }
    }
    let mut table = table(
        "a request through | us | us over passing on | allocations | over passing on | samples",
    );
    let floor = 1e6 / samples[0].median();
    for ((name, _, allocated), samples) in calls.iter().zip(&samples) {
        let took = 1e6 / samples.median();
        table.add_row([
            (*name).to_owned(),
            format!("{took:.2}"),
            format!("{:.2}", took - floor),
            allocated.to_string(),
            (allocated - calls[0].2).to_string(),
            samples.count(),
        ]);
    }
    println!("A warm request with a sealed pair, cookies of {length} bytes.\n{table}");
}

/// How many allocations a request costs, besides those that make the request.
fn allocations<S>(mut service: S, headers: &HeaderMap) -> u64
where
    S: Service<Request<()>, Response = Response<Full<Bytes>>> + Send,
    S::Future: Future<Output = Answered>,
{
    RUNTIME.block_on(pass(&mut service, headers));
    let request = request(headers);
    let counted = allocation_counter::measure(|| {
        let answered = service.call(request).now_or_never();
        assert!(answered.is_some(), "it is warm");
    });
    counted.count_total
}
