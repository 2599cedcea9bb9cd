//! How near a run comes to the time that it needs at least.

use std::io::{Read as _, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use dockit_benches::statistics::{load, median};
use dockit_benches::turns::Done;
use dockit_testkit::{Auth, GeneratedProject, RegistryProcess};

use crate::{dockit, field, json, variable};

/// What an image runs: waiting, so that few cores do not make the images slow each other down.
const COMMAND: &str = "cat /i* > /all; sleep 4";

pub(crate) fn measure(quick: bool, out: &mut dyn Write) -> Done {
    let Some(base) = variable("DOCKIT_TEST_BASE") else {
        return Err("DOCKIT_TEST_BASE names no image: source what scripts/setup wrote".into());
    };
    let images = GeneratedProject::new(4, 3).with_runs(1, &base, COMMAND);
    let turns = if quick { 1 } else { 3 };
    // As many jobs as can ever be used, and fewer than that.
    for jobs in [3, 2] {
        let mut ratios = Vec::new();
        let mut shown = String::new();
        for turn in 0..turns {
            let registry = RegistryProcess::start(Auth::None);
            let directory = tempfile::tempdir()?;
            let root = directory.path();
            let seed = format!("{} {jobs} {turn}", std::process::id());
            images.write(root, &format!("registry = \"{}/g\"", registry.host()), &seed);
            let jobs_text = jobs.to_string();
            let build = ["build", "--push", "always", "--format", "json", "--jobs", &jobs_text];
            let start = Instant::now();
            let report = json(dockit(root, &build)?)?;
            let wall = start.elapsed().as_secs_f64();
            for reference in field(&report, "reference") {
                remove(reference)?;
            }
            if field(&report, "status").iter().any(|status| *status != "built") {
                return Err("not everything was built".into());
            }
            let seconds = |name: &str| {
                let images = report["images"].as_array().map(Vec::as_slice).unwrap_or_default();
                let image = images.iter().find(|image| image["name"] == name);
                image.and_then(|image| image["seconds"].as_f64()).unwrap_or(f64::NAN)
            };
            let path = images.longest_chain(seconds);
            let all: f64 =
                (0..images.images()).map(|image| seconds(&GeneratedProject::name(image))).sum();
            let least = path.max(all / f64::from(jobs));
            ratios.push(wall / least);
            shown = format!(
                "{wall:.1} s, critical path {path:.1} s, all seconds / jobs {:.1} s",
                all / f64::from(jobs)
            );
        }
        writeln!(
            out,
            "critical-path: {} images, {jobs} jobs; {turns} turns; load {}\n\
             the last turn: {shown}\nrun / what it needs at least: {:.3}",
            images.images(),
            load(),
            median(ratios.into_iter())
        )?;
    }
    Ok(())
}

/// Forgets an image of the engine.
fn remove(reference: &str) -> Done {
    let engine =
        variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let socket = engine.strip_prefix("unix://").ok_or("DOCKER_HOST is no socket")?;
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "DELETE /images/{reference}?force=1 HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(())
}
