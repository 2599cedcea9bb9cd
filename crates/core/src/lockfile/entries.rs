//! All entries of a lockfile, and moving them deliberately.

use dockit_registry::{Platform, Reference};

use super::{LockedBase, LockedImage, Lockfile};
use crate::epoch::Epoch;
use crate::image_name::ImageName;

impl Lockfile {
    /// The external images that are recorded, by reference.
    pub fn bases(&self) -> impl Iterator<Item = (&Reference, &LockedBase)> {
        self.bases.iter()
    }

    /// The images of the project that are recorded, by name.
    pub fn images(&self) -> impl Iterator<Item = (&ImageName, &LockedImage)> {
        self.images.iter()
    }

    /// The epochs that are recorded, by the names of their images.
    pub fn epochs(&self) -> impl Iterator<Item = (&ImageName, Epoch)> {
        self.epochs.iter().map(|(name, epoch)| (name, *epoch))
    }

    /// Records what an external image stands for from now on, whatever was recorded before.
    pub fn move_base(&mut self, reference: Reference, base: LockedBase) {
        self.bases.insert(reference, base);
    }

    /// Forgets an external image.
    pub fn remove_base(&mut self, reference: &Reference) {
        self.bases.remove(reference);
    }

    /// Forgets one platform of an external image.
    pub fn remove_base_platform(&mut self, reference: &Reference, platform: &Platform) {
        if let Some(base) = self.bases.get_mut(reference) {
            base.platforms.remove(platform);
        }
    }

    /// Forgets an image of the project.
    pub fn remove_image(&mut self, name: &ImageName) {
        self.images.remove(name);
    }

    /// Forgets the epoch of an image.
    pub fn remove_epoch(&mut self, image: &ImageName) {
        self.epochs.remove(image);
    }
}
