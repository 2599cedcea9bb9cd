//! All running builds at once on a terminal: one line each, rewritten in place.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use dockit_core::ImageName;
use dockit_core::backend::BuildEvent;
use dockit_core::events::{CheckSubject, Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::checks;
use super::lines::{OutputLines, Writer};
use super::plain::{announcement, finished, is_announced, lock, lost, waiting};
use super::printable;
use super::progress::Display;

pub(super) struct Terminal {
    verbose: bool,
    lines: MultiProgress,
    running: Mutex<HashMap<ImageName, ProgressBar>>,
    output: OutputLines,
}

impl Terminal {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            verbose,
            lines: MultiProgress::new(),
            running: Mutex::default(),
            output: OutputLines::default(),
        }
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

    /// What somebody wrote; perhaps nothing.
    fn print_lines(&self, lines: &str) {
        for line in lines.lines() {
            self.print(line);
        }
    }

    fn build(&self, image: &ImageName, event: BuildEvent) {
        match event {
            BuildEvent::StepStarted { name, .. } => self.show(image, &name),
            BuildEvent::Output { id, bytes } if self.verbose => {
                self.print_lines(&self.output.take(&Writer::Step(image.clone(), id), &bytes));
            }
            BuildEvent::StepFinished { id, .. } if self.verbose => {
                self.print_lines(&self.output.rest(&Writer::Step(image.clone(), id)));
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
            Event::Build { image, event } if !is_announced(&event) => {
                self.build(&image, event);
            }
            Event::PrepareOutput { image, bytes } => {
                self.print_lines(&self.output.take(&Writer::Prepare(image), &bytes));
            }
            Event::PrepareFinished { image, .. } => {
                self.remove(&image);
                self.print_lines(&self.output.rest(&Writer::Prepare(image)));
            }
            Event::CheckStarted { of, command, on } => match &of {
                CheckSubject::Image(image) => self.show(image, &checks::beginning(&command, on)),
                CheckSubject::Project => {
                    let text = checks::beginning(&command, on);
                    self.print(&printable::lines(&format!("{}: {text}", checks::who(&of))));
                }
            },
            Event::CheckOutput { of, bytes } => {
                self.print_lines(&self.output.take(&Writer::Test(of), &bytes));
            }
            Event::CheckFinished { of, .. } => {
                if let CheckSubject::Image(image) = &of {
                    self.remove(image);
                }
                self.print_lines(&self.output.rest(&Writer::Test(of)));
            }
            Event::Finished(report) => {
                self.remove(&report.image);
                self.print(&printable::lines(&finished(&report)));
            }
            Event::BackendLost { backend, error } => {
                self.print(&printable::lines(&lost(&backend, &error)));
            }
            Event::Waiting { images, left } => {
                self.print(&printable::lines(&waiting(&images, left)));
            }
            // Their images have ended: there is no line to rewrite.
            ended @ (Event::TagsMoved { .. } | Event::Appeared { .. }) => {
                if let Some((image, text, _)) = announcement(&ended) {
                    self.print(&printable::lines(&format!("{image}: {text}")));
                }
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
