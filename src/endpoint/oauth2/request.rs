//! The parts of a request to a token endpoint: the client's authentication, and what a sign-in sends.

use std::fmt;
use std::mem;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::endpoint::transport::{form_encoded, form_room, sensitive_header};

/// How the client authenticates itself (RFC 6749 section 2.3).
///
/// The endpoint uses one method. If the server refuses that method, the endpoint tries no other: each trial would send the
/// refresh token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// The client sends its id and its secret in an `Authorization: Basic` header, form-encoded.
    #[default]
    Basic,
    /// The client sends its id and its secret in the body of the request.
    Post,
    /// The client sends its id only, as a public client does.
    None,
}

/// The client under which the server knows this program.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<Zeroizing<String>>,
    pub(super) auth: Option<ClientAuth>,
}

impl Client {
    pub(super) fn public(id: String) -> Self {
        Self {
            id,
            secret: None,
            auth: None,
        }
    }

    pub(super) fn auth(&self) -> ClientAuth {
        let default = match self.secret {
            Some(_) => ClientAuth::Basic,
            None => ClientAuth::None,
        };
        self.auth.unwrap_or(default)
    }

    pub(super) fn secret(&self) -> &str {
        self.secret.as_ref().map_or("", |secret| secret)
    }

    /// The `Authorization` header, if the method uses one.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.auth() != ClientAuth::Basic {
            return None;
        }
        let (id, secret) = (form_encoded(&self.id), form_encoded(self.secret()));
        let mut pair = Zeroizing::new(String::with_capacity(id.len() + 1 + secret.len()));
        for part in [&id, ":", &secret] {
            pair.push_str(part);
        }
        let mut encoded = Zeroizing::new(String::with_capacity(pair.len().div_ceil(3) * 4));
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut encoded);
        sensitive_header(&[b"Basic ", encoded.as_bytes()])
    }

    /// `fields` and the client's own fields, form-encoded.
    pub(super) fn form(&self, fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
        let mut fields = fields.to_vec();
        if self.auth() != ClientAuth::Basic {
            fields.push(("client_id", &self.id));
        }
        if self.auth() == ClientAuth::Post && self.secret.is_some() {
            fields.push(("client_secret", self.secret()));
        }
        let room = fields
            .iter()
            .map(|(name, value)| form_room(name, value))
            .sum();
        let mut form = Zeroizing::new(String::with_capacity(room));
        Serializer::new(&mut *form).extend_pairs(fields);
        Zeroizing::new(mem::take(&mut *form).into_bytes())
    }
}

/// The credentials of a sign-in without a browser.
pub(super) enum SignIn {
    /// `client_credentials`: the authentication of the client is all.
    Client,
    /// `password`.
    Password {
        username: String,
        password: Zeroizing<String>,
    },
}

impl SignIn {
    pub(super) fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Client => vec![("grant_type", "client_credentials")],
            Self::Password { username, password } => vec![
                ("grant_type", "password"),
                ("username", username),
                ("password", password),
            ],
        }
    }

    /// The secret that no error may quote; empty if there is none.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Client => "",
            Self::Password { password, .. } => password,
        }
    }
}

/// Shows no password.
impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("Client"),
            Self::Password { username, .. } => f
                .debug_struct("Password")
                .field("username", username)
                .finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(client: &Client) -> String {
        let form = client.form(&[("refresh_token", "a/+ b")]);
        String::from_utf8(form.to_vec()).unwrap()
    }

    #[test]
    fn a_request_names_the_client_once() {
        let mut client = Client::public("odd:id".into());
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
        client.secret = Some(Zeroizing::new("p+ss w%rd/&=".into()));
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b");
        let header = client.authorization().unwrap();
        assert!(header.is_sensitive());
        // The encoded pair is `odd%3Aid:p%2Bss+w%25rd%2F%26%3D`.
        let pair = "b2RkJTNBaWQ6cCUyQnNzK3clMjVyZCUyRiUyNiUzRA==";
        assert_eq!(header, format!("Basic {pair}"));
        client.auth = Some(ClientAuth::Post);
        assert_eq!(
            form(&client),
            "refresh_token=a%2F%2B+b&client_id=odd%3Aid&client_secret=p%2Bss+w%25rd%2F%26%3D"
        );
        client.secret = None;
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
    }

    #[test]
    fn no_buffer_of_a_secret_grows() {
        let text = "\u{ff}&=".repeat(1000);
        let form = Client::public(text.clone()).form(&[(&text, &text), ("", "")]);
        let room = form_room(&text, &text) + form_room("client_id", &text) + form_room("", "");
        assert_eq!(form.capacity(), room);
        assert_eq!(form_encoded(&text).capacity(), form_room("", &text));
    }
}
