//! Listing and hashing build contexts, as ratios to peers in the same run.
//!
//! Peers: `find -print0 | xargs -0 sha256sum`, as shell scripts do it, and reading and hashing the
//! same files on one thread of this program. Times are medians of interleaved rounds with a warm page
//! cache; only their ratios mean anything.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dockit_benches::CORPORA;
use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{BuildContext, ContextOptions, Selection};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for corpus in CORPORA {
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        corpus.write(root)?;
        let mut ours = Vec::new();
        let mut shell = Vec::new();
        let mut one_thread = Vec::new();
        for _ in 0..=ROUNDS {
            ours.push(timed(|| list(root))?);
            shell.push(timed(|| sha256sum(root))?);
            one_thread.push(timed(|| read_and_hash(root))?);
        }
        // The first round fills the page cache.
        let [ours, shell, one_thread] = [ours, shell, one_thread].map(|times| median(&times[1..]));
        let ratio = |peer: Duration| ours.as_secs_f64() / peer.as_secs_f64();
        writeln!(
            out,
            "{:12} {:6} files: dockit {:.3} s; ratio to find | xargs sha256sum {:.2}, \
             to one thread {:.2}",
            corpus.name,
            corpus.files,
            ours.as_secs_f64(),
            ratio(shell),
            ratio(one_thread),
        )?;
    }
    Ok(())
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn timed(work: impl FnOnce() -> Done) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn list(root: &Path) -> Done {
    let listing =
        BuildContext::open(root, &ContextOptions::default())?.listing(&Selection::whole())?;
    std::hint::black_box(listing.hash());
    Ok(())
}

fn sha256sum(root: &Path) -> Done {
    let mut find = Command::new("find")
        .arg(root)
        .args(["-type", "f", "-print0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let names = find.stdout.take().ok_or("find has no output")?;
    let hashed = Command::new("xargs")
        .args(["-0", "sha256sum"])
        .stdin(names)
        .stdout(Stdio::null())
        .status()?;
    if find.wait()?.success() && hashed.success() { Ok(()) } else { Err("sha256sum failed".into()) }
}

fn read_and_hash(directory: &Path) -> Done {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_and_hash(&entry.path())?;
        } else {
            std::hint::black_box(ContentHash::of(&std::fs::read(entry.path())?));
        }
    }
    Ok(())
}
