use url::Url;

use crate::error::BuildError;
use crate::origin::is_private;

/// A URL that a token may be sent to. The text stays out of the error: it may hold a password.
pub(super) fn secure(name: &'static str, text: &str) -> Result<Url, BuildError> {
    let url = Url::parse(text)
        .map_err(|error| BuildError::invalid(name, format!("is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::invalid(
            name,
            "must not hold a user name or password",
        ));
    }
    match is_private(&url) {
        true => Ok(url),
        false => Err(BuildError::invalid(
            name,
            "must be an `https` URL, or an `http` one to loopback",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_but_to_https_or_loopback() {
        for url in [
            "https://id.example.org/token",
            "http://127.0.0.1:8080/token",
            "http://127.8.9.10/token",
            "http://[::1]/token",
            "HTTP://LocalHost/token",
        ] {
            assert!(secure("token_url", url).is_ok(), "{url}");
        }
        for url in [
            "",
            "id.example.org/token",
            "http://id.example.org/token",
            "http://10.0.0.1/token",
            "http://localhost.example.org/token",
            "http://id.localhost/token",
            "http://127.0.0.1.example.org/token",
            "http://[::2]/token",
            "ftp://127.0.0.1/token",
            "file:///token",
            "https://sesame@id.example.org/token",
            "https://:sesame@id.example.org/token",
        ] {
            let error = secure("token_url", url).map(|_| url).unwrap_err();
            let BuildError::Invalid { name, problem, .. } = error else {
                panic!("{url}");
            };
            assert_eq!(name, "token_url");
            assert!(!problem.contains("sesame"), "{problem}");
        }
    }
}
