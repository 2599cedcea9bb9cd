//! Paths as the words of instructions spell them.

/// Where something is copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// From the root, without `.` and `..`.
    pub(crate) path: Vec<u8>,
    /// Whether it is spelled as a directory, with a slash or a dot at the end.
    pub(crate) directory: bool,
}

impl Destination {
    /// Takes the last word of an instruction.
    pub(crate) fn new(workdir: &str, word: &str) -> Self {
        let path = absolute(workdir, word);
        let spelled = matches!(word, "" | ".") || word.ends_with('/') || word.ends_with("/.");
        Self { directory: spelled || path.is_empty(), path }
    }
}

/// A path from the root: what is relative begins at `workdir`, and `..` leads no higher than the root.
pub(crate) fn absolute(workdir: &str, word: &str) -> Vec<u8> {
    let joined = if word.starts_with('/') { word.to_owned() } else { format!("{workdir}/{word}") };
    cleaned(joined.as_bytes())
}

/// A path from the root, by its text alone.
pub(crate) fn cleaned(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    names.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_spelled_in_many_ways() {
        for (workdir, word, path, directory) in [
            ("/", "a", "a", false),
            ("/", "/a/b", "a/b", false),
            ("/w", "a", "w/a", false),
            ("/w", "./a/", "w/a", true),
            ("/w", "/a", "a", false),
            ("/w", ".", "w", true),
            ("/w", "", "w", true),
            ("/w", "./", "w", true),
            ("/w", "..", "", true),
            ("/w/x", "..", "w", false),
            ("/w", "../../../a", "a", false),
            ("/w", "/", "", true),
            ("/w", "/.", "", true),
            ("/w", "a/.", "w/a", true),
            ("/w", "a/..", "w", false),
            ("", "a//b/./c", "a/b/c", false),
        ] {
            let expected = Destination { path: path.into(), directory };
            assert_eq!(Destination::new(workdir, word), expected, "{word} in {workdir}");
        }
    }
}
