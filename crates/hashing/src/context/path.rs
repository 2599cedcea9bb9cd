//! Paths inside a build context.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// A path inside a build context: raw bytes, `/` between the components, relative to the context's
/// root, without `.` and `..` and never empty.
///
/// Ordered by its bytes, so a directory comes before what it holds. Written with everything that
/// is no printable UTF-8 escaped, and without loss: two paths never read the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextPath(Box<[u8]>);

impl ContextPath {
    /// Takes raw bytes; none if they are empty, hold NUL, or are not as short as a relative path can
    /// be: `/a`, `a/`, `a//b`, `./a` and `a/../b` are no paths in a build context.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let plain = !bytes.contains(&0)
            && bytes
                .split(|byte| *byte == b'/')
                .all(|component| !matches!(component, b"" | b"." | b".."));
        plain.then(|| Self(bytes.into()))
    }

    /// The path of `name` in `directory`, or in the root.
    pub(super) fn child(directory: Option<&Self>, name: &OsStr) -> Self {
        Self::child_of_bytes(directory, name.as_encoded_bytes())
    }

    /// The same for a name's raw bytes.
    pub(super) fn child_of_bytes(directory: Option<&Self>, name: &[u8]) -> Self {
        let Some(directory) = directory else {
            return Self(name.into());
        };
        let mut bytes = Vec::with_capacity(directory.0.len() + 1 + name.len());
        bytes.extend_from_slice(&directory.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its last component.
    pub(super) fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// The directory that holds it, if that is not the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..end].into()))
    }

    /// Where it lies on disk.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(os_str(&self.0))
    }
}

#[cfg(unix)]
fn os_str(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// The walk refuses names that are not Unicode on such systems.
#[cfg(not(unix))]
fn os_str(bytes: &[u8]) -> std::ffi::OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

impl fmt::Display for ContextPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(formatter, &self.0)
    }
}

impl fmt::Debug for ContextPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// Writes UTF-8 as it is, except for the backslash and control characters, which are escaped like
/// every other byte.
pub(super) fn write_escaped(formatter: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                write!(formatter, "{character}")?;
            }
        }
        for byte in chunk.invalid() {
            write!(formatter, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_loses_nothing() {
        let table: [(&[u8], &str); 5] = [
            ("größe/a b".as_bytes(), "größe/a b"),
            (b"a\nb", r"a\nb"),
            (b"a\\nb", r"a\\nb"),
            (b"a\xffb", r"a\xffb"),
            (b"a\\xffb", r"a\\xffb"),
        ];
        for (bytes, text) in table {
            let path = ContextPath::new(bytes).expect("a path");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn only_the_shortest_spelling_is_a_path() {
        let wrong: [&[u8]; 9] = [b"", b"/", b"/a", b"a/", b"a//b", b".", b"./a", b"a/../b", b"a\0"];
        for bytes in wrong {
            assert_eq!(ContextPath::new(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
