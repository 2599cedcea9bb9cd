//! A thousand images that no engine is needed for: a first run, and one with nothing to do.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use dockit_benches::statistics::{load, median, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_testkit::GeneratedProject;

use crate::{dockit, field, json};

const FIRST: &str = "dockit build, first run";
const SECOND: &str = "dockit build, nothing to do";
const KEYS: &str = "dockit key";
const PACK: &str = "tar | gzip of each image's file, in a loop";

pub(crate) fn measure(quick: bool, out: &mut dyn Write) -> Done {
    let images = GeneratedProject::new(10, 100);
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    images.write(root, "registry = \"oci:images\"", "bench");
    let mut tools = Tools::default();
    tools.add(FIRST, || {
        let _ = std::fs::remove_dir_all(root.join("images"));
        let report = json(dockit(root, &["build", "--format", "json"])?)?;
        let built = field(&report, "status").iter().filter(|status| **status == "built").count();
        if built == images.images() { Ok(()) } else { Err("not everything was built".into()) }
    });
    tools.add(SECOND, || {
        let report = json(dockit(root, &["build", "--format", "json"])?)?;
        if field(&report, "status").iter().all(|status| *status == "reused") {
            Ok(())
        } else {
            Err("something was built".into())
        }
    });
    tools.add(KEYS, || quiet(dockit(root, &["key", "--format", "json"])?));
    tools.add(PACK, || pack(root));
    tools.take_turn()?;
    tools.forget_turns();
    let turns = if quick { 2 } else { 5 };
    for _ in 0..turns {
        tools.take_turn()?;
    }
    writeln!(out, "assembled: {} images; {turns} turns; load {}", images.images(), load())?;
    for tool in &tools.0 {
        writeln!(out, "{:44} {:9.3}", tool.name, median(tool.times.iter().copied()))?;
    }
    writeln!(
        out,
        "first run / packing in a loop: {:.3}",
        ratio(tools.times(FIRST), tools.times(PACK))
    )?;
    writeln!(
        out,
        "nothing to do / keys alone:    {:.3}",
        ratio(tools.times(SECOND), tools.times(KEYS))
    )?;
    Ok(())
}

/// What a script does that makes a layer of each image's own file, and neither manifest nor configuration.
fn pack(root: &Path) -> Done {
    let script =
        "set -eu; for image in i*/; do tar -C \"$image\" -cf - file | gzip | sha256sum; done";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(root);
    quiet(shell)
}

fn quiet(mut command: Command) -> Done {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}
