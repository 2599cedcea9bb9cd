//! Runs that have nothing to do.

use std::io::Write;
use std::process::{Command, Stdio};

use dockit_benches::statistics::{load, median, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_testkit::{Auth, GeneratedProject, RegistryProcess, TestImage};

use crate::{dockit, field, json};

pub(crate) fn measure(quick: bool, out: &mut dyn Write) -> Done {
    for (depth, width) in [(5, 10), (10, 30)] {
        let images = GeneratedProject::new(depth, width);
        let registry = RegistryProcess::start(Auth::None);
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        images.write(root, &format!("registry = \"{}/g\"", registry.host()), "bench");
        let keys = json(dockit(root, &["key", "--format", "json"])?)?;
        let references: Vec<String> =
            field(&keys, "reference").into_iter().map(str::to_owned).collect();
        // Whatever is there under a key counts as present; what it is takes no part in this.
        for reference in &references {
            let (_, name) = reference.split_once('/').ok_or("a reference has a host")?;
            let (repository, tag) = name.rsplit_once(':').ok_or("a reference has a tag")?;
            TestImage::new(tag).push(registry.host(), repository, tag, None);
        }
        let build = ["build", "--push", "always", "--format", "json"];
        let report = json(dockit(root, &build)?)?;
        if field(&report, "status").iter().any(|status| *status != "reused") {
            return Err("not everything is present".into());
        }
        let mut tools = Tools::default();
        tools.add("dockit build", || {
            let quiet =
                dockit(root, &build)?.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            if quiet.success() { Ok(()) } else { Err("dockit failed".into()) }
        });
        tools.add("skopeo inspect, in a loop", || {
            for reference in &references {
                let status = Command::new("skopeo")
                    .args(["inspect", "--raw", "--tls-verify=false"])
                    .arg(format!("docker://{reference}"))
                    .stdout(Stdio::null())
                    .status()?;
                if !status.success() {
                    return Err("skopeo failed".into());
                }
            }
            Ok(())
        });
        tools.take_turn()?;
        tools.forget_turns();
        let turns = if quick { 2 } else { 5 };
        for _ in 0..turns {
            tools.take_turn()?;
        }
        writeln!(out, "no-op: {} present images; {turns} turns; load {}", images.images(), load())?;
        for tool in &tools.0 {
            let seconds = median(tool.times.iter().copied());
            writeln!(out, "{:36} {seconds:9.3}", tool.name)?;
        }
        let relation = ratio(tools.times("dockit build"), tools.times("skopeo inspect, in a loop"));
        writeln!(out, "dockit / skopeo: {relation:.4}")?;
    }
    Ok(())
}
