use std::mem;

use reqwest::RequestBuilder;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::endpoint::encoded::{encoded, longest};

/// How the client proves who it is (RFC 6749 section 2.3).
///
/// One way is used and, if it is refused, no other is tried: each trial would send the refresh token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// In an `Authorization: Basic` header, form-encoded.
    #[default]
    Basic,
    /// In the body.
    Post,
    /// Not at all: a public client, which is only named.
    None,
}

/// The client as the server knows it.
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
        self.auth.unwrap_or(if self.secret.is_some() {
            ClientAuth::Basic
        } else {
            ClientAuth::None
        })
    }

    pub(super) fn secret(&self) -> &str {
        self.secret.as_ref().map_or("", |secret| secret)
    }

    /// Adds the header, if it takes one.
    pub(super) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match self.auth() {
            ClientAuth::Basic => {
                let (id, secret) = (encoded(&self.id), encoded(self.secret()));
                request.basic_auth(id.as_str(), Some(secret.as_str()))
            }
            ClientAuth::Post | ClientAuth::None => request,
        }
    }

    /// `fields` and what of the client belongs among them, form-encoded.
    pub(super) fn form(&self, fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
        let mut fields = fields.to_vec();
        match self.auth() {
            ClientAuth::Basic => {}
            ClientAuth::None => fields.push(("client_id", &self.id)),
            ClientAuth::Post => {
                fields.push(("client_id", &self.id));
                if self.secret.is_some() {
                    fields.push(("client_secret", self.secret()));
                }
            }
        }
        let room = fields
            .iter()
            .map(|(name, value)| longest(name, value))
            .sum();
        let mut form = Zeroizing::new(String::with_capacity(room));
        Serializer::new(&mut *form).extend_pairs(fields);
        Zeroizing::new(mem::take(&mut *form).into_bytes())
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
    fn the_client_is_named_once() {
        let mut client = Client::public("odd:id".into());
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
        client.secret = Some(Zeroizing::new("p+ss w%rd/&=".into()));
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b");
        client.auth = Some(ClientAuth::Post);
        assert_eq!(
            form(&client),
            "refresh_token=a%2F%2B+b&client_id=odd%3Aid&client_secret=p%2Bss+w%25rd%2F%26%3D"
        );
        client.secret = None;
        assert_eq!(form(&client), "refresh_token=a%2F%2B+b&client_id=odd%3Aid");
    }

    #[test]
    fn no_buffer_of_a_secret_grows_and_leaves_a_copy_behind() {
        let text = "\u{ff}&=".repeat(1000);
        let form = Client::public(text.clone()).form(&[(&text, &text), ("", "")]);
        let room = longest(&text, &text) + longest("client_id", &text) + longest("", "");
        assert_eq!(form.capacity(), room);
        assert_eq!(encoded(&text).capacity(), longest("", &text));
    }
}
