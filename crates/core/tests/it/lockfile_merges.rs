//! Lockfiles of two branches, merged by git.

use std::collections::BTreeMap;
use std::path::Path;

use dockit_core::lockfile::{LockedBase, LockedImage, LockedPlatform, Lockfile};
use dockit_core::{ImageKey, ImageName};
use dockit_registry::{Digest, Reference};

use crate::git::{commit, git};

/// Entries by name, and which content each has.
type Entries = BTreeMap<&'static str, u8>;

fn lockfile(entries: &Entries) -> Lockfile {
    let mut lockfile = Lockfile::default();
    for (name, seed) in entries {
        let digest = Digest::of(&[*seed]);
        let (kind, name) = name.split_once(' ').unwrap();
        match kind {
            "base" => {
                let reference: Reference = format!("r.example/{name}").parse().unwrap();
                let entry = LockedPlatform {
                    digest: digest.clone(),
                    env: vec!["PATH=/bin".to_owned(), format!("V={seed}")],
                    onbuild: Vec::new(),
                };
                let platforms = BTreeMap::from([("linux/amd64".parse().unwrap(), entry)]);
                lockfile.move_base(reference, LockedBase { digest, platforms });
            }
            "epoch" => {
                let epoch = format!("2026-W{seed:02}").parse().unwrap();
                lockfile.set_epoch(name.parse().unwrap(), epoch);
            }
            _ => {
                let name: ImageName = name.parse().unwrap();
                let key: ImageKey =
                    format!("k1:{}", format!("{seed:02x}").repeat(32)).parse().unwrap();
                let reference =
                    format!("r.example/p/{name}:{}@{digest}", key.tag()).parse().unwrap();
                lockfile.update_image(name, LockedImage { key, reference });
            }
        }
    }
    lockfile
}

fn changed(entries: &Entries, changes: &[(&'static str, u8)]) -> Entries {
    let mut entries = entries.clone();
    for (name, seed) in changes {
        match seed {
            0 => drop(entries.remove(name)),
            seed => drop(entries.insert(name, *seed)),
        }
    }
    entries
}

/// The merge of two branches that began with the same lockfile; none if git does not merge by itself.
fn merged(entries: &Entries, one: &Entries, other: &Entries) -> Option<Lockfile> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let write = |entries: &Entries| {
        std::fs::write(root.join("dockit.lock"), lockfile(entries).to_text()).unwrap();
        commit(root)
    };
    git(root, &["init", "--quiet"]);
    write(entries);
    git(root, &["checkout", "--quiet", "-b", "other"]);
    write(other);
    git(root, &["checkout", "--quiet", "main"]);
    write(one);
    merges(root).then(|| Lockfile::load(&root.join("dockit.lock")).unwrap())
}

fn merges(root: &Path) -> bool {
    let merge = std::process::Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "merge", "--quiet", "other"])
        .current_dir(root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    merge.status.success()
}

#[test]
fn branches_that_change_different_entries_merge() {
    let start: Entries = [
        ("base b:1", 1),
        ("base d:1", 2),
        ("epoch b", 3),
        ("image b", 4),
        ("image d", 5),
        ("image f", 6),
    ]
    .into();
    // What each branch does, and that it merges with what each of the others does to another place.
    let deeds: [&[(&'static str, u8)]; 14] = [
        &[("base a:1", 21)],
        &[("base b:1", 22)],
        &[("base c:1", 23)],
        &[("base d:1", 24)],
        &[("base e:1", 25)],
        &[("epoch b", 26)],
        &[("epoch c", 27)],
        &[("image a", 28)],
        &[("image b", 29)],
        &[("image d", 30)],
        &[("image e", 31)],
        &[("image f", 32)],
        &[("image g", 33)],
        &[("image c", 34), ("base d:1", 35)],
    ];
    for (index, one) in deeds.iter().enumerate() {
        for other in &deeds[index + 1..] {
            if one.iter().any(|(name, _)| other.iter().any(|(same, _)| same == name)) {
                continue;
            }
            let both = changed(&changed(&start, one), other);
            let merged = merged(&start, &changed(&start, one), &changed(&start, other));
            assert_eq!(merged, Some(lockfile(&both)), "{one:?} and {other:?}");
        }
    }
}

#[test]
fn the_same_entry_changed_twice_is_a_conflict_that_is_told_with_its_line() {
    let start: Entries = [("base b:1", 1), ("image b", 4)].into();
    let (one, other) = (changed(&start, &[("image b", 5)]), changed(&start, &[("image b", 6)]));
    assert_eq!(merged(&start, &one, &other), None);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockit.lock");
    let text = lockfile(&one).to_text();
    let key = text.find("key = ").unwrap();
    let line = text[..key].lines().count() + 1;
    let torn = format!("{}<<<<<<< HEAD\n{}=======\n>>>>>>> other\n", &text[..key], &text[key..]);
    std::fs::write(&file, torn).unwrap();
    let error = Lockfile::load(&file).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(error.to_string().contains(&format!("line {line}: ")), "{error}");
}

#[test]
fn an_entry_that_is_there_twice_is_told_with_both_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockit.lock");
    let start: Entries = [("base b:1", 1), ("epoch b", 3), ("image b", 4)].into();
    let text = lockfile(&start).to_text();
    for (table, name) in
        [("base", "r.example/b:1"), ("epoch", "the epoch of b"), ("image", "image b")]
    {
        let begin = text.find(&format!("[[{table}]]")).unwrap();
        let end = text[begin..].find("\n\n").map_or(text.len(), |end| begin + end);
        let twice = format!("{}\n{}\n", text.trim_end(), &text[begin..end]);
        std::fs::write(&file, &twice).unwrap();
        let error = Lockfile::load(&file).unwrap_err();
        let lines: Vec<usize> = twice
            .lines()
            .enumerate()
            .filter(|(_, line)| *line == format!("[[{table}]]"))
            .map(|(index, _)| index + 1)
            .collect();
        let [first, second] = lines[..] else { panic!("{lines:?}") };
        let message = error.to_string();
        assert!(error.is_conflict(), "{message}");
        assert!(message.contains(&format!("line {second}: {name}")), "{message}");
        assert!(message.contains(&format!("line {first}")), "{message}");
    }
}
