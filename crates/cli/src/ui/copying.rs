//! How a copy is shown while it runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dockit_registry::copy::{CopyEvent, CopyObserver};
use dockit_registry::manifest::Descriptor;
use dockit_registry::{Delivery, Digest};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::lock;
use super::{printable, progress, say, size};
use crate::commands::GlobalArgs;

/// Smallest blob that a log has a line for, in bytes.
const WORTH_A_LINE: u64 = 1024 * 1024;

/// The line for all blobs, once it is known how many bytes they have.
const WITH_BYTES: &str = "{spinner:.cyan} {decimal_bytes} of {decimal_total_bytes}, \
                          {decimal_bytes_per_sec}  {wide_msg}";

/// Shows the events of copies on standard error.
pub(crate) trait CopyDisplay: CopyObserver {
    /// A copy begins.
    fn start(&self, what: &str);

    /// An engine fetches: how many bytes have arrived, and of how many that it knows of so far.
    fn arrived(&self, _bytes: u64, _of: u64) {}

    /// Clears what moves. The next copy may start.
    fn finish(&self) {}
}

/// The display for this terminal, pipe or log, and for these options.
pub(crate) fn start(global: &GlobalArgs) -> Arc<dyn CopyDisplay> {
    if global.quiet {
        Arc::new(Lines { quiet: true, all: false, surveyed: AtomicBool::default() })
    } else if progress::moves() {
        Arc::new(Bars { all: MultiProgress::new(), state: Mutex::default() })
    } else {
        Arc::new(Lines { quiet: false, all: global.verbose, surveyed: AtomicBool::default() })
    }
}

/// Lines for a log.
struct Lines {
    quiet: bool,
    /// Also of what is small or was there.
    all: bool,
    /// Whether the image was looked at, so that what comes now refers to it.
    surveyed: AtomicBool,
}

impl CopyDisplay for Lines {
    fn start(&self, what: &str) {
        self.surveyed.store(false, Ordering::Relaxed);
        if !self.quiet {
            say(what);
        }
    }
}

impl CopyObserver for Lines {
    fn event(&self, event: CopyEvent<'_>) {
        match event {
            CopyEvent::LayerLeft { layer } => say(&left(layer)),
            _ if self.quiet => {}
            CopyEvent::Surveyed { manifests, blobs, bytes } => {
                let refers = self.surveyed.swap(true, Ordering::Relaxed);
                let what = if refers { "to copy of what refers to it" } else { "to copy" };
                if manifests > 0 {
                    let manifests = super::count(manifests, "manifest");
                    let blobs = super::count(blobs, "blob");
                    say(&format!("{what}: {manifests}, {blobs} of together {}", size(bytes)));
                }
            }
            CopyEvent::BlobDone { blob, delivery }
                if self.all || (delivery != Delivery::Present && blob.size >= WORTH_A_LINE) =>
            {
                let how = match delivery {
                    Delivery::Present => "present",
                    Delivery::Mounted => "mounted",
                    Delivery::Written => "written",
                };
                say(&format!("blob {}: {how}, {}", blob.digest, size(blob.size)));
            }
            CopyEvent::ManifestWritten { digest } if self.all => {
                say(&format!("manifest {digest}: written"));
            }
            _ => {}
        }
    }
}

/// A line for each blob on its way, and one for all of them.
struct Bars {
    all: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole: Option<ProgressBar>,
    /// Bytes of blobs that are done.
    done: u64,
    /// Bytes that may have to be moved.
    expected: u64,
    blobs: HashMap<Digest, ProgressBar>,
}

impl State {
    /// Sets the line for all blobs to what the lines for each of them add up to.
    fn show(&self) {
        if let Some(whole) = &self.whole {
            whole.set_length(self.expected);
            let moving: u64 = self.blobs.values().map(ProgressBar::position).sum();
            whole.set_position(self.done.saturating_add(moving));
        }
    }
}

impl CopyDisplay for Bars {
    fn start(&self, what: &str) {
        let whole = self.all.add(ProgressBar::no_length());
        // An engine says how much it fetches while it does; a copy when it knows.
        whole.set_style(style("{spinner:.cyan} {wide_msg}"));
        whole.set_message(printable::one_line(what).into_owned());
        whole.enable_steady_tick(Duration::from_millis(120));
        *lock(&self.state) = State { whole: Some(whole), ..State::default() };
    }

    fn arrived(&self, bytes: u64, of: u64) {
        let mut state = lock(&self.state);
        if state.expected == 0
            && let Some(whole) = &state.whole
        {
            whole.set_style(style(WITH_BYTES));
        }
        (state.done, state.expected) = (bytes, of);
        state.show();
    }

    fn finish(&self) {
        let state = std::mem::take(&mut *lock(&self.state));
        for line in state.blobs.into_values().chain(state.whole) {
            line.finish_and_clear();
        }
        let _ = self.all.clear();
    }
}

impl CopyObserver for Bars {
    fn event(&self, event: CopyEvent<'_>) {
        let mut state = lock(&self.state);
        match event {
            CopyEvent::Surveyed { bytes, .. } => {
                state.expected = state.expected.saturating_add(bytes);
                if let Some(whole) = &state.whole {
                    whole.set_style(style(WITH_BYTES));
                }
            }
            CopyEvent::BlobProgress { blob, bytes } => {
                if state.whole.is_none() {
                    return; // finished: what was given up may still say something
                }
                let line = state.blobs.entry(blob.digest.clone()).or_insert_with(|| {
                    let template = "  {prefix} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}";
                    // One that is not among the others yet would draw on its own.
                    let line = self.all.add(ProgressBar::new(blob.size));
                    line.set_style(style(template));
                    line.set_prefix(super::short(&blob.digest));
                    line
                });
                line.set_position(bytes);
            }
            CopyEvent::BlobDone { blob, .. } => {
                state.done = state.done.saturating_add(blob.size);
                if let Some(line) = state.blobs.remove(&blob.digest) {
                    line.finish_and_clear();
                }
            }
            CopyEvent::LayerLeft { layer } => {
                let _ = self.all.println(printable::lines(&left(layer)));
            }
            _ => {}
        }
        state.show();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn left(layer: &Descriptor) -> String {
    format!(
        "warning: layer {} is of a kind that need not be in a registry ({}): it stays where it is",
        layer.digest, layer.media_type
    )
}
