//! `cache-registry`: where layers are kept from one build to the next.

use std::collections::BTreeMap;

use dockit_registry::Repository;

use super::super::reader::Located;
use super::{Validator, names_a_host};
use crate::image_name::ImageName;
use crate::project::Image;

impl Validator<'_> {
    /// What is put in front of images' names.
    pub(super) fn cache_registry(&mut self, written: Located<String>) -> Option<String> {
        let text = written.value.trim_end_matches('/');
        if let Some((scheme, rest)) = text.split_once("://") {
            let message = format!("cache-registry is written without {scheme:?}");
            self.suggest(written.line, message, Some(rest.to_owned()));
            return None;
        }
        if text.starts_with("oci:") {
            self.problem(written.line, "cache-registry must be a registry, not an OCI layout");
            return None;
        }
        if !names_a_host(&format!("{text}/name")) {
            let message = format!("cache-registry must begin with a registry's host, not {text:?}");
            self.problem(written.line, message);
            return None;
        }
        match format!("{text}/name").parse::<Repository>() {
            Ok(_) => Some(text.to_owned()),
            Err(error) => {
                self.problem(written.line, format!("invalid cache-registry {text:?}: {error}"));
                None
            }
        }
    }

    /// Where an image's layers are kept. Not the image's name alone decides whether that is a
    /// repository's, so the table's line has the problem.
    pub(super) fn cache_repository(&mut self, name: &ImageName, line: usize) -> Option<Repository> {
        let full = format!("{}/{name}", self.cache_registry.as_ref()?);
        match full.parse() {
            Ok(repository) => Some(repository),
            Err(error) => {
                let error: dockit_registry::ReferenceError = error;
                self.problem(line, format!("invalid repository for layers {full:?}: {error}"));
                None
            }
        }
    }

    /// Layers are put under the names of branches, and so are images.
    pub(super) fn cache_is_apart(&mut self, images: &BTreeMap<ImageName, Image>) {
        for image in images.values() {
            let Some(cache) = &image.cache_repository else {
                continue;
            };
            let clash = images.values().find(|other| other.repository == *cache);
            if let Some(other) = clash {
                let message = format!(
                    "cache-registry: the layers of image {:?} would be in the repository {} of image \
                     {:?}, where tags mean images: give cache-registry a path of its own",
                    image.name.as_str(),
                    cache.familiar(),
                    other.name.as_str()
                );
                self.problem(image.line, message);
            }
        }
    }
}
