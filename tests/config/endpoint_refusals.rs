//! Endpoints that cannot be are refused as everything else is.

use crate::refusal;

#[tokio::test]
async fn an_endpoint_that_cannot_be_is_refused() {
    for (text, message) in [
        (
            "",
            "endpoint: is missing; add a table with at least `token_url` and `client_id`",
        ),
        (
            "[endpoint]",
            "line 1, column 2: endpoint.token_url: is missing",
        ),
        (
            r#"[endpoint]
client_id = "a""#,
            "line 1, column 2: endpoint.token_url: is missing",
        ),
        (
            r#"[endpoint]
token_url = "http://id.example.org/token"
client_id = "a""#,
            "line 2, column 1: endpoint.token_url: must be an `https` URL, or an `http` one to loopback",
        ),
        (
            r#"[endpoint]
token_url = "id.example.org/token"
client_id = "a""#,
            "line 2, column 1: endpoint.token_url: is not a URL: relative URL without a base",
        ),
        (
            r#"[endpoint]
kind = "oauth1""#,
            "line 2, column 1: endpoint.kind: `oauth1` is not a known endpoint; choose one of `folio`, `oauth2`, `static`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
revocation_url = "http://127.0.0.1/revoke""#,
            "line 4, column 1: endpoint.revocation_url: must be `https`, as the token URL is",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
clientid = "a""#,
            "line 4, column 1: endpoint.clientid: is not a key of `oauth2`; allowed here: `token_url`, `client_id`, `client_secret`, `client_auth`, `scope`, `revocation_url`, `timeout`, `body_limit`, `server`, `codes`, `user_agent`, `sign_in`, `kind`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
body_limit = 1000"#,
            "line 4, column 1: endpoint.body_limit: must be from 65536 to 16777216 bytes",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
client_auth = "jwt""#,
            "line 4, column 1: endpoint.client_auth: must be `basic`, `post` or `none`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
scope = 3"#,
            "line 4, column 1: endpoint.scope: is an integer, but must be a list of scopes, or a string with spaces between them",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
scope = [3]"#,
            "line 4, column 10: endpoint.scope[0]: is an integer, but must be a string",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
sign_in = "password""#,
            r#"line 4, column 1: endpoint.sign_in: must be "client-credentials", or a table of `username` and `password`"#,
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
sign_in = { username = "a" }"#,
            "line 4, column 1: endpoint.sign_in.password: is missing",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
sign_in = { username = "a", passwd = "b" }"#,
            "line 4, column 29: endpoint.sign_in.passwd: is not a key; allowed here: `username`, `password`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
timeout = "0s""#,
            "line 4, column 1: endpoint.timeout: must not be zero",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
replay_window = "10s""#,
            "line 5, column 1: endpoint.server.replay_window: is not a key; allowed here: `resend`, `resend_after_silence`, `old_pair`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
last_resort = false"#,
            "line 5, column 1: endpoint.server.last_resort: is not a key; allowed here: `resend`, `resend_after_silence`, `old_pair`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
resend = "sometimes""#,
            "line 5, column 1: endpoint.server.resend: must be `always`, `when-unavailable` or `never`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
resend_after_silence = "never""#,
            "line 5, column 1: endpoint.server.resend_after_silence: must be `soon` or `lease-duration`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.codes]
bare_400 = "later""#,
            "line 5, column 1: endpoint.codes.bare_400: must be `page` or `dead`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.codes]
dead = "invalid_request""#,
            "line 5, column 1: endpoint.codes.dead: is a string, but must be a list",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.codes]
clients = ["invalid_request"]"#,
            "line 5, column 1: endpoint.codes.clients: is not a key; allowed here: `dead`, `later`, `user`, `client`, `bare_400`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.codes]
dead = ["invalid_request"]
later = ["quota", "invalid_request"]"#,
            "line 4, column 11: endpoint.codes: the code `invalid_request` appears twice; keep it in one list",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
user_agent = "a\nb""#,
            "line 4, column 1: endpoint.user_agent: must be visible ASCII, and not empty",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
old_pair = "dies""#,
            "line 5, column 1: endpoint.server.old_pair: must be `access-lives-on`, `access-dies-at-rotation` or `dies-at-first-use`",
        ),
        (
            r#"[endpoint]
token_url = "https://id.example.org/token"
client_id = "a"
[endpoint.server]
retired_for = "30s""#,
            "line 5, column 1: endpoint.server.retired_for: is not a key; allowed here: `resend`, `resend_after_silence`, `old_pair`",
        ),
        (
            r#"[endpoint]
kind = "static""#,
            "line 1, column 2: endpoint.token: is missing",
        ),
        (
            r#"[endpoint]
kind = "static"
token = { evn = "X" }"#,
            r#"line 3, column 1: endpoint.token: must be `{ env = "NAME" }`, `{ file = "path" }`, or the secret as a string"#,
        ),
        (
            r#"[endpoint]
kind = "static"
token = "x"
timeout = "2s""#,
            "line 4, column 1: endpoint.timeout: is not a key of `static`; allowed here: `token`, `kind`",
        ),
    ] {
        assert_eq!(refusal(text).await, message, "{text}");
    }
}
