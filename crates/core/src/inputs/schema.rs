//! The document's JSON, `dockit.inputs/1`, one to one, and its meaning.
//!
//! Paths and texts of links are escaped as [`Escaped`](dockit_hashing::context::Escaped) does, because
//! JSON holds no other bytes than UTF-8. Unknown fields are skipped: should they count, the key tells.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{
    ContextPath, Entry, Escaped, FileDigest, FileMode, Listing, Node, unescape,
};
use dockit_hashing::dockerfile::{Program, ProgramStage, ProgramStep, StageBase};
use serde::{Deserialize, Serialize};

use super::document::{Document, WholeContextNote};
use crate::key::{
    ArgValue, DeclaredValue, ExtraInput, Files, ImageKey, ImageUseInput, KeyInputs, KeyedArg,
    NeedInput,
};

const SCHEMA: &str = "dockit.inputs/1";

const LINK_MODE: &str = "0777";

#[derive(Serialize, Deserialize)]
pub(super) struct DocumentSchema {
    schema: String,
    image: String,
    key: String,
    platform: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    whole_context: Vec<WholeContextSchema>,
    program: ProgramSchema,
    args: Vec<ArgSchema>,
    uses: Vec<UseSchema>,
    needs: Vec<ImageSchema>,
    files: FilesSchema,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dockerfile: Option<String>,
    extra: Vec<ExtraSchema>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    options: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct WholeContextSchema {
    line: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ProgramSchema {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frontend: Option<String>,
    stages: Vec<StageSchema>,
}

#[derive(Serialize, Deserialize)]
struct StageSchema {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    base: BaseSchema,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    triggers: Vec<StepSchema>,
    steps: Vec<StepSchema>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BaseSchema {
    Scratch,
    Stage(usize),
    Image(usize),
}

#[derive(Serialize, Deserialize)]
struct StepSchema {
    line: u32,
    keyword: String,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct ArgSchema {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UseSchema {
    Image(ImageSchema),
    Base { reference: String, platform: String, digest: String },
}

#[derive(Serialize, Deserialize)]
struct ImageSchema {
    name: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilesSchema {
    Listed(Vec<EntrySchema>),
    Declared(Vec<DeclaredSchema>),
}

#[derive(Serialize, Deserialize)]
struct EntrySchema {
    path: String,
    kind: KindSchema,
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindSchema {
    Directory,
    File,
    Link,
}

#[derive(Serialize, Deserialize)]
struct DeclaredSchema {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct ExtraSchema {
    path: String,
    files: Vec<EntrySchema>,
}

impl DocumentSchema {
    pub(super) fn of(document: &Document) -> Self {
        let inputs = &document.inputs;
        Self {
            schema: SCHEMA.to_owned(),
            image: document.image.to_string(),
            key: document.key().to_string(),
            platform: inputs.platform.to_string(),
            context: document.context.clone(),
            whole_context: document
                .whole_context
                .iter()
                .map(|whole| WholeContextSchema { line: whole.line, reason: whole.reason.clone() })
                .collect(),
            program: ProgramSchema::of(&inputs.program),
            args: inputs.args.iter().map(ArgSchema::of).collect(),
            uses: inputs.uses.iter().map(UseSchema::of).collect(),
            needs: inputs.needs.iter().map(ImageSchema::of).collect(),
            files: match &inputs.files {
                Files::Listed(listing) => FilesSchema::Listed(entries(listing)),
                Files::Declared(values) => {
                    FilesSchema::Declared(values.iter().map(DeclaredSchema::of).collect())
                }
            },
            dockerfile: inputs.dockerfile.map(|hash| hash.to_string()),
            extra: inputs.extra.iter().map(ExtraSchema::of).collect(),
            epoch: inputs.epoch.clone(),
            options: inputs.options.clone(),
        }
    }

    /// The key that the document says, and what it says.
    pub(super) fn validate(self) -> Result<(ImageKey, Document), String> {
        if self.schema != SCHEMA {
            return Err(format!("its schema is {:?}, not {SCHEMA}", self.schema));
        }
        let inputs = KeyInputs {
            platform: read("platform", &self.platform)?,
            program: self.program.validate()?,
            args: all(self.args, ArgSchema::validate)?,
            uses: all(self.uses, UseSchema::validate)?,
            needs: all(self.needs, ImageSchema::validate)?,
            files: match self.files {
                FilesSchema::Listed(entries) => Files::Listed(listing(entries)?),
                FilesSchema::Declared(values) => Files::Declared(
                    values
                        .into_iter()
                        .map(|value| {
                            let name = name("declared value", value.name)?;
                            Ok(DeclaredValue { name, value: value.value })
                        })
                        .collect::<Result<_, String>>()?,
                ),
            },
            dockerfile: self.dockerfile.map(|hash| read("Dockerfile", &hash)).transpose()?,
            extra: all(self.extra, ExtraSchema::validate)?,
            epoch: self.epoch,
            options: self
                .options
                .into_iter()
                .map(|(option, value)| Ok((name("build option", option)?, value)))
                .collect::<Result<_, String>>()?,
        };
        let document = Document {
            image: read("image", &self.image)?,
            context: self.context,
            whole_context: self
                .whole_context
                .into_iter()
                .map(|whole| WholeContextNote { line: whole.line, reason: whole.reason })
                .collect(),
            inputs,
        };
        Ok((read("key", &self.key)?, document))
    }
}

impl ProgramSchema {
    fn of(program: &Program) -> Self {
        let stages = program.stages.iter().map(|stage| StageSchema {
            name: stage.name.clone(),
            base: match stage.base {
                StageBase::Scratch => BaseSchema::Scratch,
                StageBase::Stage(position) => BaseSchema::Stage(position),
                StageBase::Image(position) => BaseSchema::Image(position),
            },
            platform: stage.platform.clone(),
            triggers: stage.triggers.iter().map(StepSchema::of).collect(),
            steps: stage.steps.iter().map(StepSchema::of).collect(),
        });
        Self { frontend: program.frontend.clone(), stages: stages.collect() }
    }

    fn validate(self) -> Result<Program, String> {
        let stages = all(self.stages, |stage| {
            Ok(ProgramStage {
                name: stage.name.map(|stage| name("stage", stage)).transpose()?,
                base: match stage.base {
                    BaseSchema::Scratch => StageBase::Scratch,
                    BaseSchema::Stage(position) => StageBase::Stage(position),
                    BaseSchema::Image(position) => StageBase::Image(position),
                },
                platform: stage.platform,
                triggers: all(stage.triggers, StepSchema::validate)?,
                steps: all(stage.steps, StepSchema::validate)?,
            })
        })?;
        Ok(Program { frontend: self.frontend, stages })
    }
}

impl StepSchema {
    fn of(step: &ProgramStep) -> Self {
        Self { line: step.line, keyword: step.keyword.clone(), hash: step.hash.to_string() }
    }

    fn validate(self) -> Result<ProgramStep, String> {
        let hash = read("instruction", &self.hash)?;
        Ok(ProgramStep { line: self.line, keyword: name("instruction", self.keyword)?, hash })
    }
}

impl ArgSchema {
    fn of(argument: &KeyedArg) -> Self {
        Self {
            name: argument.name.clone(),
            digest: argument.digest().map(|hash| hash.to_string()),
            value: match &argument.value {
                Some(ArgValue::Plain(value)) => Some(value.clone()),
                Some(ArgValue::Hash(_)) | None => None,
            },
        }
    }

    fn validate(self) -> Result<KeyedArg, String> {
        let digest: Option<ContentHash> =
            self.digest.map(|hash| read("argument", &hash)).transpose()?;
        let value = match (self.value, digest) {
            (Some(value), _) => Some(ArgValue::Plain(value)),
            (None, hash) => hash.map(ArgValue::Hash),
        };
        let argument = KeyedArg { name: name("argument", self.name)?, value };
        if argument.digest() == digest {
            Ok(argument)
        } else {
            Err(format!("argument {:?}: the value does not have the digest", argument.name))
        }
    }
}

impl UseSchema {
    fn of(used: &ImageUseInput) -> Self {
        match used {
            ImageUseInput::Image { name, key } => {
                Self::Image(ImageSchema { name: name.to_string(), key: key.to_string() })
            }
            ImageUseInput::Base { reference, platform, digest } => Self::Base {
                reference: reference.to_string(),
                platform: platform.to_string(),
                digest: digest.to_string(),
            },
        }
    }

    fn validate(self) -> Result<ImageUseInput, String> {
        Ok(match self {
            Self::Image(image) => {
                let NeedInput { name, key } = image.validate()?;
                ImageUseInput::Image { name, key }
            }
            Self::Base { reference, platform, digest } => ImageUseInput::Base {
                reference: read("base image", &reference)?,
                platform: read("base image", &platform)?,
                digest: read("base image", &digest)?,
            },
        })
    }
}

impl ImageSchema {
    fn of(need: &NeedInput) -> Self {
        Self { name: need.name.to_string(), key: need.key.to_string() }
    }

    fn validate(self) -> Result<NeedInput, String> {
        Ok(NeedInput { name: read("image", &self.name)?, key: read("image", &self.key)? })
    }
}

impl DeclaredSchema {
    fn of(value: &DeclaredValue) -> Self {
        Self { name: value.name.clone(), value: value.value.clone() }
    }
}

impl ExtraSchema {
    fn of(extra: &ExtraInput) -> Self {
        Self { path: extra.path.clone(), files: entries(&extra.listing) }
    }

    fn validate(self) -> Result<ExtraInput, String> {
        Ok(ExtraInput { path: self.path, listing: listing(self.files)? })
    }
}

fn entries(listing: &Listing) -> Vec<EntrySchema> {
    listing.entries().iter().map(EntrySchema::of).collect()
}

fn listing(entries: Vec<EntrySchema>) -> Result<Arc<Listing>, String> {
    let entries = all(entries, EntrySchema::validate)?;
    Listing::from_entries(entries).map(Arc::new).map_err(|error| error.to_string())
}

impl EntrySchema {
    fn of(entry: &Entry) -> Self {
        let bare = |kind, mode: &str| Self {
            path: entry.path().to_string(),
            kind,
            mode: mode.to_owned(),
            size: None,
            digest: None,
            target: None,
        };
        match entry.node() {
            Node::File { mode, size, digest } => Self {
                size: Some(*size),
                digest: Some(match digest {
                    FileDigest::Whole(hash) => format!("sha256:{hash}"),
                    FileDigest::Leaves(hash) => format!("leaves:{hash}"),
                }),
                ..bare(KindSchema::File, &mode.to_string())
            },
            Node::Symlink { target } => Self {
                target: Some(Escaped(target).to_string()),
                ..bare(KindSchema::Link, LINK_MODE)
            },
            Node::Directory { mode } => bare(KindSchema::Directory, &mode.to_string()),
            node => unreachable!("{node:?} is of a kind that the format does not have"),
        }
    }

    fn validate(self) -> Result<Entry, String> {
        let path = unescape(&self.path)
            .and_then(|bytes| ContextPath::new(&bytes))
            .ok_or_else(|| format!("{:?} is no path in a build context", self.path))?;
        let wrong = |what: &str| format!("{:?}: {what}", self.path);
        let mode = || read_mode(&self.mode).ok_or_else(|| wrong("invalid mode"));
        let node = match (self.kind, self.size, &self.digest, &self.target) {
            (KindSchema::Directory, None, None, None) => Node::Directory { mode: mode()? },
            (KindSchema::Link, None, None, Some(target)) if self.mode == LINK_MODE => {
                let target = unescape(target).ok_or_else(|| wrong("invalid link text"))?;
                Node::Symlink { target: target.into() }
            }
            (KindSchema::File, Some(size), Some(digest), None) => {
                let digest = read_digest(digest).ok_or_else(|| wrong("invalid digest"))?;
                Node::File { mode: mode()?, size, digest }
            }
            _ => return Err(wrong("what is said of it is not of its kind")),
        };
        Ok(Entry::new(path, node))
    }
}

fn read_mode(text: &str) -> Option<FileMode> {
    let mode = FileMode::strict(u32::from_str_radix(text, 8).ok()?);
    (mode.to_string() == text).then_some(mode)
}

fn read_digest(text: &str) -> Option<FileDigest> {
    let (kind, hash) = text.split_once(':')?;
    let hash = hash.parse().ok()?;
    match kind {
        "sha256" => Some(FileDigest::Whole(hash)),
        "leaves" => Some(FileDigest::Leaves(hash)),
        _ => None,
    }
}

fn all<S, T>(
    items: Vec<S>,
    validate: impl FnMut(S) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    items.into_iter().map(validate).collect()
}

/// A name that a person can be shown: none has control characters, and one that a stranger wrote could
/// do anything to a terminal.
fn name(what: &str, name: String) -> Result<String, String> {
    if name.chars().any(char::is_control) {
        return Err(format!("{what}: {name:?} is no name: it has control characters"));
    }
    Ok(name)
}

/// Text that is written so for one value only.
fn read<T: FromStr<Err: Display> + Display>(what: &str, text: &str) -> Result<T, String> {
    let value: T = text.parse().map_err(|error| format!("{what}: {error}"))?;
    if value.to_string() == text {
        Ok(value)
    } else {
        Err(format!("{what}: {text:?} means {value}"))
    }
}
