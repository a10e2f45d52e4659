//! The page of the authorization endpoint: one button, which posts the request back.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response};

use super::super::http::{response, typed};
use super::AuthorizationServer;
use super::authorize::{Asked, Parameters};

/// Answers a request to the authorization endpoint. `text` is the query, or the body of the form.
pub(super) fn answer(
    server: &AuthorizationServer,
    method: &Method,
    headers: &HeaderMap,
    text: &[u8],
) -> Response<Bytes> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let issuer = format!("http://{}", host.unwrap_or("localhost"));
    let parameters = Parameters::parse(text);
    if *method == Method::POST {
        return match server.authorized(&parameters, &issuer) {
            Ok(back) => redirect(back.as_str()),
            Err(error) => page(400, &format!("<p>{}</p>", escaped(&error.to_string()))),
        };
    }
    let asked = Asked::read(&parameters, &server.state().rules);
    match asked {
        Err(error) => page(400, &format!("<p>{}</p>", escaped(&error.to_string()))),
        Ok(asked) => match asked.error(&issuer) {
            Some(back) => redirect(back.as_str()),
            None => page(200, &form(&parameters)),
        },
    }
}

fn redirect(to: &str) -> Response<Bytes> {
    let mut response = response(303, Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(LOCATION, to);
    }
    response
}

fn form(parameters: &Parameters) -> String {
    let fields: String = parameters
        .iter()
        .map(|(name, value)| {
            let (name, value) = (escaped(name), escaped(value));
            format!(r#"<input type="hidden" name="{name}" value="{value}">"#)
        })
        .collect();
    format!(
        r#"<form method="post" action="/authorize">{fields}<button id="sign-in">Sign in</button></form>"#
    )
}

fn page(status: u16, content: &str) -> Response<Bytes> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sign in</title>\
         <h1>Authorization server</h1>{content}</html>"
    );
    let mut response = typed(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    // Chromium applies `form-action` to the redirect after the form too, and no source of it can name an IPv6 address.
    let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A text as the content of an element or of a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
