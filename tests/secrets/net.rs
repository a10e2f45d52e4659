//! Everything that leaves the crate where it can be read: what it and its dependencies trace and log, at every level,
//! what is printed of its types and errors, and what it says when something panics.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::known::forms;

/// What was caught: where, and the text.
static CAUGHT: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// From here on, everything is caught.
pub(crate) fn cast() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Tracing::default()).unwrap();
        log::set_logger(&Logging).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|it| it.file()).unwrap_or_default();
            // What code of the user's says when it panics is the user's.
            if !place.ends_with("user_code.rs") {
                caught("a panic", info.to_string());
                before(info);
            }
        }));
    });
}

fn caught(place: impl Into<String>, text: String) {
    CAUGHT.lock().push((place.into(), text));
}

/// Both forms of `Debug`.
pub(crate) fn debug(thing: &impl Debug) {
    caught("Debug", format!("{thing:?}\n{thing:#?}"));
}

/// An error in all its forms, with all its sources.
pub(crate) fn error(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        caught(
            "an error",
            format!("{error}\n{error:#}\n{error:?}\n{error:#?}"),
        );
        next = error.source();
    }
}

/// Either of the two.
pub(crate) fn outcome<T: Debug, E: Error + 'static>(outcome: Result<T, E>) -> Option<T> {
    match outcome {
        Ok(it) => {
            debug(&it);
            Some(it)
        }
        Err(it) => {
            error(&it);
            None
        }
    }
}

/// How much was caught at places that begin so.
pub(crate) fn count(place: &str) -> usize {
    CAUGHT
        .lock()
        .iter()
        .filter(|(at, _)| at.starts_with(place))
        .count()
}

/// Where a form of the secret was caught, and as part of what.
pub(crate) fn find(secret: &str) -> Vec<(String, String)> {
    let forms = forms(secret);
    let caught = CAUGHT.lock();
    let shows = |text: &str| forms.iter().any(|form| text.contains(form));
    caught
        .iter()
        .filter(|(_, text)| shows(text))
        .cloned()
        .collect()
}

#[derive(Default)]
struct Tracing {
    spans: AtomicU64,
}

impl Subscriber for Tracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::of(span.metadata());
        span.record(&mut fields);
        caught(format!("span {}", span.metadata().target()), fields.0);
        Id::from_u64(1 + self.spans.fetch_add(1, Ordering::SeqCst))
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        caught("span", fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::of(event.metadata());
        event.record(&mut fields);
        caught(format!("event {}", event.metadata().target()), fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A span or an event as text.
struct Fields(String);

impl Fields {
    fn of(metadata: &Metadata<'_>) -> Self {
        Self(metadata.name().to_owned())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?} {value:#?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }

    fn record_error(&mut self, _: &Field, value: &(dyn Error + 'static)) {
        error(value);
    }
}

struct Logging;

impl log::Log for Logging {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        caught(
            format!("log {}", record.target()),
            fmt::format(*record.args()),
        );
    }

    fn flush(&self) {}
}
