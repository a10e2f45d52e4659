//! `--config`: a configuration of evertoken with a table `[import]` for this program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use evertoken::config::{Config, Registry};
use evertoken::{Builder, ConfigError, OAuth2};
use reqwest::Url;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::command::Strategy;

/// The content of a configuration file. The components that the file names are not built yet.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    path: PathBuf,
    config: Config,
    pub(crate) strategy: Strategy,
    /// The servers, if the file has an endpoint; otherwise the servers are embedded.
    pub(crate) external: Option<External>,
    /// Whether the file has the first token pair.
    pub(crate) has_seed: bool,
}

/// Servers that this program does not start.
#[derive(Debug, Clone)]
pub(crate) struct External {
    pub(crate) api_url: Url,
    /// Reports what the servers counted, in the form of the `servers` example.
    pub(crate) counters_url: Option<Url>,
}

/// What this program reads of the file; [`Config`] checks the rest.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    import: Import,
    #[serde(default)]
    refresh: Refresh,
    #[serde(default)]
    http: Http,
    endpoint: Option<IgnoredAny>,
    seed: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    #[serde(default, deserialize_with = "url")]
    api_url: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    counters_url: Option<Url>,
}

#[derive(Default, Deserialize)]
struct Refresh {
    strategy: Option<Choice>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Name(String),
    WithParameters { kind: String },
}

#[derive(Default, Deserialize)]
struct Http {
    #[serde(default)]
    origins: Vec<String>,
}

impl Configuration {
    /// Reads a TOML file. Relative paths in the file start at its directory.
    pub(crate) fn read(path: &str) -> anyhow::Result<Self> {
        let path = Path::new(path);
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let text = Zeroizing::new(text);
        let directory = path.parent().unwrap_or(Path::new(""));
        let config = Config::from_toml(&without_import(&text))
            .map_err(|error| located(path, &error))?
            .relative_to(directory);
        let document: Document =
            toml::from_str(&text).map_err(|error| refused(path, &text, &error))?;
        let strategy = match document.refresh.strategy {
            None => Strategy::OnRequest,
            Some(Choice::Name(kind) | Choice::WithParameters { kind }) => {
                let mut managed = Strategy::MANAGED.into_iter();
                let configured = managed.find(|strategy| strategy.name() == kind);
                configured.with_context(|| {
                    format!(
                        "{name}: refresh.strategy: must be `on-request`, `background-timer` or \
                         `optimistic-early`"
                    )
                })?
            }
        };
        let Import {
            api_url,
            counters_url,
        } = document.import;
        let external = match (document.endpoint, api_url) {
            (Some(_), Some(api_url)) => {
                ensure!(
                    document.http.is_for(&api_url),
                    "{name}: import.api_url: is not in `http.origins`, so requests would carry no token; add its origin"
                );
                Some(External {
                    api_url,
                    counters_url,
                })
            }
            (Some(_), None) => Err(anyhow!(
                "{name}: import.api_url: is missing; with an `[endpoint]`, no API is embedded: add the URL of the API"
            ))?,
            (None, api_url) => {
                ensure!(
                    api_url.is_none() && counters_url.is_none(),
                    "{name}: import: `api_url` and `counters_url` need an `[endpoint]`; without one, the servers are \
                     embedded"
                );
                None
            }
        };
        Ok(Self {
            path: path.to_owned(),
            config,
            strategy,
            external,
            has_seed: document.seed.is_some(),
        })
    }

    /// The builder of a manager for the endpoint in the file.
    pub(crate) async fn builder(&self) -> anyhow::Result<Builder> {
        let builder = self.config.builder(&Registry::builtin()).await;
        builder.map_err(|error| located(&self.path, &error))
    }

    /// The builder of a manager for an endpoint that the file does not name.
    pub(crate) async fn builder_for(&self, endpoint: OAuth2) -> anyhow::Result<Builder> {
        let registry = Registry::builtin();
        let builder = self.config.builder_for(endpoint, &registry).await;
        builder.map_err(|error| located(&self.path, &error))
    }
}

impl Http {
    fn is_for(&self, url: &Url) -> bool {
        let mut origins = self.origins.iter().filter_map(|it| Url::parse(it).ok());
        origins.any(|origin| origin.origin() == url.origin())
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).map(Some);
    url.map_err(|error| D::Error::custom(format!("must be a URL: {error}")))
}

/// Replaces the lines of `[import]` by empty lines, so that errors in the rest name the right line.
fn without_import(text: &str) -> Zeroizing<String> {
    let mut rest = Zeroizing::new(String::with_capacity(text.len()));
    let mut is_import = false;
    for line in text.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default();
            is_import = name.trim() == "import";
        }
        match is_import {
            true => rest.push('\n'),
            false => rest.push_str(line),
        }
    }
    rest
}

fn located(path: &Path, error: &ConfigError) -> anyhow::Error {
    let mut place = path.display().to_string();
    if let Some((line, column)) = error.position() {
        place = format!("{place}:{line}:{column}");
    }
    match error.path() {
        "" => anyhow!("{place}: {}", error.problem()),
        at => anyhow!("{place}: {at}: {}", error.problem()),
    }
}

/// An error in the table `[import]`: the rest was checked before.
fn refused(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    anyhow!("{}:{line}: {}", path.display(), error.message())
}
