//! What happens in one run, as data. A scenario is drawn from a seed or read from the corpus. If it fails, it is shrunk
//! by `shrink` and printed.
//!
//! A run depends on its scenario alone. A field or variant that is added later has a `serde` default, which means what
//! runs did before it, and is not written while it has that value. So every stored scenario keeps its meaning.
//!
//! A scenario that once broke a rule has a file in `corpus/`, named after the violation. The comment at the top of a file
//! describes the violation in one sentence. The corpus stores scenarios and not seeds: the meaning of a seed depends on
//! the code that draws from it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use evertoken::testing::{
    AuthorizationServer, AuthorizationServerBuilder, GraceAnswer, RefreshTokens, Reuse,
};
use evertoken::{OldPair, ResendAfterSilence, ServerProfile};
use serde::{Deserialize, Serialize};

pub(crate) use self::drawn::drawn;
pub(crate) use self::faults::{Ambush, Answer, Fault, Point, Write};

mod drawn;
mod faults;
mod later;

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Server {
    Strict,
    /// The server refuses a replay, and the session goes on.
    NoFamily,
    GraceSamePair,
    Fork,
    LastWins,
    Echo,
    Omit,
    OldAccessDies,
    /// The refresh token lives as long as the access token.
    ShortRefresh,
}

/// Whether a token is sent again after an unclear answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Resend {
    Always,
    WhenUnavailable,
    Never,
}

impl From<Resend> for evertoken::Resend {
    fn from(resend: Resend) -> Self {
        match resend {
            Resend::Always => Self::Always,
            Resend::WhenUnavailable => Self::WhenUnavailable,
            Resend::Never => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Strategy {
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
    /// `OptimisticEarly`, with an idle session that ends.
    EndsIdle,
    Greedy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Token,
    TryToken,
    Rotate,
    ValidFor(u64),
    /// Asks for a token and rejects it.
    Reject,
    /// Asks for a token and stops waiting after this many milliseconds.
    Drop(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caller {
    pub(crate) node: usize,
    /// Each action with its time in milliseconds.
    pub(crate) actions: Vec<(u64, Action)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The seed of tokio's scheduler.
    pub(crate) seed: u64,
    pub(crate) server: Server,
    /// Whether the client knows the kind of the server; without that it assumes the strictest kind.
    pub(crate) is_known: bool,
    pub(crate) resend: Resend,
    pub(crate) sign_in: bool,
    /// Whether the managers get a first pair. Without one, the endpoint must be able to sign in.
    pub(crate) seeded: bool,
    pub(crate) access_ttl: u64,
    pub(crate) latency_ms: u64,
    pub(crate) store_latency_ms: u64,
    pub(crate) timeout: u64,
    pub(crate) lease_duration: u64,
    /// The lease duration of each instance, where they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lease_durations: Vec<u64>,
    pub(crate) wait: u64,
    pub(crate) store_timeout: u64,
    pub(crate) coordinated: bool,
    /// The workers of write-behind; zero means write-through, and is the only value with leases.
    pub(crate) workers: usize,
    pub(crate) fails_unstored: bool,
    pub(crate) nodes: Vec<Strategy>,
    pub(crate) callers: Vec<Caller>,
    /// Each fault with its time in milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// The length in seconds; after that all faults heal.
    pub(crate) length: u64,
}

impl Scenario {
    /// The lease duration of this instance, in seconds.
    pub(crate) fn lease_duration_of(&self, node: usize) -> u64 {
        let own = self.lease_durations.get(node);
        own.copied().unwrap_or(self.lease_duration)
    }

    pub(crate) fn longest_lease(&self) -> u64 {
        let own = self.lease_durations.iter().copied();
        own.fold(self.lease_duration, u64::max)
    }

    /// For how long after its first use the server answers a token again.
    pub(crate) fn window(&self) -> u64 {
        match self.server {
            Server::GraceSamePair | Server::Fork => self.timeout * 2,
            // The server answers the token again until its successor is used.
            Server::LastWins => self.longest_lease() * 4,
            _ => 0,
        }
    }

    pub(crate) fn refresh_ttl(&self) -> Duration {
        match self.server {
            Server::ShortRefresh => seconds(self.access_ttl),
            _ => seconds(30 * 86_400),
        }
    }

    pub(crate) fn rules(&self) -> AuthorizationServerBuilder {
        let rules = AuthorizationServer::builder()
            .access_ttl(seconds(self.access_ttl))
            .refresh_ttl(self.refresh_ttl())
            .sign_in(self.sign_in);
        let grace = |answer| Reuse::Grace {
            window: seconds(self.window()),
            answer,
        };
        match self.server {
            Server::Strict | Server::ShortRefresh => rules,
            Server::NoFamily => rules.reuse(Reuse::Refuse),
            Server::GraceSamePair => rules.reuse(grace(GraceAnswer::SamePair)),
            Server::Fork => rules.reuse(grace(GraceAnswer::Fork)),
            Server::LastWins => rules.reuse(grace(GraceAnswer::LastWins)),
            Server::Echo => rules.refresh_tokens(RefreshTokens::Echoed),
            Server::Omit => rules.refresh_tokens(RefreshTokens::Omitted),
            Server::OldAccessDies => rules.old_access_dies(true),
        }
    }

    pub(crate) fn profile(&self) -> ServerProfile {
        let profile = ServerProfile::strict().resend(self.resend.into());
        if !self.is_known {
            return profile;
        }
        match self.server {
            Server::OldAccessDies => profile.old_pair(OldPair::AccessDiesAtRotation),
            Server::LastWins => profile.resend_after_silence(ResendAfterSilence::LeaseDuration),
            _ => profile,
        }
    }
}

/// A scenario of the corpus.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    /// The exact text of the file.
    pub(crate) text: String,
}

impl Stored {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let scenario = toml::from_str(&text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self {
            name: name.into_owned(),
            scenario,
            text,
        }
    }

    /// The sentence that describes the violation.
    pub(crate) fn found(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix('#'));
        let lines: Vec<_> = lines.map(str::trim).collect();
        lines.join(" ")
    }
}

/// Every scenario of the corpus, sorted by file name.
pub(crate) fn stored() -> Vec<Stored> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/corpus");
    let entries = fs::read_dir(&corpus).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    paths.iter().map(|path| Stored::read(path)).collect()
}

/// The file of a scenario. Each number, each fault and each caller has a line, so that a diff is readable.
pub(crate) fn written(found: &str, scenario: &Scenario) -> String {
    let table = toml::Table::try_from(scenario).expect("a scenario is a table");
    let (lists, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_array());
    let mut text = format!("# {found}\n");
    for (key, value) in plain {
        writeln!(text, "{key} = {value}").expect("memory");
    }
    for (key, list) in lists {
        writeln!(text, "{key} = [").expect("memory");
        for value in list.as_array().into_iter().flatten() {
            writeln!(text, "    {value},").expect("memory");
        }
        text.push_str("]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Scenario, toml::de::Error> {
        toml::from_str(text)
    }

    /// A field that is added later fails here if it has no default, or if it is written although it has the default.
    #[test]
    fn a_stored_scenario_is_written_as_it_was_read_and_states_what_it_found() {
        let all = stored();
        assert!(all.len() >= 27);
        for stored in all {
            assert!(!stored.found().is_empty(), "{}", stored.name);
            let text = written(&stored.found(), &stored.scenario);
            assert_eq!(text, stored.text, "{}", stored.name);
        }
    }

    #[test]
    fn a_scenario_that_was_drawn_is_read_as_it_was_written() {
        for seed in 0..1_000 {
            let text = written("a seed", &drawn(seed));
            assert_eq!(read(&text).unwrap(), drawn(seed), "seed {seed}");
        }
    }

    #[test]
    fn an_unknown_key_of_a_scenario_is_an_error() {
        let text = written("a seed", &drawn(0));
        for (known, unknown) in [
            ("lease_duration", "lease_duration_of_old"),
            ("actions", "deeds"),
            ("token", "taken"),
        ] {
            assert!(text.contains(known));
            let error = read(&text.replacen(known, unknown, 1)).unwrap_err();
            assert!(error.message().contains(unknown), "{error}");
        }
    }
}
