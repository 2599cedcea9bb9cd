//! What stands in the way of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dockit_hashing::context::ContextError;

use crate::config::Problem;
use crate::graph::Base;
use crate::image_name::ImageName;

/// Why keys could not be computed. Holds everything that stands in the way, not just the first.
#[derive(Debug, Default)]
pub struct KeysError {
    /// What `prepare` makes and is not there, by the line of the configuration that names it.
    pub unprepared: Vec<Problem>,
    /// Extra inputs and values of declared keys that are not to be had, and instructions that cannot be
    /// keyed on the bases they have, by their lines.
    pub problems: Vec<Problem>,
    /// Images from elsewhere without an entry in the lockfile, with who reads them.
    pub unlocked: BTreeMap<Base, BTreeSet<ImageName>>,
    /// Build contexts that cannot be read as they are.
    pub contexts: Vec<(ImageName, ContextError)>,
    /// Images from elsewhere with an `ONBUILD` that uses yet another image, which nothing pins.
    pub triggers: Vec<(Base, String)>,
}

impl std::error::Error for KeysError {}

impl fmt::Display for KeysError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let problems = self.unprepared.iter().chain(&self.problems);
        for problem in problems {
            write!(formatter, "{separator}{problem}")?;
            separator = "\n";
        }
        for (image, error) in &self.contexts {
            write!(formatter, "{separator}image {image}: {error}")?;
            separator = "\n";
        }
        for (base, trigger) in &self.triggers {
            write!(
                formatter,
                "{separator}{} has the trigger `ONBUILD {trigger}`, which uses an image or a \
                 download that no key covers: not supported",
                base.reference
            )?;
            separator = "\n";
        }
        for (base, images) in &self.unlocked {
            let images: Vec<&str> = images.iter().map(ImageName::as_str).collect();
            write!(
                formatter,
                "{separator}no entry in the lockfile for {} ({}), read by {}",
                base.reference,
                base.platform,
                images.join(", ")
            )?;
            separator = "\n";
        }
        Ok(())
    }
}
