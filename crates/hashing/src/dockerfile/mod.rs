//! Dockerfiles: which stages a build reaches, what it is told, and which images it uses.
//!
//! [`Dockerfile::parse`] reads the text as BuildKit does; [`Dockerfile::resolve`] decides everything
//! that text and build arguments decide: the stages that a target reaches, the arguments that reach
//! them, and every mention of an image that the Dockerfile does not build itself. From there
//! [`ResolvedDockerfile::program`] is what enters a key, and [`ResolvedDockerfile::rewrite`] what is
//! built: the same bytes with other names for those images.
//!
//! # Limitations
//!
//! - Frontends other than `docker/dockerfile` are refused: what they read is unknown.
//! - `ONBUILD` instructions that name an image in `--from` are refused.
//! - `--from` and `from=` take no variables, as in BuildKit.

mod error;
mod expand;
mod heredoc;
mod instruction;
mod lines;
mod program;
mod resolve;
mod sources;
mod stages;

pub use error::DockerfileError;
pub use resolve::{ImageUse, ImageUseKind, ResolveOptions, ResolvedDockerfile};

use instruction::Instruction;
use lines::Directives;
use stages::Stage;

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    source: String,
    directives: Directives,
    /// `ARG` instructions before the first `FROM`.
    global: Vec<Instruction>,
    stages: Vec<Stage>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    ///
    /// The first thing that BuildKit would refuse, with its line: text that is no UTF-8, unknown
    /// instructions and flags, wrong numbers of arguments, a here-document without end, no stage.
    pub fn parse(source: &[u8]) -> Result<Self, DockerfileError> {
        let source = String::from_utf8(source.to_vec()).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            DockerfileError::new(u32::try_from(line).unwrap_or(u32::MAX), "not UTF-8")
        })?;
        let (directives, lines) = lines::split(&source)?;
        let escape = directives.escape;
        let instructions = lines
            .into_iter()
            .map(|line| Instruction::read(line, escape))
            .collect::<Result<Vec<_>, _>>()?;
        let (global, stages) = stages::group(instructions)?;
        Ok(Self { source, directives, global, stages })
    }

    /// The bytes that were parsed.
    pub fn source(&self) -> &[u8] {
        self.source.as_bytes()
    }

    /// Names of the stages in order; `None` for those without one.
    pub fn stage_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.stages.iter().map(|stage| stage.name.as_deref())
    }
}
