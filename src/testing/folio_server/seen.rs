use std::collections::VecDeque;

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::gateway::{TENANT, TOKEN, header};

/// Enough to look at what a test just did; a long import must not fill memory.
const LIMIT: usize = 64;

/// One request, as FOLIO saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolioRequest {
    /// The method.
    pub method: Method,
    /// The path below that of [`okapi_path`](super::FolioServerBuilder::okapi_path), without the query.
    pub path: String,
    /// What `X-Okapi-Tenant` says.
    pub tenant: Option<String>,
    /// What may carry a token, and was there: `x-okapi-token`, `authorization`, and the names of all
    /// cookies, in this order.
    pub carried: Vec<String>,
    /// What it was answered; `None` where the connection was closed instead.
    pub status: Option<StatusCode>,
}

/// The last requests, oldest first.
#[derive(Default)]
pub(super) struct Seen(VecDeque<FolioRequest>);

impl Seen {
    pub(super) fn note(&mut self, head: &Parts, path: &str, status: Option<StatusCode>) {
        if self.0.len() == LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(FolioRequest {
            method: head.method.clone(),
            path: path.to_owned(),
            tenant: header(&head.headers, TENANT).map(str::to_owned),
            carried: carried(&head.headers),
            status,
        });
    }

    pub(super) fn all(&self) -> Vec<FolioRequest> {
        self.0.iter().cloned().collect()
    }
}

fn carried(headers: &HeaderMap) -> Vec<String> {
    let named = [TOKEN, AUTHORIZATION.as_str()];
    let named = named.into_iter().filter(|name| headers.contains_key(*name));
    let texts = headers.get_all(COOKIE).iter();
    let cookies = texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|cookie| cookie.trim().split('=').next());
    named.chain(cookies).map(str::to_owned).collect()
}
