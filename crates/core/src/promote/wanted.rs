//! Which tags of which images promotions are about, before any registry is asked.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Reference, Repository, Tag};

use super::{Promotion, PromotionSource, Request};
use crate::error::Error;
use crate::lockfile::Lockfile;
use crate::moving_tags::TagFacts;
use crate::project::{Image, Project};
use crate::tag_prefix::TagPrefix;
use crate::tag_template::{Placeholder, TagTemplate};

/// One tag that an image is to get.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) set: usize,
    pub(super) image: &'a Image,
    pub(super) source: Reference,
    pub(super) target: Reference,
}

/// What placeholders stand for, for images of one project in one run.
pub(super) struct Names<'a> {
    project: &'a Project,
    facts: &'a TagFacts<'a>,
    version: Option<String>,
}

/// The promotions that the request names; one that is not configured is a tag.
pub(super) fn promotions(project: &Project, request: &Request) -> Result<Vec<Promotion>, Error> {
    let mut promotions: Vec<Promotion> = Vec::new();
    for name in &request.names {
        if promotions.iter().any(|known| known.name == *name) {
            continue;
        }
        let mut promotion = match project.promotions.get(name) {
            Some(configured) => configured.clone(),
            None => {
                let tag = name.parse::<TagTemplate>().map_err(|error| {
                    Error::Usage(format!("{name:?} is neither a promotion nor a tag: {error}"))
                })?;
                Promotion::plain(tag)
            }
        };
        if !request.images.is_empty() {
            promotion.images.clone_from(&request.images);
        }
        if let Some(from) = &request.from {
            promotion.from = from.clone();
        }
        promotions.push(promotion);
    }
    let gates = || promotions.iter().flat_map(|it| &it.gates).map(|gate| &gate.name);
    if let Some(skip) = request.skips.iter().find(|skip| gates().all(|name| *name != skip.name)) {
        return Err(Error::Usage(format!("there is no gate {:?} to skip", skip.name)));
    }
    if let Some(skip) = request.skips.iter().find(|skip| skip.reason.trim().is_empty()) {
        return Err(Error::Usage(format!("gate {} is skipped without a reason", skip.name)));
    }
    Ok(promotions)
}

/// All tags that these promotions are about.
pub(super) fn wanted<'a>(
    project: &'a Project,
    promotions: &[Promotion],
    names: &Names<'_>,
    to_registry: Option<&str>,
) -> Result<Vec<Wanted<'a>>, Error> {
    let from_lock = promotions.iter().any(|promotion| promotion.from == PromotionSource::Lock);
    let lockfile = if from_lock { Lockfile::of(project)? } else { Lockfile::default() };
    let mut wanted: Vec<Wanted<'a>> = Vec::new();
    let mut unlocked = BTreeSet::new();
    for (set, promotion) in promotions.iter().enumerate() {
        for image in images(project, promotion)? {
            let source = match &promotion.from {
                PromotionSource::Lock => match lockfile.image(&image.name) {
                    Some(locked) => locked.reference.clone(),
                    None => {
                        unlocked.insert(image.name.as_str());
                        continue;
                    }
                },
                PromotionSource::Tag(tag) => image.repository.with_tag(names.tag(tag, image)?),
            };
            let repository = match to_registry {
                Some(registry) => moved(project, &image.repository, registry)?,
                None => image.repository.clone(),
            };
            for template in &promotion.tags {
                let target = repository.with_tag(names.tag(template, image)?);
                let same = |other: &Wanted<'_>| {
                    other.target == target
                        && other.source == source
                        && other.image.name == image.name
                };
                if !wanted.iter().any(same) {
                    wanted.push(Wanted { set, image, source: source.clone(), target });
                }
            }
        }
    }
    if !unlocked.is_empty() {
        let names: Vec<&str> = unlocked.into_iter().collect();
        return Err(Error::Usage(format!(
            "the lockfile records nothing of {}: `dockit build --pin` does, and --from TAG promotes \
             what a tag is on",
            names.join(", ")
        )));
    }
    differ(&wanted)?;
    Ok(wanted)
}

/// The images of a promotion, without the parts of indexes.
fn images<'a>(project: &'a Project, promotion: &Promotion) -> Result<Vec<&'a Image>, Error> {
    let mut images: Vec<&Image> = if promotion.images.is_empty() {
        project.images.values().filter(|image| image.has_registry).collect()
    } else {
        let names = project.select(&promotion.images)?;
        names.iter().filter_map(|name| project.images.get(name)).collect()
    };
    images.retain(|image| !image.is_part());
    if let Some(image) = images.iter().find(|image| !image.has_registry) {
        let message = format!("image {} is in no registry: the project names none", image.name);
        return Err(Error::Usage(message));
    }
    if images.is_empty() {
        return Err(Error::Usage(format!("promotion {} is of no image", promotion.name)));
    }
    Ok(images)
}

/// The repository below another prefix. What lies below the project's own keeps its path from there.
fn moved(project: &Project, repository: &Repository, registry: &str) -> Result<Repository, Error> {
    let text = repository.to_string();
    let prefix = project.registry.as_ref().map(|own| format!("{}/", own.trim_end_matches('/')));
    let path = prefix.as_ref().and_then(|prefix| text.strip_prefix(prefix));
    let path = path.unwrap_or_else(|| repository.name().as_str());
    let registry = registry.trim_end_matches('/');
    let target = format!("{registry}/{path}");
    let reference: Reference = target.parse().map_err(|error| {
        Error::Usage(format!("{registry:?} is no place for repositories: {target}: {error}"))
    })?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(Error::Usage(format!("{registry:?} is no place for repositories")));
    }
    Ok(reference.repository().clone())
}

/// No tag can be on two images.
fn differ(wanted: &[Wanted<'_>]) -> Result<(), Error> {
    let mut seen: BTreeMap<String, &Wanted<'_>> = BTreeMap::new();
    for one in wanted {
        let Some(other) = seen.insert(one.target.to_string(), one) else { continue };
        if other.image.name != one.image.name {
            return Err(Error::Usage(format!(
                "images {} and {} would both get {}: write {{prefix}} into the tag, for the tag-prefix of \
                 each",
                other.image.name, one.image.name, one.target
            )));
        }
        if other.source != one.source {
            return Err(Error::Usage(format!(
                "{} would get both {} and {}",
                one.target, other.source, one.source
            )));
        }
    }
    Ok(())
}

impl<'a> Names<'a> {
    /// Reads the project's version if one of the templates needs it.
    pub(super) fn new<'t>(
        project: &'a Project,
        facts: &'a TagFacts<'a>,
        templates: impl IntoIterator<Item = &'t TagTemplate>,
    ) -> Result<Self, Error> {
        let needs =
            |template: &TagTemplate| template.placeholders().contains(&Placeholder::Version);
        let version = match &project.version {
            _ if !templates.into_iter().any(needs) => None,
            Some(version) => Some(version.value()?),
            None => {
                let message = "{version} has no value: [project] names no version, such as version = \
                               { file = \"pyproject.toml\" }";
                return Err(Error::Usage(message.to_owned()));
            }
        };
        Ok(Self { project, facts, version })
    }

    pub(super) fn project(&self) -> &Project {
        self.project
    }

    /// The tag that a template stands for. Where the image has no prefix, `{prefix}` and the `-` beside
    /// it vanish.
    pub(super) fn tag(&self, template: &TagTemplate, image: &Image) -> Result<Tag, Error> {
        let prefix = image.tag_prefix.as_ref();
        let shortened = match prefix {
            None => without_prefix(template)?,
            Some(_) => template.clone(),
        };
        self.expanded(&shortened, prefix).map_err(|reason| {
            Error::Usage(format!("image {} cannot get the tag {template}: {reason}", image.name))
        })
    }

    fn expanded(&self, template: &TagTemplate, prefix: Option<&TagPrefix>) -> Result<Tag, String> {
        let tag = self.facts.expand(template, prefix, self.version.as_deref());
        tag.map_err(|reason| reason.to_string())
    }
}

fn without_prefix(template: &TagTemplate) -> Result<TagTemplate, Error> {
    if !template.placeholders().contains(&Placeholder::Prefix) {
        return Ok(template.clone());
    }
    let text = template.to_string();
    let shorter = text.replace("{prefix}-", "").replace("-{prefix}", "").replace("{prefix}", "");
    shorter.parse().map_err(|_| {
        Error::Usage(format!("{text:?} is no tag for an image that has no tag-prefix"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadOptions};

    #[test]
    fn without_a_prefix_its_place_vanishes() {
        for (text, expected) in [
            ("{prefix}-stable", Some("stable")),
            ("stable-{prefix}", Some("stable")),
            ("v{prefix}1", Some("v1")),
            ("stable", Some("stable")),
            ("{prefix}", None),
        ] {
            let shorter = without_prefix(&text.parse().unwrap()).ok();
            assert_eq!(shorter.map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn repositories_keep_their_path_below_another_prefix() {
        let text = "[project]\nregistry = \"r.example/p\"\n[images.base]\n";
        let project =
            config::parse("/x/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
        let go = |repository: &str, to: &str| {
            let reference: Reference = repository.parse().unwrap();
            moved(&project, reference.repository(), to).map(|it| it.to_string())
        };
        assert_eq!(go("r.example/p/a/b", "s.example/q").unwrap(), "s.example/q/a/b");
        assert_eq!(go("r.example/px/a", "s.example/q/").unwrap(), "s.example/q/px/a");
        assert_eq!(go("other.example/a", "s.example:5000").unwrap(), "s.example:5000/a");
        for wrong in ["S example", "s.example/q:1"] {
            go("r.example/p/a", wrong).unwrap_err();
        }
    }
}
