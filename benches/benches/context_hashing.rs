//! Listing and hashing build contexts, as ratios to peers and to the limits of the machine.
//!
//! `cargo bench -p dockit-benches -- [--quick] [CORPUS…]`. Times are medians of interleaved rounds
//! with a warm page cache; only their ratios mean anything. Trees are generated in a temporary
//! directory, up to 4 GiB at a time, and removed afterwards.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use dockit_benches::corpus::{CORPORA, Corpus};
use dockit_benches::limit::{self, Work};
use dockit_benches::peer::{self, Git};
use dockit_hashing::context::{BuildContext, ContextOptions, Selection, StatCache};

/// Lists one context and tells how much memory that took.
const MEMORY: &str = "--memory";

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, root, cache @ ..] = &*arguments
        && mode == MEMORY
    {
        return tell_memory(Path::new(root), cache.first().map(Path::new));
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let named: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let mut out = std::io::stdout().lock();
    for corpus in CORPORA {
        if named.is_empty() || named.iter().any(|name| *name == corpus.name) {
            measure(if quick { corpus.quick() } else { corpus }, quick, &mut out)?;
        }
    }
    Ok(())
}

/// A program or a way, and how long it took each time.
struct Tool<'a> {
    name: String,
    run: Box<dyn Fn() -> Done + 'a>,
    times: Vec<Duration>,
}

struct Tools<'a>(Vec<Tool<'a>>);

impl<'a> Tools<'a> {
    fn add(&mut self, name: &str, run: impl Fn() -> Done + 'a) {
        self.0.push(Tool { name: name.to_owned(), run: Box::new(run), times: Vec::new() });
    }

    fn seconds(&self, name: &str) -> f64 {
        let tool = self.0.iter().find(|tool| tool.name == name);
        tool.map_or(f64::NAN, |tool| median(&tool.times).as_secs_f64())
    }
}

fn measure(corpus: Corpus, quick: bool, out: &mut dyn Write) -> Done {
    let directory = tempfile::tempdir()?;
    let root = &directory.path().join("context");
    let repository = &directory.path().join("git");
    std::fs::create_dir(root)?;
    let bytes = corpus.write(root)?;
    let is_large = corpus.files < 100;
    // Until the stat cache believes the files' times.
    thread::sleep(Duration::from_millis(2_200));
    let cache = &StatCache::new(directory.path().join("cache"));
    list(root, ContextOptions { stat_cache: Some(cache), ..Default::default() })?;

    let mut tools = Tools(Vec::new());
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

    let rounds = if is_large || quick { 3 } else { 7 };
    let mut rates = Vec::new();
    for round in 0..=rounds {
        rates.push(limit::sha256_rate());
        for tool in &mut tools.0 {
            let start = Instant::now();
            (tool.run)()?;
            // The first round fills the page cache.
            if round > 0 {
                tool.times.push(start.elapsed());
            }
        }
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    report(corpus, bytes, rate, &tools, out)?;
    writeln!(out, "memory at most: {}", memory(root, None)?)?;
    let cache = directory.path().join("cache");
    writeln!(out, "memory at most, stat cache: {}", memory(root, Some(&cache))?)?;
    let new = directory.path().join("new-cache");
    writeln!(out, "memory at most, stat cache written: {}\n", memory(root, Some(&new))?)?;
    Ok(())
}

fn report(corpus: Corpus, bytes: u64, rate: f64, tools: &Tools<'_>, out: &mut dyn Write) -> Done {
    let cold = tools.seconds("dockit");
    let warm = tools.seconds("dockit, stat cache");
    let stat = tools.seconds("limit: walk and stat");
    let limit = tools.seconds("limit: read") + bytes as f64 / rate;
    writeln!(
        out,
        "{}: {} files, {:.1} MB; SHA-256 in memory, all cores: {:.2} GB/s",
        corpus.name,
        corpus.files,
        bytes as f64 / 1e6,
        rate / 1e9
    )?;
    writeln!(out, "{:36} {:>9} {:>12} {:>12}", "", "seconds", "dockit/it", "warm/it")?;
    for tool in &tools.0 {
        let seconds = median(&tool.times).as_secs_f64();
        let (cold, warm) = (cold / seconds, warm / seconds);
        writeln!(out, "{:36} {seconds:9.4} {cold:12.2} {warm:12.2}", tool.name)?;
    }
    writeln!(out, "{:36} {limit:9.4} {:12.2}", "limit: read + SHA-256", cold / limit)?;
    writeln!(
        out,
        "cold / (read + SHA-256) = {:.2}; warm / (walk and stat) = {:.2}",
        cold / limit,
        warm / stat
    )?;
    Ok(())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
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
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    writeln!(std::io::stdout(), "{}", peak.trim())?;
    Ok(())
}
