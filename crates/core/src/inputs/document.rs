//! The document.

use std::path::{Component, Path};

use dockit_hashing::context::Escaped;

use crate::image_name::ImageName;
use crate::key::{ArgValue, ImageKey, KeyInputs, KeyedArg, KeyedImage};
use crate::project::{Image, Project};
use crate::secret_name::{holds_a_secret, names_a_secret};

/// The inputs of one image's key, and what helps people to read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The image's name. Not hashed.
    pub image: ImageName,
    /// The directory of the build context, relative to the configuration file's; what is no printable
    /// UTF-8 in it is escaped. Not hashed.
    pub context: Option<String>,
    /// The instructions for which every file of the build context counts. Not hashed.
    pub whole_context: Vec<WholeContextNote>,
    /// Everything that is hashed.
    pub inputs: KeyInputs,
}

/// An instruction that reads the whole build context, or may read any of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeContextNote {
    /// Its 1-based line.
    pub line: u32,
    /// Why, which may quote the instruction; not in what is published.
    pub reason: Option<String>,
}

impl Document {
    /// What an image's key was computed from, with all that is known.
    pub fn of(project: &Project, image: &Image, keyed: &KeyedImage) -> Self {
        Self {
            image: image.name.clone(),
            context: Some(relative(&image.context, &project.root)),
            whole_context: keyed
                .whole_context
                .iter()
                .map(|whole| WholeContextNote {
                    line: whole.line,
                    reason: Some(whole.reason.to_string()),
                })
                .collect(),
            inputs: keyed.inputs.clone(),
        }
    }

    /// The key: the hash of the inputs.
    pub fn key(&self) -> ImageKey {
        self.inputs.key()
    }

    /// What may be shown to everybody: values of arguments are there only for the names in `shown`.
    #[must_use]
    pub fn published<'a>(&self, shown: impl IntoIterator<Item = &'a String> + Clone) -> Self {
        let mut document =
            self.hiding(|name, _| !shown.clone().into_iter().any(|shown| shown == name));
        for whole in &mut document.whole_context {
            whole.reason = None;
        }
        document
    }

    /// What is shown to, and stored for, the people who can read the project: all but the values of
    /// arguments that are [named like secrets](names_a_secret), or that hold a URL with credentials,
    /// and are not named in `shown`.
    #[must_use]
    pub fn without_secrets<'a>(&self, shown: impl IntoIterator<Item = &'a String> + Clone) -> Self {
        self.hiding(|name, value| {
            (names_a_secret(name) || holds_a_secret(value))
                && !shown.clone().into_iter().any(|shown| shown == name)
        })
    }

    /// Hashes the values of the arguments of which name and value are to be hidden; the key stays the
    /// same.
    fn hiding(&self, hidden: impl Fn(&str, &str) -> bool) -> Self {
        let hide = |argument: &KeyedArg| match (&argument.value, argument.digest()) {
            (Some(ArgValue::Plain(value)), Some(hash)) if hidden(&argument.name, value) => {
                KeyedArg { name: argument.name.clone(), value: Some(ArgValue::Hash(hash)) }
            }
            _ => argument.clone(),
        };
        let args = self.inputs.args.iter().map(hide).collect();
        Self { inputs: KeyInputs { args, ..self.inputs.clone() }, ..self.clone() }
    }
}

/// The way from one directory to another, both absolute, as text.
fn relative(path: &Path, from: &Path) -> String {
    let common = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| b"..".as_slice());
    let down = path.components().skip(common).map(|part: Component<'_>| {
        let bytes: &[u8] = part.as_os_str().as_encoded_bytes();
        bytes
    });
    let parts: Vec<&[u8]> = up.chain(down).collect();
    if parts.is_empty() { ".".to_owned() } else { Escaped(&parts.join(&b'/')).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_named_from_the_configuration_file() {
        for (path, way) in [
            ("/p/ci", "."),
            ("/p/ci/base", "base"),
            ("/p", ".."),
            ("/p/docker/a b", "../docker/a b"),
        ] {
            assert_eq!(relative(Path::new(path), Path::new("/p/ci")), way);
        }
    }
}
