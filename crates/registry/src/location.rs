//! Where an image is: in a registry, or in a layout.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::layout::{LayoutReference, LayoutReferenceError};
use crate::reference::{Reference, ReferenceError};

/// Where an image is, or is to be put: a reference to a registry, or `oci:DIR[:NAME][@DIGEST]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout directory.
    Layout(LayoutReference),
}

/// Text that is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum LocationError {
    /// Nor is it a reference.
    Reference(#[from] ReferenceError),
    /// It begins with `oci:`, but does not go on like it.
    Layout(#[from] LayoutReferenceError),
}

impl Location {
    /// The digest, where one is written. It decides what the location points to.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Registry(reference) => reference.digest(),
            Self::Layout(reference) => reference.digest(),
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.starts_with(LayoutReference::PREFIX) {
            Ok(Self::Layout(text.parse()?))
        } else {
            Ok(Self::Registry(text.parse()?))
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(formatter),
            Self::Layout(reference) => reference.fmt(formatter),
        }
    }
}
