//! What a container image build can see, and what its hash is.
//!
//! The central type is the [`Listing`](context::Listing) of a [`BuildContext`](context::BuildContext):
//! every file that `.dockerignore` leaves, with its normalised mode and content digest. Its hash is
//! the same on every machine, and the [`Archive`](context::Archive) packed from it holds exactly
//! these files: what is hashed is what is built.
//!
//! ```
//! use dockit_hashing::context::{BuildContext, ContextOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! std::fs::write(root.join("app.py"), "print('hello')")?;
//! std::fs::write(root.join("notes.txt"), "not for the build")?;
//! std::fs::write(root.join(".dockerignore"), "notes.txt\n")?;
//!
//! let context = BuildContext::open(root, &ContextOptions::default())?;
//! let before = context.listing()?.hash();
//! std::fs::write(root.join("notes.txt"), "changed")?;
//! assert_eq!(context.listing()?.hash(), before);
//! std::fs::write(root.join("app.py"), "print('bye')")?;
//! assert_ne!(context.listing()?.hash(), before);
//! # Ok(())
//! # }
//! ```
//!
//! [`dockerfile`] reads Dockerfiles: which stages a build reaches, which arguments and which images
//! they use, and a canonical encoding of the instructions.
//!
//! No function here is async, opens a socket, starts a process, or reads the environment.
//!
//! # Limitations
//!
//! - The whole context after `.dockerignore` is listed, also what no instruction reads.
//! - Ignore patterns that engines understand differently are refused, with their line.
//! - Sockets, fifos and devices in a context are refused; so are files that cannot be read.
//! - Extended attributes and hard links are no part of a listing and of an archive.

pub mod content_hash;
pub mod context;
pub mod dockerfile;
