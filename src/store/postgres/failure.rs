//! Why a statement failed.

use std::time::Duration;

use crate::store::StoreError;

/// Why a statement failed. A failure never contains stored data: sqlx's own errors show the row that a constraint
/// refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
    #[error("the connection failed: {0}")]
    Lost(String),
    #[error(
        "no connection in time: the server accepts none, or all connections of the pool are in use; check the server, or use a \
         larger pool"
    )]
    NoConnection,
    #[error("PostgreSQL has not answered within {} s; check the server and the network", .0.as_secs_f64())]
    Late(Duration),
    /// A pooler sent a statement to a connection of the server that knows another statement by this name, or none.
    #[error(
        "a pooler in front of PostgreSQL does not know prepared statements (SQLSTATE {code}); put \
         `statement-cache-capacity=0` into the URL, or use PgBouncer 1.21 or later with `max_prepared_statements` \
         above zero, or session mode"
    )]
    Unprepared { code: String },
    #[error("{0}")]
    Other(String),
    #[error("PostgreSQL's answer has an unexpected form; check whether the tables were changed")]
    Unreadable,
    /// The error is about the record itself, and is complete.
    #[error("{0}")]
    Record(StoreError),
}

impl Failure {
    /// Whether two statements were in conflict, and this one was undone.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ["40001", "40P01"].contains(&code.as_str()))
    }

    /// Whether the server or the connection was lost before there was an answer.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => code.starts_with("57P") || code.starts_with("08"),
            _ => false,
        }
    }

    /// The error of a store whose task was `what`.
    pub(super) fn of(self, what: &str) -> StoreError {
        match self {
            Self::Record(error) => error,
            failure => StoreError::with_source(format!("cannot {what}"), failure),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                // The prepared statement is missing, or another one has its name.
                if ["26000", "42P05"].contains(&code.as_str()) {
                    return Self::Unprepared { code };
                }
                let message = error.message().to_owned();
                Self::Refused { code, message }
            }
            sqlx::Error::Io(error) => Self::Lost(error.to_string()),
            sqlx::Error::PoolTimedOut => Self::NoConnection,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Unreadable,
            error => Self::Other(error.to_string()),
        }
    }
}

/// The error of an argument that cannot be encoded.
impl From<sqlx::error::BoxDynError> for Failure {
    fn from(_: sqlx::error::BoxDynError) -> Self {
        Self::Unreadable
    }
}
