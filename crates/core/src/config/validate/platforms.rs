//! Platforms: an image for several of them becomes an index and a part for each.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::Platform;

use super::super::reader::Located;
use super::Validator;
use crate::image_name::ImageName;
use crate::platforms::{Role, listed};
use crate::project::Image;

impl Validator<'_> {
    /// The platforms of an image, sorted; never none.
    pub(super) fn platforms(&mut self, written: Vec<Located<String>>) -> Option<Vec<Platform>> {
        if written.is_empty() {
            return Some(vec![Platform::linux_amd64()]);
        }
        let mut platforms: Vec<Platform> = Vec::new();
        let mut valid = true;
        for Located { value, line } in written {
            match self.parsed::<Platform>(Located { value, line }) {
                None => valid = false,
                Some(platform) if platforms.contains(&platform) => {
                    self.problem(line, format!("the platform {platform} is there twice"));
                }
                Some(platform) => platforms.push(platform),
            }
        }
        platforms.sort();
        valid.then_some(platforms)
    }

    /// What an image with these platforms is. An engine's store holds images, and no index of them.
    pub(super) fn role(
        &mut self,
        name: &ImageName,
        platforms: &[Platform],
        has_registry: bool,
        line: usize,
    ) -> Role {
        if platforms.len() < 2 {
            return Role::Single;
        }
        if !has_registry {
            let message = format!(
                "image {:?} is for several platforms, which needs a registry: an engine holds no index",
                name.as_str()
            );
            self.problem(line, message);
        }
        Role::Index(platforms.to_vec())
    }

    /// A test that is for none of the platforms of its image would never run. Variants take tests over, and
    /// can be for fewer platforms: together they count as one image.
    pub(super) fn tests_have_platforms(&mut self, images: &BTreeMap<ImageName, Image>) {
        let mut seen = BTreeSet::new();
        for (name, Located { value: platform, line }) in std::mem::take(&mut self.test_platforms) {
            let Some(image) = images.get(&name) else {
                continue;
            };
            let family = family(image);
            let relatives = images.values().filter(|other| self::family(other) == family);
            let platforms: BTreeSet<&Platform> = relatives.flat_map(Image::platforms).collect();
            if !platforms.contains(&platform) && seen.insert((line, platform.to_string())) {
                let (name, platforms) = (family.as_str(), listed(platforms));
                let message = format!(
                    "a test of image {name:?} is for {platform}, and the image for {platforms}"
                );
                self.problem(line, message);
            }
        }
    }

    /// Puts an index and its parts in the place of each image for several platforms, and leads what an
    /// image needs to what is for its platform.
    pub(super) fn expanded(
        &mut self,
        declared: BTreeMap<ImageName, Image>,
    ) -> BTreeMap<ImageName, Image> {
        let mut images = BTreeMap::new();
        for image in declared.values() {
            if !image.is_index() {
                let needs = self.needed(image, &image.platform, &declared);
                images.insert(image.name.clone(), Image { needs, ..image.clone() });
                continue;
            }
            for platform in image.platforms() {
                let needs = self.needed(image, platform, &declared);
                let part = part(image, platform, self.build_platform.as_ref(), needs);
                images.insert(part.name.clone(), part);
            }
            images.insert(image.name.clone(), index(image));
        }
        images
    }

    /// What an image needs, for one of its platforms.
    fn needed(
        &mut self,
        image: &Image,
        platform: &Platform,
        declared: &BTreeMap<ImageName, Image>,
    ) -> Vec<ImageName> {
        let mut needs = Vec::new();
        for name in &image.needs {
            match declared.get(name) {
                Some(needed) if needed.is_index() => match needed.name_for(platform) {
                    Some(part) => needs.push(part),
                    None => {
                        let message = format!(
                            "image {:?} is for {platform} and needs {:?}, which is for {}",
                            image.name.as_str(),
                            name.as_str(),
                            listed(needed.platforms())
                        );
                        self.problem(image.line, message);
                    }
                },
                _ => needs.push(name.clone()),
            }
        }
        needs
    }
}

/// The image that it is a variant of, or itself.
fn family(image: &Image) -> &ImageName {
    image.variant.as_ref().map_or(&image.name, |of| &of.image)
}

/// One platform's image. What people call the image is the index's alone.
fn part(
    image: &Image,
    platform: &Platform,
    build_platform: Option<&Platform>,
    needs: Vec<ImageName>,
) -> Image {
    let tests = image.tests.iter().filter(|test| test.is_for(platform)).cloned().collect();
    Image {
        name: image.name.part(platform),
        role: Role::Part(image.name.clone()),
        platform: platform.clone(),
        build_platform: build_platform.unwrap_or(platform).clone(),
        tags: Vec::new(),
        aliases: Vec::new(),
        needs,
        tests,
        ..image.clone()
    }
}

/// The index itself. Everything that goes into a build is its parts'.
fn index(image: &Image) -> Image {
    Image {
        needs: Vec::new(),
        inputs: Vec::new(),
        refresh: None,
        declared_key: Vec::new(),
        prepare: None,
        tests: Vec::new(),
        info: Vec::new(),
        ..image.clone()
    }
}
