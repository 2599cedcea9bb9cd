//! Selections of random trees, compared with the rules written down naively: no walk, no state, no
//! short cut, on the tree as a value.

use std::collections::{BTreeMap, BTreeSet};

use dockit_hashing::context::ignore::IgnoreRules;
use dockit_hashing::context::{ContextPath, Selection, Source};
use proptest::prelude::*;

use super::listing;
use crate::tree::{Item, Tree, list, paths};

/// What one instruction names.
#[derive(Clone, Debug)]
enum Named {
    Copy { path: String, exclude: Vec<&'static str> },
    Parents { base: String, pattern: &'static str },
    Mount { path: String },
}

impl Named {
    fn source(&self) -> Source {
        match self {
            Self::Copy { path, exclude } => Source::copy(path).excluding(exclude),
            Self::Parents { base, pattern } => Source::parents(format!("{base}/./{pattern}")),
            Self::Mount { path } => Source::mount(path),
        }
    }
}

/// Whether something is copied, by its path below the source.
type Keeps = Box<dyn Fn(&str) -> bool>;

/// Every path of a tree, directories that nothing names included.
struct Paths(BTreeMap<String, Item>);

impl Paths {
    fn of(tree: &Tree) -> Self {
        let mut all = BTreeMap::new();
        for (path, item) in &tree.0 {
            let path = String::from_utf8(path.clone()).expect("names of tests are UTF-8");
            for parent in parents(&path) {
                all.insert(parent, Item::Directory);
            }
            all.insert(path, item.clone());
        }
        Self(all)
    }

    /// Where a path leads, if anywhere, and the links on the way.
    fn resolve(&self, path: &str, links: &mut BTreeSet<String>) -> Option<String> {
        let mut at = String::new();
        let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        for _ in 0..1000 {
            let Some(component) = rest.pop() else { return Some(at) };
            match component.as_str() {
                "" | "." => {}
                ".." => at = parents(&at).pop().unwrap_or_default(),
                name => {
                    let next = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
                    match self.0.get(&next)? {
                        Item::Link(target) => {
                            let target = String::from_utf8(target.clone()).expect("UTF-8");
                            if target.starts_with('/') {
                                at.clear();
                            }
                            rest.extend(target.rsplit('/').map(str::to_owned));
                            links.insert(next);
                        }
                        _ => at = next,
                    }
                }
            }
        }
        panic!("trees of these tests have no circles: {path}");
    }

    fn below<'a>(&'a self, top: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.keys().filter_map(move |path| {
            let rest = path.strip_prefix(top)?;
            let rest = if top.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some((path.as_str(), rest))
        })
    }

    /// What is copied of something, the links that lead there included.
    fn copied(&self, from: &str, keeps: &dyn Fn(&str) -> bool, selected: &mut BTreeSet<String>) {
        if let Some(top) = self.resolve(from, selected) {
            selected.insert(top.clone());
            let below = self.below(&top).filter(|(_, rest)| keeps(rest));
            selected.extend(below.map(|(path, _)| path.to_owned()));
        }
    }

    fn selected(&self, named: &[Named]) -> BTreeSet<String> {
        let mut selected = BTreeSet::new();
        for named in named {
            let (path, keeps): (&str, Keeps) = match named {
                Named::Mount { path } => {
                    self.copied(path, &|_| true, &mut selected);
                    continue;
                }
                Named::Copy { path, exclude } => {
                    let rules = rules(exclude);
                    (path, Box::new(move |rest| !matches(&rules, rest)))
                }
                Named::Parents { base, pattern } => {
                    let rules = rules(&[pattern]);
                    (base, Box::new(move |rest| matches(&rules, rest)))
                }
            };
            let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
            let wild = components.iter().position(|name| name.contains(['*', '?', '[']));
            let Some(wild) = wild else {
                self.copied(path, &*keeps, &mut selected);
                continue;
            };
            let (base, pattern) = components.split_at(wild);
            let Some(base) = self.resolve(&base.join("/"), &mut selected) else { continue };
            selected.insert(base.clone());
            for (path, rest) in self.below(&base) {
                let names: Vec<&str> = rest.split('/').collect();
                let fits = |(pattern, name): (&&str, &&str)| {
                    let pattern: Vec<char> = pattern.chars().collect();
                    let name: Vec<char> = name.chars().collect();
                    glob(&pattern, &name)
                };
                if names.len() == pattern.len() && pattern.iter().zip(&names).all(fits) {
                    selected.insert(path.to_owned());
                    self.copied(path, &*keeps, &mut selected);
                }
            }
        }
        let above: Vec<String> = selected.iter().flat_map(|path| parents(path)).collect();
        selected.extend(above);
        selected.remove("");
        selected
    }
}

/// From the top downwards.
fn parents(path: &str) -> Vec<String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect()
}

fn rules(patterns: &[&str]) -> IgnoreRules {
    IgnoreRules::parse(patterns.join("\n").as_bytes()).expect("patterns")
}

fn matches(rules: &IgnoreRules, path: &str) -> bool {
    rules.excludes(&ContextPath::new(path.as_bytes()).expect("a path"))
}

fn glob(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| glob(rest, &name[skipped..])),
        (['[', one, other, ']', rest @ ..], [found, name @ ..]) => {
            (found == one || found == other) && glob(rest, name)
        }
        (['?', rest @ ..], [_, name @ ..]) => glob(rest, name),
        ([one, rest @ ..], [found, name @ ..]) => one == found && glob(rest, name),
        _ => false,
    }
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "b.c", ".a", "bb"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

/// Links lead to paths that come earlier than their own, so that there is no circle.
fn item() -> impl Strategy<Value = Option<Item>> {
    prop_oneof![
        4 => "[xy]".prop_map(|text| Some(Item::File { content: text.into(), mode: 0o644 })),
        1 => Just(Some(Item::Directory)),
        2 => Just(None),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let entry = (path(), item(), any::<prop::sample::Index>(), any::<bool>());
    prop::collection::vec(entry, 0..16).prop_map(|entries| {
        let mut tree = Tree::default();
        for (path, item, earlier, absolute) in entries {
            let taken = |other: &Vec<u8>| {
                let other = String::from_utf8_lossy(other);
                let is_above = |above: &str, below: &str| {
                    below.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
                };
                *other == path || is_above(&other, &path) || is_above(&path, &other)
            };
            if tree.0.keys().any(taken) {
                continue;
            }
            let item = item.unwrap_or_else(|| {
                let there: Vec<String> = Paths::of(&tree).0.into_keys().collect();
                let target = if there.is_empty() { "missing" } else { earlier.get(&there) };
                // Below a directory that the link is in there may be links that lead back.
                let own = parents(&path).iter().any(|parent| parent == target);
                Item::Link(match (own, absolute) {
                    (true, _) => b"nowhere".to_vec(),
                    (false, true) => format!("/{target}").into(),
                    (false, false) => {
                        format!("{}{target}", "../".repeat(parents(&path).len())).into()
                    }
                })
            });
            tree = tree.with(&path, item);
        }
        tree
    })
}

fn pattern_name() -> impl Strategy<Value = String> {
    let wild = vec!["*", "a*", "*b*", "?", "??", "[ab]", "[.b]*", "*.c", "**"];
    prop_oneof![2 => name(), 1 => prop::sample::select(wild).prop_map(str::to_owned)]
}

fn source_path() -> impl Strategy<Value = String> {
    let edges = vec!["", "./", "/", "../"];
    (prop::sample::select(edges), prop::collection::vec(pattern_name(), 0..4)).prop_map(
        |(edge, names)| match edge {
            "../" if names.is_empty() => "..".to_owned(),
            edge => format!("{}{}", edge.replace("../", "/"), names.join("/")),
        },
    )
}

fn named() -> impl Strategy<Value = Named> {
    let excludes = prop::sample::subsequence(vec!["*.c", "a", "**/b", "!a/b", "*/ab"], 0..3);
    let parents = prop::sample::select(vec!["a", "*", "**/b", "*/b.c", "a/**", "**", "b?"]);
    prop_oneof![
        4 => source_path().prop_map(|path| Named::Copy { path, exclude: Vec::new() }),
        2 => (source_path(), excludes).prop_map(|(path, exclude)| Named::Copy { path, exclude }),
        2 => (source_path(), parents).prop_map(|(base, pattern)| Named::Parents { base, pattern }),
        1 => path().prop_map(|path| Named::Mount { path }),
    ]
}

fn selection(named: &[Named]) -> Selection {
    Selection::of(named.iter().map(Named::source))
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_selected_paths_are_those_of_the_rules(
        tree in tree(),
        named in prop::collection::vec(named(), 0..4),
    ) {
        let selected = paths(&listing(&tree, &selection(&named)));
        let expected: Vec<String> = Paths::of(&tree).selected(&named).into_iter().collect();
        prop_assert_eq!(selected, expected);
    }

    #[test]
    fn a_path_that_no_source_reads_changes_nothing(
        tree in tree(),
        named in prop::collection::vec(named(), 1..4),
        path in path(),
    ) {
        let free = |other: &Vec<u8>| {
            let other = String::from_utf8_lossy(other);
            !path.starts_with(&*other) && !other.starts_with(&path)
        };
        prop_assume!(tree.0.keys().all(free));
        let more = tree.clone().file(&path, "new");
        let reads = |tree: &Tree| Paths::of(tree).selected(&named);
        let same = listing(&tree, &selection(&named)) == listing(&more, &selection(&named));
        prop_assert_eq!(same, reads(&tree) == reads(&more));
    }

    #[test]
    fn a_selection_is_a_part_of_the_whole(
        tree in tree(),
        named in prop::collection::vec(named(), 0..4),
    ) {
        let root = tree.plant();
        let whole = list(root.path());
        let part = listing(&tree, &selection(&named));
        for entry in part.entries() {
            prop_assert!(whole.entries().contains(entry), "{entry:?}");
        }
        prop_assert!(part.files() <= whole.files() && part.bytes() <= whole.bytes());
    }

    #[test]
    fn the_order_of_things_does_not_matter(
        tree in tree(),
        named in prop::collection::vec(named(), 0..4),
    ) {
        use dockit_hashing::context::{BuildContext, ContextOptions};

        let list = |root: &std::path::Path, named: &[Named]| {
            BuildContext::open(root, &ContextOptions::default())
                .and_then(|context| context.listing(&selection(named)))
                .expect("a listing")
        };
        let forwards = list(tree.plant().path(), &named);
        let reversed: Vec<Named> = named.into_iter().rev().collect();
        prop_assert_eq!(forwards, list(tree.plant_backwards().path(), &reversed));
    }

    #[test]
    fn what_is_ignored_might_as_well_not_be_there(
        tree in tree(),
        named in prop::collection::vec(named(), 0..4),
        ignored in prop::collection::vec(path(), 1..3),
    ) {
        let gone = |path: &[u8]| {
            let path = String::from_utf8_lossy(path);
            ignored.iter().any(|ignored| *path == *ignored || path.starts_with(&format!("{ignored}/")))
        };
        let mut without = tree.clone();
        // A directory that loses everything stays.
        for (path, _) in Paths::of(&tree).0 {
            if let Some(parent) = parents(&path).pop().filter(|parent| !gone(parent.as_bytes()))
                && gone(path.as_bytes())
            {
                without = without.directory(parent);
            }
        }
        without.0.retain(|path, _| !gone(path));
        let rules = format!(".dockerignore\n{}\n", ignored.join("\n"));
        let ignoring = tree.file(".dockerignore", rules);
        prop_assert_eq!(
            listing(&ignoring, &selection(&named)),
            listing(&without, &selection(&named))
        );
    }
}
