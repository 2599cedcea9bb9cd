//! Which external images a person means.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::Reference;

use super::UpdateError;
use crate::config::nearest;
use crate::graph::Base;
use crate::selection::{glob, is_glob};

/// The references among `used` that `texts` name; none means all.
///
/// A text is a reference as a Dockerfile has it, where no tag means `latest`, or a glob over the short or
/// the whole form.
pub(super) fn chosen<'a>(
    used: &BTreeMap<&'a Reference, BTreeSet<&'a Base>>,
    texts: &[String],
) -> Result<BTreeMap<&'a Reference, BTreeSet<&'a Base>>, UpdateError> {
    if texts.is_empty() {
        return Ok(used.clone());
    }
    let mut chosen = BTreeMap::new();
    for text in texts {
        let matches = matcher(text);
        let found = used.iter().filter(|(reference, _)| matches(reference));
        let found: Vec<_> = found.map(|(reference, bases)| (*reference, bases.clone())).collect();
        if found.is_empty() {
            let names: Vec<String> = used.keys().map(|reference| reference.familiar()).collect();
            let nearest = nearest(text, names.iter().map(String::as_str));
            return Err(UpdateError::UnknownBase { text: text.clone(), nearest });
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

fn matcher(text: &str) -> Box<dyn Fn(&Reference) -> bool> {
    // The host of a reference may be an address in brackets.
    if let Ok(wanted) = text.parse::<Reference>() {
        let wanted = wanted.or_latest();
        return Box::new(move |reference| *reference == wanted);
    }
    match glob(text).filter(|_| is_glob(text)) {
        Some(glob) => Box::new(move |reference| {
            glob.is_match(&reference.familiar()) || glob.is_match(&reference.to_string())
        }),
        None => Box::new(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_as_in_a_dockerfile() {
        let known = ["debian:12", "debian:latest", "r.example/p/x:1", "[::1]:5000/y:2"];
        let known: Vec<Reference> = known.iter().map(|text| text.parse().unwrap()).collect();
        let bases: Vec<Base> = known
            .iter()
            .map(|reference| Base {
                reference: reference.clone(),
                platform: "linux/amd64".parse().unwrap(),
                frontend: false,
            })
            .collect();
        let used = bases.iter().map(|base| (&base.reference, BTreeSet::from([base]))).collect();
        let names = |texts: &[&str]| -> Option<Vec<String>> {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            let chosen = chosen(&used, &texts).ok()?;
            let mut names: Vec<String> = chosen.keys().map(|name| name.familiar()).collect();
            names.sort();
            Some(names)
        };
        for (texts, expected) in [
            (&["debian:12"][..], Some(&["debian:12"][..])),
            (&["debian"], Some(&["debian:latest"])),
            (&["docker.io/library/debian:12"], Some(&["debian:12"])),
            (&["debian*"], Some(&["debian:12", "debian:latest"])),
            (&["docker.io/*"], Some(&["debian:12", "debian:latest"])),
            (&["*/x:?", "debian:12"], Some(&["debian:12", "r.example/p/x:1"])),
            (&["[::1]:5000/y:2"], Some(&["[::1]:5000/y:2"])),
            (&["debian:13"], None),
            (&["*:3"], None),
            (&["debian:12", "nope"], None),
            (&["debian:[1"], None),
            (&["DEBIAN:12"], None),
        ] {
            let expected =
                expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(names(texts), expected, "{texts:?}");
        }
        assert_eq!(names(&[]).unwrap().len(), 4);
    }
}
