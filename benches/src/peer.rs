//! Programs that are used for the same purpose, as their users run them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a script does that walks a context and feeds path, mode and content into one SHA-256.
const SCRIPT: &str = r#"
import hashlib, os, sys
digest = hashlib.sha256()
for directory, directories, files in os.walk(sys.argv[1]):
    directories.sort()
    for name in sorted(files):
        path = os.path.join(directory, name)
        digest.update(os.path.relpath(path, sys.argv[1]).encode("utf-8", "surrogateescape"))
        digest.update(str(os.stat(path).st_mode).encode())
        content = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        digest.update(content.digest())
print(digest.hexdigest())
"#;

/// `find | sort | xargs sha256sum`.
///
/// # Errors
///
/// One of them fails.
pub fn sha256sum(root: &Path) -> io::Result<()> {
    shell("find . -type f -print0 | sort -z | xargs -0 sha256sum", root)
}

/// `find | sort | xargs b3sum`.
///
/// # Errors
///
/// One of them fails.
pub fn b3sum(root: &Path) -> io::Result<()> {
    shell("find . -type f -print0 | sort -z | xargs -0 b3sum", root)
}

/// Whether a program can be started.
pub fn is_installed(program: &str) -> bool {
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    started.is_ok_and(|status| status.success())
}

/// The interpreter itself, not a wrapper that looks for it each time.
///
/// # Errors
///
/// There is none.
pub fn python() -> io::Result<String> {
    let output =
        Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
    if !output.status.success() {
        return Err(io::Error::other("python3 failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A Python script with `hashlib`.
///
/// # Errors
///
/// It fails.
pub fn hashlib(python: &str, root: &Path) -> io::Result<()> {
    run(Command::new(python).args(["-c", SCRIPT]).arg(root))
}

/// A git repository whose work tree is elsewhere and knows nothing of it.
#[derive(Clone, Copy, Debug)]
pub struct Git<'a> {
    /// Where the repository is.
    pub repository: &'a Path,
    /// Its work tree.
    pub root: &'a Path,
}

impl Git<'_> {
    /// Makes the repository, with all objects in it.
    ///
    /// # Errors
    ///
    /// git fails.
    pub fn prepare(&self) -> io::Result<()> {
        self.git(["init", "--quiet"])?;
        self.git(["config", "core.compression", "0"])?;
        self.write_tree()
    }

    /// `git add -A && git write-tree` with a new index.
    ///
    /// # Errors
    ///
    /// git fails.
    pub fn write_tree(&self) -> io::Result<()> {
        match fs::remove_file(self.repository.join("index")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.git(["add", "--all"])?;
        self.git(["write-tree"])
    }

    /// `git status` with the index of the last time.
    ///
    /// # Errors
    ///
    /// git fails.
    pub fn status(&self) -> io::Result<()> {
        self.git(["status", "--porcelain"])
    }

    fn git<const N: usize>(&self, arguments: [&str; N]) -> io::Result<()> {
        let option = |name: &str, path: &Path| {
            let mut option = OsStr::new(name).to_owned();
            option.push(path);
            option
        };
        run(Command::new("git")
            .arg(option("--git-dir=", self.repository))
            .arg(option("--work-tree=", self.root))
            .args(arguments)
            .current_dir(self.root))
    }
}

/// `skopeo copy` between registries that speak plain HTTP, with all manifests, as they are.
///
/// # Errors
///
/// It fails.
pub fn skopeo_copy(from: &str, to: &str) -> io::Result<()> {
    run(Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([format!("docker://{from}"), format!("docker://{to}")]))
}

fn shell(script: &str, root: &Path) -> io::Result<()> {
    run(Command::new("sh").args(["-c", script]).current_dir(root))
}

fn run(command: &mut Command) -> io::Result<()> {
    if command.stdout(Stdio::null()).status()?.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} failed", command.get_program().to_string_lossy())))
    }
}
