//! A run's report while it runs, so that whatever ends the process, it says what was done.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use clap::Args;
use dockit_core::events::{Event, Observer};
use dockit_core::execute::ImageReport;
use dockit_core::run_file::RunFile;
use dockit_core::story::Built;
use dockit_core::{Error, ImageName, Project};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::build::{Entry, entry};
use super::held_tags::HeldEntry;
use crate::replace;
use crate::ui;
use crate::ui::checks::CheckEntry;
use crate::ui::ci::OutputArg;
use crate::ui::printable;

/// Who else is told of a run.
#[derive(Args, Debug)]
pub(crate) struct ToldArgs {
    /// Tell a CI service what was done: github, gitlab[=FILE], azure, or dotenv[=FILE]; repeatable
    #[arg(long, value_name = "SERVICE[=FILE]")]
    pub(crate) output: Vec<OutputArg>,
    /// Write the run's report to FILE as JSON, also while it runs
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// The document `dockit.run/1` as it is written to files.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    /// When the run began, RFC 3339 in UTC.
    started: &'a str,
    /// Whether the run came to its end. Otherwise it still runs, or its process was killed.
    complete: bool,
    /// What ended the run before any image was worked on.
    error: Option<&'a str>,
    /// The images that nothing more will be done for, as they ended; in the plan's order once all are.
    images: &'a [Entry],
    /// The other images of the plan.
    unfinished: &'a [String],
}

/// An image as it stands in the report, which is written again with each image: of tests the end of what
/// they wrote is enough.
fn kept(image: &ImageReport) -> Entry {
    let mut entry = entry(image);
    entry.tests.iter_mut().for_each(CheckEntry::shorten);
    entry
}

enum News {
    Planned(Vec<String>),
    Finished(Box<Entry>),
    Tagged {
        image: String,
        tags: Vec<String>,
        held_tags: Vec<HeldEntry>,
    },
    /// All images in the plan's order, or what ended the run before.
    Ended(Result<Vec<Entry>, String>),
}

/// Passes events on, and keeps `.dockit/run.json`, and another file where one is wanted, up to date.
///
/// Files are written by a thread of its own, which takes everything new together: a run of 300 images
/// that are all there writes a handful of times. What cannot be written is a warning at the end.
pub(crate) struct RunRecorder<'a> {
    display: &'a dyn Observer,
    news: Mutex<Sender<News>>,
    writer: JoinHandle<Vec<String>>,
    warnings: Mutex<Vec<(ImageName, String)>>,
}

impl<'a> RunRecorder<'a> {
    /// Begins, and writes that nothing is done yet.
    pub(crate) fn start(
        project: &Project,
        report: Option<&Path>,
        display: &'a dyn Observer,
    ) -> Self {
        let mut writer = Writer {
            targets: Vec::new(),
            problems: Vec::new(),
            started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            images: Vec::new(),
            unfinished: Vec::new(),
        };
        let kept = "the report is not kept";
        let file = if project.in_memory { None } else { Some(RunFile::open(project)) };
        match file {
            None => {}
            Some(Ok(Some(file))) => writer.targets.push(Target::Kept(file)),
            Some(Ok(None)) => writer.problems.push(format!(
                "{kept} in {}: another run in this work tree does that",
                project.state_directory().display()
            )),
            Some(Err(error)) => writer.problems.push(format!("{kept}: {error}")),
        }
        writer.targets.extend(report.map(|file| Target::Wanted(file.to_owned())));
        writer.write(false, None);
        let (news, incoming) = channel();
        let writer = std::thread::spawn(move || writer.run(&incoming));
        Self { display, news: Mutex::new(news), writer, warnings: Mutex::default() }
    }

    /// Writes how the run ended, says what could not be written, and tells the warnings of the run.
    pub(crate) fn finish(self, built: &Result<Built, Error>) -> Vec<(ImageName, String)> {
        let ended = match built {
            Ok(built) => Ok(built.report.images.iter().map(kept).collect()),
            Err(error) => Err(error.to_string()),
        };
        self.tell(News::Ended(ended));
        let Self { news, writer, warnings, .. } = self;
        drop(news);
        for problem in writer.join().unwrap_or_default() {
            ui::say(&format!("warning: {problem}"));
        }
        warnings.into_inner().unwrap_or_default()
    }

    fn tell(&self, news: News) {
        if let Ok(sender) = self.news.lock() {
            // Where nobody listens any more, there is nothing to write to.
            let _ = sender.send(news);
        }
    }
}

impl Observer for RunRecorder<'_> {
    fn event(&self, event: Event) {
        match &event {
            Event::RunStarted { images } => {
                self.tell(News::Planned(images.iter().map(ToString::to_string).collect()));
            }
            Event::Finished(report) => self.tell(News::Finished(Box::new(kept(report)))),
            Event::TagsMoved { image, tags, held } => self.tell(News::Tagged {
                image: image.to_string(),
                tags: tags.iter().map(ToString::to_string).collect(),
                held_tags: held.iter().map(HeldEntry::of).collect(),
            }),
            other => {
                if let Some(warning) = ui::warning_of(other)
                    && let Ok(mut warnings) = self.warnings.lock()
                {
                    warnings.push(warning);
                }
            }
        }
        self.display.event(event);
    }
}

/// A file that the report is written to.
enum Target {
    /// dockit's own.
    Kept(RunFile),
    /// A person's.
    Wanted(PathBuf),
}

impl Target {
    fn replace(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Kept(file) => file.replace(text),
            Self::Wanted(file) => replace::replace(file, text),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(file) => file.path(),
            Self::Wanted(file) => file,
        }
    }
}

/// What the thread knows.
struct Writer {
    targets: Vec<Target>,
    problems: Vec<String>,
    started: String,
    images: Vec<Entry>,
    unfinished: Vec<String>,
}

impl Writer {
    /// Writes until the run has ended, or its end is known never to come.
    fn run(mut self, incoming: &Receiver<News>) -> Vec<String> {
        while let Ok(news) = incoming.recv() {
            let mut ended = self.take(news);
            while ended.is_none()
                && let Ok(news) = incoming.try_recv()
            {
                ended = self.take(news);
            }
            match ended {
                None => self.write(false, None),
                Some(error) => {
                    self.write(true, error.as_deref());
                    break;
                }
            }
        }
        self.problems
    }

    /// Takes something new; the end of the run comes with what ended it too early, if anything did.
    fn take(&mut self, news: News) -> Option<Option<String>> {
        match news {
            News::Planned(images) => self.unfinished = images,
            News::Finished(entry) => {
                self.unfinished.retain(|name| *name != entry.name);
                // An image whose tags could not be moved is told again.
                match self.images.iter_mut().find(|known| known.name == entry.name) {
                    Some(known) => *known = *entry,
                    None => self.images.push(*entry),
                }
            }
            News::Tagged { image, tags, held_tags } => {
                if let Some(known) = self.images.iter_mut().find(|known| known.name == image) {
                    known.tags = tags;
                    known.held_tags = held_tags;
                }
            }
            News::Ended(Ok(images)) => {
                self.images = images;
                self.unfinished.clear();
                return Some(None);
            }
            News::Ended(Err(error)) => return Some(Some(error)),
        }
        None
    }

    fn write(&mut self, complete: bool, error: Option<&str>) {
        let document = Document {
            schema: "dockit.run/1",
            started: &self.started,
            complete,
            error,
            images: &self.images,
            unfinished: &self.unfinished,
        };
        let text = match serde_json::to_string_pretty(&document) {
            Ok(text) => printable::json(text) + "\n",
            Err(error) => return self.problems.push(format!("the report: {error}")),
        };
        // What failed once is not tried with every image.
        let problems = &mut self.problems;
        self.targets.retain(|target| match target.replace(&text) {
            Ok(()) => true,
            Err(error) => {
                let file = target.path().display();
                problems.push(format!("the report cannot be written: {file}: {error}"));
                false
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &str, error: Option<&str>) -> Box<Entry> {
        let mut entry = Box::new(Entry::sample(name));
        entry.error = error.map(str::to_owned);
        entry
    }

    #[test]
    fn an_image_stands_in_the_report_once_with_its_tags() {
        let mut writer = Writer {
            targets: Vec::new(),
            problems: Vec::new(),
            started: String::new(),
            images: Vec::new(),
            unfinished: vec!["base".to_owned(), "child".to_owned()],
        };
        writer.take(News::Finished(finished("base", None)));
        writer.take(News::Finished(finished("child", None)));
        writer.take(News::Tagged {
            image: "base".to_owned(),
            tags: vec!["latest".to_owned()],
            held_tags: Vec::new(),
        });
        writer.take(News::Finished(finished("child", Some("a tag could not be moved"))));
        assert!(writer.unfinished.is_empty());
        assert_eq!(writer.images.len(), 2);
        assert_eq!(writer.images[0].tags, ["latest"]);
        assert_eq!(writer.images[1].error.as_deref(), Some("a tag could not be moved"));
    }
}
