//! Compares recorded verdicts with a live BuildKit: `docker` is the engine, `buildkit` the buildkitd
//! that `DOCKIT_BUILDKIT` names, through the `buildctl` on the path. With `--write` verdicts that are
//! missing are recorded instead. `DOCKIT_TEST_BASE` is an image with a shell that both can pull.
//! `document` writes the tables of `docs/precision.md` anew from the records and the keys.
//!
//! `docs/precision.md` says how to run it.

use std::io::Write as _;
use std::process::ExitCode;

use dockit_oracle::builder::{Buildctl, Builder, Docker};
use dockit_oracle::records::{BUILDKIT, DOCKER};
use dockit_oracle::{document, recording};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (builder, name): (Box<dyn Builder>, _) = match arguments.first() {
        Some(&"docker") => (Box::new(Docker::from_environment()), DOCKER),
        Some(&"buildkit") => (Box::new(Buildctl::from_environment()), BUILDKIT),
        Some(&"document") => {
            document::save(&document::rewritten());
            return end(0, "written");
        }
        _ => return end(2, "arguments: docker|buildkit [--write], or document"),
    };
    if arguments.contains(&"--write") {
        recording::complete(&*builder, name);
        return end(0, "written");
    }
    match recording::differences(&*builder, name) {
        none if none.is_empty() => end(0, "the records agree"),
        differences => end(1, &differences),
    }
}

fn end(code: u8, words: &str) -> ExitCode {
    std::io::stderr().write_all(format!("{words}\n").as_bytes()).unwrap();
    code.into()
}
