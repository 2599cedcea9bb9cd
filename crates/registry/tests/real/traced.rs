//! Everything that is traced or logged by any crate, to be searched for secrets.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

static TEXT: Mutex<String> = Mutex::new(String::new());

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

/// Ends what it stands for when it is dropped.
pub(crate) struct Listening(());

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.set(false);
    }
}

/// From now on whatever happens on this thread, which runs all of a test, is written down.
///
/// The subscriber is the process's: one of a thread alone misses what another thread came by first.
pub(crate) fn begin() -> Listening {
    // The second of two tests finds the first one's.
    let _ = log::set_logger(&Everything);
    log::set_max_level(log::LevelFilter::Trace);
    let _ = tracing::subscriber::set_global_default(Everything);
    LISTENING.set(true);
    Listening(())
}

/// What was written down so far.
pub(crate) fn text() -> String {
    TEXT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Everything;

fn write(text: fmt::Arguments<'_>) {
    let _ = TEXT.lock().unwrap_or_else(PoisonError::into_inner).write_fmt(text);
}

impl Visit for Everything {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What formats itself may trace as well.
        let value = format!("{value:?}");
        write(format_args!("{}={value} ", field.name()));
    }
}

impl Subscriber for Everything {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        LISTENING.get()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        write(format_args!("\n{}: ", span.metadata().target()));
        span.record(&mut Self);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Self);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        write(format_args!("\n{}: ", event.metadata().target()));
        event.record(&mut Self);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if !LISTENING.get() {
            return;
        }
        let text = record.args().to_string();
        write(format_args!("\n{}: {text}", record.target()));
    }

    fn flush(&self) {}
}
