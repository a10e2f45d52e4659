use std::fmt;

use clap::ValueEnum;

/// How an import comes by its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// It has one token: the baseline.
    Fixed,
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
}

impl Strategy {
    /// Evertoken's own.
    pub(crate) const MANAGED: [Self; 3] = [
        Self::OnRequest,
        Self::BackgroundTimer,
        Self::OptimisticEarly,
    ];

    /// One of evertoken's own, as configurations name it.
    pub(crate) fn configured(name: &str) -> Option<Self> {
        Self::MANAGED
            .into_iter()
            .find(|strategy| strategy.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::OnRequest => "on-request",
            Self::BackgroundTimer => "background-timer",
            Self::OptimisticEarly => "optimistic-early",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// As the command line names them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Choice {
    /// One access token for the whole import, without evertoken: it fails once that has expired
    Fixed,
    /// Rotates when a request finds the token expired
    OnRequest,
    /// Rotates by a timer, at 80 % of the lifetime
    BackgroundTimer,
    /// Rotates beside the first request in a window before expiry: nobody waits
    OptimisticEarly,
    /// One after the other
    All,
}

impl Choice {
    pub(super) fn strategies(self) -> &'static [Strategy] {
        use Strategy::{BackgroundTimer, Fixed, OnRequest, OptimisticEarly};
        match self {
            Self::Fixed => &[Fixed],
            Self::OnRequest => &[OnRequest],
            Self::BackgroundTimer => &[BackgroundTimer],
            Self::OptimisticEarly => &[OptimisticEarly],
            Self::All => &[Fixed, OnRequest, BackgroundTimer, OptimisticEarly],
        }
    }
}
