//! What references to a project's images should be.
//!
//! The lockfile says it: which digest each image has that this revision of the repository was built with.
//! A reference with a tag that moves or was promoted follows that tag instead, since that is what whoever
//! wrote it asked for.

use std::collections::BTreeMap;

use dockit_registry::{Digest, Reference, Repository, Tag};

use super::scan::Mention;
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::lockfile::Lockfile;
use crate::project::Project;

/// The images of a project by repository, with what the lockfile records of them.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    by_repository: BTreeMap<Repository, Vec<Target>>,
}

#[derive(Clone, Debug)]
struct Target {
    image: ImageName,
    /// The content tag and the digest that the lockfile records.
    locked: Option<(Tag, Digest)>,
}

/// What is to be said of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It follows the lockfile: this should stand there.
    Locked {
        /// The image.
        image: ImageName,
        /// What it should be.
        expected: Expected,
    },
    /// It follows what its own tag is on, which a registry has to be asked.
    FollowsTag {
        /// The image, where a repository holds only one.
        image: Option<ImageName>,
        /// What to ask.
        tag: Reference,
    },
    /// It should follow the lockfile, which does not record the image.
    NotRecorded(ImageName),
    /// It may mean any of these images, which share a repository.
    Ambiguous(Vec<ImageName>),
    /// The project has no image there.
    Unknown,
    /// It names no version that could be wrong.
    Unpinned,
}

/// What stands in the place of a tag and a digest; of what is not written nothing is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The tag.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

impl Expected {
    /// Whether a reference is what it should be.
    pub fn is(&self, mention: &Mention) -> bool {
        fn same<T: PartialEq>(expected: Option<&T>, written: Option<&T>) -> bool {
            expected.is_none() || expected == written
        }
        let digest = mention.digest.as_ref().map(|written| &written.value);
        let tag = mention.tag.as_ref().map(|written| &written.value);
        mention.malformed.is_none()
            && same(self.tag.as_ref(), tag)
            && same(self.digest.as_ref(), digest)
    }
}

impl Targets {
    /// Those of a project. An image for several platforms counts, its parts do not.
    pub fn of(project: &Project, lockfile: &Lockfile) -> Self {
        let mut by_repository: BTreeMap<Repository, Vec<Target>> = BTreeMap::new();
        let images = project.images.values();
        for image in images.filter(|image| image.has_registry && !image.is_part()) {
            let locked = lockfile.image(&image.name).and_then(|locked| {
                // What was recorded for another repository says nothing of this one.
                let there = *locked.reference.repository() == image.repository;
                let digest = locked.reference.digest().filter(|_| there)?;
                Some((locked.key.tag(), digest.clone()))
            });
            let target = Target { image: image.name.clone(), locked };
            by_repository.entry(image.repository.clone()).or_default().push(target);
        }
        Self { by_repository }
    }

    /// The repositories that references are looked for in.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.by_repository.keys()
    }

    /// What is to be said of a reference. Where `tags` are used, one with a content tag and no digest is
    /// kept true as well.
    pub fn judge(&self, mention: &Mention, tags: bool) -> Judgement {
        let Some(targets) = self.by_repository.get(&mention.repository) else {
            return Judgement::Unknown;
        };
        let with_digest = mention.has_digest();
        let tag = mention.tag.as_ref().map(|written| &written.value);
        match tag {
            Some(tag) if !ImageKey::is_content_tag(tag) => {
                if !with_digest {
                    return Judgement::Unpinned;
                }
                let image = match targets.as_slice() {
                    [only] => Some(only.image.clone()),
                    _ => None,
                };
                Judgement::FollowsTag { image, tag: mention.repository.with_tag(tag.clone()) }
            }
            tag if with_digest || tags && tag.is_some() => Self::locked(targets, mention),
            _ => Judgement::Unpinned,
        }
    }

    /// The same of parts that a rule says are of this image. A tag alone follows the lockfile.
    pub fn judge_as(&self, image: &ImageName, mention: &Mention) -> Judgement {
        let mut targets = self.by_repository.iter();
        let found = targets.find_map(|(repository, targets)| {
            Some((repository, targets.iter().find(|target| target.image == *image)?))
        });
        let Some((repository, target)) = found else {
            return Judgement::Unknown;
        };
        match mention.tag.as_ref().map(|written| &written.value) {
            Some(tag) if mention.has_digest() && !ImageKey::is_content_tag(tag) => {
                Judgement::FollowsTag {
                    image: Some(image.clone()),
                    tag: repository.with_tag(tag.clone()),
                }
            }
            _ => target.expected(mention),
        }
    }

    fn locked(targets: &[Target], mention: &Mention) -> Judgement {
        let target = match targets {
            [only] => only,
            several => {
                // Of images that share a repository, the one that was meant is known while the reference
                // is right, and not any more once it is not.
                let written = mention.digest.as_ref().map(|written| &written.value);
                let tag = mention.tag.as_ref().map(|written| &written.value);
                let fits = |target: &&Target| {
                    target.locked.as_ref().is_some_and(|(content, digest)| {
                        Some(digest) == written || Some(content) == tag
                    })
                };
                let mut fitting = several.iter().filter(fits);
                match (fitting.next(), fitting.next()) {
                    (Some(one), None) => one,
                    _ => {
                        let images = several.iter().map(|target| target.image.clone());
                        return Judgement::Ambiguous(images.collect());
                    }
                }
            }
        };
        target.expected(mention)
    }
}

impl Target {
    fn expected(&self, mention: &Mention) -> Judgement {
        let image = self.image.clone();
        match &self.locked {
            None => Judgement::NotRecorded(image),
            Some((content, digest)) => {
                let expected = Expected {
                    tag: mention.tag.as_ref().map(|_| content.clone()),
                    digest: mention.has_digest().then(|| digest.clone()),
                };
                Judgement::Locked { image, expected }
            }
        }
    }
}

impl Judgement {
    /// The image that is meant, if one is.
    pub fn image(&self) -> Option<&ImageName> {
        match self {
            Self::Locked { image, .. } | Self::NotRecorded(image) => Some(image),
            Self::FollowsTag { image, .. } => image.as_ref(),
            Self::Ambiguous(_) | Self::Unknown | Self::Unpinned => None,
        }
    }
}
