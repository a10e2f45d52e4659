//! The readable output of the crate: traces and logs of the crate and its dependencies at every level, printed types
//! and errors, and the messages of panics.

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

/// The caught output: the place, and the text.
static CAUGHT: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Catches all output from now on.
pub(crate) fn cast() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Tracing::default()).unwrap();
        log::set_logger(&Logging).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|it| it.file()).unwrap_or_default();
            // The message of a panic in user code belongs to the user.
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

/// Catches both forms of `Debug`.
pub(crate) fn debug(thing: &impl Debug) {
    caught("Debug", format!("{thing:?}\n{thing:#?}"));
}

/// Catches an error in all its forms, with all its sources.
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

/// Catches the value or the error of a result.
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

/// The number of outputs from places that begin with this text.
pub(crate) fn count(place: &str) -> usize {
    CAUGHT
        .lock()
        .iter()
        .filter(|(at, _)| at.starts_with(place))
        .count()
}

/// The outputs that hold a form of the secret: the place, and the whole text.
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

/// The fields of a span or an event as text.
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
