//! What BuildKit is sent of a build: the very files that are in the key.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use dockit_buildkit::{Build, Entry, EntryKind, FileTree, SecretBytes, compare_paths};
use dockit_hashing::context::{Archive, Contents, ContextError, Listing, Node};

use super::{BackendError, BackendErrorKind, BuildRequest};
use crate::build_options::Network;

/// Mode bits of symbolic links, which have none of their own.
const LINK_MODE: u32 = 0o777;

/// A build with everything that follows from the request, whatever becomes of the image.
pub(super) fn build(request: &BuildRequest) -> Result<Build, BackendError> {
    let files = ListedFiles::open(&request.context, Arc::clone(&request.listing))
        .map_err(|error| BackendError::new(BackendErrorKind::Context, error.to_string()))?;
    let mut build = Build::new(
        request.dockerfile.clone(),
        Arc::new(files),
        // Everything in it is in this hash, and what is not is the same for every listing.
        request.listing.hash().to_string(),
    );
    build.target.clone_from(&request.target);
    build.platforms = vec![request.platform.to_string()];
    build.args.clone_from(&request.args);
    build.labels.clone_from(&request.labels);
    build.layer_cache = request.layer_cache;
    let options = &request.options;
    build.network = match options.network {
        Network::Default => None,
        Network::None => Some(dockit_buildkit::Network::None),
        Network::Host => Some(dockit_buildkit::Network::Host),
    };
    build.hosts = options.hosts.iter().map(|(name, address)| (name.clone(), *address)).collect();
    build.shm_size = options.shm_size;
    build.ulimits = options.ulimits.iter().map(|(name, limit)| format!("{name}={limit}")).collect();
    let secrets = request.secrets.secrets.iter();
    build.secrets =
        secrets.map(|(id, value)| (id.clone(), SecretBytes::new(value.reveal()))).collect();
    build.ssh_agents.clone_from(&request.secrets.ssh);
    Ok(build)
}

/// The files of a listing, in BuildKit's order.
struct ListedFiles {
    contents: Contents,
    listing: Arc<Listing>,
    /// By number, the position in the listing, which is sorted by whole paths.
    order: Vec<u32>,
}

fn order(listing: &Listing) -> Vec<u32> {
    let entries = listing.entries();
    let mut order: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
    let path = |position: &u32| entries[*position as usize].path().as_bytes();
    order.sort_by(|one, other| compare_paths(path(one), path(other)));
    order
}

impl ListedFiles {
    fn open(context: &Path, listing: Arc<Listing>) -> Result<Self, ContextError> {
        Ok(Self { contents: Contents::open(context)?, order: order(&listing), listing })
    }

    fn listed(&self, number: usize) -> &dockit_hashing::context::Entry {
        &self.listing.entries()[self.order[number] as usize]
    }
}

impl FileTree for ListedFiles {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        let listed = self.listed(number);
        let (kind, mode) = match listed.node() {
            Node::File { mode, size, .. } => (EntryKind::File { size: *size }, mode.bits()),
            Node::Symlink { target } => (EntryKind::Symlink { target }, LINK_MODE),
            Node::Directory { mode } => (EntryKind::Directory, mode.bits()),
            // There is no other node; a new one would have to be sent in a way of its own.
            _ => (EntryKind::Directory, 0),
        };
        Entry { path: listed.path().as_bytes(), kind, mode, modified: Archive::TIME.cast_signed() }
    }

    fn write_content(&self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        self.contents.write(self.listed(number), out).map_err(|error| match error.io_error() {
            Some(failed) if error.path().is_none() => io::Error::from(failed.kind()),
            _ => io::Error::other(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dockit_hashing::context::{BuildContext, ContextOptions, Selection};

    use super::*;

    #[test]
    fn files_are_in_buildkits_order_and_are_what_was_listed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        for (path, content) in [("a/b", "in a"), ("a.b", "beside a"), ("a-", "")] {
            fs::write(directory.path().join(path), content).unwrap();
        }
        let options = ContextOptions::default();
        let context = BuildContext::open(directory.path(), &options).unwrap();
        let listing = Arc::new(context.listing(&Selection::whole()).unwrap());
        let files = ListedFiles::open(directory.path(), listing).unwrap();
        let paths: Vec<_> = (0..files.len()).map(|number| files.entry(number).path).collect();
        assert_eq!(paths, [&b"a"[..], b"a/b", b"a-", b"a.b"]);
        assert_eq!(files.entry(1).modified, 315_619_200);
        let content = |number| {
            let mut content = Vec::new();
            files.write_content(number, &mut content).map(|()| content)
        };
        assert_eq!(content(1).unwrap(), b"in a");
        assert_eq!(content(2).unwrap(), b"");
        fs::write(directory.path().join("a.b"), "beside b").unwrap();
        let error = content(3).unwrap_err().to_string();
        assert!(error.contains("a.b") && error.contains("changed"), "{error}");
    }
}
