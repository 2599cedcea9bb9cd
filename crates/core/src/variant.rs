//! Variants: images that share a Dockerfile and differ in their arguments.

use std::fmt;
use std::str::FromStr;

use crate::image_name::ImageName;

/// The name of a variant: `cuda12` in `[images.NAME.variants.cuda12]`.
///
/// What an [`ImageName`] is, without `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariantName(String);

/// A text that is no [`VariantName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid variant name {0:?}: use lower-case letters, digits, `.`, `_` and `-`, beginning and \
     ending with a letter or digit"
)]
pub struct InvalidVariantName(pub String);

/// Which variant of which image an image is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariantOf {
    /// The image whose Dockerfile and build context it has. With `only-variants` there is no image of
    /// this name.
    pub image: ImageName,
    /// The variant.
    pub variant: VariantName,
}

impl VariantName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What this variant of an image is called: `NAME-V`.
    pub fn of(&self, image: &ImageName) -> ImageName {
        let name = format!("{image}-{self}");
        name.parse().expect("both parts begin and end with a letter or digit")
    }
}

impl FromStr for VariantName {
    type Err = InvalidVariantName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<ImageName>() {
            Ok(name) if !text.contains('/') => Ok(Self(name.to_string())),
            _ => Err(InvalidVariantName(text.to_owned())),
        }
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a short name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShortName<'a> {
    /// This image.
    Image(&'a ImageName),
    /// Nothing: the image exists only as these variants.
    OnlyVariants(Vec<&'a ImageName>),
    /// No image of the project.
    Unknown,
}

/// Looks for a short name as it stands in an image of this variant, or in one that is no variant: first
/// the same variant of the named image, then the image that is called so.
pub(crate) fn by_short_name<'a>(
    images: impl Iterator<Item = (&'a ImageName, Option<&'a VariantOf>)> + Clone,
    variant: Option<&VariantName>,
    name: &str,
) -> ShortName<'a> {
    let variants = images
        .clone()
        .filter_map(|(image, of)| of.filter(|of| of.image.as_str() == name).map(|of| (image, of)));
    let same = variants.clone().find(|(_, of)| Some(&of.variant) == variant);
    let called = || images.map(|(image, _)| image).find(|image| image.as_str() == name);
    match same.map(|(image, _)| image).or_else(called) {
        Some(image) => ShortName::Image(image),
        None => {
            let variants: Vec<&ImageName> = variants.map(|(image, _)| image).collect();
            if variants.is_empty() { ShortName::Unknown } else { ShortName::OnlyVariants(variants) }
        }
    }
}

/// Names as a person reads them.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a ImageName>) -> String {
    let names: Vec<&str> = names.into_iter().map(ImageName::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_called_by_one_component() {
        let app: ImageName = "ci/app".parse().unwrap();
        for (text, name) in [("cuda12", "ci/app-cuda12"), ("py3.11", "ci/app-py3.11")] {
            assert_eq!(text.parse::<VariantName>().unwrap().of(&app).as_str(), name);
        }
        for bad in ["", "a/b", "-a", "a-", "A", "a:b", "*"] {
            assert!(bad.parse::<VariantName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_short_name_means_the_same_variant_first() {
        let name = |text: &str| text.parse::<ImageName>().unwrap();
        let of = |image: &str, variant: &str| VariantOf {
            image: name(image),
            variant: variant.parse().unwrap(),
        };
        let images = [
            (name("base"), None),
            (name("base-gpu"), Some(of("base", "gpu"))),
            (name("tool-gpu"), Some(of("tool", "gpu"))),
            (name("tool-cpu"), Some(of("tool", "cpu"))),
        ];
        let gpu: VariantName = "gpu".parse().unwrap();
        let arm: VariantName = "arm".parse().unwrap();
        let found = |variant: Option<&VariantName>, text: &str| {
            let images = images.iter().map(|(name, of)| (name, of.as_ref()));
            match by_short_name(images, variant, text) {
                ShortName::Image(name) => name.to_string(),
                ShortName::OnlyVariants(names) => format!("only {}", listed(names)),
                ShortName::Unknown => "unknown".to_owned(),
            }
        };
        assert_eq!(found(None, "base"), "base");
        assert_eq!(found(Some(&gpu), "base"), "base-gpu");
        assert_eq!(found(Some(&arm), "base"), "base");
        assert_eq!(found(None, "base-gpu"), "base-gpu");
        assert_eq!(found(Some(&gpu), "tool"), "tool-gpu");
        assert_eq!(found(Some(&arm), "tool"), "only tool-gpu, tool-cpu");
        assert_eq!(found(None, "tool"), "only tool-gpu, tool-cpu");
        assert_eq!(found(None, "debian"), "unknown");
    }
}
