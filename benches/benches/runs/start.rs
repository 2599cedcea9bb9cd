//! From the start of a process to its first request.

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dockit_benches::statistics::{load, median};
use dockit_benches::turns::Done;

use crate::dockit;

/// Longest that a process may take to connect.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn measure(quick: bool, out: &mut dyn Write) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let host = listener.local_addr()?.to_string();
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    std::fs::create_dir(root.join("base"))?;
    std::fs::write(root.join("base/Dockerfile"), "FROM scratch\nCOPY file /\n")?;
    std::fs::write(root.join("base/file"), "bench")?;
    let config = format!("[project]\nregistry = \"{host}/g\"\n[images.base]\n");
    std::fs::write(root.join("dockit.toml"), config)?;
    let turns = if quick { 10 } else { 50 };
    let (mut ours, mut curl, mut version) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn only warms up.
    for turn in 0..=turns {
        let build = dockit(root, &["build", "--push", "always"])?;
        let mut peer = Command::new("curl");
        peer.args(["--silent", &format!("http://{host}/v2/")]);
        let start = Instant::now();
        let done = Command::new("skopeo").arg("--version").stdout(Stdio::null()).status()?;
        let of_version = start.elapsed().as_secs_f64();
        if !done.success() {
            return Err("skopeo failed".into());
        }
        let (of_build, of_peer) = (connected(build, &listener)?, connected(peer, &listener)?);
        if turn > 0 {
            ours.push(of_build);
            curl.push(of_peer);
            version.push(of_version);
        }
    }
    writeln!(out, "start: to the first connection; {turns} turns; load {}", load())?;
    for (name, times) in
        [("dockit build", &ours), ("curl", &curl), ("skopeo --version, to its end", &version)]
    {
        let milliseconds = 1000.0 * median(times.iter().copied());
        writeln!(out, "{name:36} {milliseconds:9.2} ms")?;
    }
    let of = |other: &[f64]| dockit_benches::statistics::ratio(&ours, other);
    writeln!(out, "dockit / curl: {:.2}; / skopeo --version: {:.2}", of(&curl), of(&version))?;
    Ok(())
}

/// Seconds from the start of the process until it connects; then it is ended.
fn connected(mut command: Command, listener: &TcpListener) -> Result<f64, Box<dyn Error>> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let connection = loop {
        match listener.accept() {
            Ok((connection, _)) => break connection,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if start.elapsed() > PATIENCE {
                    child.kill()?;
                    return Err("it does not connect".into());
                }
                // Short against what is measured, and no load on the other core.
                std::thread::sleep(Duration::from_micros(50));
            }
            Err(error) => return Err(error.into()),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    child.kill()?;
    child.wait()?;
    drop(connection);
    // What it opened besides, before it ended.
    while listener.accept().is_ok() {}
    Ok(seconds)
}
