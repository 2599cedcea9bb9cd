//! Paths inside a build context.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A path inside a build context: raw bytes, `/` between the components, relative to the context's
/// root, without `.` and `..` and never empty.
///
/// Ordered by its bytes, so a directory comes before what it holds. Written with everything that
/// is no printable UTF-8 escaped, and without loss: two paths never read the same.
///
/// Paths that were found in one directory share their memory, and cloning one is cheap.
#[derive(Clone)]
pub struct ContextPath {
    shared: Arc<[u8]>,
    /// Where in there it is.
    start: u32,
    end: u32,
}

impl ContextPath {
    /// Takes raw bytes; none if they are empty, hold NUL, or are not as short as a relative path can
    /// be: `/a`, `a/`, `a//b`, `./a` and `a/../b` are no paths in a build context.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let plain = !bytes.contains(&0)
            && bytes
                .split(|byte| *byte == b'/')
                .all(|component| !matches!(component, b"" | b"." | b".."));
        plain.then(|| Self::alone(bytes))
    }

    fn alone(bytes: &[u8]) -> Self {
        Self { shared: bytes.into(), start: 0, end: position(bytes.len()) }
    }

    /// The path of `name` in `directory`, or in the root.
    pub(super) fn child(directory: Option<&Self>, name: &OsStr) -> Self {
        let mut bytes = Vec::new();
        push(&mut bytes, directory, name.as_encoded_bytes());
        Self::alone(&bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.shared[self.start as usize..self.end as usize]
    }

    /// Its last component.
    pub(super) fn name(&self) -> &[u8] {
        let bytes = self.as_bytes();
        let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &bytes[start..]
    }

    /// The directory that holds it, if that is not the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let length = self.as_bytes().iter().rposition(|byte| *byte == b'/')?;
        let shared = self.shared.clone();
        Some(Self { shared, start: self.start, end: self.start + position(length) })
    }

    /// Where it lies on disk.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(os_str(self.as_bytes()))
    }
}

/// Paths in one directory, or in the root, that will share their memory.
pub(super) struct Siblings<'d> {
    directory: Option<&'d ContextPath>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl<'d> Siblings<'d> {
    pub(super) fn new(directory: Option<&'d ContextPath>) -> Self {
        Self { directory, bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds the path of what is called `name`.
    pub(super) fn add(&mut self, name: &[u8]) {
        push(&mut self.bytes, self.directory, name);
        self.ends.push(position(self.bytes.len()));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Takes them out, in the order in which they were added.
    pub(super) fn take(&mut self) -> impl Iterator<Item = ContextPath> + use<> {
        let shared: Arc<[u8]> = self.bytes.as_slice().into();
        self.bytes.clear();
        let mut start = 0;
        std::mem::take(&mut self.ends).into_iter().map(move |end| {
            let start = std::mem::replace(&mut start, end);
            ContextPath { shared: shared.clone(), start, end }
        })
    }
}

fn push(bytes: &mut Vec<u8>, directory: Option<&ContextPath>, name: &[u8]) {
    if let Some(directory) = directory {
        bytes.extend_from_slice(directory.as_bytes());
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name);
}

/// No operating system has paths of gigabytes.
fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a path of less than 4 GiB")
}

impl PartialEq for ContextPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ContextPath {}

impl PartialOrd for ContextPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ContextPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for ContextPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
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
        write_escaped(formatter, self.as_bytes())
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
