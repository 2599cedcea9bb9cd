//! Files that services read.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Whether the file can be written, without changing it.
pub(super) fn check(file: &Path) -> io::Result<()> {
    let directory = directory(file);
    if file.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !directory.is_dir() {
        let message = format!("there is no directory {}", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(())
}

/// Where a file lies, however it is spelled.
pub(super) fn location(file: &Path) -> PathBuf {
    if let Ok(location) = file.canonicalize() {
        return location;
    }
    let directory = directory(file).canonicalize().ok();
    directory.zip(file.file_name()).map_or_else(|| file.to_owned(), |(to, name)| to.join(name))
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes an ordinary file, if there is one; nothing else.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    // A link stays a link.
    match file.canonicalize() {
        Ok(file) if file.is_file() => std::fs::remove_file(file),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds lines behind what other programs of the same step wrote, which may lack its last line feed.
pub(super) fn append(file: &Path, lines: &str) -> io::Result<()> {
    let ends_whole = std::fs::read(file).map_or(true, |text| text.last().is_none_or(is_line_feed));
    let mut text = String::new();
    if !ends_whole {
        text.push('\n');
    }
    text.push_str(lines);
    let mut file = std::fs::File::options().append(true).create(true).open(file)?;
    file.write_all(text.as_bytes())
}

fn is_line_feed(byte: &u8) -> bool {
    *byte == b'\n'
}
