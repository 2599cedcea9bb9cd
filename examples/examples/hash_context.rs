//! Prints what a build context holds and its hash: `hash_context DIR [DOCKERFILE]`.

use std::io::Write as _;
use std::path::PathBuf;

use dockit_hashing::context::{BuildContext, ContextOptions, Node, Selection};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().unwrap_or_else(|| ".".into());
    let dockerfile = arguments.next();
    let options = ContextOptions { dockerfile: dockerfile.as_deref(), ..Default::default() };
    let listing = BuildContext::open(directory, &options)?.listing(&Selection::whole())?;
    let mut out = std::io::stdout().lock();
    for entry in listing.entries() {
        let path = String::from_utf8_lossy(entry.path().as_bytes());
        match entry.node() {
            Node::Directory => writeln!(out, "{path}/")?,
            Node::File { mode, size, .. } => {
                writeln!(out, "{path} {:o} {size} bytes", mode.bits())?;
            }
            Node::Symlink { target } => {
                writeln!(out, "{path} -> {}", String::from_utf8_lossy(target))?;
            }
            _ => writeln!(out, "{path}")?,
        }
    }
    writeln!(out, "{} files, {} bytes: {}", listing.files(), listing.bytes(), listing.hash())?;
    Ok(())
}
