//! Prints what would change an image, and a hash of it: `hash_context DIR [DOCKERFILE [NAME=VALUE…]]`.
//!
//! Needs no engine, no network and no async runtime: only `dockit-hashing`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use dockit_hashing::content_hash::Framer;
use dockit_hashing::context::{BuildContext, ContextOptions, Node};
use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ResolveOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let file = arguments.next().map_or_else(|| directory.join("Dockerfile"), PathBuf::from);
    let args: BTreeMap<String, String> = arguments
        .map(|argument| match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (argument, String::new()),
        })
        .collect();

    let text = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let dockerfile = Dockerfile::parse(&text)?;
    let none = BTreeMap::new();
    let resolved =
        dockerfile.resolve(&ResolveOptions { target: None, args: &args, platform_args: &none })?;
    // As if no base image had an ENV or ONBUILD that matters; one that is not known reads everything.
    let bases = |_| Some(ImageConfig::new([], Vec::new()));
    let inputs = resolved.context_inputs(&bases)?;
    let options = ContextOptions { dockerfile: Some(&file), ..ContextOptions::default() };
    let listing = BuildContext::open(&directory, &options)?.listing(&inputs.selection())?;

    let mut out = std::io::stdout().lock();
    let mut key = Framer::new("example");
    for stage in &resolved.program().stages {
        for step in &stage.steps {
            writeln!(out, "instruction  line {}: {}", step.line, step.keyword)?;
        }
    }
    key.hash(resolved.program().hash());
    for (name, value) in resolved.args() {
        writeln!(out, "argument     {name}={}", value.as_deref().unwrap_or("(none)"))?;
        key.str(name).str(value.as_deref().unwrap_or_default());
    }
    for used in resolved.image_uses() {
        writeln!(out, "image        {}", used.name)?;
        key.str(&used.name);
    }
    for reason in inputs.whole_context() {
        writeln!(out, "all files    {reason}")?;
    }
    for entry in listing.entries() {
        let path = entry.path();
        match entry.node() {
            Node::Directory { .. } => writeln!(out, "directory    {path}/")?,
            Node::File { mode, size, .. } => {
                writeln!(out, "file         {path}, mode {mode}, {size} bytes")?;
            }
            Node::Symlink { target } => {
                writeln!(out, "link         {path} -> {}", String::from_utf8_lossy(target))?;
            }
            _ => writeln!(out, "entry        {path}")?,
        }
    }
    key.hash(listing.hash());
    writeln!(out, "{} files, {} bytes: {}", listing.files(), listing.bytes(), key.finish())?;
    Ok(())
}
