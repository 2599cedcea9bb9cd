//! What CI services are told of a run, each in its own way.
//!
//! Everything that stands in there is either of a type whose text is harmless (names, references,
//! digests) or escaped as the service's own documentation says: what a build writes must not become a
//! command to the service, nor another output.

mod azure;
mod dotenv;
mod file;
mod github;
mod gitlab;
mod markdown;
mod names;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use dockit_core::ImageName;
use dockit_core::events::CheckSubject;
use dockit_core::execute::{ImageReport, RunReport, Status};

use crate::commands::ToldArgs;
use crate::diagnostics::{Exit, Failure};

/// Where GitLab and dotenv files are put unless something else is said.
const DEFAULT_FILE: &str = "dockit.env";

/// `--output`: a service, and the file for those that take one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutputArg {
    /// `github`
    Github,
    /// `gitlab[=FILE]`
    Gitlab(PathBuf),
    /// `azure`
    Azure,
    /// `dotenv[=FILE]`
    Dotenv(PathBuf),
}

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, file) = match text.split_once('=') {
            Some((_, "")) => return Err("no file behind the equals sign".to_owned()),
            Some((service, file)) => (service, Some(file)),
            None => (text, None),
        };
        let path = PathBuf::from(file.unwrap_or(DEFAULT_FILE));
        match (service, file) {
            ("github", None) => Ok(Self::Github),
            ("azure", None) => Ok(Self::Azure),
            ("github" | "azure", Some(_)) => Err(format!("{service} takes no file")),
            ("gitlab", _) => Ok(Self::Gitlab(path)),
            ("dotenv", _) => Ok(Self::Dotenv(path)),
            _ => Err("expected github, gitlab[=FILE], azure or dotenv[=FILE]".to_owned()),
        }
    }
}

/// A run that is over, as outputs see it.
pub(crate) struct Ended<'a> {
    pub(crate) report: &'a RunReport,
    /// What somebody should look after, with the image that it is about.
    pub(crate) warnings: &'a [(ImageName, String)],
}

/// What a service is told.
trait Output {
    /// A run that got as far as a report.
    fn ended(&self, run: &Ended<'_>) -> std::io::Result<()>;

    /// A run that ended before anything was built.
    fn refused(&self, _message: &str) {}

    /// Whether the log shows all that failed because of this output.
    fn shows_failures(&self, _report: &RunReport) -> bool {
        false
    }

    /// What an image is called.
    fn name(&self, image: &ImageName) -> String;

    /// The files that are written, for whoever must not write the same.
    fn files(&self) -> Vec<&Path> {
        self.replaced().into_iter().collect()
    }

    /// The one of them that later steps read by a name that stays.
    fn replaced(&self) -> Option<&Path> {
        None
    }
}

/// The outputs that a command line asks for.
pub(crate) struct Outputs(Vec<Box<dyn Output>>);

impl Outputs {
    /// Checks, before the project is read, that the services are there and can be told.
    pub(crate) fn open(told: &ToldArgs) -> Result<Self, Failure> {
        let mut outputs: Vec<Box<dyn Output>> = Vec::new();
        for argument in &told.output {
            outputs.push(match argument {
                OutputArg::Github => Box::new(github::Github::new()?),
                OutputArg::Azure => Box::new(azure::Azure::new()?),
                OutputArg::Gitlab(file) => Box::new(gitlab::Gitlab::new(file.clone())),
                OutputArg::Dotenv(file) => Box::new(dotenv::Dotenv::new(file.clone())),
            });
        }
        let outputs = Self(outputs);
        outputs.check_files(told.report.as_deref())?;
        Ok(outputs)
    }

    /// Sees that no two of these images get the same name.
    pub(crate) fn check_names<'a>(
        &self,
        images: impl Iterator<Item = &'a ImageName> + Clone,
    ) -> Result<(), Failure> {
        self.0.iter().try_for_each(|output| names::distinct(images.clone(), |it| output.name(it)))
    }

    fn check_files(&self, report: Option<&Path>) -> Result<(), Failure> {
        let mut seen: Vec<PathBuf> = report.map(file::location).into_iter().collect();
        for file in self.files() {
            let location = file::location(file);
            if seen.contains(&location) {
                let message = format!("two outputs are written to {}", file.display());
                return Err(Failure::new(Exit::Usage, message));
            }
            seen.push(location);
            file::check(file).map_err(|error| unwritable(file, &error))?;
        }
        Ok(())
    }

    /// All files that are written.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().flat_map(|output| output.files())
    }

    /// Removes what an earlier run told where this one will replace it: who does not look at exit codes
    /// must not take the images of another run for those of this one.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        for file in self.0.iter().filter_map(|output| output.replaced()) {
            file::remove(file).map_err(|error| unwritable(file, &error))?;
        }
        Ok(())
    }

    /// Tells all of them how a run ended.
    ///
    /// # Errors
    ///
    /// One could not be told; the others are.
    pub(crate) fn ended(&self, run: &Ended<'_>) -> Result<(), Failure> {
        let told: Vec<_> = self.0.iter().map(|output| output.ended(run)).collect();
        match told.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => {
                Err(Failure::new(Exit::Failed, format!("an output cannot be written: {error}")))
            }
        }
    }

    /// Tells all of them that nothing was built, and why.
    pub(crate) fn refused(&self, message: &str) {
        for output in &self.0 {
            output.refused(message);
        }
    }

    /// Whether one of them shows what failed in the log.
    pub(crate) fn show_failures(&self, report: &RunReport) -> bool {
        self.0.iter().any(|output| output.shows_failures(report))
    }
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("an output cannot be written: {}: {error}", file.display());
    Failure::new(Exit::Usage, message)
}

/// What there is to say about an image, under names that services put behind the image's own.
fn facts(image: &ImageReport) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if is_there(image) {
        facts.push(("reference", reference(image)));
        facts.extend(image.digest.as_ref().map(|digest| ("digest", digest.to_string())));
    }
    facts.push(("status", image.status.as_str().to_owned()));
    facts.push(("key", image.key.to_string()));
    facts
}

/// By digest where a registry holds the image, and by content tag where only an engine does.
fn reference(image: &ImageReport) -> String {
    match &image.digest {
        Some(digest) => image.reference.repository().with_digest(digest.clone()).to_string(),
        None => super::shown(&image.reference),
    }
}

/// Whether the image can be used now.
fn is_there(image: &ImageReport) -> bool {
    matches!(image.status, Status::Built | Status::Reused | Status::Retagged)
}

/// Something that failed.
struct Failed {
    /// What.
    of: CheckSubject,
    /// Why, with the last lines of what it wrote.
    message: String,
}

impl Failed {
    /// What failed, for people.
    fn what(&self) -> String {
        super::checks::who(&self.of)
    }
}

/// Each image that failed, not those that were skipped for it, and the tests of the project.
fn failures(report: &RunReport) -> Vec<Failed> {
    let failed = report.images.iter().filter(|image| image.status == Status::Failed);
    let failed = failed.filter_map(|image| {
        let of = CheckSubject::Image(image.image.clone());
        Some(Failed { of, message: image.error.as_ref()?.message.clone() })
    });
    let tests = report.project_tests.failure();
    failed.chain(tests.map(|message| Failed { of: CheckSubject::Project, message })).collect()
}

/// Writes whole lines to standard error, where services read commands as well; standard output is
/// data. Nobody else's text comes between.
fn command(lines: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}

/// As many of the first and the last lines of a text as there is room for, in bytes.
fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let boundary = |text: &str, mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let first = &first[..boundary(first, first.len().min(most / 2))];
    let mut from = rest.len() - boundary(rest, rest.len().min(most - first.len() - 8));
    while !rest.is_char_boundary(from) {
        from += 1;
    }
    // Not in the middle of a line, unless the last one alone is too long.
    let last = match rest[from..].split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines,
        _ => &rest[from..],
    };
    format!("{first}\n…\n{last}")
}

/// What tests of outputs render.
#[cfg(test)]
mod samples {
    use dockit_core::execute::{ImageError, ImageErrorKind, ImageReport, RunReport, Status};

    pub(super) fn image(name: &str, status: Status) -> ImageReport {
        let key = format!("k1:{}", "ab".repeat(32)).parse().unwrap();
        let there = matches!(status, Status::Built | Status::Reused);
        let digest = format!("sha256:{}", "cd".repeat(32));
        ImageReport {
            image: name.parse().unwrap(),
            platforms: Vec::new(),
            key,
            status,
            reference: format!("r.example:5000/p/{name}:k1-{}", "ab".repeat(32)).parse().unwrap(),
            digest: there.then(|| digest.parse().unwrap()),
            pushed: status == Status::Built,
            replaced: None,
            tags: Vec::new(),
            backend: None,
            seconds: 12.34,
            tests: Vec::new(),
            held_tags: Vec::new(),
            error: None,
            skipped: None,
        }
    }

    pub(super) fn failed(name: &str, message: &str) -> ImageReport {
        let error = ImageError { kind: ImageErrorKind::Build, message: message.to_owned() };
        ImageReport { error: Some(error), ..image(name, Status::Failed) }
    }

    pub(super) fn report() -> RunReport {
        RunReport {
            images: vec![
                image("base", Status::Built),
                image("ci/py.test", Status::Reused),
                failed("child", "[2/2] RUN x: exit code: 1\n    a % b\n    ::error::evil"),
                image("late", Status::Skipped),
            ],
            ..RunReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_with_or_without_a_file() {
        let parse = |text: &str| text.parse::<OutputArg>();
        assert_eq!(parse("github"), Ok(OutputArg::Github));
        assert_eq!(parse("gitlab"), Ok(OutputArg::Gitlab("dockit.env".into())));
        assert_eq!(parse("dotenv=a=b.env"), Ok(OutputArg::Dotenv("a=b.env".into())));
        for text in ["", "jenkins", "github=x", "azure=x", "dotenv=", "GitHub"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_first_line_and_its_end() {
        let text = format!("what: failed\n{}the end", "    a line with é\n".repeat(1000));
        let short = shortened(&text, 500);
        assert!(short.len() <= 500, "{}", short.len());
        assert!(short.starts_with("what: failed\n…\n    a line"), "{short}");
        assert!(short.ends_with("\nthe end"), "{short}");
        assert_eq!(shortened("short", 500), "short");
        assert!(shortened(&"é".repeat(900), 500).len() <= 500);
        let short = shortened(&format!("failed\n{} the reason", "é".repeat(900)), 500);
        assert!(short.len() <= 500 && short.starts_with("failed\n…\né"), "{short}");
        assert!(short.ends_with("é the reason"), "{short}");
    }
}
