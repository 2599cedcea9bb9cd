//! All running builds at once on a terminal: one line each, rewritten in place.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use dockit_core::ImageName;
use dockit_core::backend::BuildEvent;
use dockit_core::events::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::{announcement, finished, lock};
use super::printable;
use super::progress::Display;

pub(super) struct Terminal {
    verbose: bool,
    lines: MultiProgress,
    running: Mutex<HashMap<ImageName, ProgressBar>>,
}

impl Terminal {
    pub(super) fn new(verbose: bool) -> Self {
        Self { verbose, lines: MultiProgress::new(), running: Mutex::default() }
    }

    fn show(&self, image: &ImageName, text: &str) {
        let mut running = lock(&self.running);
        let line = running.entry(image.clone()).or_insert_with(|| {
            let line = self.lines.add(ProgressBar::new_spinner());
            line.set_style(style());
            line.set_prefix(image.to_string());
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        line.set_message(printable::one_line(text.lines().next().unwrap_or_default()).into_owned());
    }

    fn remove(&self, image: &ImageName) {
        if let Some(line) = lock(&self.running).remove(image) {
            line.finish_and_clear();
        }
    }

    fn print(&self, text: &str) {
        let _ = self.lines.println(text);
    }

    fn build(&self, image: &ImageName, event: BuildEvent) {
        match event {
            BuildEvent::StepStarted { name, .. } => self.show(image, &name),
            BuildEvent::Output { bytes, .. } if self.verbose => {
                for line in String::from_utf8_lossy(&bytes).lines() {
                    self.print(&format!("{image} | {line}"));
                }
            }
            _ => {}
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold} {elapsed:>4} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Observer for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::Build { image, event } => self.build(&image, event),
            Event::PrepareOutput { image, bytes } => {
                for line in String::from_utf8_lossy(&bytes).lines() {
                    self.print(&format!("{image} | {line}"));
                }
            }
            Event::PrepareFinished { image, .. } => self.remove(&image),
            Event::Finished(report) => {
                self.remove(&report.image);
                self.print(&printable::lines(&finished(&report)));
            }
            other => {
                if let Some((image, text, warning)) = announcement(&other) {
                    if warning {
                        self.print(&printable::lines(&format!("{image}: warning: {text}")));
                    } else {
                        self.show(&image, &text);
                    }
                }
            }
        }
    }
}

impl Display for Terminal {
    fn finish(&self) {
        for (_, line) in lock(&self.running).drain() {
            line.finish_and_clear();
        }
        let _ = self.lines.clear();
    }
}
