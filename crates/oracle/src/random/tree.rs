//! Random trees, `.dockerignore` files and sources.

use super::Random;
use crate::State;

/// Names that patterns can meet in many ways. What is a directory here is never a file there, or
/// copies of several sources to one place would fail.
const DIRECTORIES: &[&str] = &["a", "ab", "b", "a/b", "a/a", "b/a", "a/b/a", ".c"];
const FILES: &[&str] = &["f", "g", "g.b", "h.b", ".f", "fg.b"];
const LINKS: &[&str] = &["link", "a/link", "link.b", "b/l"];
const TARGETS: &[&str] =
    &["a", "b", "a/b", "../a", "/a", "../b", "a/f", "f", "../f", "nowhere", ".", "/b/g"];
const WILDCARDS: &[&str] = &[
    "a/*", "*", "a*", "*.b", "*/f", "*/*.b", "?", "[ab]", "**/f", "a/?.b", "link*", ".*",
    "*/link*", "[^a]*", "a/*/*", "b?/*", "/*/a", "../*.b",
];
const PATTERNS: &[&str] = &[
    "a", "b", "*.b", "**/f", "**/*.b", "a/b", "a/*", "*/f", "a/**", "**", "*", "!a", "!a/b",
    "!**/f", "!*.b", "?", "/a", "a/", "[ab]", "!a/b/a", "**/b/**", "a/**/f", "link", "a*", "!a/**",
    "f", "./a/../b", "# a", "!f", "*/*", "!*/*.b", "**/a", ".*", "link*", "!link",
];

pub(super) fn project(random: &mut Random) -> State {
    let mut state = State::new("", &[]);
    for _ in 0..6 + random.below(10) {
        write(random, &mut state);
    }
    let mut dockerfile = String::from("FROM scratch AS one\nWORKDIR /@nonce@\n");
    copies(random, &state, &mut dockerfile);
    if random.below(3) == 0 {
        dockerfile.push_str("FROM scratch AS two\nWORKDIR /@nonce@-two\n");
        copies(random, &state, &mut dockerfile);
        if random.below(2) == 0 {
            dockerfile.push_str("COPY --from=one / /one/\n");
        }
    }
    state.write("Dockerfile", dockerfile);
    if random.below(3) > 0 {
        let mut patterns = String::new();
        for _ in 0..1 + random.below(4) {
            patterns.push_str(random.word(PATTERNS));
            patterns.push('\n');
        }
        state.write(".dockerignore", patterns);
    }
    state
}

fn copies(random: &mut Random, state: &State, dockerfile: &mut String) {
    for index in 0..1 + random.below(2) {
        let keyword = random.word(&["COPY", "COPY", "ADD"]);
        let source = source(random, state);
        dockerfile.push_str(&format!("{keyword} {source} none* /to{index}/\n"));
    }
}

/// Mostly a wildcard: a build whose source is ignored or missing fails, and shows nothing.
fn source(random: &mut Random, state: &State) -> String {
    match random.below(4) {
        0 => {
            let paths = state.paths();
            paths[random.below(paths.len())].clone()
        }
        1 => ".".to_owned(),
        _ => random.word(WILDCARDS).to_owned(),
    }
}

fn path(random: &mut Random) -> String {
    let name = random.word(FILES);
    if random.below(3) == 0 {
        name.to_owned()
    } else {
        format!("{}/{name}", random.word(DIRECTORIES))
    }
}

/// A file, link or directory, unless something is in the way.
fn write(random: &mut Random, state: &mut State) {
    let path = match random.below(8) {
        0 => random.word(DIRECTORIES).to_owned(),
        1 => random.word(LINKS).to_owned(),
        _ => path(random),
    };
    if !state.is_free(&path) {
    } else if DIRECTORIES.contains(&path.as_str()) {
        state.mkdir(&path);
    } else if LINKS.contains(&path.as_str()) {
        state.symlink(&path, random.word(TARGETS));
    } else {
        state.write(&path, format!("{}\n", random.below(3)));
    }
}

pub(super) fn change(random: &mut Random, state: &mut State) {
    let paths = state.paths();
    let existing = paths[random.below(paths.len())].clone();
    let is_dockerfile = existing == state.dockerfile;
    match random.below(14) {
        0 => state.touch(&existing),
        1 if state.is_file(&existing) => state.chmod(&existing, 0o755),
        2 | 3 if !is_dockerfile => state.remove(&existing),
        4 if !is_dockerfile => {
            let to = path(random);
            if state.is_file(&existing) && state.is_free(&to) {
                state.rename(&existing, &to);
            }
        }
        5 if state.has(".dockerignore") => {
            let pattern = random.word(PATTERNS);
            state.append(".dockerignore", &format!("{pattern}\n"));
        }
        6 => state.write(".dockerignore", format!("{}\n", random.word(PATTERNS))),
        7 => state.prepend("Dockerfile", "# comment\n"),
        8 => {
            let words = state.text("Dockerfile").replacen(
                " none* ",
                &format!(" {} ", source(random, state)),
                1,
            );
            state.write("Dockerfile", words);
        }
        9 | 10 if state.is_file(&existing) && !is_dockerfile => {
            state.write(&existing, format!("{}\n", random.below(4)));
        }
        _ => write(random, state),
    }
}
