//! Names that only one image can have: moving tags in a repository, aliases in an engine.

use std::collections::BTreeMap;

use dockit_registry::{Reference, Repository};

use super::super::reader::Located;
use super::Validator;
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::project::Image;
use crate::tag_template::TagTemplate;

/// What is put in for `{prefix}`.
const PREFIX: &str = "{prefix}";

impl Validator<'_> {
    /// What an image is called in an engine's store besides.
    pub(super) fn aliases(&mut self, written: Vec<Located<String>>) -> Vec<Reference> {
        let mut aliases: Vec<Reference> = Vec::new();
        for Located { value, line } in written {
            let Some(alias) = self.parsed::<Reference>(Located { value, line }) else {
                continue;
            };
            let alias = alias.or_latest();
            if alias.digest().is_some() {
                let message = format!("alias {:?}: a name cannot hold a digest", alias.familiar());
                self.problem(line, message);
            } else if alias.tag().is_some_and(ImageKey::is_content_tag) {
                let message = format!("alias {:?} has the form of a content tag", alias.familiar());
                self.problem(line, message);
            } else if aliases.contains(&alias) {
                self.problem(line, format!("alias {:?} is there twice", alias.familiar()));
            } else {
                aliases.push(alias);
            }
        }
        aliases
    }

    /// Images may share a repository, but a moving tag can only be on one of them. Tags are compared as
    /// they are written, after the prefix is put in.
    pub(super) fn moving_tags_differ(&mut self, images: &BTreeMap<ImageName, Image>) {
        let mut seen: BTreeMap<(&Repository, String), &Image> = BTreeMap::new();
        for image in images.values() {
            for tag in &image.tags {
                let written = with_prefix(tag, image);
                let Some(first) = seen.insert((&image.repository, written.clone()), image) else {
                    continue;
                };
                let message = format!(
                    "images {:?} and {:?} have the same tag {written:?} in the repository {}: give \
                     them tags or repositories of their own",
                    first.name.as_str(),
                    image.name.as_str(),
                    image.repository.familiar()
                );
                self.problem(image.line.max(first.line), message);
            }
        }
    }

    /// An alias is of one image, and none is what another image is called.
    pub(super) fn aliases_differ(&mut self, images: &BTreeMap<ImageName, Image>) {
        let mut seen: BTreeMap<&Reference, &Image> = BTreeMap::new();
        for image in images.values() {
            for alias in &image.aliases {
                if let Some(first) = seen.insert(alias, image) {
                    let message = format!(
                        "images {:?} and {:?} have the same alias {:?}",
                        first.name.as_str(),
                        image.name.as_str(),
                        alias.familiar()
                    );
                    self.problem(image.line.max(first.line), message);
                }
                let called = images.values().find(|other| {
                    other.name != image.name
                        && other
                            .name
                            .as_str()
                            .parse::<Reference>()
                            .is_ok_and(|called| called.or_latest() == *alias)
                });
                if let Some(other) = called {
                    let message = format!(
                        "the alias {:?} of image {:?} is what image {:?} is called in an engine",
                        alias.familiar(),
                        image.name.as_str(),
                        other.name.as_str()
                    );
                    self.problem(image.line, message);
                }
            }
        }
    }
}

fn with_prefix(tag: &TagTemplate, image: &Image) -> String {
    let prefix = image.tag_prefix.as_ref().map_or(PREFIX, |prefix| prefix.as_str());
    tag.to_string().replace(PREFIX, prefix)
}
