//! The directory with the Dockerfile.

use std::io::{self, Write};

use crate::tree::{Entry, EntryKind, FileTree};

/// It holds no pattern. An empty file is taken for none.
const NOTHING_IGNORED: &[u8] = b"# what is sent is what the build may read\n";

const MODE: u32 = 0o644;

/// The Dockerfile, and a list of ignored files that counts before one in the build context.
pub(super) struct Definition {
    files: [(String, Vec<u8>); 2],
}

impl Definition {
    pub(super) fn new(name: &str, dockerfile: Vec<u8>) -> Self {
        let ignore_file = (format!("{name}.dockerignore"), NOTHING_IGNORED.to_vec());
        Self { files: [(name.to_owned(), dockerfile), ignore_file] }
    }
}

impl FileTree for Definition {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        let (name, content) = &self.files[number];
        let kind = EntryKind::File { size: content.len() as u64 };
        Entry { path: name.as_bytes(), kind, mode: MODE, modified: 0 }
    }

    fn write_content(&self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.files[number].1)
    }
}
