//! `[sessions]`: what holds for many sessions together, and the policies for kinds of clients.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::registry::{Component, Registry};
use crate::manager::Builder;
use crate::parameters::{ConfigError, Span, Value, set};
use crate::session::SessionPolicy;

/// The table `[sessions]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SessionsTable {
    exchanges_at_once: Option<usize>,
    kept_for: Option<Span>,
    unknown_pairs: Option<u32>,
    policy: Option<PolicyTable>,
    policies: BTreeMap<String, PolicyTable>,
}

/// `[sessions.policy]`, and each of `[sessions.policies]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyTable {
    strategy: Option<Value>,
    retired_for: Option<Span>,
    idle: Option<Span>,
    absolute: Option<Span>,
    pinned: Option<Span>,
}

/// A policy, whose strategy is not made yet.
#[derive(Debug, Clone)]
pub(super) struct NamedPolicy {
    name: Option<String>,
    table: PolicyTable,
    strategy: Option<Component>,
}

impl SessionsTable {
    /// The policies, with the names of their strategies checked.
    pub(super) fn policies(&self) -> Result<Vec<NamedPolicy>, ConfigError> {
        let default = self.policy.iter().map(|table| (None, table));
        let named = self
            .policies
            .iter()
            .map(|(name, table)| (Some(name), table));
        let parsed = default.chain(named).map(|(name, table)| {
            let path = match name {
                Some(name) => format!("sessions.policies.{name}.strategy"),
                None => "sessions.policy.strategy".to_owned(),
            };
            let strategy = table.strategy.as_ref();
            let strategy = strategy
                .map(|strategy| Component::parse(path, strategy, "on-request", &["kind"]))
                .transpose()?;
            Ok(NamedPolicy {
                name: name.cloned(),
                table: table.clone(),
                strategy: strategy.map(|(strategy, _)| strategy),
            })
        });
        parsed.collect()
    }

    /// The builder with everything of this table but the policies.
    pub(super) fn apply<T>(&self, builder: Builder<T>) -> Builder<T> {
        let mut builder = set(
            builder,
            self.exchanges_at_once,
            Builder::with_exchanges_at_once,
        );
        let policies = builder.policies();
        if let Some(span) = self.kept_for {
            policies.kept_for = span.0;
        }
        if let Some(limit) = self.unknown_pairs {
            policies.unknown_pairs = limit;
        }
        builder
    }
}

impl NamedPolicy {
    /// The builder with this policy.
    pub(super) fn apply<T>(
        &self,
        mut builder: Builder<T>,
        registry: &Registry,
        base: &Path,
    ) -> Result<Builder<T>, ConfigError> {
        let strategy = self.strategy.as_ref();
        let strategy = strategy.map(|strategy| registry.make_strategy(strategy, base));
        let PolicyTable {
            retired_for,
            idle,
            absolute,
            pinned,
            ..
        } = self.table;
        let span = |span: Option<Span>| span.map(|span| span.0);
        let policy = set(
            SessionPolicy::new(),
            strategy.transpose()?,
            SessionPolicy::strategy,
        );
        let policy = set(policy, span(retired_for), SessionPolicy::retired_for);
        let policy = set(policy, span(idle), SessionPolicy::idle);
        let policy = set(policy, span(absolute), SessionPolicy::absolute);
        let policy = set(policy, span(pinned), SessionPolicy::pinned);
        builder.policies().set(self.name.as_deref(), policy);
        Ok(builder)
    }
}
