//! What a container image build can see, and what its hash is.
//!
//! The central type is [`context::Listing`]: every directory, file and link of a build context
//! that the build can read, with its mode and content digest, in one fixed order.
//!
//! A [`dockerfile::Dockerfile`] says which files that are: a [`context::Selection`] of what is left
//! after `.dockerignore`. A [`context::BuildContext`] is opened on a directory and lists them once.
//! The listing's hash goes into the image's key, together with the program of the Dockerfile. The
//! same listing is then packed into a [`context::Archive`], which checks every file against it on
//! the way out. So what is keyed is what is built: a file that the listing lacks is not in the
//! archive either, and one that changed in between is an error.
//!
//! ```
//! use std::collections::BTreeMap;
//! use dockit_hashing::context::{Archive, BuildContext, ContextOptions};
//! use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("motd"), "welcome\n")?;
//! std::fs::write(directory.path().join("motd.log"), "noise\n")?;
//! std::fs::write(directory.path().join("README"), "read me\n")?;
//! std::fs::write(directory.path().join(".dockerignore"), "*.log\n")?;
//!
//! let dockerfile = Dockerfile::parse(b"FROM scratch\nARG NAME=motd\nCOPY ${NAME}* /etc/\n")?;
//! let none = BTreeMap::new();
//! let options = ResolveOptions { target: None, args: &none, platform_args: &none };
//! let resolved = dockerfile.resolve(&options)?;
//! let inputs = resolved.context_inputs(&|_| None)?;
//!
//! let context = BuildContext::open(directory.path(), &ContextOptions::default())?;
//! let listing = context.listing(&inputs.selection())?;
//! assert_eq!(listing.files(), 1);
//! assert_eq!(listing.bytes(), 8);
//!
//! let mut archive = Vec::new();
//! Archive::new(context.root(), &listing, resolved.source()).write_to(&mut archive)?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here opens a socket, starts a process, prints, or reads the environment. The byte
//! formats are written down, with test vectors, in the project's `docs/key-format.md`.
//!
//! # Limitations
//!
//! - What a `RUN` reads of a directory that is mounted or copied is not looked into: all of it
//!   counts. The whole build context counts where the Dockerfile alone cannot tell what is read;
//!   [`dockerfile::WholeContextReason`] names the cases.
//! - An `--exclude` or `--parents` whose patterns [`context::ignore`] would refuse leaves everything
//!   in.
//! - Owners, times, extended attributes and the identity of hard links are neither hashed nor
//!   packed; of a file's mode the owner's execute bit, set-uid, set-gid and sticky count, unless
//!   [`strict_modes`](context::ContextOptions::strict_modes) asks for all bits.
//! - Named pipes, sockets and devices are refused.
//! - A file that is replaced and put back between two looks at it goes unseen if the file system's
//!   times do not tell. The archive is checked by content, so it never differs from its listing.
//! - `.dockerignore` patterns whose meaning depends on Go's regular expressions are refused; see
//!   [`context::ignore`].
//! - A [`StatCache`](context::StatCache) believes the times of local file systems; its docs say
//!   which, and what they cannot tell. It works on Linux only.
//! - Paths may have any length on Linux; elsewhere, as much as the operating system takes in one piece.
//! - On Linux no link is followed that takes a directory's place while the context is read;
//!   elsewhere a directory that is exchanged for a link while it is read may be followed.

pub mod content_hash;
pub mod context;
pub mod dockerfile;
