//! What keys are made of, and why they change.

use std::process::Command;

use insta::assert_snapshot;

use crate::run::{Project, Ran};

/// Of an argument in the project below.
const WARNING: &str = "warning: DIR/dockit.toml:4: argument \"API_TOKEN\" is named like a secret, and \
    the values of build arguments stand in the image's history; if it is none, publish-args may name \
    it\n";

/// A repository with two images, at its first commit.
fn repository() -> Project {
    let project = Project::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n\
             [images.base]\nargs = { PYTHON_VERSION = \"3.11\", API_TOKEN = \"hunter2\" }\n\
             [images.notebook]\n",
        ),
        (
            "base/Dockerfile",
            "FROM scratch AS tools\nCOPY sub /sub\nFROM scratch\nARG PYTHON_VERSION\nARG API_TOKEN\n\
             COPY --from=tools /sub /sub\nCOPY install.sh /\nENV A=b\n",
        ),
        ("base/install.sh", "echo 1\n"),
        ("base/sub/old", "1\n"),
        ("notebook/Dockerfile", "FROM base\nCOPY . /\n"),
        ("notebook/start", "1\n"),
    ]);
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message", "first"]);
    project
}

pub(crate) fn git(project: &Project, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(arguments)
        .current_dir(project.root())
        // A fixed commit, for its id is in snapshots.
        .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The text with hashes, whole or short, as `HASH`.
fn without_hashes(text: &str) -> String {
    let mut result = String::new();
    for part in text.split_inclusive(|character: char| !character.is_ascii_hexdigit()) {
        let digits = part.trim_end_matches(|character: char| !character.is_ascii_hexdigit());
        if digits.len() >= 12 {
            result.push_str("HASH");
            result.push_str(&part[digits.len()..]);
        } else {
            result.push_str(part);
        }
    }
    result
}

fn change(project: &Project) {
    project.write("base/install.sh", "echo 2\n");
    project.write("base/sub/new", "1\n");
    std::fs::remove_file(project.root().join("base/sub/old")).unwrap();
    let dockerfile = std::fs::read_to_string(project.root().join("base/Dockerfile")).unwrap();
    project.write("base/Dockerfile", &dockerfile.replace("A=b", "A=c"));
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write("dockit.toml", &config.replace("3.11", "3.12").replace("hunter2", "hunter3"));
    project.write("notebook/start", "2\n");
}

#[test]
fn key_explains_everything_but_secrets() {
    let project = repository();
    let ran = project.run(&["key", "--explain", "--offline"]);
    assert_eq!((ran.code, &*ran.err), (0, WARNING));
    assert!(!ran.out.contains("hunter2"));
    assert_snapshot!(without_hashes(&ran.out), @r"
    base  k1:HASH
      platform     linux/amd64
      argument     API_TOKEN        (hidden) sha256:HASH
      argument     PYTHON_VERSION   3.11
      stage        1 (tools)        from scratch
      instruction  COPY, line 2     sha256:HASH
      stage        2                from scratch
      instruction  ARG, line 4      sha256:HASH
      instruction  ARG, line 5      sha256:HASH
      instruction  COPY, line 6     sha256:HASH
      instruction  COPY, line 7     sha256:HASH
      instruction  ENV, line 8      sha256:HASH
      file         base/install.sh  0644  7          sha256:HASH
      file         base/sub         0755  directory
      file         base/sub/old     0644  2          sha256:HASH
    notebook  k1:HASH
      the whole build context counts: line 2: COPY . reads all of it
      platform     linux/amd64
      dependency   base                 k1:HASH
      stage        1                    from image 1
      instruction  COPY, line 2         sha256:HASH
      Dockerfile   text                 sha256:HASH
      file         notebook/Dockerfile  0644  19  sha256:HASH
      file         notebook/start       0644  2   sha256:HASH
    ");
    let json = project.run(&["key", "base", "--explain", "--format", "json"]).json();
    let base = &json["images"][0];
    let explanation = &base["explanation"];
    assert_eq!(explanation["schema"], "dockit.inputs/1");
    assert_eq!(explanation["key"], base["key"]);
    assert_eq!(explanation["args"][1]["value"], "3.11");
    assert_eq!(explanation["args"][0]["value"], serde_json::Value::Null);
    assert!(project.run(&["key", "--format", "json"]).json()["images"][0]["explanation"].is_null());
}

#[test]
fn a_key_that_is_not_the_expected_one_is_exit_5() {
    let project = repository();
    let key = project.run(&["key", "base"]).out;
    let key = key.split_whitespace().nth(1).unwrap();
    let ran = project.run(&["key", "base", "--expect", key]);
    assert_eq!((ran.code, &*ran.err), (0, WARNING));
    project.write("base/install.sh", "echo 2\n");
    let ran = project.run(&["key", "base", "--expect", key]);
    assert_eq!(ran.code, 5);
    let now = ran.out.split_whitespace().nth(1).unwrap();
    assert!(ran.err.contains(&format!("base has the key {now}, not {key}")), "{}", ran.err);
    assert_eq!(project.run(&["key", "--expect", key]).code, 2, "of which image?");
    assert_eq!(project.run(&["key", "base", "--expect", "k1:1"]).code, 2);
}

#[test]
fn why_names_what_differs_from_a_revision() {
    let project = repository();
    change(&project);
    let ran = project.run(&["why", "notebook", "--rev", "HEAD", "--offline"]);
    assert_eq!((ran.code, &*ran.err), (0, WARNING));
    assert_snapshot!(without_hashes(&ran.out), @r"
    notebook changes: k1:HASH → k1:HASH
      from rev:HEAD (commit HASH)
      to   worktree
      file changed  notebook/start
      because base changes: k1:HASH → k1:HASH
        argument changed     API_TOKEN        (hidden) → (hidden)
        argument changed     PYTHON_VERSION   3.11 → 3.12
        instruction changed  ENV, line 8
        file changed         base/install.sh
        file added           base/sub/new
        file removed         base/sub/old
    ");
    let ran = project.run(&["why", "notebook", "--rev", "HEAD", "--exit-code"]);
    assert_eq!(ran.code, 5);
    let json = project.run(&["why", "notebook", "--rev", "HEAD", "--format", "json"]).json();
    assert_eq!((&json["schema"], &json["equal"]), (&"dockit.why/1".into(), &false.into()));
    assert_eq!(json["images"][0]["because"], serde_json::json!(["base"]));
    let changes = json["images"][1]["changes"].as_array().unwrap();
    assert!(changes.contains(&serde_json::json!({
        "what": "argument", "how": "changed", "name": "PYTHON_VERSION", "from": "3.11", "to": "3.12",
    })));
    assert!(!json.to_string().contains("hunter"));
    assert_eq!(json["from"]["state"], "rev:HEAD");
    assert_eq!(json["from"]["commit"].as_str().unwrap().len(), 40);
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed() {
    let obeyed = |text: &str| {
        text.replace('\n', "").contains(|character: char| {
            character.is_control() || matches!(character, '\u{202a}'..='\u{202e}')
        })
    };
    let project = repository();
    project.write("notebook/\u{202e}gnp.exe", "");
    for arguments in
        [&["why", "notebook", "--rev", "HEAD"][..], &["key", "notebook", "--explain", "--offline"]]
    {
        let ran = project.run(arguments);
        assert!(ran.out.contains("notebook/\\u{202e}gnp.exe"), "{ran:?}");
        assert!(!obeyed(&ran.out), "{ran:?}");
    }
    let ran = project.run(&["why", "notebook", "--rev", "HEAD", "--format", "json"]);
    assert!(!obeyed(&ran.out), "{ran:?}");
    let changes = &ran.json()["images"][0]["changes"];
    assert_eq!(changes[0]["name"], "notebook/\u{202e}gnp.exe");
    project.write("base/Dockerfile", "FROM scratch\nCOPY --\x1b[2J=\u{9b}x a b\n");
    let ran = project.run(&["key", "base", "--offline"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("\\u{1b}[2J") && !obeyed(&ran.err), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn every_signal_that_ends_a_process_ends_what_it_started() {
    for signal in ["INT", "TERM", "HUP"] {
        let project = Project::new(&[
            (
                "dockit.toml",
                "[images.a]\nprepare = { run = \"echo $$ > pid.new; mv pid.new pid; sleep 60\", \
                 outputs = [\"a/made\"] }\n",
            ),
            ("a/Dockerfile", "FROM scratch\nCOPY made /\n"),
        ]);
        let child = project
            .command(&["key", "--prepare", "--offline"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        let wait = || {
            assert!(start.elapsed().as_secs() < 30, "{signal}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        let pid = loop {
            if let Ok(pid) = std::fs::read_to_string(project.root().join("pid")) {
                break pid;
            }
            wait();
        };
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success());
        let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
        assert_eq!(ran.code, 130, "{signal}: {ran:?}");
        let runs = || {
            let sent = Command::new("kill").args(["-s", "0", pid.trim()]).output().unwrap();
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            sent.status.success() && !state.is_ok_and(|state| state.contains(") Z"))
        };
        while runs() {
            wait();
        }
    }
}

#[test]
fn why_says_that_nothing_differs() {
    let project = repository();
    let ran = project.run(&["why", "base", "--rev", "HEAD", "--exit-code"]);
    assert_eq!((ran.code, &*ran.err), (0, WARNING));
    assert_snapshot!(without_hashes(&ran.out), @r"
    base is the same: k1:HASH
      in rev:HEAD (commit HASH)
      in worktree
    ");
    change(&project);
    git(&project, &["commit", "--quiet", "--all", "--message", "second"]);
    let ran = project.run(&["why", "notebook", "--between", "rev:HEAD~1", "rev:HEAD"]);
    assert!(ran.out.contains("because base changes"), "{ran:?}");
}

#[test]
fn long_lists_end_in_text_and_are_whole_in_json() {
    let project = repository();
    for number in 0..30 {
        project.write(&format!("notebook/many/{number:02}"), "");
    }
    let ran = project.run(&["why", "notebook", "--rev", "HEAD"]);
    // The directory is the first of 31.
    assert!(ran.out.contains("many/18\n") && !ran.out.contains("many/19"), "{}", ran.out);
    assert!(ran.out.contains("… and 11 more"), "{}", ran.out);
    let json = project.run(&["why", "notebook", "--rev", "HEAD", "--format", "json"]).json();
    assert_eq!(json["images"][0]["changes"].as_array().unwrap().len(), 31);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let project = repository();
    for (arguments, message) in [
        (&["why", "base"][..], "nothing to compare base with: the lockfile has no entry for it"),
        (&["why", "base", "--locked"], "the lockfile has no entry for base"),
        (&["why", "base", "--last"], "base was not built in this work tree"),
        (&["why", "base", "--rev", "nope"], "git knows no revision \"nope\""),
        (&["why", "base", "--tag", "x", "--offline"], "tag:x: no registry may be asked"),
        (&["why", "bsae", "--rev", "HEAD"], "no image is called \"bsae\""),
        (&["why", "base", "--between", "x", "y"], "\"x\" is no state of an image"),
        (&["why", "base", "--rev", "HEAD", "--tag", "x"], "cannot be used with"),
        (&["why", "--between", "locked", "worktree"], "name the image"),
        (&["why"], "required"),
    ] {
        let ran = project.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
        assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
    }
    let key = format!("k1:{}", "0".repeat(64));
    let ran = project.run(&["why", "base", "--key", &key, "--offline"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("more is not known: k1:000000000000: its inputs are not kept"));
    let elsewhere =
        Project::new(&[("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM scratch\n")]);
    let ran = elsewhere.run(&["why", "a", "--rev", "HEAD"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("DIR is in no git repository"), "{}", ran.err);
    let broken = repository();
    broken.write("base/Dockerfile", "FORM x\n");
    git(&broken, &["commit", "--quiet", "--all", "--message", "broken"]);
    git(&broken, &["checkout", "--quiet", "HEAD~1", "--", "base"]);
    let ran = broken.run(&["why", "base", "--rev", "HEAD"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("error: at HEAD: base/Dockerfile:1: "), "{}", ran.err);
}
