//! Listing and hashing build contexts, as ratios to peers and to the limits of the machine.
//!
//! ```text
//! cargo bench -p dockit-benches --bench context_hashing -- [--quick] [--large-mib=N] [CORPUS…]
//! ```
//!
//! The corpora are `source-7k`, `source-15k`, `small-100k` and `large`; without a name all are
//! measured, which takes about five minutes on two cores. `--quick` measures a fifth of the files
//! for a few seconds, `--large-mib` says how large each of the four large files is (1024 if it does
//! not; they need as much disk and page cache). Trees are generated in a temporary directory, one at
//! a time, and removed afterwards.
//!
//! Programs take turns with a warm page cache. Other work on the machine slows all of a turn down,
//! so ratios are taken within each turn, and what is printed is the median of all turns; times are
//! medians, too. The table of a corpus has a line for each program and, in terms of how long dockit
//! takes without and with a stat cache, how much longer that program takes. Under it stand the
//! ratios to what no program can be faster than:
//!
//! - *cold / limit*: without a stat cache, to reading the files and hashing as many bytes in memory,
//!   both on all cores.
//! - *warm / walk*: with one, to a walk that looks up the metadata of every file and does nothing
//!   else, on as many threads.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use dockit_benches::corpus::{CORPORA, Corpus};
use dockit_benches::limit::{self, Work};
use dockit_benches::peer::{self, Git};
use dockit_benches::statistics::{load, median, peak_memory, quickest, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_hashing::context::{BuildContext, ContextOptions, Selection, StatCache};

/// Lists one context and tells how much memory that took.
const MEMORY: &str = "--memory";

/// Turns of a corpus.
const FEWEST: usize = 3;
const MOST: usize = 15;

/// From this time on, there are no more turns than the fewest.
const LONG: Duration = Duration::from_secs(45);
const QUICK: Duration = Duration::from_secs(8);

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, root, cache @ ..] = &*arguments
        && mode == MEMORY
    {
        return tell_memory(Path::new(root), cache.first().map(Path::new));
    }
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    let quick = flags.contains(&"--quick");
    let mebibytes: u64 = match flags.iter().find_map(|flag| flag.strip_prefix("--large-mib=")) {
        Some(number) => number.parse()?,
        None if quick => 64,
        None => 1024,
    };
    if let Some(name) = names.iter().find(|name| CORPORA.iter().all(|one| one.name != **name)) {
        return Err(format!("no corpus is named {name}").into());
    }
    let mut out = std::io::stdout().lock();
    for corpus in CORPORA {
        if names.is_empty() || names.contains(&corpus.name) {
            let corpus = corpus.with_large_files_of(mebibytes << 20);
            measure(if quick { corpus.quick() } else { corpus }, quick, &mut out)?;
        }
    }
    Ok(())
}

fn measure(corpus: Corpus, quick: bool, out: &mut dyn Write) -> Done {
    let directory = tempfile::tempdir()?;
    let root = &directory.path().join("context");
    let repository = &directory.path().join("git");
    std::fs::create_dir(root)?;
    let bytes = corpus.write(root)?;
    let is_large = corpus.is_large();
    // Until the stat cache believes the files' times.
    thread::sleep(Duration::from_millis(2_200));
    let cache = &StatCache::new(directory.path().join("cache"));
    list(root, ContextOptions { stat_cache: Some(cache), ..Default::default() })?;

    let mut tools = Tools::default();
    tools.add("dockit", move || list(root, ContextOptions::default()));
    tools.add("dockit, portable", move || {
        list(root, ContextOptions { portable: true, ..Default::default() })
    });
    tools.add("dockit, stat cache", move || {
        list(root, ContextOptions { stat_cache: Some(cache), ..Default::default() })
    });
    tools.add("limit: walk and stat", move || Ok(limit::walk(root, Work::Stat)?));
    tools.add("limit: read", move || Ok(limit::walk(root, Work::Read)?));
    tools.add("find | sort | xargs sha256sum", move || Ok(peer::sha256sum(root)?));
    if let Ok(python) = peer::python() {
        tools.add("python hashlib", move || Ok(peer::hashlib(&python, root)?));
    }
    let git = Git { repository, root };
    if !is_large && peer::is_installed("git") {
        git.prepare()?;
        tools.add("git add && write-tree, new index", move || Ok(git.write_tree()?));
        tools.add("git status, warm index", move || Ok(git.status()?));
    }
    if peer::is_installed("b3sum") {
        tools.add("find | sort | xargs b3sum", move || Ok(peer::b3sum(root)?));
    }

    // The first turn fills the page cache.
    tools.take_turn()?;
    tools.forget_turns();
    let mut rates = Vec::new();
    let start = Instant::now();
    let long_enough = if quick { QUICK } else { LONG };
    while rates.len() < FEWEST || (rates.len() < MOST && start.elapsed() < long_enough) {
        rates.push(limit::sha256_rate());
        tools.take_turn()?;
    }
    report(corpus, bytes, &rates, &tools, out)?;
    let kept = directory.path().join("cache");
    let new = directory.path().join("new-cache");
    let ways = [("none", None), ("read", Some(kept.as_path())), ("written", Some(new.as_path()))];
    for (way, cache) in ways {
        writeln!(out, "memory, stat cache {way}: {}", memory(root, cache)?)?;
    }
    writeln!(out)?;
    Ok(())
}

fn report(
    corpus: Corpus,
    bytes: u64,
    rates: &[f64],
    tools: &Tools<'_>,
    out: &mut dyn Write,
) -> Done {
    writeln!(
        out,
        "{}: {} files, {:.1} MB; {} turns; load {}; SHA-256 in memory, all cores: {:.2} GB/s",
        corpus.name,
        corpus.files,
        bytes as f64 / 1e6,
        rates.len(),
        load(),
        median(rates.iter().copied()) / 1e9
    )?;
    let cold = tools.times("dockit");
    let warm = tools.times("dockit, stat cache");
    let walk = tools.times("limit: walk and stat");
    let reads = tools.times("limit: read").iter();
    let limit: Vec<f64> =
        reads.zip(rates).map(|(seconds, rate)| seconds + bytes as f64 / rate).collect();
    writeln!(out, "{:36} {:>9} {:>10} {:>10}", "", "seconds", "/ dockit", "/ cached")?;
    let lines = tools.0.iter().map(|tool| (&*tool.name, &*tool.times));
    for (name, times) in lines.chain([("limit: read + SHA-256", &*limit)]) {
        let seconds = median(times.iter().copied());
        let (to_cold, to_warm) = (ratio(times, cold), ratio(times, warm));
        writeln!(out, "{name:36} {seconds:9.4} {to_cold:10.2} {to_warm:10.2}")?;
    }
    writeln!(
        out,
        "cold / limit: {:.2} (of the quickest turns {:.2}); warm / walk: {:.2} ({:.2})",
        ratio(cold, &limit),
        quickest(cold) / quickest(&limit),
        ratio(warm, walk),
        quickest(warm) / quickest(walk)
    )?;
    Ok(())
}

fn list(root: &Path, options: ContextOptions<'_>) -> Done {
    let listing = BuildContext::open(root, &options)?.listing(&Selection::whole())?;
    std::hint::black_box(listing.hash());
    Ok(())
}

/// In a process of its own, so that nothing else counts.
fn memory(root: &Path, cache: Option<&Path>) -> Result<String, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let output = Command::new(own).arg(MEMORY).arg(root).args(cache).output()?;
    if !output.status.success() {
        return Err("measuring memory failed".into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn tell_memory(root: &Path, cache: Option<&Path>) -> Done {
    let cache = cache.map(StatCache::new);
    list(root, ContextOptions { stat_cache: cache.as_ref(), ..Default::default() })?;
    writeln!(std::io::stdout(), "{}", peak_memory()?)?;
    Ok(())
}
