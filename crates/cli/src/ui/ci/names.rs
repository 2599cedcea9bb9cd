//! What images are called where a service allows fewer characters than dockit does.

use std::collections::BTreeMap;

use dockit_core::ImageName;

use crate::diagnostics::{Exit, Failure};

/// Of an output of a GitHub step, so that `steps.ID.outputs.NAME` needs no quotes: letters, digits, `_`
/// and `-`, and no digit first.
pub(super) fn github(image: &ImageName) -> String {
    mangled(image, |character| character == '-')
}

/// Of a variable of Azure Pipelines: letters, digits and `_`.
pub(super) fn azure(image: &ImageName) -> String {
    mangled(image, |_| false)
}

/// Of an environment variable.
pub(super) fn variable(image: &ImageName) -> String {
    format!("DOCKIT_{}", mangled(image, |_| false).trim_start_matches('_').to_ascii_uppercase())
}

fn mangled(image: &ImageName, is_kept: impl Fn(char) -> bool) -> String {
    let mut name: String = image
        .as_str()
        .chars()
        .map(|character| {
            let kept = character.is_ascii_alphanumeric() || character == '_' || is_kept(character);
            if kept { character } else { '_' }
        })
        .collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        name.insert(0, '_');
    }
    name
}

/// Sees that no two images of the project get the same name.
pub(super) fn distinct<'a>(
    images: impl Iterator<Item = &'a ImageName>,
    name: impl Fn(&ImageName) -> String,
) -> Result<(), Failure> {
    let mut taken: BTreeMap<String, &ImageName> = BTreeMap::new();
    for image in images {
        let name = name(image);
        if let Some(other) = taken.insert(name.clone(), image) {
            let message = format!("images {other} and {image} would both be {name} in the output");
            return Err(Failure::new(Exit::Usage, message).hint(
                "rename one of them; --report FILE writes JSON, which keeps names as they are",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_is_allowed() {
        for (image, in_github, in_azure, in_environment) in [
            ("base", "base", "base", "DOCKIT_BASE"),
            ("ci/py-3.12", "ci_py-3_12", "ci_py_3_12", "DOCKIT_CI_PY_3_12"),
            ("7zip", "_7zip", "_7zip", "DOCKIT_7ZIP"),
        ] {
            let image = image.parse().unwrap();
            let names = (github(&image), azure(&image), variable(&image));
            assert_eq!(names, (in_github.into(), in_azure.into(), in_environment.into()));
        }
    }

    #[test]
    fn two_images_of_one_name_are_refused() {
        let images: Vec<ImageName> = ["a.b", "a-b"].map(|name| name.parse().unwrap()).into();
        assert!(distinct(images.iter(), github).is_ok());
        let failure = distinct(images.iter(), azure).unwrap_err();
        assert_eq!(failure.message(), "images a.b and a-b would both be a_b in the output");
    }
}
