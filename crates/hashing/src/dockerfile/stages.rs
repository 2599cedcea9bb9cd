//! The stages of a Dockerfile, and what names in it refer to.

use super::directives::Directives;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::flags::Mention;
use super::instruction::{From, Instruction, Parsed, parse};
use super::keyword::Keyword;
use super::lines::Lines;

/// The name of the empty image.
pub(super) const SCRATCH: &str = "scratch";

/// A parsed Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stages {
    /// `ARG` instructions before the first `FROM`.
    pub(super) global: Vec<Instruction>,
    /// At least one.
    pub(super) stages: Vec<Stage>,
    /// The token that escapes a character.
    pub(super) escape: char,
}

/// `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) from: From,
    pub(super) instructions: Vec<Instruction>,
}

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Scratch,
    /// By position in the file.
    Stage(usize),
    Image,
}

impl Stages {
    pub(super) fn parse(source: &[u8]) -> Result<Self, DockerfileError> {
        let mut lines = Lines::new(source);
        let mut directives = Directives::default();
        let mut found = Self::default();
        let mut last_line = 1;
        while let Some(line) = lines.next_logical(&mut directives)? {
            last_line = line.number;
            match parse(&line, &mut lines, directives.escape())? {
                Parsed::From(from) => {
                    found.stages.push(Stage { from, instructions: Vec::new() });
                }
                Parsed::Instruction(instruction) => match found.stages.last_mut() {
                    Some(stage) => stage.instructions.push(instruction),
                    None if instruction.keyword == Keyword::Arg => found.global.push(instruction),
                    None => {
                        return Err(DockerfileError::new(
                            line.number,
                            DockerfileErrorKind::NoStage,
                        ));
                    }
                },
            }
        }
        found.escape = directives.escape();
        match (found.stages.is_empty(), found.global.is_empty()) {
            (false, _) => Ok(found),
            (true, true) => Err(DockerfileError::new(1, DockerfileErrorKind::Empty)),
            (true, false) => Err(DockerfileError::new(last_line, DockerfileErrorKind::NoStage)),
        }
    }

    /// The stage that `--target` selects: the last without it, else the last of that name. A number
    /// is a name.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize, DockerfileError> {
        let last = self.stages.len() - 1;
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(last);
        };
        self.by_name(name).ok_or_else(|| {
            let stages = self.stages.iter().filter_map(|stage| stage.from.name.clone()).collect();
            let kind = DockerfileErrorKind::UnknownStage { name: name.to_owned(), stages };
            DockerfileError::new(1, kind)
        })
    }

    /// What a `FROM` refers to: the latest earlier stage of exactly this lower-case name, else an
    /// image.
    pub(super) fn base(&self, stage: usize, name: &str) -> Target {
        let named = |earlier: &Stage| earlier.from.name.as_deref() == Some(name);
        match self.stages[..stage].iter().rposition(named) {
            Some(earlier) => Target::Stage(earlier),
            None if name == SCRATCH => Target::Scratch,
            None => Target::Image,
        }
    }

    /// What `COPY --from=` refers to: a stage by index or by name in any case, else an image.
    pub(super) fn copy_source(
        &self,
        mention: &Mention,
        line: u32,
    ) -> Result<Target, DockerfileError> {
        let name = &mention.name;
        if name.contains(['$', '\'', '"', '\\', '`']) {
            return Err(no_variables("--from", name, line));
        }
        match name.parse::<i64>() {
            Ok(index) => usize::try_from(index)
                .ok()
                .filter(|index| *index < self.stages.len())
                .map(Target::Stage)
                .ok_or_else(|| {
                    DockerfileError::invalid(line, format!("there is no stage of index {name}"))
                }),
            Err(_) => Ok(self.by_name_or_image(name)),
        }
    }

    /// What `from=` of a mount refers to: a stage by name in any case, else an image. A number is a
    /// name; without `from=` it is [`SCRATCH`].
    pub(super) fn mount_source(
        &self,
        mention: Option<&Mention>,
        line: u32,
    ) -> Result<Target, DockerfileError> {
        let name = mention.map_or(SCRATCH, |mention| &mention.name);
        if name.contains('$') {
            return Err(no_variables("from= of a mount", name, line));
        }
        Ok(self.by_name_or_image(name))
    }

    fn by_name_or_image(&self, name: &str) -> Target {
        match self.by_name(name) {
            Some(stage) => Target::Stage(stage),
            None if name == SCRATCH => Target::Scratch,
            None => Target::Image,
        }
    }

    /// The last stage of this name in the whole file.
    fn by_name(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        self.stages.iter().rposition(|stage| stage.from.name.as_ref() == Some(&name))
    }
}

fn no_variables(what: &str, name: &str, line: u32) -> DockerfileError {
    DockerfileError::invalid(
        line,
        format!(
            "{what} does not expand variables: {name:?}; name a stage with FROM and a global ARG instead"
        ),
    )
}
