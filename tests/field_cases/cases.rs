//! The answers of token endpoints, as data.

/// An answer and its meaning.
pub(crate) struct Case {
    /// The number in the list of field cases; 0 for a case that was found later.
    pub(crate) number: u32,
    /// The server, and the source of the answer.
    pub(crate) source: &'static str,
    pub(crate) status: u16,
    pub(crate) headers: &'static [&'static str],
    pub(crate) body: &'static str,
    pub(crate) means: &'static str,
}

const fn case(number: u32, status: u16, body: &'static str, means: &'static str) -> Case {
    Case {
        number,
        source: "",
        status,
        headers: &[],
        body,
        means,
    }
}

/// A case from a provider's document, source code or issue tracker.
const fn found(source: &'static str, status: u16, body: &'static str, means: &'static str) -> Case {
    Case {
        source,
        ..case(0, status, body, means)
    }
}

impl Case {
    const fn with(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }
}

const PAGE: &str = "<html>blocked</html>";

pub(crate) const CASES: &[Case] = &[
    case(1, 403, PAGE, "page 403").with(&["Content-Type: text/html"]),
    case(2, 400, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(2, 200, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(2, 503, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(3, 400, r#"{"error":"server_error"}"#, "later"),
    case(
        3,
        400,
        r#"{"error":"unknown_error","error_description":"retry your request"}"#,
        "later",
    ),
    case(3, 403, r#"{"error":"too_many_attempts"}"#, "later"),
    case(
        4,
        400,
        r#"{"message":"Bad Request","errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}"#,
        "page 400",
    ),
    case(5, 503, "", "unavailable 503"),
    case(5, 502, "", "unavailable 502"),
    case(5, 504, PAGE, "unavailable 504"),
    case(
        7,
        400,
        r#"{"error":"invalid_request","error_description":"Refresh token is invalid"}"#,
        "client invalid_request",
    ),
    case(8, 400, r#"{"error":"interaction_required"}"#, "user interaction_required"),
    case(8, 400, r#"{"error":"consent_required"}"#, "user consent_required"),
    case(8, 400, r#"{"error":"login_required"}"#, "user login_required"),
    case(9, 200, r#"{"error":"bad_refresh_token"}"#, "dead bad_refresh_token"),
    case(
        9,
        200,
        "error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect",
        "dead bad_refresh_token",
    ),
    case(
        10,
        200,
        r#"{"x_refresh_token_expires_in":8640000,"refresh_token":"r2","access_token":"a2","token_type":"bearer","expires_in":3600}"#,
        "issued a2 r2, 3600 s, 8640000 s",
    ),
    case(
        12,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","instance_url":"https://example.org"}"#,
        "issued a2 r2, -, -",
    ),
    case(
        13,
        200,
        r#"{"access_token":"a2","expires_in":300,"refresh_expires_in":0,"refresh_token":"r2","token_type":"Bearer"}"#,
        "issued a2 r2, 300 s, -",
    ),
    case(
        14,
        200,
        r#"{"access_token":"a2","expires_in":3599,"scope":"x","token_type":"Bearer"}"#,
        "issued a2 -, 3599 s, -",
    ),
    case(
        15,
        400,
        r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#,
        "dead invalid_grant",
    ),
    case(16, 429, "", "later after 121 s").with(&["Retry-After: 120.5"]),
    case(16, 503, "", "unavailable 503 after 121 s").with(&["Retry-After: 120.5"]),
    case(17, 425, "", "later"),
    case(17, 408, "", "unavailable 408"),
    case(18, 400, "", "page 400"),
    found(
        "Slack: slackapi/python-slack-sdk#1242",
        200,
        r#"{"ok":false,"error":"invalid_refresh_token"}"#,
        "dead invalid_refresh_token",
    ),
    found(
        "Slack: oauth.v2.access for a user's token",
        200,
        r#"{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"x","access_token":"a2","token_type":"user","refresh_token":"r2","expires_in":43200}}"#,
        "issued a2 r2, 43200 s, -",
    ),
    found(
        "Zoho: Weble/ZohoBooksApi#84",
        200,
        r#"{"error":"invalid_code"}"#,
        "dead invalid_code",
    ),
    found(
        "HubSpot: HGData/mk-node-hubspot#64",
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#,
        "dead BAD_REFRESH_TOKEN",
    ),
    found(
        "Strava: dreeveapp/dreeve#1449",
        400,
        r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
        "dead RefreshToken.invalid",
    ),
    found(
        "Fitbit: home-assistant/core#141223",
        400,
        r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: r1"}],"success":false}"#,
        "dead invalid_grant",
    ),
    found(
        "OpenAI: openai/codex, auth_tests.rs",
        401,
        r#"{"error":{"message":"already been used","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}"#,
        "dead refresh_token_reused",
    ),
    found(
        "Supabase: supabase/auth, internal/tokens/service.go",
        400,
        r#"{"code":400,"error_code":"refresh_token_already_used","msg":"Invalid Refresh Token: Already Used"}"#,
        "dead refresh_token_already_used",
    ),
    found(
        "Supabase: supabase/auth, internal/tokens/service.go",
        400,
        r#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}"#,
        "dead refresh_token_not_found",
    ),
    found(
        "Lark: larksuite/cli, lark_errors.go",
        400,
        r#"{"code":20064,"error":"invalid_grant","error_description":"The refresh token has been revoked."}"#,
        "dead invalid_grant",
    ),
    found(
        "Google: google-auth-library-python, _can_retry",
        400,
        r#"{"error":"internal_failure"}"#,
        "later",
    ),
    found(
        "Zoom: JubaerHossain/zoom-laravel#3",
        400,
        r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
        "client invalid_client",
    ),
    found(
        "Apigee: cloud.google.com, OAuth HTTP status code reference",
        401,
        r#"{"ErrorCode":"invalid_request","Error":"Invalid client id : x. ClientId is Invalid"}"#,
        "client invalid_request",
    ),
    found(
        "Twitch: twitchdev/issues#1037, where the token was alive",
        400,
        r#"{"status":400,"message":"Invalid refresh token"}"#,
        "page 400",
    ),
    found(
        "TikTok: NangoHQ/nango, refreshTiktokAccountsToken",
        200,
        r#"{"code":0,"message":"OK","data":{"access_token":"a2","expires_in":86400,"refresh_token":"r2","refresh_token_expires_in":31536000}}"#,
        "issued a2 r2, 86400 s, 31536000 s",
    ),
    found(
        "TikTok for merchants: developers.tiktok.com/doc/obtain-access-token-for-apis, expires_in is a Unix time",
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_in":1767232800}"#,
        "issued a2 r2, -, -",
    ),
    found(
        "Withings: vangorra/python_withings_api",
        200,
        r#"{"status":0,"body":{"userid":"7","access_token":"a2","refresh_token":"r2","expires_in":10800,"scope":"user.info","token_type":"Bearer"}}"#,
        "issued a2 r2, 10800 s, -",
    ),
    found(
        "Square: ObtainTokenResponse",
        200,
        r#"{"access_token":"a2","token_type":"bearer","expires_at":"2026-01-01T01:00:00Z","merchant_id":"M","refresh_token":"r2","short_lived":false,"refresh_token_expires_at":"2026-01-31T00:00:00Z"}"#,
        "issued a2 r2, 3600 s, 2592000 s",
    )
    .with(&["Date: Thu, 01 Jan 2026 00:00:00 GMT"]),
    found(
        "Entra, first version: expires_on is text",
        200,
        r#"{"token_type":"Bearer","expires_on":"1767229200","not_before":"1767225600","access_token":"a2","refresh_token":"r2"}"#,
        "issued a2 r2, 3600 s, -",
    )
    .with(&["Date: Thu, 01 Jan 2026 00:00:00 GMT"]),
    found(
        "PHP with display_errors",
        200,
        "<br />\n<b>Notice</b>:  Undefined index: scope in <b>/srv/token.php</b> on line <b>7</b><br />\n{\"access_token\":\"a2\",\"refresh_token\":\"r2\",\"expires_in\":3600}",
        "issued a2 r2, 3600 s, -",
    ),
];

/// Answers of gateways, which write JSON as well, and pages that hold unrelated tokens.
pub(crate) const OTHERS: &[Case] = &[
    case(
        0,
        200,
        r#"<html><script>window.cfg={"accessToken":"pk.eyJ1"}</script></html>"#,
        "unknown",
    ),
    case(
        0,
        200,
        r#"<!DOCTYPE html><script>cfg = {"access_token":"a2","token_type":"bearer","expires_in":60}</script>"#,
        "unknown",
    ),
    case(0, 200, r#"{"config":{"accessToken":"pk.eyJ1"}}"#, "unknown"),
    case(
        0,
        200,
        r#"{"error":"bad_refresh_token","refresh_token":"refresh-token-of-the-test"}"#,
        "dead bad_refresh_token",
    ),
    case(
        0,
        400,
        r#"{"error":"access_denied","cause":{"error":"invalid_grant"}}"#,
        "client access_denied",
    ),
    case(
        0,
        400,
        r#"{"error":"access_denied","data":{"error":"invalid_grant"}}"#,
        "client access_denied",
    ),
    case(
        0,
        400,
        r#"{"message":"upstream","request":{"status":400,"error":"invalid_grant"}}"#,
        "page 400",
    ),
    case(
        0,
        504,
        r#"{"code":"temporarily_unavailable","message":"upstream timed out"}"#,
        "unavailable 504",
    ),
    case(
        0,
        502,
        r#"{"error":{"code":"slow_down"}}"#,
        "unavailable 502",
    ),
    case(0, 403, r#"{"code":"login_required"}"#, "page 403"),
    case(
        0,
        400,
        r#"<p>Notice</p>{"error":"invalid_grant"}"#,
        "page 400",
    ),
    case(
        0,
        200,
        r#"<p>Notice</p>{"error":"invalid_grant"}"#,
        "unknown",
    ),
    // Complete pairs in documents that are not answers.
    case(
        0,
        200,
        r#"{"error":"success","data":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"refresh_token":"refresh-token-of-the-test","data":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"bot":{"access_token":"b"},"user":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"expires_in":60,"data":[{"access_token":"a2","refresh_token":"r2"}]}"#,
        "issued a2 r2, 60 s, -",
    ),
    case(
        0,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_at":"1767229200000"}"#,
        "issued a2 r2, 3600 s, -",
    )
    .with(&["Date: Thu, 01 Jan 2026 00:00:00 GMT"]),
    case(
        0,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_at":-1,"expires_in":"soon"}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        400,
        r#"{"error_code":"refresh_token_not_found","resource":"/token"}"#,
        "dead refresh_token_not_found",
    ),
];
