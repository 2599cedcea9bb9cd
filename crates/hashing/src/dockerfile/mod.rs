//! Dockerfiles: what they build, from which images, with which arguments.
//!
//! [`Dockerfile::parse`] reads the text; [`Dockerfile::resolve`] decides what can be decided from
//! text and arguments alone, for one target and one platform. The result names the images that the
//! build reads and [which files](ResolvedDockerfile::context_inputs) of its build context, gives the
//! [program](ResolvedDockerfile::program) for a key, and [rewrites](ResolvedDockerfile::rewrite) the
//! text so that the build reads exactly the images that were keyed. Its
//! [evaluation](ResolvedDockerfile::evaluation) says what each instruction does.
//!
//! The language is that of BuildKit's Dockerfile frontend, 1.x, by its documentation and its
//! behaviour. Nothing here reads a file or starts a process.
//!
//! ```
//! use std::collections::BTreeMap;
//! use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
//!
//! let text = b"ARG TAG=3.12\nFROM python:${TAG} AS build\nRUN make\nFROM scratch\nCOPY --from=build /out /\n";
//! let dockerfile = Dockerfile::parse(text)?;
//! let none = BTreeMap::new();
//! let resolved =
//!     dockerfile.resolve(&ResolveOptions { target: None, args: &none, platform_args: &none })?;
//! assert_eq!(resolved.image_uses()[0].name, "python:3.12");
//!
//! let rewritten = resolved.rewrite(&mut |_, used| Some(format!("mirror.example/{}", used.name)));
//! assert!(rewritten.starts_with(b"ARG TAG=3.12\nFROM mirror.example/python:3.12 AS build\n"));
//! # Ok::<(), dockit_hashing::dockerfile::DockerfileError>(())
//! ```
//!
//! # Limitations
//!
//! - Instructions must be UTF-8; comments and heredoc bodies may be anything.
//! - `ONBUILD` instructions and the environment of base images are known only to
//!   [`context_inputs`](ResolvedDockerfile::context_inputs) and the
//!   [evaluation](ResolvedDockerfile::evaluation), from the caller; not to the program, nor to the
//!   values of arguments.
//! - An `ONBUILD` trigger that copies or mounts from an image, not a stage, is refused.
//! - `ADD` of a URL or a git repository is refused: what it fetches is in no key.
//! - Directives that engines read differently are refused.
//! - Frontends other than `docker/dockerfile` and `docker/dockerfile-upstream` are refused.

mod arguments;
mod context_inputs;
mod directives;
mod environment;
mod error;
mod evaluation;
mod expand;
mod flags;
mod graph;
mod heredoc;
mod image_config;
mod instruction;
mod keyword;
mod lines;
mod pattern;
mod program;
mod resolve;
mod rewrite;
mod secrets;
mod sources;
mod stages;
mod steps;
mod substitute;
mod trigger;
mod words;

pub use context_inputs::{ContextInputs, WholeContext, WholeContextReason};
pub use error::{DockerfileError, DockerfileErrorKind};
pub use evaluation::Evaluation;
pub use image_config::ImageConfig;
pub use program::{Program, ProgramStage, ProgramStep, StageBase};
pub use resolve::{ImageUse, ImageUseKind, ResolveOptions, ResolvedDockerfile};
pub use secrets::{SecretMount, SecretMountKind};
pub use steps::{CommandLine, CopySource, CopyStep, Healthcheck, Step, StepKind};

use directives::Frontend;
use stages::Stages;

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    source: Vec<u8>,
    frontend: Option<Frontend>,
    stages: Stages,
}

impl Dockerfile {
    /// Parses the bytes of a Dockerfile.
    ///
    /// # Errors
    ///
    /// The first problem with its line. A file in the language of another frontend is an
    /// [unknown frontend](DockerfileErrorKind::UnknownFrontend).
    pub fn parse(source: &[u8]) -> Result<Self, DockerfileError> {
        directives::refuse_ambiguous(source)?;
        let frontend = Frontend::detect(source);
        match (Stages::parse(source), &frontend) {
            (Ok(stages), _) => Ok(Self { source: source.to_owned(), frontend, stages }),
            (Err(_), Some(frontend)) if !frontend.is_known() => Err(frontend.unknown()),
            (Err(error), _) => Err(error),
        }
    }

    /// Names of the stages in lower case, in the order of the file; `None` for unnamed ones. Two
    /// stages may share a name.
    pub fn stage_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.stages.stages.iter().map(|stage| stage.from.name.as_deref())
    }

    /// The bytes that were parsed.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether some instruction has a heredoc. BuildKit before 0.10 takes the lines of one for
    /// instructions, unless a frontend that the file [names](Self::names_frontend) reads it.
    pub fn has_heredocs(&self) -> bool {
        let mut instructions = self.stages.stages.iter().flat_map(|stage| &stage.instructions);
        instructions.any(|instruction| !instruction.innermost().heredocs.is_empty())
    }

    /// Whether it says which frontend reads it (`# syntax=`).
    pub fn names_frontend(&self) -> bool {
        self.frontend.is_some()
    }

    /// Decides everything that text and arguments alone decide.
    ///
    /// # Errors
    ///
    /// An unknown target or frontend, a `FROM` or `ARG` that cannot be expanded, a reference to a
    /// stage that is not defined before, and what cannot be keyed at all.
    pub fn resolve(
        &self,
        options: &ResolveOptions<'_>,
    ) -> Result<ResolvedDockerfile<'_>, DockerfileError> {
        resolve::resolve(self, options)
    }
}
