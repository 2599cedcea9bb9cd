//! What a project's files say of its images, and what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dockit_registry::{Access, Digest, Reference, Registry};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::PinError;
use super::cycle::{Cycle, cycles};
use super::edit::{self, Edit, EditedFile};
use super::files::WorkTree;
use super::scan::{Mention, Scanner};
use super::survey::{Search, SurveyedFile, What};
use super::targets::{Expected, Judgement, Targets};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::key::KeyOptions;
use crate::lockfile::Lockfile;
use crate::project::Project;

/// How many tags are asked for at a time; a client has limits of its own.
const QUESTIONS: usize = 16;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct PinOptions {
    /// References are looked for in every file of the repository, and not only in those that the
    /// configuration names.
    pub all_files: bool,
    /// Nothing is asked: references that follow a tag are left as they are, and said to be.
    pub offline: bool,
    /// What keys are computed with, where a pinned file may be an input of what it pins.
    pub keys: KeyOptions,
}

/// A reference in a file, or something that is wrong with a rule there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the project's directory on.
    pub file: String,
    /// The 1-based line.
    pub line: usize,
    /// The image that is meant, if one is.
    pub image: Option<ImageName>,
    /// What stands there.
    pub found: String,
    /// What is to be said of it.
    pub status: PinStatus,
}

/// What is to be said of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinStatus {
    /// It is what it should be.
    Right,
    /// This should stand there.
    Stale {
        /// The whole reference, or the parts that the rule names.
        expected: String,
    },
    /// Its line says that it is kept.
    Kept,
    /// The lockfile does not record the image.
    NotRecorded,
    /// It may mean any of these images.
    Ambiguous(Vec<ImageName>),
    /// It follows a tag that does not exist.
    TagAbsent(Reference),
    /// It follows a tag that was not asked for.
    NotAsked(Reference),
    /// It lies where the project's images do, and is none of them.
    Unknown,
    /// A rule does not find what it is to find.
    RuleFailed(String),
    /// It can never be right.
    Cycle(Cycle),
}

impl PinStatus {
    /// Whether a check finds a difference in it.
    pub fn is_difference(&self) -> bool {
        match self {
            Self::Right | Self::Kept | Self::NotAsked(_) => false,
            Self::Stale { .. }
            | Self::NotRecorded
            | Self::Ambiguous(_)
            | Self::TagAbsent(_)
            | Self::Unknown
            | Self::RuleFailed(_)
            | Self::Cycle(_) => true,
        }
    }

    /// Whether nothing may be written as long as it is there.
    pub fn is_obstacle(&self) -> bool {
        matches!(
            self,
            Self::RuleFailed(_) | Self::Cycle(_) | Self::Ambiguous(_) | Self::TagAbsent(_)
        )
    }
}

/// What was found, and what would change.
#[derive(Debug)]
pub struct Pins {
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// Files with something to change.
    pub files: Vec<EditedFile>,
    /// Positions of the rules whose files change and that run something then.
    pub rules: Vec<usize>,
}

impl Pins {
    /// Changes the files: all or none. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`edit::apply`].
    pub fn write(&self, project: &Project) -> Result<(), PinError> {
        let state = project.state_directory();
        crate::lockfile::prepare_state(&state)
            .map_err(|error| PinError::State(state.clone(), error))?;
        Ok(edit::apply(&self.files, &state)?)
    }
}

/// Looks at the project's files. Writes nothing. A registry is asked for tags that references follow, once
/// each.
///
/// # Errors
///
/// As [`PinError`] says.
pub async fn look(
    project: &Project,
    graph: &ImageGraph,
    lockfile: &Lockfile,
    registry: &dyn Registry,
    options: &PinOptions,
    cancel: &CancellationToken,
) -> Result<Pins, PinError> {
    let targets = Targets::of(project, lockfile);
    let surveyed = survey(project, &targets, options, cancel).await?;
    let judged = judge(&surveyed, &targets);
    let tags = ask(&judged, registry, options).await?;
    let pins: BTreeSet<(PathBuf, ImageName)> = judged
        .iter()
        .filter_map(|(file, item, judgement)| match judgement {
            Some(Judgement::Locked { image, .. })
                if !is_kept(&surveyed[*file].items[*item].what) =>
            {
                Some((surveyed[*file].path.clone(), image.clone()))
            }
            _ => None,
        })
        .collect();
    let cycles = cycles(project, graph, lockfile, &options.keys, &pins)?;
    Ok(settle(project, &surveyed, &judged, &tags, &cycles))
}

async fn survey(
    project: &Project,
    targets: &Targets,
    options: &PinOptions,
    cancel: &CancellationToken,
) -> Result<Vec<SurveyedFile>, PinError> {
    let tree = WorkTree::of(&project.root, cancel).await?;
    let rules = project.pins.clone();
    let matchers = rules.iter().map(|rule| {
        let matcher = rule.files.below(&tree.prefix);
        matcher.map_err(|message| PinError::Pattern { line: rule.line, message })
    });
    let matchers = matchers.collect::<Result<Vec<_>, _>>()?;
    // Of a host alone everything that anybody has there would be unknown.
    let registry = project.registry.as_deref().filter(|registry| registry.contains('/'));
    let scanner = Scanner::new(targets.repositories(), registry);
    let real = |path: PathBuf| {
        let name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        parent.map_or(path, |parent| parent.join(name))
    };
    let own = vec![real(project.lockfile.clone()), real(project.state_directory())];
    let all_files = options.all_files;
    let search =
        move || Search { tree: &tree, rules: &rules, matchers, scanner, all_files, own }.run();
    let searched = tokio::task::spawn_blocking(search).await.expect("a search does not panic");
    Ok(searched?)
}

/// By file and item.
type Judged = Vec<(usize, usize, Option<Judgement>)>;

fn judge(surveyed: &[SurveyedFile], targets: &Targets) -> Judged {
    let files = surveyed.iter().enumerate();
    let items = files.flat_map(|(number, file)| (0..file.items.len()).map(move |it| (number, it)));
    items
        .map(|(file, item)| {
            let judgement = match &surveyed[file].items[item].what {
                What::Reference { mention, image: Some(image), .. } => {
                    Some(targets.judge_as(image, mention))
                }
                What::Reference { mention, image: None, tags } => {
                    Some(targets.judge(mention, *tags))
                }
                What::Foreign(_) | What::Failed(_) => None,
            };
            (file, item, judgement)
        })
        .collect()
}

/// What tags are on.
async fn ask(
    judged: &Judged,
    registry: &dyn Registry,
    options: &PinOptions,
) -> Result<BTreeMap<Reference, Option<Digest>>, PinError> {
    if options.offline {
        return Ok(BTreeMap::new());
    }
    let followed: BTreeSet<&Reference> = judged
        .iter()
        .filter_map(|(_, _, judgement)| match judgement {
            Some(Judgement::FollowsTag { tag, .. }) => Some(tag),
            _ => None,
        })
        .collect();
    let answers = stream::iter(followed).map(|tag| async move {
        let head = registry.head_manifest(tag, Access::Pull).await?;
        Ok::<_, dockit_registry::Error>((tag.clone(), head.map(|head| head.digest)))
    });
    Ok(answers.buffer_unordered(QUESTIONS).try_collect().await?)
}

fn is_kept(what: &What) -> bool {
    matches!(what, What::Reference { mention, .. } if mention.keep)
}

fn settle(
    project: &Project,
    surveyed: &[SurveyedFile],
    judged: &Judged,
    tags: &BTreeMap<Reference, Option<Digest>>,
    cycles: &BTreeMap<(PathBuf, ImageName), Cycle>,
) -> Pins {
    let mut findings = Vec::new();
    let mut edits: BTreeMap<usize, Vec<Edit>> = BTreeMap::new();
    for (number, item, judgement) in judged {
        let file = &surveyed[*number];
        let item = &file.items[*item];
        let found = String::from_utf8_lossy(&file.bytes[item.span.clone()]).into_owned();
        let finding = |image: Option<ImageName>, found: String, status: PinStatus| Finding {
            file: file.shown.clone(),
            line: item.line,
            image,
            found,
            status,
        };
        let (mention, judgement) = match (&item.what, judgement) {
            (What::Failed(message), _) => {
                findings.push(finding(None, found, PinStatus::RuleFailed(message.clone())));
                continue;
            }
            (What::Foreign(written), _) => {
                findings.push(finding(None, written.clone(), PinStatus::Unknown));
                continue;
            }
            (What::Reference { mention, .. }, Some(judgement)) => (mention, judgement),
            (What::Reference { .. }, None) => continue,
        };
        let (image, expected) = match judgement {
            Judgement::Unpinned => continue,
            // Somebody else's, or none that a version of could be wrong.
            Judgement::Unknown => {
                if !mention.has_digest() && !mention.has_content_tag() {
                    continue;
                }
                let status = if mention.keep { PinStatus::Kept } else { PinStatus::Unknown };
                findings.push(finding(None, found, status));
                continue;
            }
            _ if mention.keep => {
                findings.push(finding(judgement.image().cloned(), found, PinStatus::Kept));
                continue;
            }
            Judgement::NotRecorded(image) => {
                findings.push(finding(Some(image.clone()), found, PinStatus::NotRecorded));
                continue;
            }
            Judgement::Ambiguous(images) => {
                findings.push(finding(None, found, PinStatus::Ambiguous(images.clone())));
                continue;
            }
            Judgement::FollowsTag { image, tag } => match tags.get(tag) {
                Some(Some(digest)) => {
                    (image.clone(), Expected { tag: None, digest: Some(digest.clone()) })
                }
                Some(None) => {
                    findings.push(finding(image.clone(), found, PinStatus::TagAbsent(tag.clone())));
                    continue;
                }
                None => {
                    findings.push(finding(image.clone(), found, PinStatus::NotAsked(tag.clone())));
                    continue;
                }
            },
            Judgement::Locked { image, expected } => {
                if let Some(cycle) = cycles.get(&(file.path.clone(), image.clone())) {
                    let status = PinStatus::Cycle(cycle.clone());
                    findings.push(finding(Some(image.clone()), found, status));
                    continue;
                }
                (Some(image.clone()), expected.clone())
            }
        };
        let status = if expected.is(mention) {
            PinStatus::Right
        } else {
            let changes = changes(mention, &expected);
            let expected = written(&file.bytes, &item.span, &changes);
            edits.entry(*number).or_default().extend(changes);
            PinStatus::Stale { expected }
        };
        findings.push(finding(image, found, status));
    }
    let mut rules = BTreeSet::new();
    let files = edits.into_iter().map(|(number, mut edits)| {
        let file = &surveyed[number];
        let runs = file.rules.iter().filter(|rule| project.pins[**rule].run.is_some());
        rules.extend(runs.copied());
        edits.sort_by_key(|edit| edit.span.start);
        edits.dedup();
        EditedFile { path: file.path.clone(), before: file.bytes.clone(), edits }
    });
    let files = files.collect();
    Pins { findings, files, rules: rules.into_iter().collect() }
}

/// What has to change in a reference, in the order of the file.
fn changes(mention: &Mention, expected: &Expected) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let (Some(tag), Some(written)) = (&expected.tag, &mention.tag)
        && written.value != *tag
    {
        edits.push(Edit { span: written.span.clone(), text: tag.to_string() });
    }
    if let Some(digest) = &expected.digest {
        let span = match (&mention.digest, &mention.malformed) {
            (Some(written), _) if written.value == *digest => None,
            (Some(written), _) => Some(&written.span),
            (None, malformed) => malformed.as_ref(),
        };
        edits.extend(span.map(|span| Edit { span: span.clone(), text: digest.to_string() }));
    }
    edits.sort_by_key(|edit| edit.span.start);
    edits
}

/// What stands in a span when it has changed.
fn written(bytes: &[u8], span: &std::ops::Range<usize>, edits: &[Edit]) -> String {
    let within = |edit: &Edit| Edit {
        span: edit.span.start - span.start..edit.span.end - span.start,
        text: edit.text.clone(),
    };
    let file = EditedFile {
        path: PathBuf::new(),
        before: bytes[span.clone()].to_vec(),
        edits: edits.iter().map(within).collect(),
    };
    String::from_utf8_lossy(&file.after()).into_owned()
}
