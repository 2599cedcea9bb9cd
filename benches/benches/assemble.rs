//! Assembling images, as ratios to peers and to what no program can be faster than.
//!
//! ```text
//! cargo bench -p dockit-benches --bench assemble -- [--quick] [--docker] [many-files] [large-file]
//! ```
//!
//! *many-files* are 10,000 files of 100 MB together, *large-file* is one of 1 GiB; `--quick` takes a tenth
//! of both. A Dockerfile of `FROM scratch` and `COPY . /` is assembled into a new layout, with gzip and
//! with Zstandard, on all cores and on one; listing and hashing the build context counts. Files are
//! generated in a temporary directory, and hold text of which gzip makes less than half. The first turn
//! fills the page cache.
//!
//! Next to it, in turns: `tar` and `gzip`, which make a layer of the same files, and *limit*: reading the
//! files, hashing their bytes, compressing them in pieces with the same compressor and hashing these, on
//! all cores and in no order. With `--docker` also `docker build` of the same, without and with its layer
//! cache; it packs nothing before a push. What is built is removed from the engine, but its layer cache
//! keeps what it wants. Ratios are taken within each turn; what is printed is the median.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use dockit_assemble::assemble::Compression;
use dockit_assemble::{AssembleError, AssembleErrorKind, Assembly, BaseImage, Images, assemble};
use dockit_benches::packing::Pieces;
use dockit_benches::statistics::{load, median, peak_memory, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_benches::words::Words;
use dockit_hashing::context::{BuildContext, ContextOptions, Selection};
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
use dockit_registry::Platform;
use dockit_registry::layout::Layout;

const DOCKERFILE: &str = "FROM scratch\nCOPY . /\n";

/// The name that the engine's images get.
const NAME: &str = "dockit-bench-assemble";

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    let part = if flags.contains(&"--quick") { 10 } else { 1 };
    let docker = flags.contains(&"--docker");
    let known = ["many-files", "large-file"];
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("nothing is named {name}").into());
    }
    let mut out = std::io::stdout().lock();
    for name in known.into_iter().filter(|name| names.is_empty() || names.contains(name)) {
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        let mut words = Words::new(8);
        let bytes = match name {
            "many-files" => words.write_tree(root, 10_000 / part, 10_000)?,
            _ => {
                let size = (1 << 30) / part as u64;
                words.write(&root.join("file"), size)?;
                size
            }
        };
        measure(name, root, bytes, docker, &mut out)?;
    }
    writeln!(out, "memory: {}", peak_memory()?)?;
    Ok(())
}

fn measure(name: &str, root: &Path, bytes: u64, docker: bool, out: &mut dyn Write) -> Done {
    const TURNS: usize = 5;
    let cores = thread::available_parallelism()?;
    let one = NonZeroUsize::MIN;
    let pieces = Pieces::of(root)?;
    let packed = pieces.read_hash_compress()?;
    let mut tools = Tools::default();
    tools.add("dockit", || assembled(root, Compression::Gzip, cores));
    tools.add("dockit, one thread", || assembled(root, Compression::Gzip, one));
    tools.add("dockit, zstd", || assembled(root, Compression::Zstd, cores));
    tools.add("dockit, not compressed", || assembled(root, Compression::None, cores));
    tools.add("limit: read, hash, compress", || {
        pieces.read_hash_compress()?;
        Ok(())
    });
    tools.add("tar | gzip", || shell("tar -cf - . | gzip -n >/dev/null", root));
    if docker {
        tools.add("docker build --no-cache", || built(root, &["--no-cache"]));
        tools.add("docker build", || built(root, &[]));
    }
    tools.take_turn()?;
    tools.forget_turns();
    for _ in 0..TURNS {
        tools.take_turn()?;
    }
    if docker {
        run(Command::new("docker").args(["image", "rm", "--force", NAME]))?;
    }
    writeln!(
        out,
        "{name}: {:.1} MB, {:.1} MB compressed; {TURNS} turns on {cores} cores; load {}",
        bytes as f64 / 1e6,
        packed as f64 / 1e6,
        load()
    )?;
    writeln!(out, "{:36} {:>9} {:>10}", "", "seconds", "/ dockit")?;
    let ours = tools.times("dockit");
    for tool in &tools.0 {
        let seconds = median(tool.times.iter().copied());
        writeln!(out, "{:36} {seconds:9.3} {:10.2}", tool.name, ratio(&tool.times, ours))?;
    }
    let limit = tools.times("limit: read, hash, compress");
    writeln!(out, "dockit / limit: {:.2}\n", ratio(ours, limit))?;
    Ok(())
}

fn assembled(root: &Path, compression: Compression, threads: NonZeroUsize) -> Done {
    let dockerfile = Dockerfile::parse(DOCKERFILE.as_bytes())?;
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    let resolved = dockerfile.resolve(&options)?;
    let listing =
        BuildContext::open(root, &ContextOptions::default())?.listing(&Selection::whole())?;
    let output = tempfile::tempdir()?;
    let image = assemble(&Assembly {
        dockerfile: &resolved,
        context: root,
        listing: &listing,
        platform: &Platform::linux_amd64(),
        labels: &BTreeMap::new(),
        images: &NoImages,
        output: &Layout::create(output.path())?,
        compression,
        threads,
        observer: &|_| {},
    })?;
    std::hint::black_box(image.manifest);
    Ok(())
}

struct NoImages;

impl Images for NoImages {
    fn image(&self, _: usize) -> Result<Arc<BaseImage>, AssembleError> {
        Err(AssembleError::new(AssembleErrorKind::Image, "none is named"))
    }
}

fn built(root: &Path, options: &[&str]) -> Done {
    let dockerfile = tempfile::NamedTempFile::new()?;
    std::fs::write(dockerfile.path(), DOCKERFILE)?;
    let mut docker = Command::new("docker");
    docker.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--tag", NAME, "--file"]);
    run(docker.arg(dockerfile.path()).args(options).arg(root))
}

fn shell(line: &str, root: &Path) -> Done {
    run(Command::new("sh").args(["-c", line]).current_dir(root))
}

fn run(command: &mut Command) -> Done {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
