//! What instructions read from the build context.

use super::instruction::{Arguments, Instruction};
use super::stages::mount_options;

/// Sources in the context that an instruction names, variables not expanded.
pub(super) fn of(instruction: &Instruction) -> Vec<String> {
    let instruction = instruction.onbuild.as_deref().unwrap_or(instruction);
    match instruction.keyword.as_str() {
        "copy" | "add" if instruction.flag("from").is_none() => {
            let mut words = match &instruction.arguments {
                Arguments::Json(items) => items.clone(),
                Arguments::Shell(text) => text.words().into_iter().map(|word| word.text).collect(),
            };
            // The last one is the destination.
            words.pop();
            words
        }
        "run" => instruction
            .flags
            .iter()
            .filter(|flag| flag.name == "mount")
            .filter_map(|flag| {
                let options = mount_options(flag);
                let value = |names: &[&str]| {
                    options
                        .iter()
                        .find(|option| names.contains(&option.key.as_str()))
                        .and_then(|option| option.value.as_ref())
                        .map(|value| value.text.clone())
                };
                let bind = value(&["type"]).is_none_or(|kind| kind == "bind");
                (bind && value(&["from"]).is_none())
                    .then(|| value(&["source", "src"]).unwrap_or_else(|| ".".to_owned()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a source, variables expanded, may cover a file of this name in the context's root.
///
/// A source that has a wildcard is only compared up to it: what this says too often costs a new
/// key, what it said too seldom would cost a wrong image.
pub(super) fn may_match(source: &str, name: &[u8]) -> bool {
    let mut components: Vec<&str> = Vec::new();
    for component in source.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    let Some(first) = components.first() else {
        return true;
    };
    match first.find(['*', '?', '[', '\\']) {
        Some(wildcard) => name.starts_with(&first.as_bytes()[..wildcard]),
        None => first.as_bytes() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::may_match;

    #[test]
    fn the_root_and_wildcards_may_cover_the_reserved_name() {
        for covering in
            [".", "./", "/", "", "a/..", "..", "*", ".d*", "[.]x", "?dockit", ".dockit.Dockerfile"]
        {
            assert!(may_match(covering, b".dockit.Dockerfile"), "{covering}");
        }
        for other in ["src", "./src/", "src/*", "a*", "Dockerfile", "../x"] {
            assert!(!may_match(other, b".dockit.Dockerfile"), "{other}");
        }
    }
}
