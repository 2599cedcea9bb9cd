//! Which images a person means: names, or globs over them.

use std::collections::BTreeSet;

use dockit_registry::Platform;
use regex::Regex;

use crate::config::nearest;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::project::{Image, Project};
use crate::variant::listed;

/// What was asked for and is no image of the project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct UnknownImage {
    /// What was asked for.
    pub name: String,
    /// Why it is none.
    pub kind: UnknownKind,
    /// The nearest image name.
    pub nearest: Option<String>,
}

/// Kinds of [`UnknownImage`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownKind {
    /// No image is called so.
    Name,
    /// The image exists only as these variants.
    OnlyVariants(Vec<ImageName>),
    /// No image matches the glob.
    Glob,
    /// It cannot be read as a glob.
    InvalidGlob,
    /// It is a platform that none of the selected images is for.
    Platform,
}

impl UnknownImage {
    fn new(name: &str, kind: UnknownKind) -> Self {
        Self { name: name.to_owned(), kind, nearest: None }
    }

    fn describe(&self) -> String {
        let name = &self.name;
        match &self.kind {
            UnknownKind::Name => format!("no image is called {name:?}"),
            UnknownKind::OnlyVariants(variants) => {
                format!(
                    "no image is called {name:?}: there are only its variants {}",
                    listed(variants)
                )
            }
            UnknownKind::Glob => format!("no image matches {name:?}"),
            UnknownKind::Platform => format!("no selected image is for {name}"),
            UnknownKind::InvalidGlob => {
                format!(
                    "{name:?} is no glob: a `[` begins a set such as [a-z], which has to be closed and \
                     whose ranges go upwards"
                )
            }
        }
    }
}

/// Whether a text is a glob: it holds `*`, `?` or `[`, which no name does.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

impl Project {
    /// Images of the project for names and globs that a person gave; none means all.
    ///
    /// In a glob `*` stands for any characters, also `/`, `?` for one, and `[…]` for one of a set, or with
    /// `!` or `^` at its beginning for one that is not in it. A name means just that image, none of its
    /// variants; `NAME-*` means these. The name of an image for several platforms means the index with its
    /// parts; `NAME@PLATFORM` is one part. Globs are over names without platforms.
    ///
    /// # Errors
    ///
    /// A name that is no image, with the nearest one, or a glob that matches none.
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<ImageName>, UnknownImage> {
        select(self.images.values(), names)
    }

    /// As [`select`](Self::select), for these platforms; none means all.
    ///
    /// # Errors
    ///
    /// As [`select`](Self::select), and a platform that none of the images is for.
    pub fn select_for(
        &self,
        names: &[String],
        platforms: &BTreeSet<Platform>,
    ) -> Result<Selected, UnknownImage> {
        let images = self.select(names)?;
        for_platforms(|name| self.images.get(name), images, platforms)
    }
}

/// Images that were selected for some platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Parts and images for these platforms, and the indexes of the parts.
    pub images: BTreeSet<ImageName>,
    /// What was named, and is for none of them.
    pub left_out: BTreeSet<ImageName>,
}

impl ImageGraph {
    /// As [`Project::select`].
    ///
    /// # Errors
    ///
    /// As [`Project::select`].
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<ImageName>, UnknownImage> {
        select(self.nodes().map(|node| node.image()), names)
    }

    /// As [`Project::select_for`].
    ///
    /// # Errors
    ///
    /// As [`Project::select_for`].
    pub fn select_for(
        &self,
        names: &[String],
        platforms: &BTreeSet<Platform>,
    ) -> Result<Selected, UnknownImage> {
        let images = self.select(names)?;
        for_platforms(|name| Some(self.node(name)?.image()), images, platforms)
    }

    /// Those of these images that are for one of these platforms, and the indexes of which parts are.
    pub(crate) fn retain_platforms(
        &self,
        images: &mut BTreeSet<ImageName>,
        platforms: &BTreeSet<Platform>,
    ) {
        let image = |name: &ImageName| Some(self.node(name)?.image());
        images.retain(|name| image(name).is_some_and(|image| is_for(image, platforms)));
    }

    /// The one image that a person names, without a glob.
    ///
    /// # Errors
    ///
    /// It is no image of the project.
    pub fn named(&self, name: &str) -> Result<ImageName, UnknownImage> {
        called(self.nodes().map(|node| node.image()), name)
    }
}

fn select<'a>(
    images: impl Iterator<Item = &'a Image> + Clone,
    names: &[String],
) -> Result<BTreeSet<ImageName>, UnknownImage> {
    if names.is_empty() {
        return Ok(images.map(|image| image.name.clone()).collect());
    }
    let mut selected = BTreeSet::new();
    for name in names {
        if !is_glob(name) {
            selected.insert(called(images.clone(), name)?);
            continue;
        }
        let glob = glob(name).ok_or_else(|| UnknownImage::new(name, UnknownKind::InvalidGlob))?;
        let mut any = false;
        let matching = |image: &&Image| !image.is_part() && glob.is_match(image.name.as_str());
        for image in images.clone().filter(matching) {
            any = true;
            selected.insert(image.name.clone());
        }
        if !any {
            return Err(UnknownImage::new(name, UnknownKind::Glob));
        }
    }
    let parts: Vec<ImageName> = images
        .filter(|image| selected.contains(&image.name))
        .flat_map(|image| image.parts().collect::<Vec<_>>())
        .collect();
    selected.extend(parts);
    Ok(selected)
}

fn is_for(image: &Image, platforms: &BTreeSet<Platform>) -> bool {
    platforms.is_empty() || image.platforms().iter().any(|platform| platforms.contains(platform))
}

fn for_platforms<'a>(
    image: impl Fn(&ImageName) -> Option<&'a Image>,
    selected: BTreeSet<ImageName>,
    platforms: &BTreeSet<Platform>,
) -> Result<Selected, UnknownImage> {
    let found: Vec<&Image> = selected.iter().filter_map(image).collect();
    let missing = platforms.iter().find(|platform| {
        !found.iter().any(|image| !image.is_index() && image.platform == **platform)
    });
    if let Some(platform) = missing {
        return Err(UnknownImage::new(&platform.to_string(), UnknownKind::Platform));
    }
    let (images, others): (Vec<&Image>, Vec<&Image>) =
        found.into_iter().partition(|image| is_for(image, platforms));
    // An index is left out only where none of its parts is wanted, and says it for them.
    let left_out = others.into_iter().filter(|image| !image.is_part());
    Ok(Selected {
        images: images.into_iter().map(|image| image.name.clone()).collect(),
        left_out: left_out.map(|image| image.name.clone()).collect(),
    })
}

fn called<'a>(
    images: impl Iterator<Item = &'a Image> + Clone,
    name: &str,
) -> Result<ImageName, UnknownImage> {
    if let Some(image) = images.clone().find(|image| image.name.as_str() == name) {
        return Ok(image.name.clone());
    }
    let variants: Vec<ImageName> = images
        .clone()
        .filter(|image| !image.is_part() && image.family().as_str() == name)
        .map(|image| image.name.clone())
        .collect();
    if !variants.is_empty() {
        return Err(UnknownImage::new(name, UnknownKind::OnlyVariants(variants)));
    }
    let nearest = nearest(name, images.map(|image| image.name.as_str()));
    Err(UnknownImage { nearest, ..UnknownImage::new(name, UnknownKind::Name) })
}

/// A glob over whole names.
pub(crate) fn glob(text: &str) -> Option<Regex> {
    let mut pattern = String::from("^");
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' => {
                pattern.push('[');
                if rest.next_if(|next| matches!(next, '!' | '^')).is_some() {
                    pattern.push('^');
                }
                let mut first = true;
                loop {
                    let character = rest.next()?;
                    // At the beginning it is one of the set.
                    if character == ']' && !first {
                        break;
                    }
                    first = false;
                    match character {
                        '-' => pattern.push('-'),
                        other => pattern.push_str(&format!("\\x{{{:x}}}", u32::from(other))),
                    }
                }
                pattern.push(']');
            }
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    Regex::new(&pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (text, matching, others) in [
            ("*", &["a", "ci/base", "x-y"][..], &[][..]),
            ("app-*", &["app-gpu", "app-"], &["app", "my-app-gpu"]),
            ("ci/*", &["ci/base", "ci/a/b"], &["ci", "xci/base"]),
            ("*base", &["base", "ci/base"], &["base2"]),
            ("py3.?", &["py3.1"], &["py3.12", "py311"]),
            ("v[0-9]", &["v1"], &["va", "v12"]),
            ("v[!0-9]", &["va"], &["v1", "v"]),
            ("v[^0-9]", &["va"], &["v1"]),
            ("v[a.]", &["va", "v."], &["vb"]),
            ("v[-a]", &["v-", "va"], &["vb"]),
            ("v[a-]", &["v-", "va"], &["vb"]),
            ("v[]a]", &["v]", "va"], &["v"]),
            ("v[&a]", &["v&", "va"], &["vb"]),
        ] {
            let glob = glob(text).unwrap();
            for name in matching {
                assert!(glob.is_match(name), "{text} {name}");
            }
            for name in others {
                assert!(!glob.is_match(name), "{text} {name}");
            }
        }
        for bad in ["[", "a[", "[]", "[!", "[z-a]", "a[b-"] {
            assert!(glob(bad).is_none(), "{bad}");
        }
    }
}
