//! Images for several platforms: an index, and a part of it for each platform.
//!
//! They are made while the configuration is read. A part is an image of its own, with a key, a content tag
//! and tests; the index has the name, the moving tags and the lockfile's entry, and depends on its parts. A
//! dependency between two such images leads from part to part.

use dockit_registry::Platform;

use crate::image_name::ImageName;
use crate::project::Image;

/// What an image is among images for several platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// An image for one platform, as most are.
    #[default]
    Single,
    /// One platform's image of this index.
    Part(ImageName),
    /// An index of images for these platforms, sorted; two at least.
    Index(Vec<Platform>),
}

impl Image {
    /// Whether it is a part of an index.
    pub fn is_part(&self) -> bool {
        matches!(self.role, Role::Part(_))
    }

    /// Whether it is an index, which is put together and not built.
    pub fn is_index(&self) -> bool {
        matches!(self.role, Role::Index(_))
    }

    /// The name in the configuration: of a part its index's.
    pub fn declared_name(&self) -> &ImageName {
        match &self.role {
            Role::Part(index) => index,
            _ => &self.name,
        }
    }

    /// The platforms that it is for, sorted.
    pub fn platforms(&self) -> &[Platform] {
        match &self.role {
            Role::Index(platforms) => platforms,
            _ => std::slice::from_ref(&self.platform),
        }
    }

    /// The names of an index's parts, in the order of its platforms; none of what is no index.
    pub fn parts(&self) -> impl Iterator<Item = ImageName> {
        let platforms = match &self.role {
            Role::Index(platforms) => platforms.as_slice(),
            _ => &[],
        };
        platforms.iter().map(|platform| self.name.part(platform))
    }

    /// What of it is for this platform: of an index the part's name, of others their own.
    pub(crate) fn name_for(&self, platform: &Platform) -> Option<ImageName> {
        match &self.role {
            Role::Index(_) => self.platforms().contains(platform).then(|| self.name.part(platform)),
            _ => (self.platform == *platform).then(|| self.name.clone()),
        }
    }
}

/// Platforms as a person reads them.
pub(crate) fn listed<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> String {
    platforms.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
