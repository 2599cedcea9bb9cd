//! Moving tags: which of an image's configured tags a run may put on it.
//!
//! A tag without placeholder (`latest`; one whose only placeholder is `{prefix}` counts as such) moves
//! on the default branch alone, from a work tree that is as committed, and never back to an older
//! revision. All but the last is decided here before anything is looked up, from what CI and git say;
//! [`History`] decides the last, when it is known which image the tag is on.
//!
//! # Limitations
//!
//! - A run that finds a tag where it belongs records nothing. Where a later commit leads back to the
//!   inputs of the image that the tag is still on, a late run of a commit in between moves it once more.
//! - Files that git does not track do not keep a tag from moving.
//! - A tag that something else has put is on an image of the commit that built it, if that is published.

mod held;
mod history;
pub(crate) mod record;

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Repository, Tag};

pub use self::held::{HeldReason, HeldTag, Untold};
pub use self::history::History;
pub use self::record::{RECORD_TYPE, recorded};

use crate::ci::CiRun;
use crate::error::Error;
use crate::image_name::ImageName;
use crate::project::{Image, Project};
use crate::source::{GitSource, Source};
use crate::tag_prefix::TagPrefix;
use crate::tag_template::{NoTag, Placeholder, TagTemplate};

/// Hex digits of a commit's id, at least, by which a service names it.
const SHORTEST_COMMIT: usize = 7;

/// The moving tags of one image in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageTags {
    /// Those that may move, each once.
    pub wanted: Vec<WantedTag>,
    /// Those that may not.
    pub held: Vec<HeldTag>,
}

/// A tag that may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTag {
    /// The tag.
    pub tag: Tag,
    /// As it is configured.
    pub template: TagTemplate,
    /// Whether it must not move back to an older revision.
    pub guarded: bool,
}

impl WantedTag {
    /// The same, not to be moved.
    pub fn held(&self, reason: HeldReason) -> HeldTag {
        HeldTag { template: self.template.clone(), tag: Some(self.tag.clone()), reason }
    }
}

/// What decides about moving tags.
#[derive(Clone, Copy, Debug)]
pub struct TagFacts<'a> {
    /// What CI says about the run.
    pub ci: &'a CiRun,
    /// What git says about the sources.
    pub source: &'a Source,
    /// The day of the run, in UTC.
    pub today: time::Date,
    /// Tags without placeholder move whatever the branch, the work tree and the revision.
    pub force: bool,
}

/// The moving tags of all images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovingTags(BTreeMap<ImageName, ImageTags>);

impl MovingTags {
    /// Decides for all images of the project that have a registry. Reads the file that holds the
    /// version, if a tag needs it.
    ///
    /// # Errors
    ///
    /// There is no version; or two images of one repository would get the same tag, whether it may
    /// move in this run or not.
    pub fn decide(project: &Project, facts: &TagFacts<'_>) -> Result<Self, Error> {
        let images = || project.images.values().filter(|image| image.has_registry);
        let mut values = facts.values();
        let needs_version =
            images().flat_map(|image| &image.tags).any(|tag| needs(tag, Placeholder::Version));
        if let Some(version) = project.version.as_ref().filter(|_| needs_version) {
            values.known.insert(Placeholder::Version, version.value()?);
        }
        let mut decided = BTreeMap::new();
        let mut seen: BTreeMap<(&Repository, Tag), &ImageName> = BTreeMap::new();
        for image in images() {
            let tags = image_tags(image, &values, facts, project);
            let names: BTreeSet<Tag> = tags
                .wanted
                .iter()
                .map(|wanted| wanted.tag.clone())
                .chain(tags.held.iter().filter_map(|held| held.tag.clone()))
                .collect();
            for tag in names {
                let other = seen.insert((&image.repository, tag.clone()), &image.name);
                if let Some(other) = other {
                    return Err(Error::Usage(format!(
                        "images {other} and {} both get the tag {tag} in {}",
                        image.name, image.repository
                    )));
                }
            }
            decided.insert(image.name.clone(), tags);
        }
        Ok(Self(decided))
    }

    /// Leaves the tags of other images alone.
    #[must_use]
    pub fn only(mut self, names: &BTreeSet<ImageName>) -> Self {
        self.0.retain(|name, _| names.contains(name));
        self
    }

    /// The tags of an image; none if it has no registry.
    pub fn get(&self, name: &ImageName) -> Option<&ImageTags> {
        self.0.get(name)
    }
}

fn needs(template: &TagTemplate, placeholder: Placeholder) -> bool {
    template.placeholders().contains(&placeholder)
}

/// Branches of a run.
pub(crate) struct Branches {
    /// Its own; of a pull request none, because it may be called as anybody likes.
    pub(crate) own: Option<String>,
    /// What the default branch is, or may be.
    pub(crate) defaults: Vec<String>,
}

/// What placeholders stand for in a run, and why some stand for nothing.
struct Values {
    known: BTreeMap<Placeholder, String>,
    untold: BTreeMap<Placeholder, Untold>,
}

fn image_tags(
    image: &Image,
    values: &Values,
    facts: &TagFacts<'_>,
    project: &Project,
) -> ImageTags {
    let mut known = values.known.clone();
    if let Some(prefix) = &image.tag_prefix {
        known.insert(Placeholder::Prefix, prefix.as_str().to_owned());
    }
    let mut tags = ImageTags::default();
    for template in &image.tags {
        let guarded = template.is_fixed() && !facts.force;
        let (tag, reason) = match template.expand(&known) {
            Ok(tag) => {
                let reason = if guarded { facts.keeps_from_moving(project) } else { None };
                (Some(tag), reason)
            }
            Err(reason) => (None, Some(no_tag(reason, &values.untold))),
        };
        let template = template.clone();
        match (tag, reason) {
            (Some(tag), None) => tags.wanted.push(WantedTag { tag, template, guarded }),
            (tag, reason) => {
                let reason = reason.unwrap_or(HeldReason::TooLong);
                tags.held.push(HeldTag { template, tag, reason });
            }
        }
    }
    tags.settle();
    tags
}

/// Why there is no tag, in the words of a run.
fn no_tag(reason: NoTag, untold: &BTreeMap<Placeholder, Untold>) -> HeldReason {
    match reason {
        NoTag::TooLong => HeldReason::TooLong,
        NoTag::Reserved => HeldReason::Reserved,
        NoTag::Missing(placeholder) => {
            let untold = untold.get(&placeholder).cloned().unwrap_or(Untold::NoRun);
            HeldReason::NoValue(placeholder, untold)
        }
    }
}

impl ImageTags {
    /// Where two templates give one tag, such as `latest` and `{branch}` on a branch of that name, the
    /// stricter one decides.
    fn settle(&mut self) {
        let held = &self.held;
        self.wanted.retain(|wanted| held.iter().all(|held| held.tag.as_ref() != Some(&wanted.tag)));
        self.wanted.sort_by_key(|wanted| !wanted.guarded);
        let mut seen = BTreeSet::new();
        self.wanted.retain(|wanted| seen.insert(wanted.tag.clone()));
    }
}

impl TagFacts<'_> {
    fn values(&self) -> Values {
        let mut values = Values { known: BTreeMap::new(), untold: BTreeMap::new() };
        let mut put = |placeholder, value: Result<String, Untold>| {
            match value {
                Ok(value) => values.known.insert(placeholder, value).is_none(),
                Err(untold) => values.untold.insert(placeholder, untold).is_none(),
            };
        };
        put(Placeholder::Branch, self.branch());
        put(Placeholder::Commit, self.commit());
        put(Placeholder::Run, self.ci.run_id.clone().ok_or(Untold::NoRun));
        put(Placeholder::Date, Ok(self.today.to_string()));
        values
    }

    /// The tag that a template stands for in this run, for an image with this prefix.
    pub(crate) fn expand(
        &self,
        template: &TagTemplate,
        prefix: Option<&TagPrefix>,
        version: Option<&str>,
    ) -> Result<Tag, HeldReason> {
        let Values { mut known, untold } = self.values();
        known.extend(prefix.map(|prefix| (Placeholder::Prefix, prefix.as_str().to_owned())));
        known.extend(version.map(|version| (Placeholder::Version, version.to_owned())));
        template.expand(&known).map_err(|reason| no_tag(reason, &untold))
    }

    /// The branch of the run: CI's word goes before git's, because CI checks out commits.
    pub(crate) fn branch(&self) -> Result<String, Untold> {
        if self.ci.pull_request {
            return Err(Untold::PullRequest);
        }
        if let Some(branch) = &self.ci.branch {
            return self.is_commit_of_ci().map(|()| branch.clone());
        }
        if let Some(tag) = &self.ci.git_tag {
            return Err(Untold::GitTag(tag.clone()));
        }
        match self.source {
            Source::Git(git) => git.branch.clone().ok_or(Untold::Detached),
            Source::Elsewhere => Err(Untold::NoRepository),
            Source::Unreadable(error) => Err(Untold::Git(error.clone())),
        }
    }

    /// Whether the files are those of the commit that CI speaks of: a job can check out another one, such
    /// as that of a pull request in a workflow that runs for the default branch.
    fn is_commit_of_ci(&self) -> Result<(), Untold> {
        let (Some(said), Source::Git(GitSource { commit: Some(commit), .. })) =
            (&self.ci.commit, self.source)
        else {
            return Ok(());
        };
        // Some services shorten it.
        let same = said.len() >= SHORTEST_COMMIT && commit.id.starts_with(said.as_str());
        if same {
            return Ok(());
        }
        Err(Untold::OtherCommit { said: said.clone(), here: commit.id.clone() })
    }

    /// The commit whose files these are.
    fn commit(&self) -> Result<String, Untold> {
        match (self.source, &self.ci.commit) {
            (Source::Git(git), _) => match &git.commit {
                None => Err(Untold::NoCommit),
                Some(_) if !git.changed.is_empty() => Err(Untold::Changed(git.changed.clone())),
                Some(commit) => Ok(commit.id.clone()),
            },
            // A CI service that gives its jobs files without a repository.
            (Source::Elsewhere, Some(commit)) => Ok(commit.clone()),
            (Source::Elsewhere, None) => Err(Untold::NoRepository),
            (Source::Unreadable(error), _) => Err(Untold::Git(error.clone())),
        }
    }

    /// Tags that earlier images of an image may be under, whether they move in this run or not: those of
    /// the run's branch, those of the default branch, and those that are the same in every run.
    pub(crate) fn earlier_tags(&self, image: &Image, project: &Project) -> Vec<Tag> {
        let Branches { own, defaults } = self.branches(project);
        let prefix = image.tag_prefix.as_ref();
        let of_branch = own.into_iter().chain(defaults).flat_map(|branch| {
            let mut values = BTreeMap::from([(Placeholder::Branch, branch)]);
            values.extend(prefix.map(|it| (Placeholder::Prefix, it.as_str().to_owned())));
            let templates = image.tags.iter();
            let templates = templates.filter(|template| needs(template, Placeholder::Branch));
            templates.filter_map(|template| template.expand(&values).ok()).collect::<Vec<Tag>>()
        });
        let fixed = image.tags.iter().filter_map(|template| template.fixed(prefix));
        let mut seen = BTreeSet::new();
        of_branch.chain(fixed).filter(|tag| seen.insert(tag.clone())).collect()
    }

    /// The branches whose images and layers a run may take over.
    pub(crate) fn branches(&self, project: &Project) -> Branches {
        let defaults = match self.default_branch(project) {
            Some(default) => vec![default],
            None => vec!["main".to_owned(), "master".to_owned()],
        };
        Branches { own: self.branch().ok(), defaults }
    }

    /// The default branch, as far as somebody says which one it is.
    fn default_branch(&self, project: &Project) -> Option<String> {
        let git = match self.source {
            Source::Git(git) => git.default_branch.as_ref(),
            _ => None,
        };
        let said = [project.default_branch.as_ref(), self.ci.default_branch.as_ref(), git];
        said.into_iter().flatten().next().cloned()
    }

    /// Why no tag without placeholder moves in this run.
    fn keeps_from_moving(&self, project: &Project) -> Option<HeldReason> {
        let git = match self.source {
            Source::Git(git) => git,
            Source::Elsewhere => return Some(HeldReason::NoBranch(Untold::NoRepository)),
            Source::Unreadable(error) => {
                return Some(HeldReason::NoBranch(Untold::Git(error.clone())));
            }
        };
        let branch = match self.branch() {
            Ok(branch) => branch,
            Err(untold) => return Some(HeldReason::NoBranch(untold)),
        };
        let default = self.default_branch(project);
        let is_default = match &default {
            Some(default) => branch == *default,
            None => branch == "main" || (branch == "master" && !git.has_main),
        };
        if !is_default {
            return Some(HeldReason::OtherBranch { branch, default });
        }
        if git.commit.is_none() {
            return Some(HeldReason::NoBranch(Untold::NoCommit));
        }
        (!git.changed.is_empty()).then(|| HeldReason::Changed(git.changed.clone()))
    }
}
